//! The sending side of SMTP: one connection to the next hop, pipelined (RFC 5321, RFC 2920).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::offers::{Offers, parse_offers, xtext};
use super::refusal::Step;
use super::relay::{Login, Relay, Security, Wire};

/// How long to wait for the next hop.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// For a connection.
    pub connect: Duration,
    /// For the greeting and the answer to a command but DATA.
    pub command: Duration,
    /// For the answer to DATA.
    pub data: Duration,
    /// For a block of the mail to be taken.
    pub block: Duration,
    /// For the answer to the final dot.
    pub dot: Duration,
}

impl Waits {
    /// As RFC 5321 section 4.5.3.2 has it.
    pub const USUAL: Waits = Waits {
        connect: Duration::from_secs(30),
        command: Duration::from_secs(300),
        data: Duration::from_secs(120),
        block: Duration::from_secs(180),
        dot: Duration::from_secs(600),
    };
}

/// Copies over one connection; then a new one, as some servers stop answering (Yahoo's sender FAQ of 2025-08).
const MAX_COPIES: u32 = 100;
/// A write has one timeout; a slow next hop takes this much well within it.
const BLOCK_SIZE: usize = 64 << 10;
/// A reply line has at most 512 octets (RFC 5321 section 4.5.3.1.5); some servers write more.
const MAX_REPLY_LINE: usize = 4 << 10;
const MAX_REPLY_LINES: usize = 100;
/// What is kept of a reply's words.
const MAX_REPLY_TEXT: usize = 1_000;

/// One copy, as it goes over the wire.
#[derive(Debug, Clone, Copy)]
pub struct Mail<'a> {
    /// Envelope sender.
    pub sender: &'a str,
    /// The one recipient.
    pub recipient: &'a str,
    /// Together the mail with CRLF, dots doubled; every part ends a line.
    pub parts: [&'a [u8]; 3],
    /// Its size before dots were doubled.
    pub size: usize,
    /// Whether it holds octets beyond ASCII.
    pub eight_bit: bool,
}

impl Mail<'_> {
    fn needs_utf8(&self) -> bool {
        !self.recipient.is_ascii() || !self.sender.is_ascii()
    }
}

/// What the next hop said to one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 2xx after the final dot.
    Taken,
    /// 4xx, and to what.
    Temporary(Step, String),
    /// 5xx, and to what.
    Permanent(Step, String),
    /// It can be seen beforehand that the next hop cannot take it.
    Unfit(String),
}

/// The connection cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// It broke, or an answer never came.
    #[error("{0}")]
    Broken(#[from] io::Error),
    /// The next hop sends us away.
    #[error("it closes with {0}")]
    SentAway(String),
    /// It does so over this recipient: others may be welcome.
    #[error("it closes with {0}")]
    Refused(String),
    /// It does so before the next mail of a connection that took some: a new connection may be welcome.
    #[error("it closes with {0}")]
    HadEnough(String),
}

/// An open connection.
pub struct Client {
    stream: BufReader<Box<dyn Wire>>,
    waits: Waits,
    offers: Offers,
    copies: u32,
    in_doubt: bool,
}

/// A reply: its code and its words, one line each.
pub struct Reply {
    code: u16,
    text: String,
}

impl Reply {
    /// 2xx.
    pub fn is_positive(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// In one line.
    pub fn says(&self) -> String {
        format!("{} {}", self.code, self.text.replace('\n', " "))
    }

    /// What a 421 after MAIL means: x.3.x is about the system (RFC 3463 section 3.4), anything else may be about the recipient.
    fn farewell(&self) -> Trouble {
        match self.code == 421 && !self.text.starts_with("4.3.") {
            true => Trouble::Refused(self.says()),
            false => Trouble::SentAway(self.says()),
        }
    }

    fn answer(&self, step: Step) -> Answer {
        match self.code {
            200..300 => Answer::Taken,
            500..600 => Answer::Permanent(step, self.says()),
            _ => Answer::Temporary(step, self.says()),
        }
    }
}

impl Client {
    /// Connects, begins TLS, says EHLO and logs in, as the relay wants it.
    pub async fn connect(relay: &Relay, hostname: &str, waits: Waits) -> Result<Client, Trouble> {
        let stream = timeout(waits.connect, TcpStream::connect(&relay.address))
            .await
            .map_err(io::Error::from)??;
        stream.set_nodelay(true)?;
        let peer = stream.peer_addr().ok();
        let at_once = relay.tls.as_ref().filter(|tls| !tls.starttls);
        let stream: Box<dyn Wire> = match at_once {
            Some(tls) => begin_tls(tls, Box::new(stream), waits).await?,
            None => Box::new(stream),
        };
        let mut client = Client {
            stream: BufReader::new(stream),
            waits,
            offers: Offers::default(),
            copies: 0,
            in_doubt: false,
        };
        let greeting = client.reply(waits.command).await?;
        if greeting.code != 220 {
            return Err(Trouble::SentAway(greeting.says()));
        }
        client.hello(hostname).await?;
        if let Some(tls) = relay.tls.as_ref().filter(|tls| tls.starttls) {
            client = client.start_tls(tls).await?;
            // What was offered before TLS is forgotten (RFC 3207 section 4.2).
            client.hello(hostname).await?;
        }
        if let Some(login) = &relay.login {
            if !relay.may_log_in(peer) {
                let text = "no login: the password would be told without TLS";
                return Err(Trouble::SentAway(text.to_owned()));
            }
            client.log_in(login).await?;
        }
        Ok(client)
    }

