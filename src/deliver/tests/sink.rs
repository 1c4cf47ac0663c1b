//! A mail server for tests: it does as a script says, and keeps what it took.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Where in a dialogue the sink is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum At {
    Greeting,
    Hello,
    Mail(String),
    Rcpt(String),
    Data,
    Dot(String),
    Reset,
}

/// What it does there, if not the usual.
pub(super) enum Act {
    Say(&'static str),
    Close,
    Hang,
    /// The usual, once the gate was opened.
    After(Arc<Notify>),
}

pub(super) type Mails = Mutex<Vec<(String, String, Vec<u8>)>>;
pub(super) type Script = dyn Fn(usize, &At) -> Option<Act> + Send + Sync;

/// A mail server that does as it is told, and keeps what it took.
pub(super) struct Sink {
    pub(super) address: String,
    pub(super) connections: Arc<AtomicUsize>,
    /// (sender, recipient, mail with dots as sent)
    pub(super) mails: Arc<Mails>,
    pub(super) commands: Arc<Mutex<Vec<String>>>,
}

pub(super) const ALL: &str = "250-sink\r\n250-PIPELINING\r\n250-SIZE 100000\r\n250 8BITMIME";

impl Sink {
    /// `script` gets the number of the connection, from 1, and the place.
    pub(super) async fn start(
        script: impl Fn(usize, &At) -> Option<Act> + Send + Sync + 'static,
    ) -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let sink = Sink {
            address: listener.local_addr().expect("an address").to_string(),
            connections: Arc::default(),
            mails: Arc::default(),
            commands: Arc::default(),
        };
        let script: Arc<Script> = Arc::new(script);
        let (connections, mails, commands) = (
            Arc::clone(&sink.connections),
            Arc::clone(&sink.mails),
            Arc::clone(&sink.commands),
        );
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // It answers in several writes.
                stream.set_nodelay(true).expect("set");
                let number = connections.fetch_add(1, Ordering::SeqCst) + 1;
                let mut dialogue = Dialogue {
                    stream: BufReader::new(stream),
                    number,
                    script: Arc::clone(&script),
                    commands: Arc::clone(&commands),
                };
                let mails = Arc::clone(&mails);
                tokio::spawn(async move { dialogue.serve(&mails).await });
            }
        });
        sink
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(super) fn mails(&self) -> Vec<(String, String, Vec<u8>)> {
        self.mails.lock().expect("sound").clone()
    }

    /// Recipients in the order in which they were served.
    pub(super) fn served(&self) -> Vec<String> {
        self.mails().into_iter().map(|(_, to, _)| to).collect()
    }

    pub(super) fn commands(&self) -> Vec<String> {
        self.commands.lock().expect("sound").clone()
    }
}

pub(super) struct Dialogue {
    pub(super) stream: BufReader<TcpStream>,
    pub(super) number: usize,
    pub(super) script: Arc<Script>,
    pub(super) commands: Arc<Mutex<Vec<String>>>,
}

impl Dialogue {
    /// Answers; `None` when the connection is over, else the answer's first digit.
    pub(super) async fn answer(&mut self, at: At, usual: &'static str) -> Option<u8> {
        let text = match (self.script)(self.number, &at) {
            None => usual,
            Some(Act::Say(text)) => text,
            Some(Act::Close) => return None,
            Some(Act::Hang) => std::future::pending().await,
            Some(Act::After(gate)) => {
                gate.notified().await;
                usual
            }
        };
        let line = format!("{text}\r\n");
        self.stream.write_all(line.as_bytes()).await.ok()?;
        (!text.starts_with("421")).then_some(text.as_bytes()[0])
    }

    pub(super) async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).await.ok()?;
        assert!(read == 0 || line.ends_with("\r\n"), "{line:?}");
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// Pipelined commands have to come in one flight: none is answered before all three are there.
    pub(super) async fn serve(&mut self, mails: &Mails) -> Option<()> {
        self.answer(At::Greeting, "220 sink").await?;
        assert_eq!(self.line().await?, "EHLO here.example");
        let plain = matches!((self.script)(self.number, &At::Hello), Some(Act::Say(t)) if !t.contains("PIPELINING"));
        self.answer(At::Hello, ALL).await?;
        loop {
            let from = self.line().await?;
            self.commands.lock().expect("sound").push(from.clone());
            if from == "RSET" {
                self.answer(At::Reset, "250 reset").await?;
                continue;
            }
            if from == "QUIT" {
                return None;
            }
            if plain {
                assert!(self.stream.buffer().is_empty(), "pipelined without leave");
                if self.answer(At::Mail(from.clone()), "250 from").await? != b'2' {
                    continue;
                }
            }
            let to = self.line().await?;
            if to == "RSET" {
                self.commands.lock().expect("sound").push(to);
                self.answer(At::Reset, "250 reset").await?;
                continue;
            }
            if plain && self.answer(At::Rcpt(to.clone()), "250 to").await? != b'2' {
                continue;
            }
            assert_eq!(self.line().await?, "DATA");
            let fine = if plain {
                true
            } else {
                let from = self.answer(At::Mail(from.clone()), "250 from").await?;
                let to = self.answer(At::Rcpt(to.clone()), "250 to").await?;
                from == b'2' && to == b'2'
            };
            let usual = if fine { "354 go" } else { "503 no recipient" };
            if self.answer(At::Data, usual).await? != b'3' {
                continue;
            }
            let mail = self.mail().await?;
            let name = |text: &str| {
                let inner = text.split_once('<').expect("an address").1;
                inner.split_once('>').expect("an address").0.to_owned()
            };
            let answer = self.answer(At::Dot(name(&to)), "250 taken").await?;
            if answer == b'2' {
                let mut mails = mails.lock().expect("sound");
                mails.push((name(&from), name(&to), mail));
            }
        }
    }

    /// Everything before the line with one dot.
    pub(super) async fn mail(&mut self) -> Option<Vec<u8>> {
        let mut mail = Vec::new();
        loop {
            let start = mail.len();
            if self.stream.read_until(b'\n', &mut mail).await.ok()? == 0 {
                return None;
            }
            if &mail[start..] == b".\r\n" {
                mail.truncate(start);
                return Some(mail);
            }
        }
    }
}
