//! The sending side of SMTP: one connection to the next hop, pipelined (RFC 5321, RFC 2920).

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// RFC 5321 section 4.5.3.2: how long a client waits.
const GREETING: Duration = Duration::from_secs(300);
const COMMAND: Duration = Duration::from_secs(300);
const FINAL_DOT: Duration = Duration::from_secs(600);
/// Copies over one connection; then a new one, as some servers stop answering.
const MAX_COPIES: u32 = 100;

/// What the next hop said to one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 250 after the final dot.
    Taken,
    /// 4xx.
    Temporary(String),
    /// 5xx.
    Permanent(String),
}

/// An open connection.
pub struct Client {
    stream: BufReader<TcpStream>,
    pipelining: bool,
    eight_bit: bool,
    copies: u32,
}

/// A reply: its code and its text.
struct Reply {
    code: u16,
    text: String,
}

impl Reply {
    fn answer(&self) -> Answer {
        let text = format!("{} {}", self.code, self.text);
        match self.code {
            200..300 => Answer::Taken,
            500..600 => Answer::Permanent(text),
            _ => Answer::Temporary(text),
        }
    }
}

impl Client {
    /// Connects to `host:port` and says EHLO.
    pub async fn connect(relay: &str, hostname: &str) -> io::Result<Client> {
        let stream = timeout(Duration::from_secs(30), TcpStream::connect(relay)).await??;
        stream.set_nodelay(true)?;
        let mut client = Client {
            stream: BufReader::new(stream),
            pipelining: false,
            eight_bit: false,
            copies: 0,
        };
        let greeting = client.reply(GREETING).await?;
        if greeting.code != 220 {
            return Err(io::Error::other(format!(
                "the relay greets with {} {}",
                greeting.code, greeting.text
            )));
        }
        client
            .stream
            .write_all(format!("EHLO {hostname}\r\n").as_bytes())
            .await?;
        let hello = client.reply(COMMAND).await?;
        if hello.code != 250 {
            return Err(io::Error::other(format!(
                "the relay answers EHLO with {} {}",
                hello.code, hello.text
            )));
        }
        let offers = |word: &str| {
            hello
                .text
                .split('\n')
                .any(|l| l.trim().eq_ignore_ascii_case(word))
        };
        (client.pipelining, client.eight_bit) = (offers("PIPELINING"), offers("8BITMIME"));
        Ok(client)
    }

    /// Whether it is time for a new connection.
    pub fn is_used_up(&self) -> bool {
        self.copies >= MAX_COPIES
    }

    /// Sends one copy; `parts` together are the mail with CRLF, not yet dot-stuffed. An I/O error leaves the connection unusable.
    pub async fn send(
        &mut self,
        sender: &str,
        recipient: &str,
        parts: [&[u8]; 2],
    ) -> io::Result<Answer> {
        self.copies += 1;
        let body = if self.eight_bit { " BODY=8BITMIME" } else { "" };
        let commands = [
            format!("MAIL FROM:<{sender}>{body}\r\n"),
            format!("RCPT TO:<{recipient}>\r\n"),
            "DATA\r\n".to_owned(),
        ];
        if self.pipelining {
            self.stream.write_all(commands.concat().as_bytes()).await?;
        }
        let mut refusal = None;
        let mut go = false;
        for (at, command) in commands.iter().enumerate() {
            if !self.pipelining {
                if refusal.is_some() {
                    break;
                }
                self.stream.write_all(command.as_bytes()).await?;
            }
            let reply = self.reply(COMMAND).await?;
            let fine = if at == 2 {
                reply.code == 354
            } else {
                (200..300).contains(&reply.code)
            };
            go = at == 2 && fine;
            if !fine && refusal.is_none() {
                if reply.code == 421 {
                    return Err(io::Error::other(format!(
                        "the relay closes: 421 {}",
                        reply.text
                    )));
                }
                refusal = Some(reply.answer());
            }
        }
        match refusal {
            None => {}
            Some(refusal) => {
                // Pipelined past a refusal: a server that still said 354 gets an empty mail without recipients.
                if go {
                    self.stream.write_all(b".\r\n").await?;
                    self.reply(FINAL_DOT).await?;
                }
                self.stream.write_all(b"RSET\r\n").await?;
                self.reply(COMMAND).await?;
                return Ok(refusal);
            }
        }
        for part in parts {
            self.stream.write_all(&stuffed(part)).await?;
        }
        self.stream.write_all(b".\r\n").await?;
        let reply = self.reply(FINAL_DOT).await.map_err(|error| {
            tracing::warn!(%error, "the connection was lost after the end of data: this copy may arrive twice");
            error
        })?;
        Ok(reply.answer())
    }

    /// Says QUIT; nothing depends on it.
    pub async fn quit(mut self) {
        let _polite = timeout(Duration::from_secs(2), self.stream.write_all(b"QUIT\r\n")).await;
    }

    async fn reply(&mut self, wait: Duration) -> io::Result<Reply> {
        let mut text = String::new();
        for _ in 0..100 {
            let mut line = Vec::new();
            let read = timeout(wait, self.stream.read_until(b'\n', &mut line)).await?;
            if read? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let code = line.get(..3).and_then(|c| c.parse::<u16>().ok());
            let Some(code) = code else {
                return Err(io::Error::other(format!("the relay says {line:?}")));
            };
            text.push_str(line.get(4..).unwrap_or_default());
            if line.as_bytes().get(3) != Some(&b'-') {
                text.truncate(text.floor_char_boundary(2_000));
                return Ok(Reply { code, text });
            }
            text.push('\n');
        }
        Err(io::Error::other("the relay's reply has no end"))
    }
}

/// Dots at line starts doubled (RFC 5321 section 4.5.2). Every part begins at a line's start.
fn stuffed(part: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if !part.starts_with(b".") && memchr::memmem::find(part, b"\n.").is_none() {
        return part.into();
    }
    let mut out = Vec::with_capacity(part.len() + 16);
    for line in part.split_inclusive(|b| *b == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    out.into()
}