    async fn hello(&mut self, hostname: &str) -> Result<(), Trouble> {
        let hello = self.ask(&format!("EHLO {hostname}")).await?;
        if hello.code != 250 {
            return Err(Trouble::SentAway(hello.says()));
        }
        self.offers = parse_offers(&hello.text);
        Ok(())
    }

    async fn start_tls(mut self, tls: &Security) -> Result<Client, Trouble> {
        if !self.offers.starttls {
            let text = "it does not offer STARTTLS, which delivery.relay_tls asks for";
            return Err(Trouble::SentAway(text.to_owned()));
        }
        let ready = self.ask("STARTTLS").await?;
        if ready.code != 220 {
            return Err(Trouble::SentAway(ready.says()));
        }
        if !self.stream.buffer().is_empty() {
            // Somebody on the way put words in before TLS, to be taken for the server's.
            return Err(io::Error::other("it speaks on before TLS").into());
        }
        let stream = begin_tls(tls, self.stream.into_inner(), self.waits).await?;
        Ok(Client {
            stream: BufReader::new(stream),
            offers: Offers::default(),
            ..self
        })
    }

    /// RFC 4954; PLAIN is RFC 4616, LOGIN is what some old servers know only.
    async fn log_in(&mut self, login: &Login) -> Result<(), Trouble> {
        let encode = |text: &str| data_encoding::BASE64.encode(text.as_bytes());
        let (user, password) = (&login.user, &login.password);
        let mut done = if self.offers.auth_plain {
            let secret = encode(&format!("\0{user}\0{password}"));
            self.ask(&format!("AUTH PLAIN {secret}")).await?
        } else if self.offers.auth_login {
            self.ask("AUTH LOGIN").await?
        } else {
            let text = "it offers no login by PLAIN or LOGIN";
            return Err(Trouble::SentAway(text.to_owned()));
        };
        for word in [user, password] {
            if done.code == 334 {
                done = self.ask(&encode(word)).await?;
            }
        }
        match done.code {
            235 => Ok(()),
            _ => Err(Trouble::SentAway(format!(
                "it refuses the login of {user}: {}",
                done.says()
            ))),
        }
    }

    /// Sends one line and reads the answer.
    pub async fn ask(&mut self, line: &str) -> io::Result<Reply> {
        self.write(format!("{line}\r\n").as_bytes()).await?;
        self.reply(self.waits.command).await
    }

    /// Whether it is time for a new connection.
    pub fn is_used_up(&self) -> bool {
        self.copies >= MAX_COPIES
    }

    /// Whether all of a copy was sent and no answer came: it may have been taken.
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// Sends one copy. After an error the connection is of no more use.
    pub async fn send(&mut self, mail: &Mail<'_>) -> Result<Answer, Trouble> {
        if let Some(why) = self.find_hindrance(mail) {
            return Ok(Answer::Unfit(why));
        }
        self.copies += 1;
        if let Some(refusal) = self.send_envelope(mail).await? {
            return Ok(refusal);
        }
        // From here on the next hop may take the copy without our learning of it.
        self.in_doubt = true;
        let [own, head, second] = mail.parts;
        // A small mail goes out in one packet.
        let ahead = BLOCK_SIZE.saturating_sub(own.len() + head.len());
        let ahead = second.len().min(ahead);
        let mut start = [own, head, &second[..ahead]].concat();
        if ahead == second.len() {
            start.extend_from_slice(b".\r\n");
            self.write(&start).await?;
        } else {
            self.write(&start).await?;
            self.write(&second[ahead..]).await?;
            self.write(b".\r\n").await?;
        }
        let reply = self.reply(self.waits.dot).await?;
        self.in_doubt = false;
        if reply.code == 421 {
            return Err(reply.farewell());
        }
        Ok(reply.answer(Step::Mail))
    }

