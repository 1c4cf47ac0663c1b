//! A connection's bytes: what was read and not used yet, what is to be sent, and how long either may take.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::session::Reply;

/// How long a session waits for what.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// For a whole command.
    pub command: Duration,
    /// Before the minimum rate of data counts.
    pub grace: Duration,
    /// Bytes of data per second that must come.
    pub rate: u64,
    /// For the client to take a reply.
    pub write: Duration,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For a mail whose data is coming when the server is told to stop.
    pub drain: Duration,
    /// For a client that was hung up on to notice.
    pub linger: Duration,
}

impl Times {
    /// What is used in service.
    pub const USUAL: Times = Times {
        // RFC 5321 section 4.5.3.2.7: a server waits at least five minutes for a command.
        command: Duration::from_secs(300),
        grace: Duration::from_secs(60),
        // Postfix's minimum (smtpd_min_data_rate).
        rate: 500,
        write: Duration::from_secs(60),
        // RFC 3207 gives no number; a handshake takes a second.
        handshake: Duration::from_secs(30),
        // Within what `serve` gives all parts to end.
        drain: Duration::from_secs(5),
        linger: Duration::from_secs(1),
    };
}

/// Why waiting for the client ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// Bytes came.
    More,
    /// The client closed.
    End,
    /// Nothing came in time.
    Late,
    /// The server was told to stop.
    Stop,
}

/// A connection with its buffers.
pub struct Wire<S> {
    stream: S,
    input: Vec<u8>,
    start: usize,
    output: Vec<u8>,
    times: Times,
}

/// Read at once; a whole small mail fits.
const READ: usize = 16 << 10;
/// Bytes read and thrown away, at most, from a client that was hung up on.
const LINGER_BYTES: usize = 1 << 20;

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// A connection on which nothing was said yet.
    pub fn new(stream: S, times: Times) -> Wire<S> {
        Wire {
            stream,
            input: Vec::new(),
            start: 0,
            output: Vec::new(),
            times,
        }
    }

    /// The connection alone. What was read and not used is dropped: before TLS it must never be used (CVE-2011-0411).
    pub fn into_stream(self) -> S {
        self.stream
    }

    /// What was read and not used.
    pub fn waiting(&self) -> &[u8] {
        &self.input[self.start..]
    }

    /// Marks the first `count` bytes of what is waiting as used.
    pub fn take(&mut self, count: usize) {
        self.start += count;
    }

    /// Queues a reply; it goes out with the next flush, so that answers to pipelined commands share a packet.
    pub fn say(&mut self, reply: &Reply) {
        self.output.extend(reply.render());
    }

    /// Sends what is queued.
    pub async fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            let sending = async {
                self.stream.write_all(&self.output).await?;
                self.stream.flush().await
            };
            let sent = timeout(self.times.write, sending).await;
            self.output.clear();
            sent.map_err(|_| io::ErrorKind::TimedOut)??;
        }
        Ok(())
    }

    /// Whether the client says something before it was greeted; asks once and does not wait.
    pub async fn spoke_early(&mut self) -> io::Result<bool> {
        // Lets the runtime look at the socket for the first time.
        tokio::task::yield_now().await;
        match timeout(Duration::ZERO, self.fill()).await {
            Ok(read) => Ok(read? > 0),
            Err(_) => Ok(false),
        }
    }

    /// Sends what is queued, then waits for more until the deadline or until `stop`.
    pub async fn wait(
        &mut self,
        deadline: Instant,
        stop: &CancellationToken,
    ) -> io::Result<Waited> {
        self.flush().await?;
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(Waited::Stop),
            read = timeout_at(deadline, self.fill()) => match read {
                Ok(Ok(0)) => Ok(Waited::End),
                Ok(Ok(_)) => Ok(Waited::More),
                Ok(Err(error)) => Err(error),
                Err(_) => Ok(Waited::Late),
            },
        }
    }

    /// Sends what is queued and ends the connection from our side.
    pub async fn close(&mut self) -> io::Result<()> {
        self.flush().await?;
        timeout(self.times.write, self.stream.shutdown())
            .await
            .map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// Closes, and reads on for a moment: a socket closed over unread bytes resets the connection, and the client
    /// would never see why.
    pub async fn hang_up(&mut self) -> io::Result<()> {
        self.close().await?;
        let moment = self.times.linger;
        let rest = async {
            let mut left = LINGER_BYTES;
            while left > 0 {
                self.start = self.input.len();
                match self.fill().await {
                    Ok(count @ 1..) => left = left.saturating_sub(count),
                    _ => break,
                }
            }
        };
        // The client had its moment; closed it is either way.
        let _over = timeout(moment, rest).await;
        Ok(())
    }

    /// Reads more; 0 at the end of the stream. Dropping it half-way loses nothing.
    async fn fill(&mut self) -> io::Result<usize> {
        if self.start > 0 {
            self.input.drain(..self.start);
            self.start = 0;
        }
        self.input.reserve(READ);
        self.stream.read_buf(&mut self.input).await
    }
}
