//! SMTP and LMTP over sockets: drives the pure [`session`](crate::session) and hands mails to the pipeline.
//!
//! Edge: no decisions here. A mail that is being stored is never dropped half-way, whatever the client does.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::net::{Gate, Listener, Stream, Tls};
use crate::pipeline::{Ctx, NewMail};
use crate::session::{Action, DataReceiver, Protocol, Reply, Session, Settings};

/// RFC 5321 section 4.5.3.2.7: a server waits at least five minutes for a command.
const COMMAND_TIME: Duration = Duration::from_secs(300);
/// Data must come at 500 bytes a second (Postfix's minimum), after this much grace.
const DATA_GRACE: Duration = Duration::from_secs(120);
const DATA_RATE: u64 = 500;
/// A client that does not read its replies for this long is gone.
const WRITE_TIME: Duration = Duration::from_secs(60);
/// RFC 3207 gives no number; a handshake takes a second.
const HANDSHAKE_TIME: Duration = Duration::from_secs(30);
/// Command lines: 512 octets, and room for parameters (RFC 5321 section 4.5.3.1.4).
const MAX_COMMAND: usize = 2048;

/// What all connections of a listener share.
#[derive(Clone)]
pub struct Server {
    /// The pipeline.
    pub ctx: Ctx,
    /// What sessions offer.
    pub settings: Settings,
    /// Which protocol.
    pub protocol: Protocol,
    /// The certificate, if there is one.
    pub tls: Option<Arc<Tls>>,
    /// How many connections may be open.
    pub gate: Arc<Gate>,
}

/// Accepts connections until told to stop; sessions run in `tracker`.
pub async fn serve(
    server: Server,
    listener: Listener,
    stop: CancellationToken,
    tracker: TaskTracker,
) {
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let ip = peer.map(|p| p.ip());
        let (server, stop) = (server.clone(), stop.clone());
        tracker.spawn(async move {
            match server.gate.enter(ip) {
                Some(_pass) => {
                    metrics::counter!("patchpost_connections").increment(1);
                    connection(server, stream, ip, stop).await;
                }
                None => refuse(stream).await,
            }
        });
    }
}

async fn refuse(mut stream: Stream) {
    let reply = Reply::new(421, "4.7.0", "Too many connections; come again soon").render();
    // The client is turned away either way.
    let _gone = timeout(Duration::from_secs(5), stream.write_all(&reply)).await;
}

async fn connection(server: Server, stream: Stream, ip: Option<IpAddr>, stop: CancellationToken) {
    let settings = Settings {
        tls: server.tls.is_some(),
        ..server.settings.clone()
    };
    let mut session = Session::new(server.protocol, settings);
    let greeting = session.greeting();
    let mut wire = Wire {
        stream,
        input: Vec::new(),
        start: 0,
        output: greeting.render(),
    };
    match dialogue(&server, &mut session, &mut wire, ip, &stop).await {
        Ok(End::Closed) => {}
        Ok(End::StartTls) => {
            let Some(tls) = &server.tls else { return };
            // Bytes that came before the handshake are dropped, never executed (CVE-2011-0411).
            match timeout(HANDSHAKE_TIME, tls.acceptor().accept(wire.stream)).await {
                Ok(Ok(stream)) => {
                    session.secured();
                    let mut wire = Wire {
                        stream,
                        input: Vec::new(),
                        start: 0,
                        output: Vec::new(),
                    };
                    if let Err(error) = dialogue(&server, &mut session, &mut wire, ip, &stop).await
                    {
                        tracing::debug!(%error, client.ip = ?ip, "a connection broke");
                    }
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, client.ip = ?ip, "a TLS handshake failed")
                }
                Err(_) => tracing::debug!(client.ip = ?ip, "a TLS handshake took too long"),
            }
        }
        Err(error) => tracing::debug!(%error, client.ip = ?ip, "a connection broke"),
    }
}

enum End {
    Closed,
    StartTls,
}

/// A connection with what was read and not used, and what is to be sent.
struct Wire<S> {
    stream: S,
    input: Vec<u8>,
    start: usize,
    output: Vec<u8>,
}

enum Line {
    Full(Vec<u8>),
    TooLong,
    End,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Sends what is waiting.
    async fn flush(&mut self) -> std::io::Result<()> {
        if !self.output.is_empty() {
            let sent = timeout(WRITE_TIME, self.stream.write_all(&self.output)).await;
            self.output.clear();
            sent.map_err(|_| std::io::ErrorKind::TimedOut)??;
        }
        Ok(())
    }

    /// Reads more; 0 at the end of the stream.
    async fn fill(&mut self) -> std::io::Result<usize> {
        if self.start > 0 {
            self.input.drain(..self.start);
            self.start = 0;
        }
        self.input.reserve(16 << 10);
        self.stream.read_buf(&mut self.input).await
    }

