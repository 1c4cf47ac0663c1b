//! What an SMTP or LMTP server answers to the next line (RFC 5321, RFC 2033).
//!
//! Pure: a line goes in, what to do comes out. No sockets, no store, no clock.

pub mod command;
mod data;
mod forward;
mod lines;
mod reply;
#[cfg(test)]
mod tests;

pub use data::{BareNewlines, DataReceiver, Faults};
pub use lines::{Line, Lines, MAX_LINE};
pub use reply::Reply;

use std::net::IpAddr;

use crate::types::Address;
use command::{Command, Side};
use forward::{Attribute, Forwarded};

/// Which of the two a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 5321: one answer for all recipients.
    Smtp,
    /// RFC 2033: one answer each.
    Lmtp,
}

/// What a session may offer and must keep to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name in the greeting.
    pub hostname: String,
    /// Largest message in bytes.
    pub max_size: usize,
    /// Recipients of one message (RFC 5321 section 4.5.3.1.8 asks for at least 100).
    pub max_recipients: usize,
    /// A certificate is there.
    pub tls: bool,
    /// The client is a mail server whose word on its own client is taken.
    pub trusted: bool,
    /// Bare CR and LF are turned into CRLF instead of refused (see [`BareNewlines`]).
    pub normalise: bool,
}

/// What the edge has to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this and go on.
    Reply(Reply),
    /// Ask whether the address takes mail; then [`Session::recipient`].
    CheckRecipient(Address),
    /// Check that there is room (a refusal goes to [`Session::refuse_mail`]), else send the reply.
    CheckRoom(Reply),
    /// Send 354, receive data with [`Session::receiver`]; then [`Session::received`].
    Receive(Reply),
    /// Send 220, throw away what came behind the line, then speak TLS; then [`Session::secured`].
    StartTls(Reply),
    /// Send this and close.
    Close(Reply),
}

/// What is to be done with a mail whose data was received.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// Submit it.
    Mail(Vec<u8>),
    /// Refuse it to every recipient.
    Refused(Reply),
    /// Note it for every recipient, with the reason, and let it go no further.
    Unwanted(Vec<u8>, &'static str),
}

/// A client that errs that often is a robot (Postfix closes at 20).
const MAX_ERRORS: u32 = 20;
/// NOOP, RSET, VRFY, HELP beyond this count as errors.
const MAX_JUNK: u32 = 100;

/// One connection's dialogue.
#[derive(Debug)]
pub struct Session {
    protocol: Protocol,
    settings: Settings,
    helo: Option<String>,
    extended: bool,
    secure: bool,
    sender: Option<Option<Address>>,
    recipients: Vec<Address>,
    errors: u32,
    junk: u32,
    refused_any: bool,
    forwarded: Option<Forwarded>,
}

impl Session {
    /// A new dialogue.
    pub fn new(protocol: Protocol, settings: Settings) -> Session {
        Session {
            protocol,
            settings,
            helo: None,
            extended: false,
            secure: false,
            sender: None,
            recipients: Vec::new(),
            errors: 0,
            junk: 0,
            refused_any: false,
            forwarded: None,
        }
    }

    /// The first thing a client hears.
    pub fn greeting(&self) -> Reply {
        let protocol = if self.protocol == Protocol::Lmtp {
            "LMTP"
        } else {
            "ESMTP"
        };
        Reply::new(
            220,
            "",
            format!("{} {protocol} patchpost", self.settings.hostname),
        )
    }

    /// Who brought the mail, as address and name in HELO: the client, whose address is given, or the one that a trusted mail server in
    /// front names. Behind another one nobody knows: `None` and empty.
    pub fn client(&self, ip: Option<IpAddr>) -> (Option<IpAddr>, String) {
        match (&self.forwarded, self.protocol) {
            (Some(told), _) => (told.ip, told.helo.clone()),
            (None, Protocol::Smtp) => (ip, self.helo.clone().unwrap_or_default()),
            (None, Protocol::Lmtp) => (None, String::new()),
        }
    }

    /// The envelope so far: sender (`None` is the null sender) and accepted recipients, in order.
    pub fn envelope(&self) -> (Option<Address>, &[Address]) {
        (self.sender.clone().flatten(), &self.recipients)
    }

