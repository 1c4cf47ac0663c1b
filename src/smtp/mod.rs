//! SMTP and LMTP over sockets: drives the pure [`session`](crate::session) and hands mails to the pipeline.
//!
//! Edge: no decisions here. A mail that is being stored is never dropped half-way, whatever the client does.

mod wire;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::net::{Gate, Listener, Stream, Tls};
use crate::pipeline::{Ctx, NewMail};
use crate::session::{Action, Line, Lines, Protocol, Received, Reply, Session, Settings};
use wire::{Times, Waited, Wire};

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
    /// Mail servers whose word on their own clients is taken.
    pub trusted: Arc<Trusted>,
}

/// Whose XFORWARD is taken.
#[derive(Debug, Default)]
pub struct Trusted {
    /// Who comes from these addresses.
    pub ips: Vec<IpAddr>,
    /// Who comes by a unix socket.
    pub sockets: bool,
}

impl Trusted {
    fn holds(&self, ip: Option<IpAddr>) -> bool {
        ip.map_or(self.sockets, |ip| self.ips.contains(&ip))
    }
}

/// Accepts connections until told to stop; sessions run in `tracker`.
///
/// Then idle sessions are told 421 and end; one whose data is coming may finish its mail, within seconds.
pub async fn serve(
    server: Server,
    listener: Listener,
    stop: CancellationToken,
    tracker: TaskTracker,
) {
    serve_within(Times::USUAL, server, listener, stop, tracker).await;
}

async fn serve_within(
    times: Times,
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
        let ip = peer.map(|p| p.ip().to_canonical());
        let connection = Connection {
            server: server.clone(),
            ip,
            stop: stop.clone(),
            tracker: tracker.clone(),
            times,
        };
        tracker.spawn(async move {
            match connection.server.gate.enter(ip) {
                Some(_pass) => connection.run(stream).await,
                None => refuse(stream, times).await,
            }
        });
    }
}

async fn refuse(stream: Stream, times: Times) {
    metrics::counter!("patchpost_connections_refused").increment(1);
    let mut wire = Wire::new(stream, times);
    wire.say(&Reply::new(
        421,
        "4.7.0",
        "Too many connections; come again soon",
    ));
    // The client is turned away, whether it hears so or not.
    let _gone = wire.close().await;
}

/// One client.
struct Connection {
    server: Server,
    ip: Option<IpAddr>,
    stop: CancellationToken,
    tracker: TaskTracker,
    times: Times,
}

/// How a dialogue ended.
enum End {
    Closed,
    StartTls,
}

impl Connection {
    async fn run(self, stream: Stream) {
        metrics::counter!("patchpost_connections").increment(1);
        if let Err(error) = self.talk(stream).await {
            tracing::debug!(%error, client.ip = ?self.ip, "a connection broke");
        }
    }

    async fn talk(&self, stream: Stream) -> io::Result<()> {
        let settings = Settings {
            tls: self.server.tls.is_some(),
            trusted: self.server.trusted.holds(self.ip),
            ..self.server.settings.clone()
        };
        let mut session = Session::new(self.server.protocol, settings);
        let mut wire = Wire::new(stream, self.times);
        if wire.spoke_early().await? {
            wire.say(&session.early());
            return wire.hang_up().await;
        }
        wire.say(&session.greeting());
        if let End::Closed = self.dialogue(&mut session, &mut wire).await? {
            return Ok(());
        }
        let Some(tls) = &self.server.tls else {
            return Ok(());
        };
        let handshake = tls.acceptor().accept(wire.into_stream());
        let stream = timeout(self.times.handshake, handshake)
            .await
            .map_err(|_| io::ErrorKind::TimedOut)??;
        session.secured();
        self.dialogue(&mut session, &mut Wire::new(stream, self.times))
            .await?;
        Ok(())
    }

