//! A connection whose peer must take what it asked for: whoever stops reading is cut off.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// As much must be taken within the time, if it is there to be taken: less than a modem took.
const STEP: usize = 16 << 10;

/// A stream that breaks with [`io::ErrorKind::TimedOut`] when its peer takes less than 16 KiB in `time` although more waits.
///
/// Reading from it is not limited: who speaks a protocol knows how long a peer may be silent.
pub struct Patient<S> {
    inner: S,
    time: Duration,
    /// Since the timer was set.
    taken: usize,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    /// A stream whose peer may pause that long.
    pub fn new(inner: S, time: Duration) -> Patient<S> {
        Patient {
            inner,
            time,
            taken: 0,
            timer: None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if let Poll::Ready(written) = Pin::new(&mut this.inner).poll_write(cx, buf) {
            this.taken += written.as_ref().map_or(0, |n| *n);
            if this.taken >= STEP {
                (this.taken, this.timer) = (0, None);
            }
            return Poll::Ready(written);
        }
        let time = this.time;
        let timer = this.timer.get_or_insert_with(|| {
            this.taken = 0;
            Box::pin(sleep(time))
        });
        ready!(timer.as_mut().poll(cx));
        let text = "the peer does not take what it asked for";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        // Nothing waits: what comes next has its own time, however long it is in coming.
        (self.taken, self.timer) = (0, None);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const SHORT: Duration = Duration::from_millis(30);

    #[tokio::test]
    async fn a_peer_that_stops_reading_is_cut_off() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 10);
        let mut stream = Patient::new(ours, SHORT);
        let mut some = [0; 100];
        let reading = async {
            theirs.read_exact(&mut some).await.expect("there is more");
            // It stays connected and takes no more.
            std::future::pending::<()>().await;
        };
        let mail = vec![b'x'; 1 << 20];
        tokio::select! {
            () = reading => unreachable!("it never ends"),
            written = stream.write_all(&mail) => {
                let error = written.expect_err("nobody takes a megabyte");
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            }
        }
    }

    #[tokio::test]
    async fn a_peer_that_took_all_has_its_time_anew_after_a_silence_of_ours() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 10);
        let mut stream = Patient::new(ours, Duration::from_secs(1));
        let sending = async {
            for _ in 0..2 {
                // More than fits at once: its end waits for the peer.
                let sent = stream.write_all(&[b'x'; 3 << 10]).await;
                sent.expect("it is taken");
                stream.flush().await.expect("it is taken");
                tokio::time::sleep(Duration::from_millis(1_100)).await;
            }
        };
        let reading = async {
            let mut piece = [0; 6 << 10];
            theirs.read_exact(&mut piece).await.expect("all of it");
        };
        tokio::join!(sending, reading);
    }

    #[tokio::test]
    async fn a_slow_peer_gets_all_in_time_of_its_own() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 10);
        let mut stream = Patient::new(ours, Duration::from_secs(20));
        let mail = vec![b'x'; 100 << 10];
        let sending = async {
            stream.write_all(&mail).await.expect("it is taken");
            drop(stream);
        };
        let reading = async {
            let mut all = Vec::new();
            let mut piece = [0; 700];
            loop {
                match theirs.read(&mut piece).await.expect("no error") {
                    0 => return all,
                    n => all.extend_from_slice(&piece[..n]),
                }
                tokio::task::yield_now().await;
            }
        };
        let ((), all) = tokio::join!(sending, reading);
        assert_eq!(all.len(), 100 << 10);
    }
}