    /// Decides on one line, given without its CRLF. `waiting` is what came behind it and was not read yet.
    ///
    /// RFC 2920 section 3.1: DATA is the last command of a group. A client that sends more without having seen the
    /// answer does not care for it; its "mail" may be somebody else's commands. Such a session ends.
    pub fn line(&mut self, line: &[u8], waiting: &[u8]) -> Action {
        let command = command::parse(line);
        if command == Command::Data && !waiting.is_empty() {
            return Action::Close(Reply::new(
                554,
                "5.5.0",
                "Data before 354 was said; wait for the answer to DATA",
            ));
        }
        let action = self.decide(command);
        self.count(action)
    }

    /// The client spoke before it was greeted (RFC 5321 section 3.1): no mail server does.
    pub fn early(&self) -> Reply {
        Reply::new(554, "5.5.0", "Wait for the greeting")
    }

    /// A line that does not end.
    pub fn endless_line(&self) -> Reply {
        Reply::new(500, "5.5.6", "The line does not end, closing")
    }

    /// The line was too long for any command; it was read to its end.
    pub fn long_line(&mut self) -> Action {
        self.count(Action::Reply(Reply::new(
            500,
            "5.5.6",
            "The line is too long",
        )))
    }

    fn count(&mut self, action: Action) -> Action {
        if let Action::Reply(reply) = &action {
            self.errors += u32::from(reply.code >= 500);
            if self.errors > MAX_ERRORS {
                return Action::Close(Reply::new(421, "4.7.0", "Too many errors, closing"));
            }
        }
        action
    }

    fn decide(&mut self, command: Command) -> Action {
        let reply = |code, enhanced, text: &str| Action::Reply(Reply::new(code, enhanced, text));
        match command {
            Command::Helo(_) | Command::Ehlo(_) if self.protocol == Protocol::Lmtp => {
                reply(500, "5.5.1", "This is LMTP: begin with LHLO")
            }
            Command::Lhlo(_) if self.protocol == Protocol::Smtp => {
                reply(500, "5.5.1", "This is SMTP: begin with EHLO")
            }
            Command::Helo(name) => self.hello(name, false),
            Command::Ehlo(name) | Command::Lhlo(name) => self.hello(name, true),
            Command::Mail { sender, size } => self.mail(sender, size),
            Command::Rcpt(address) => self.rcpt(address),
            Command::Data => self.data(),
            Command::StartTls => self.start_tls(),
            Command::Forward(told) if self.settings.trusted => self.forward(told),
            Command::Quit => Action::Close(Reply::new(221, "2.0.0", "Bye")),
            Command::Rset => {
                self.reset();
                self.junk(Reply::new(250, "2.0.0", "Reset"))
            }
            Command::Noop => self.junk(Reply::new(250, "2.0.0", "OK")),
            Command::Help => self.junk(Reply::new(
                214,
                "2.0.0",
                "A mailing-list server; see RFC 5321 for the commands",
            )),
            Command::Vrfy => self.junk(Reply::new(252, "2.5.0", "Send mail and see")),
            Command::Postmaster => match format!("postmaster@{}", self.settings.hostname).parse() {
                Ok(address) => self.rcpt(address),
                Err(_) => reply(550, "5.1.1", "There is no postmaster here"),
            },
            Command::NotDone => reply(502, "5.5.1", "Not done here"),
            Command::Chunk => {
                Action::Close(Reply::new(502, "5.5.1", "CHUNKING is not offered here"))
            }
            Command::Http => Action::Close(Reply::new(554, "5.5.1", "This is a mail server")),
            Command::BadAddress(Side::Sender) => {
                reply(501, "5.1.7", "The sender's address is malformed")
            }
            Command::BadAddress(Side::Recipient) => {
                reply(501, "5.1.3", "The recipient's address is malformed")
            }
            Command::Unknown | Command::Forward(_) => reply(500, "5.5.2", "Unknown command"),
            Command::Malformed(why) => reply(501, "5.5.4", &format!("Malformed: {why}")),
            Command::Parameter(key) => reply(
                555,
                "5.5.4",
                &format!("The parameter {key} is not offered here"),
            ),
            Command::BadSize => reply(501, "5.5.4", "SIZE takes a number of octets"),
            Command::NotAscii => reply(
                553,
                "5.6.7",
                "Addresses beyond ASCII (SMTPUTF8) are not offered here",
            ),
        }
    }