    /// Reads lines and does what the session says, until the connection ends or TLS is to begin.
    async fn dialogue<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        session: &mut Session,
        wire: &mut Wire<S>,
    ) -> io::Result<End> {
        let mut lines = Lines::default();
        loop {
            let Some(action) = self.next_action(session, &mut lines, wire).await? else {
                return Ok(End::Closed);
            };
            match self.answered(session, action).await {
                Action::Receive(reply) => {
                    wire.say(&reply);
                    let Some(replies) = self.receive(session, wire).await? else {
                        return Ok(End::Closed);
                    };
                    replies.iter().for_each(|reply| wire.say(reply));
                }
                Action::StartTls(reply) => {
                    wire.say(&reply);
                    wire.flush().await?;
                    return Ok(End::StartTls);
                }
                Action::Close(reply) => {
                    wire.say(&reply);
                    match reply.code {
                        500.. => wire.hang_up().await?,
                        _ => wire.close().await?,
                    }
                    return Ok(End::Closed);
                }
                Action::Reply(reply) | Action::CheckRoom(reply) => wire.say(&reply),
                Action::CheckRecipient(_) => {}
            }
        }
    }

    /// What the next line asks for; `None` when the client went away.
    async fn next_action<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        session: &mut Session,
        lines: &mut Lines,
        wire: &mut Wire<S>,
    ) -> io::Result<Option<Action>> {
        // For the whole line: a client cannot stay by sending it byte by byte.
        let deadline = Instant::now() + self.times.command;
        loop {
            let waiting = wire.waiting();
            let (action, used) = match lines.next(waiting) {
                Line::Full(line, used) => (session.line(line, &waiting[used..]), used),
                Line::TooLong(used) => (session.long_line(), used),
                Line::Endless => (Action::Close(session.endless_line()), waiting.len()),
                Line::Partial(used) => {
                    wire.take(used);
                    let reply = match wire.wait(deadline, &self.stop).await? {
                        Waited::More => continue,
                        Waited::End => return Ok(None),
                        Waited::Late => Reply::new(421, "4.4.2", "Nothing came for too long"),
                        Waited::Stop => stopping(),
                    };
                    return Ok(Some(Action::Close(reply)));
                }
            };
            wire.take(used);
            return Ok(Some(action));
        }
    }

    /// Asks the pipeline what the session wants to know.
    async fn answered(&self, session: &mut Session, action: Action) -> Action {
        match action {
            Action::CheckRecipient(address) => {
                let answer = self.server.ctx.check_recipient(&address).await;
                session.recipient(address, answer)
            }
            Action::CheckRoom(reply) => match self.server.ctx.check_room() {
                Ok(()) => Action::Reply(reply),
                Err(refusal) => Action::Reply(session.refuse_mail(refusal)),
            },
            action => action,
        }
    }

    /// Receives data and submits it; `None` when the connection is at its end.
    async fn receive<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        session: &mut Session,
        wire: &mut Wire<S>,
    ) -> io::Result<Option<Vec<Reply>>> {
        let mut receiver = session.receiver();
        let never = CancellationToken::new();
        let (mut stop, mut last) = (&self.stop, None::<Instant>);
        let (started, mut total) = (Instant::now(), 0u64);
        loop {
            let (used, done) = receiver.feed(wire.waiting());
            wire.take(used);
            total += used as u64;
            if done {
                break;
            }
            let rate = std::time::Duration::from_secs(total / self.times.rate);
            let deadline = started + self.times.grace + rate;
            let deadline = last.map_or(deadline, |last| last.min(deadline));
            let reply = match wire.wait(deadline, stop).await? {
                Waited::More => continue,
                Waited::End => return Ok(None),
                Waited::Stop => {
                    // The mail on its way may still come in; nothing after it.
                    (stop, last) = (&never, Some(Instant::now() + self.times.drain));
                    continue;
                }
                Waited::Late if last.is_some() => stopping(),
                Waited::Late => Reply::new(421, "4.4.2", "The data came too slowly"),
            };
            wire.say(&reply);
            wire.close().await?;
            return Ok(None);
        }
        let answers = match session.received(receiver) {
            Received::Mail(bytes) => self.submit(session, bytes, None).await,
            Received::Unwanted(bytes, why) => self.submit(session, bytes, Some(why)).await,
            Received::Refused(reply) => {
                tracing::info!(
                    client.ip = ?self.ip,
                    mail.bytes = total,
                    reply.code = reply.code,
                    "a mail was refused: {}",
                    reply.lines.join(" ")
                );
                vec![Err(reply); session.envelope().1.len()]
            }
        };
        Ok(Some(session.submitted(answers)))
    }

    /// Hands a mail to the pipeline, to be taken or, for a reason, to be noted only; one answer for each recipient, in order.
    async fn submit(
        &self,
        session: &Session,
        bytes: Vec<u8>,
        unwanted: Option<&'static str>,
    ) -> Vec<Result<(), Reply>> {
        let (sender, recipients) = session.envelope();
        let (ip, helo) = session.client(self.ip);
        let mail = NewMail {
            bytes,
            sender,
            recipients: recipients.to_vec(),
            protocol: self.server.protocol,
            ip,
            helo,
        };
        let ctx = self.server.ctx.clone();
        // A task of its own: it ends even if this connection does not.
        let stored = self.tracker.spawn(async move {
            match unwanted {
                None => ctx.screen(mail).await,
                Some(why) => ctx.drop_mail(mail, why).await,
            }
        });
        stored.await.unwrap_or_else(|error| {
            tracing::error!(%error, "storing a mail failed");
            // No answers: the session says 451 for each recipient.
            Vec::new()
        })
    }
}

fn stopping() -> Reply {
    Reply::new(421, "4.3.2", "Stopping; come again soon")
}

#[cfg(test)]
mod tests;