    /// Says QUIT; nothing depends on it.
    pub async fn quit(mut self) {
        let polite = async {
            self.stream.write_all(b"QUIT\r\n").await?;
            self.stream.flush().await
        };
        let _polite = timeout(Duration::from_secs(2), polite).await;
    }

    /// Why this next hop can never take that mail. Re-encoding would break the author's signature.
    fn find_hindrance(&self, mail: &Mail<'_>) -> Option<String> {
        let unsafe_octet = |c: char| c.is_control() || matches!(c, '<' | '>' | ' ');
        if mail.recipient.contains(unsafe_octet) || mail.sender.contains(unsafe_octet) {
            return Some("the address cannot be written in SMTP".to_owned());
        }
        if mail.needs_utf8() && !self.offers.utf8 {
            return Some("the next hop takes no address beyond ASCII (SMTPUTF8)".to_owned());
        }
        if mail.eight_bit && !self.offers.eight_bit {
            return Some("the mail holds 8-bit text and the next hop takes only 7 bits".to_owned());
        }
        let limit = self.offers.max_size.filter(|limit| mail.size > *limit)?;
        let size = mail.size;
        Some(format!(
            "the mail has {size} octets and the next hop takes at most {limit}"
        ))
    }

    /// MAIL, RCPT and DATA, in one flight where that is offered; `None` when the next hop waits for the mail.
    async fn send_envelope(&mut self, mail: &Mail<'_>) -> Result<Option<Answer>, Trouble> {
        let mut refusal = None;
        let commands = self.envelope(mail);
        let walked = self.send_commands(&commands, &mut refusal).await;
        let Some(refusal) = refusal else {
            return walked.map(|()| None);
        };
        // What was refused stays so though the connection ends behind it: Exim's `drop` and Postfix's 521 close at once.
        let reset = match walked {
            Ok(()) => self.ask("RSET").await.is_ok_and(|r| r.is_positive()),
            Err(_) => false,
        };
        if !reset {
            self.copies = MAX_COPIES;
        }
        Ok(Some(refusal))
    }

    fn envelope(&self, mail: &Mail<'_>) -> [String; 3] {
        let mut from = format!("MAIL FROM:<{}>", mail.sender);
        if self.offers.size {
            from.push_str(&format!(" SIZE={}", mail.size));
        }
        if mail.eight_bit {
            from.push_str(" BODY=8BITMIME");
        }
        if mail.needs_utf8() {
            from.push_str(" SMTPUTF8");
        }
        let mut to = format!("RCPT TO:<{}>", mail.recipient);
        // RFC 3461: a failure only, with the header, and words by which the report is known. The null sender hears of none.
        if self.offers.dsn && !mail.sender.is_empty() && !mail.needs_utf8() {
            let (token, _) = mail.sender.rsplit_once('@').unwrap_or((mail.sender, ""));
            from.push_str(&format!(" RET=HDRS ENVID={}", xtext(token)));
            let original = xtext(mail.recipient);
            to.push_str(&format!(" NOTIFY=FAILURE ORCPT=rfc822;{original}"));
        }
        [from + "\r\n", to + "\r\n", "DATA\r\n".to_owned()]
    }

