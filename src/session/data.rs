//! The strict DATA receiver: ends at CRLF.CRLF only, so that one message can never become two.
//!
//! Pure. RFC 5321 sections 2.3.8 and 4.5.2. SMTP smuggling rests on servers that also end data at LF.LF, LF.CRLF and
//! the like; here these are content, noted as faults, and either refused after the true end or, where the operator
//! wants it, turned into proper line ends.

/// What to do with a CR or LF that stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BareNewlines {
    /// Noted; the mail is going to be refused.
    Refused,
    /// Each LF becomes CRLF, and so does a run of CR; CRs right before a CRLF are dropped (a mail whose line ends were
    /// converted twice would get blank lines into its patches else).
    Normalised,
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
    /// Longer than allowed: nothing was kept.
    pub too_big: bool,
}

/// Where the receiver stands in the line structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Behind a CRLF, or at the very start.
    LineStart,
    /// Behind a CRLF and a dot, which is not kept yet.
    Dot,
    /// Behind a CRLF, a dot and a CR, neither of which is kept yet.
    DotCr,
    /// In a line.
    Inside,
    /// Behind a CR, which is kept.
    Cr,
    /// Behind a line end that was normalised: never the end of data.
    LooseStart,
    /// The same, and a dot that is not kept yet.
    LooseDot,
}

/// Receives one message; feed it until it says it is done.
#[derive(Debug)]
pub struct DataReceiver {
    at: At,
    limit: usize,
    policy: BareNewlines,
    bytes: Vec<u8>,
    faults: Faults,
}

impl DataReceiver {
    /// A receiver that keeps at most `limit` bytes and drains what comes beyond.
    pub fn new(limit: usize, policy: BareNewlines) -> DataReceiver {
        DataReceiver {
            at: At::LineStart,
            limit,
            policy,
            bytes: Vec::new(),
            faults: Faults::default(),
        }
    }

    /// Takes input; returns how much of it belongs to the message, and whether the end was reached there.
    pub fn feed(&mut self, input: &[u8]) -> (usize, bool) {
        // `input[from..at]` is seen and not copied yet: copying waits for a byte that is not to be kept.
        let (mut from, mut at) = (0, 0);
        while at < input.len() {
            match (self.at, input[at]) {
                (At::Inside, _) => self.inside(input, &mut from, &mut at),
                (At::LineStart | At::LooseStart, b'.') => {
                    self.keep(&input[from..at]);
                    at += 1;
                    from = at;
                    self.at = if self.at == At::LineStart {
                        At::Dot
                    } else {
                        At::LooseDot
                    };
                }
                (At::LineStart | At::LooseStart, _) => self.at = At::Inside,
                (At::Dot, b'\r') => {
                    at += 1;
                    from = at;
                    self.at = At::DotCr;
                }
                // RFC 5321 section 4.5.2: the first of a line's leading dots is the sender's stuffing.
                (At::Dot, _) => self.at = At::Inside,
                (At::DotCr, b'\n') => return (at + 1, true),
                (At::DotCr, _) => {
                    self.keep(b"\r");
                    self.at = At::Cr;
                }
                // A sender that ends lines with LF stuffs dots there too. A single dot stays what it is.
                (At::LooseDot, b'.') => self.at = At::Inside,
                (At::LooseDot, _) => {
                    self.keep(b".");
                    self.at = At::Inside;
                }
                (At::Cr, b'\n') => {
                    at += 1;
                    self.at = At::LineStart;
                }
                (At::Cr, byte) => {
                    self.faults.bare_cr = true;
                    self.at = At::Inside;
                    if self.policy == BareNewlines::Normalised {
                        self.keep(&input[from..at]);
                        from = at;
                        self.mend_cr(byte);
                    }
                }
            }
        }
        self.keep(&input[from..]);
        (input.len(), false)
    }

    /// Goes on in a line up to behind its end, or the end of the input.
    fn inside(&mut self, input: &[u8], from: &mut usize, at: &mut usize) {
        let Some(found) = memchr::memchr3(b'\r', b'\n', 0, &input[*at..]) else {
            *at = input.len();
            return;
        };
        *at += found + 1;
        match input[*at - 1] {
            b'\r' if input.get(*at) == Some(&b'\n') => {
                *at += 1;
                self.at = At::LineStart;
            }
            b'\r' => self.at = At::Cr,
            b'\n' => {
                self.faults.bare_lf = true;
                if self.policy == BareNewlines::Normalised {
                    self.keep(&input[*from..*at - 1]);
                    *from = *at;
                    self.keep(b"\r\n");
                    self.at = At::LooseStart;
                }
            }
            _ => self.faults.nul = true,
        }
    }

    /// The last byte kept is a bare CR, and `next` follows it.
    fn mend_cr(&mut self, next: u8) {
        if next == b'\r' {
            self.bytes.pop();
        } else {
            self.keep(b"\n");
            self.at = At::LooseStart;
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.faults.too_big {
            return;
        }
        if bytes.len() > self.limit - self.bytes.len() {
            self.faults.too_big = true;
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The message with dot-stuffing undone, CRLF as sent, and its faults.
    pub fn finish(self) -> (Vec<u8>, Faults) {
        (self.bytes, self.faults)
    }
}

#[cfg(test)]
mod tests;
