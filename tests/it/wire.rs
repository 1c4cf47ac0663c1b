//! Both ends of SMTP as plain as can be: a client that says exactly what it is told, a server that keeps what it gets.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::harness::DEADLINE;

/// A plain client that says exactly what it is told.
pub struct Smtp {
    stream: BufReader<TcpStream>,
}

impl Smtp {
    pub fn connect(address: &str) -> Smtp {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut smtp = Smtp {
            stream: BufReader::new(stream),
        };
        smtp.reply().unwrap();
        smtp.say("EHLO client.example");
        smtp
    }

    pub fn reply(&mut self) -> std::io::Result<String> {
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line.trim_end().to_owned());
            }
        }
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    pub fn say(&mut self, line: &str) -> String {
        self.try_say(line).unwrap()
    }

    pub fn try_say(&mut self, line: &str) -> std::io::Result<String> {
        self.stream
            .get_mut()
            .write_all(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    /// One transaction with LF turned into CRLF and dots stuffed; the last reply and what went over the wire.
    pub fn send(&mut self, sender: &str, recipients: &[&str], mail: &[u8]) -> (String, Vec<u8>) {
        self.try_send(sender, recipients, mail).unwrap()
    }

    pub fn try_send(
        &mut self,
        sender: &str,
        recipients: &[&str],
        mail: &[u8],
    ) -> std::io::Result<(String, Vec<u8>)> {
        let reply = self.try_say(&format!("MAIL FROM:<{sender}>"))?;
        if !reply.starts_with('2') {
            return Ok((reply, Vec::new()));
        }
        let mut taken = false;
        let mut last = String::new();
        for recipient in recipients {
            last = self.try_say(&format!("RCPT TO:<{recipient}>"))?;
            taken |= last.starts_with('2');
        }
        if !taken {
            self.try_say("RSET")?;
            return Ok((last, Vec::new()));
        }
        self.try_say("DATA")?;
        let wire = crlf(mail);
        let mut out = Vec::new();
        for line in wire.split_inclusive(|b| *b == b'\n') {
            if line.starts_with(b".") {
                out.push(b'.');
            }
            out.extend_from_slice(line);
        }
        out.extend_from_slice(b".\r\n");
        self.stream.get_mut().write_all(&out)?;
        Ok((self.reply()?, wire))
    }
}

/// Bare LF becomes CRLF, and the end gets one.
pub fn crlf(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(mail.len() + 100);
    for (at, byte) in mail.iter().enumerate() {
        if *byte == b'\n' && (at == 0 || mail[at - 1] != b'\r') {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    if !out.ends_with(b"\r\n") && !out.is_empty() {
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// A server that takes every mail and keeps it, but for recipients that it was told to refuse.
pub struct Sink {
    pub address: String,
    pub mails: Arc<Mutex<Vec<Copy>>>,
    refused: Arc<Refusals>,
}

/// Replies by recipient; `@domain` is everybody there.
type Refusals = Mutex<HashMap<String, String>>;

#[derive(Clone)]
pub struct Copy {
    pub sender: String,
    pub recipients: Vec<String>,
    pub bytes: Vec<u8>,
}

impl Sink {
    pub fn start() -> Sink {
        Sink::saying(b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
    }

    /// One that does not say that it takes eight bits.
    pub fn start_without_8bit() -> Sink {
        Sink::saying(b"250-sink\r\n250 PIPELINING\r\n")
    }

    fn saying(hello: &'static [u8]) -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mails = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&mails);
        let refused = Arc::new(Refusals::default());
        let refuses = Arc::clone(&refused);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, refuses) = (Arc::clone(&kept), Arc::clone(&refuses));
                // A client that breaks off ends its own thread only.
                std::thread::spawn(move || drop(Sink::talk(stream, hello, &kept, &refuses)));
            }
        });
        Sink {
            address,
            mails,
            refused,
        }
    }

    /// From now on this recipient (`@domain`: everybody there) is refused with that reply.
    pub fn refuse(&self, recipient: &str, reply: &str) {
        let mut refused = self.refused.lock().unwrap();
        refused.insert(recipient.to_owned(), reply.to_owned());
    }

    /// From now on mails to everybody of this domain (`@domain`) are refused with that reply when they are there.
    pub fn refuse_mail(&self, domain: &str, reply: &str) {
        self.refuse(&format!("mail {domain}"), reply);
    }

    /// From now on it is taken again.
    pub fn take(&self, recipient: &str) {
        self.refused.lock().unwrap().remove(recipient);
    }

    fn talk(
        stream: TcpStream,
        hello: &[u8],
        kept: &Mutex<Vec<Copy>>,
        refused: &Refusals,
    ) -> std::io::Result<()> {
        // Answers to a pipelined flight would wait for each other.
        stream.set_nodelay(true)?;
        let mut out = stream.try_clone()?;
        let mut input = BufReader::new(stream);
        out.write_all(b"220 sink\r\n")?;
        let (mut sender, mut recipients) = (String::new(), Vec::new());
        loop {
            let mut line = String::new();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let path = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
            match line.split([' ', '\r']).next().unwrap_or_default() {
                "EHLO" => out.write_all(hello)?,
                "MAIL" => {
                    sender = path();
                    recipients.clear();
                    out.write_all(b"250 ok\r\n")?;
                }
                "RCPT" => {
                    let recipient = path();
                    let reply = {
                        let refused = refused.lock().unwrap();
                        let domain = recipient.find('@').map_or("", |at| &recipient[at..]);
                        let found = refused.get(&recipient).or_else(|| refused.get(domain));
                        found.cloned()
                    };
                    if reply.is_none() {
                        recipients.push(recipient);
                    }
                    let reply = reply.unwrap_or_else(|| "250 ok".to_owned());
                    out.write_all(format!("{reply}\r\n").as_bytes())?;
                }
                // Nobody is left to take it for; the client may have sent DATA before it knew.
                "DATA" if recipients.is_empty() => out.write_all(b"503 no recipient\r\n")?,
                "DATA" => {
                    out.write_all(b"354 go\r\n")?;
                    let mut bytes = Vec::new();
                    loop {
                        let mut line = Vec::new();
                        input.read_until(b'\n', &mut line)?;
                        if line == b".\r\n" {
                            break;
                        }
                        bytes.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
                    }
                    let domain = recipients[0]
                        .find('@')
                        .map_or("", |at| &recipients[0][at..]);
                    let refused = refused
                        .lock()
                        .unwrap()
                        .get(&format!("mail {domain}"))
                        .cloned();
                    if let Some(reply) = refused {
                        out.write_all(format!("{reply}\r\n").as_bytes())?;
                        continue;
                    }
                    kept.lock().unwrap().push(Copy {
                        sender: sender.clone(),
                        recipients: recipients.clone(),
                        bytes,
                    });
                    out.write_all(b"250 taken\r\n")?;
                }
                "QUIT" => return out.write_all(b"221 bye\r\n"),
                _ => out.write_all(b"250 ok\r\n")?,
            }
        }
    }

    pub fn all(&self) -> Vec<Copy> {
        self.mails.lock().unwrap().clone()
    }

    /// Those of mail that people posted: the server writes by itself, too.
    pub fn posted(&self) -> Vec<Copy> {
        let by_itself = |c: &Copy| c.bytes.windows(17).any(|w| w == b"\nAuto-Submitted: ");
        self.all().into_iter().filter(|c| !by_itself(c)).collect()
    }
}