    /// Notes the first refusal as soon as it is read.
    async fn send_commands(
        &mut self,
        commands: &[String; 3],
        refusal: &mut Option<Answer>,
    ) -> Result<(), Trouble> {
        if self.offers.pipelining {
            self.write(commands.concat().as_bytes()).await?;
        }
        let steps = [Step::Sender, Step::Recipient, Step::Data];
        for (step, command) in steps.into_iter().zip(commands) {
            let is_data = step == Step::Data;
            if !self.offers.pipelining {
                self.write(command.as_bytes()).await?;
            }
            let wait = if is_data {
                self.waits.data
            } else {
                self.waits.command
            };
            let reply = self.reply(wait).await?;
            // 530: the next hop wants a login or TLS first. That is for the operator to mend and not this copy's fault.
            if matches!(reply.code, 421 | 530) {
                return Err(match step {
                    Step::Sender if reply.code == 421 && self.copies > 1 => {
                        Trouble::HadEnough(reply.says())
                    }
                    Step::Sender => Trouble::SentAway(reply.says()),
                    _ => reply.farewell(),
                });
            }
            let goes_on = is_data && reply.code == 354;
            if goes_on && refusal.is_some() {
                // Pipelined past a refusal: the server gets an empty mail without recipients (RFC 2920 section 3.1).
                self.write(b".\r\n").await?;
                self.reply(self.waits.dot).await?;
            }
            let fine = if is_data {
                goes_on
            } else {
                reply.is_positive()
            };
            if !fine && refusal.is_none() {
                *refusal = Some(match reply.answer(step) {
                    Answer::Taken => Answer::Temporary(step, format!("DATA met {}", reply.says())),
                    refusal => refusal,
                });
            }
            if refusal.is_some() && !self.offers.pipelining {
                break;
            }
        }
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for block in bytes.chunks(BLOCK_SIZE) {
            timeout(self.waits.block, self.stream.write_all(block)).await??;
        }
        // TLS keeps octets until it is told.
        timeout(self.waits.block, self.stream.flush()).await??;
        Ok(())
    }

    async fn reply(&mut self, wait: Duration) -> io::Result<Reply> {
        timeout(wait, self.read_reply()).await?
    }

    async fn read_reply(&mut self) -> io::Result<Reply> {
        let mut text = String::new();
        for _ in 0..MAX_REPLY_LINES {
            let line = self.read_line().await?;
            let (code, more, words) = parse_line(&line).ok_or_else(|| {
                io::Error::other(format!("it says {:?}, which is no reply", shown(&line)))
            })?;
            text.push_str(&words);
            text.truncate(text.floor_char_boundary(MAX_REPLY_TEXT));
            if !more {
                return Ok(Reply { code, text });
            }
            text.push('\n');
        }
        Err(io::Error::other("its reply has no end"))
    }

    /// One line without its line end.
    async fn read_line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            let buffer = self.stream.fill_buf().await?;
            if buffer.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "it closed the connection",
                ));
            }
            let end = memchr::memchr(b'\n', buffer);
            let taken = end.map_or(buffer.len(), |at| at + 1);
            line.extend_from_slice(&buffer[..taken]);
            self.stream.consume(taken);
            if line.len() > MAX_REPLY_LINE {
                return Err(io::Error::other("its reply line has no end"));
            }
            if end.is_some() {
                line.truncate(line.trim_ascii_end().len());
                return Ok(line);
            }
        }
    }
}

/// Words for a person: no control characters.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// (code, whether more lines follow, words) of `250-words`.
fn parse_line(line: &[u8]) -> Option<(u16, bool, String)> {
    let (code, rest) = line.split_at_checked(3)?;
    if !code.iter().all(u8::is_ascii_digit) || !(b'2'..=b'5').contains(&code[0]) {
        return None;
    }
    let code = code.iter().fold(0, |n, d| n * 10 + u16::from(d - b'0'));
    let words = rest.get(1..).unwrap_or_default();
    let words = String::from_utf8_lossy(words);
    let words = words.chars().filter(|c| !c.is_control()).collect();
    Some((code, rest.first() == Some(&b'-'), words))
}

async fn begin_tls(
    tls: &Security,
    stream: Box<dyn Wire>,
    waits: Waits,
) -> io::Result<Box<dyn Wire>> {
    let connector = TlsConnector::from(Arc::clone(&tls.config));
    let begun = connector.connect(tls.name.clone(), stream);
    let stream = timeout(waits.command, begun).await??;
    Ok(Box::new(stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_line(line: &[u8], expected: Option<(u16, bool, &str)>) {
        let expected = expected.map(|(code, more, words)| (code, more, words.to_owned()));
        assert_eq!(parse_line(line), expected);
    }

    #[test]
    fn reply_lines_are_read_and_anything_else_is_not() {
        check_line(b"250 ok", Some((250, false, "ok")));
        check_line(b"250-ok", Some((250, true, "ok")));
        check_line(b"250", Some((250, false, "")));
        check_line(
            b"550 5.1.1 who\x1b[31m?\xff",
            Some((550, false, "5.1.1 who[31m?\u{fffd}")),
        );
        check_line(b"", None);
        check_line(b"25", None);
        check_line(b"+50 ok", None);
        check_line(b"099 ok", None);
        check_line("2\u{b2}0".as_bytes(), None);
    }
}