    fn junk(&mut self, reply: Reply) -> Action {
        self.junk += 1;
        if self.junk > MAX_JUNK {
            self.errors += 1;
            if self.errors > MAX_ERRORS {
                return Action::Close(Reply::new(421, "4.7.0", "Too many idle commands, closing"));
            }
        }
        Action::Reply(reply)
    }

    fn reset(&mut self) {
        self.sender = None;
        self.recipients.clear();
        self.refused_any = false;
        self.forwarded = None;
    }

    fn hello(&mut self, name: String, extended: bool) -> Action {
        self.reset();
        self.helo = Some(name);
        self.extended = extended;
        let mut lines = vec![self.settings.hostname.clone()];
        if extended {
            lines.push("PIPELINING".to_owned());
            lines.push(format!("SIZE {}", self.settings.max_size));
            lines.push("8BITMIME".to_owned());
            if self.settings.trusted {
                lines.push(forward::OFFER.to_owned());
            }
            if self.settings.tls && !self.secure {
                lines.push("STARTTLS".to_owned());
            }
            lines.push("ENHANCEDSTATUSCODES".to_owned());
        }
        Action::Reply(Reply {
            code: 250,
            enhanced: "",
            lines,
        })
    }

    fn forward(&mut self, told: Result<Vec<Attribute>, &'static str>) -> Action {
        let reply = match told {
            _ if self.helo.is_none() => Reply::new(503, "5.5.1", "Say hello first"),
            _ if self.sender.is_some() => {
                Reply::new(503, "5.5.1", "A mail is begun; XFORWARD stands before MAIL")
            }
            Err(why) => Reply::new(501, "5.5.4", format!("Malformed: {why}")),
            Ok(attributes) => {
                let told = self.forwarded.get_or_insert_default();
                told.add(attributes);
                Reply::new(250, "2.0.0", "Noted")
            }
        };
        Action::Reply(reply)
    }

    fn mail(&mut self, sender: Option<Address>, size: Option<u64>) -> Action {
        if self.helo.is_none() {
            let word = if self.protocol == Protocol::Lmtp {
                "LHLO"
            } else {
                "EHLO"
            };
            return Action::Reply(Reply::new(503, "5.5.1", format!("Say {word} first")));
        }
        if self.sender.is_some() {
            return Action::Reply(Reply::new(
                503,
                "5.5.1",
                "A mail is begun already; RSET to start anew",
            ));
        }
        if size.is_some_and(|s| s > self.settings.max_size as u64) {
            return Action::Reply(self.too_big());
        }
        self.sender = Some(sender);
        Action::CheckRoom(Reply::new(250, "2.1.0", "Sender taken"))
    }

    /// There is no room, or another reason to take nothing now: the mail is not begun.
    pub fn refuse_mail(&mut self, reply: Reply) -> Reply {
        self.reset();
        reply
    }

    fn too_big(&self) -> Reply {
        let size = match self.settings.max_size >> 20 {
            0 => format!("{} bytes", self.settings.max_size),
            mib => format!("{mib} MiB"),
        };
        let text = format!(
            "Too big: at most {size}; put large files on the web and send a link, or of many patches a `git request-pull`"
        );
        Reply::new(552, "5.3.4", text)
    }

    fn rcpt(&mut self, address: Address) -> Action {
        if self.sender.is_none() {
            return Action::Reply(Reply::new(503, "5.5.1", "Say MAIL first"));
        }
        if self.recipients.len() >= self.settings.max_recipients {
            return Action::Reply(Reply::new(
                452,
                "4.5.3",
                "Enough recipients; send the others in another mail",
            ));
        }
        Action::CheckRecipient(address)
    }

    /// The answer to [`Action::CheckRecipient`].
    pub fn recipient(&mut self, address: Address, answer: Result<(), Reply>) -> Action {
        match answer {
            Ok(()) => {
                self.recipients.push(address);
                Action::Reply(Reply::new(250, "2.1.5", "Recipient taken"))
            }
            Err(reply) => {
                self.refused_any = true;
                // Over LMTP it is not the mail server before us that guesses at names.
                match self.protocol {
                    Protocol::Smtp => self.count(Action::Reply(reply)),
                    Protocol::Lmtp => Action::Reply(reply),
                }
            }
        }
    }

