//! The strict DATA receiver: ends at CRLF.CRLF only, so that one message can never become two.
//!
//! RFC 5321 section 4.5.2. SMTP smuggling rests on servers that also end data at LF.LF, LF.CRLF and the like; here
//! these are content, noted as flaws, and refused after the true end.

/// Where the receiver stands in the line structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    LineStart,
    Inside,
    Cr,
    Dot,
    DotCr,
}

/// What was wrong with received data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// A CR without LF.
    pub bare_cr: bool,
    /// A LF without CR.
    pub bare_lf: bool,
    /// A NUL byte.
    pub nul: bool,
    /// Longer than allowed: nothing past the limit was kept.
    pub too_big: bool,
}

impl Faults {
    /// Whether there is any.
    pub fn any(self) -> bool {
        self != Faults::default()
    }
}

/// Receives one message; feed it until it says it is done.
#[derive(Debug)]
pub struct DataReceiver {
    at: At,
    limit: usize,
    bytes: Vec<u8>,
    faults: Faults,
}

impl DataReceiver {
    /// A receiver that keeps at most `limit` bytes and drains what comes beyond.
    pub fn new(limit: usize) -> DataReceiver {
        DataReceiver {
            at: At::LineStart,
            limit,
            bytes: Vec::new(),
            faults: Faults::default(),
        }
    }

    /// Takes input; returns how much of it belongs to the message, and whether the end was reached there.
    pub fn feed(&mut self, input: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while at < input.len() {
            // The long way between line ends in one step.
            if self.at == At::Inside {
                let run = memchr::memchr2(b'\r', b'\n', &input[at..]).unwrap_or(input.len() - at);
                self.keep(&input[at..at + run]);
                at += run;
                if at == input.len() {
                    break;
                }
            }
            let byte = input[at];
            at += 1;
            if self.step(byte) {
                return (at, true);
            }
        }
        (at, false)
    }

    /// One byte; `true` at the end of data.
    fn step(&mut self, byte: u8) -> bool {
        match (self.at, byte) {
            (At::LineStart, b'.') => self.at = At::Dot,
            (At::Dot, b'\r') => self.at = At::DotCr,
            (At::DotCr, b'\n') => return true,
            (At::DotCr, _) => {
                // ".CR" and then something else: a line that began with a stuffed dot, then a bare CR.
                self.faults.bare_cr = true;
                self.keep(b"\r");
                self.plain(byte);
            }
            // RFC 5321 section 4.5.2: the first of a line's leading dots is the sender's stuffing.
            (At::Dot, _) => self.plain(byte),
            (At::Cr, b'\n') => {
                self.keep(b"\r\n");
                self.at = At::LineStart;
            }
            (At::Cr, _) => {
                self.faults.bare_cr = true;
                self.keep(b"\r");
                self.plain(byte);
            }
            _ => self.plain(byte),
        }
        false
    }

    fn plain(&mut self, byte: u8) {
        if byte == b'\r' {
            self.at = At::Cr;
            return;
        }
        self.faults.bare_lf |= byte == b'\n';
        self.keep(&[byte]);
        self.at = At::Inside;
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.faults.nul |= memchr::memchr(0, bytes).is_some();
        if self.bytes.len() + bytes.len() > self.limit {
            self.faults.too_big = true;
        } else if !self.faults.too_big {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The message with dot-stuffing undone, CRLF as sent, and its faults.
    pub fn finish(self) -> (Vec<u8>, Faults) {
        (self.bytes, self.faults)
    }
}