    /// The next line up to CRLF. Replies are sent only when no full line waits: that is what pipelining is.
    async fn line(&mut self, deadline: Instant) -> std::io::Result<Line> {
        let mut searched = self.start;
        let mut long = false;
        loop {
            let from = searched.max(self.start);
            if let Some(at) = memchr::memmem::find(&self.input[from..], b"\r\n") {
                let line = self.input[self.start..from + at].to_vec();
                self.start = from + at + 2;
                return Ok(if long || line.len() > MAX_COMMAND {
                    Line::TooLong
                } else {
                    Line::Full(line)
                });
            }
            if self.input.len() - self.start > MAX_COMMAND {
                // Keep the last byte: it may be the CR of the line's end.
                long = true;
                self.start = self.input.len() - 1;
            }
            searched = self
                .input
                .len()
                .saturating_sub(1)
                .saturating_sub(self.start);
            self.flush().await?;
            let read = timeout_at(deadline, self.fill())
                .await
                .map_err(|_| std::io::ErrorKind::TimedOut)??;
            if read == 0 {
                return Ok(Line::End);
            }
        }
    }
}

async fn dialogue<S: AsyncRead + AsyncWrite + Unpin>(
    server: &Server,
    session: &mut Session,
    wire: &mut Wire<S>,
    ip: Option<IpAddr>,
    stop: &CancellationToken,
) -> std::io::Result<End> {
    loop {
        let line = tokio::select! {
            line = wire.line(Instant::now() + COMMAND_TIME) => line,
            () = stop.cancelled() => {
                wire.output.extend(Reply::new(421, "4.3.2", "Stopping; come again soon").render());
                wire.flush().await?;
                return Ok(End::Closed);
            }
        };
        let mut action = match line {
            Ok(Line::Full(line)) => session.line(&line),
            Ok(Line::TooLong) => session.long_line(),
            Ok(Line::End) => return Ok(End::Closed),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                Action::Close(Reply::new(421, "4.4.2", "Nothing came for too long"))
            }
            Err(error) => return Err(error),
        };
        if let Action::CheckRecipient(address) = action {
            let answer = server.ctx.check_recipient(&address).await;
            action = session.recipient(address, answer);
        }
        match action {
            Action::Reply(reply) => wire.output.extend(reply.render()),
            Action::CheckRoom(reply) => {
                let reply = match server.ctx.check_room() {
                    Ok(()) => reply,
                    Err(refusal) => session.refuse_mail(refusal),
                };
                wire.output.extend(reply.render());
            }
            Action::Receive(reply) => {
                wire.output.extend(reply.render());
                wire.flush().await?;
                let Some(replies) = receive(server, session, wire, ip).await? else {
                    return Ok(End::Closed);
                };
                replies.iter().for_each(|r| wire.output.extend(r.render()));
            }
            Action::StartTls(reply) => {
                wire.output.extend(reply.render());
                wire.flush().await?;
                return Ok(End::StartTls);
            }
            Action::Close(reply) => {
                wire.output.extend(reply.render());
                wire.flush().await?;
                return Ok(End::Closed);
            }
            Action::CheckRecipient(_) => {}
        }
    }
}

/// Receives data and submits it; `None` when the client went away before the end.
async fn receive<S: AsyncRead + AsyncWrite + Unpin>(
    server: &Server,
    session: &mut Session,
    wire: &mut Wire<S>,
    ip: Option<IpAddr>,
) -> std::io::Result<Option<Vec<Reply>>> {
    let mut receiver = DataReceiver::new(server.settings.max_size);
    let started = Instant::now();
    let mut total = 0u64;
    loop {
        let waiting = &wire.input[wire.start..];
        let (used, done) = receiver.feed(waiting);
        wire.start += used;
        total += used as u64;
        if done {
            break;
        }
        let deadline = started + DATA_GRACE + Duration::from_secs(total / DATA_RATE);
        match timeout_at(deadline, wire.fill()).await {
            Ok(Ok(0)) => return Ok(None),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                wire.output
                    .extend(Reply::new(421, "4.4.2", "The data came too slowly").render());
                wire.flush().await?;
                return Ok(None);
            }
        }
    }
    let (sender, recipients) = session.envelope();
    let recipients = recipients.to_vec();
    let answers = match session.received(receiver) {
        Err(reply) => vec![Err(reply); recipients.len()],
        Ok(bytes) => {
            let count = recipients.len();
            let protocol = server.protocol;
            let helo = session.helo().to_owned();
            let mail = NewMail {
                bytes,
                sender,
                recipients,
                protocol,
                ip,
                helo,
                tls: session.is_secure(),
            };
            let ctx = server.ctx.clone();
            // A task of its own: it ends even if this connection does not.
            let stored = tokio::spawn(async move { ctx.screen(mail).await }).await;
            stored.unwrap_or_else(|error| {
                tracing::error!(%error, "storing a mail failed");
                vec![Err(Reply::new(451, "4.3.0", "Trouble here; come again")); count]
            })
        }
    };
    Ok(Some(session.submitted(answers)))
}