    fn data(&mut self) -> Action {
        if self.sender.is_none() {
            return Action::Reply(Reply::new(503, "5.5.1", "Say MAIL first"));
        }
        if self.recipients.is_empty() {
            // RFC 2033 section 4.2 wants 503 of LMTP; RFC 5321 section 3.3 allows 554 where all were refused.
            let code = match (self.protocol, self.refused_any) {
                (Protocol::Smtp, true) => 554,
                _ => 503,
            };
            return Action::Reply(Reply::new(code, "5.5.1", "No recipient was taken"));
        }
        Action::Receive(Reply::new(
            354,
            "",
            "Go ahead, end with a dot on a line of its own",
        ))
    }

    /// What receives the data of this mail.
    pub fn receiver(&self) -> DataReceiver {
        let policy = if self.settings.normalise {
            BareNewlines::Normalised
        } else {
            BareNewlines::Refused
        };
        DataReceiver::new(self.settings.max_size, policy)
    }

    /// Judges received data.
    ///
    /// What is no mail is refused by SMTP. The mail server that speaks LMTP has taken it already: its bounce would go to a
    /// sender who may be forged. Too large a mail is refused there too: SIZE was announced (RFC 1870 section 6.1), so that a
    /// server that minds it refuses or bounces before it asks us.
    pub fn received(&self, receiver: DataReceiver) -> Received {
        let (bytes, faults) = receiver.finish();
        if faults.too_big {
            return Received::Refused(self.too_big());
        }
        let (what, text) = if faults.nul {
            let text = "The mail holds a NUL byte; mail is text (RFC 5322 section 2.1)";
            ("NUL byte", text)
        } else if (faults.bare_cr || faults.bare_lf) && !self.settings.normalise {
            let text =
                "The mail holds a bare CR or LF; lines end with CRLF (RFC 5321 section 2.3.8)";
            ("bare CR or LF", text)
        } else {
            return Received::Mail(bytes);
        };
        match self.protocol {
            Protocol::Smtp => Received::Refused(Reply::new(550, "5.5.2", text)),
            Protocol::Lmtp => Received::Unwanted(bytes, what),
        }
    }

    /// Ends a transaction with the answers per recipient; returns the replies to send, in order.
    pub fn submitted(&mut self, mut answers: Vec<Result<(), Reply>>) -> Vec<Reply> {
        answers.resize(self.recipients.len(), Err(unanswered()));
        self.reset();
        if answers.iter().any(Result::is_ok) {
            // Limits are for clients that bring nothing; a mail server may keep its connection for days.
            (self.errors, self.junk) = (0, 0);
        }
        let taken = || Reply::new(250, "2.0.0", "Taken, it will not be lost");
        let mut replies: Vec<Reply> = answers
            .into_iter()
            .map(|a| a.err().unwrap_or_else(taken))
            .collect();
        if self.protocol == Protocol::Lmtp {
            return replies;
        }
        // One answer for all: trouble that may pass makes the sender come again, which is harmless; then any
        // acceptance counts; else the first refusal.
        let temporary = replies.iter().position(Reply::is_temporary);
        let accepted = replies.iter().position(|r| !r.is_error());
        match temporary.or(accepted) {
            Some(at) => vec![replies.swap_remove(at)],
            None => vec![replies.into_iter().next().unwrap_or_else(unanswered)],
        }
    }

    fn start_tls(&mut self) -> Action {
        if self.secure {
            return Action::Reply(Reply::new(503, "5.5.1", "TLS is on already"));
        }
        if !self.settings.tls || !self.extended {
            return Action::Reply(Reply::new(502, "5.5.1", "TLS is not offered here"));
        }
        Action::StartTls(Reply::new(220, "2.0.0", "Go ahead with TLS"))
    }

    /// TLS is on: all that was said before is forgotten (RFC 3207 section 4.2).
    pub fn secured(&mut self) {
        self.secure = true;
        self.helo = None;
        self.extended = false;
        self.reset();
    }

    /// Whether TLS is on.
    pub fn is_secure(&self) -> bool {
        self.secure
    }
}

/// A mail that the pipeline said nothing about was not taken.
fn unanswered() -> Reply {
    Reply::new(451, "4.3.0", "Trouble here, nothing was taken; come again")
}
