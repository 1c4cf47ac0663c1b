//! Binding, accepting, and how many connections may be open.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A bound address.
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix socket, by its path.
    Unix(UnixListener, PathBuf),
}

/// A plain connection of either kind.
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// Unix socket.
    Unix(UnixStream),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Stream::Unix(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(s) => Pin::new(s).poll_write(cx, buf),
            Stream::Unix(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(s) => Pin::new(s).poll_flush(cx),
            Stream::Unix(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Unix(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

/// Binds addresses such as `127.0.0.1:2525`, `[::1]:2525` or `unix:/path`.
///
/// A socket file that nobody listens on any more is replaced; one that is in use is an error.
pub async fn bind<'a>(addresses: impl Iterator<Item = &'a str>) -> io::Result<Vec<Listener>> {
    let mut out = Vec::new();
    for address in addresses {
        let named =
            |e: io::Error| io::Error::new(e.kind(), format!("cannot listen on {address}: {e}"));
        match address.strip_prefix("unix:") {
            Some(path) => {
                let path = PathBuf::from(path);
                if path.exists() && UnixStream::connect(&path).await.is_err() {
                    std::fs::remove_file(&path).map_err(named)?;
                }
                out.push(Listener::Unix(
                    UnixListener::bind(&path).map_err(named)?,
                    path,
                ));
            }
            None => out.push(Listener::Tcp(
                TcpListener::bind(address).await.map_err(named)?,
            )),
        }
    }
    Ok(out)
}

impl Listener {
    /// The bound address as it can be connected to: `127.0.0.1:2525` or `unix:/path`.
    pub fn address(&self) -> String {
        match self {
            Listener::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|_| String::new(), |a| a.to_string()),
            Listener::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }

    /// The next connection and its peer's address, `None` for unix sockets.
    ///
    /// Out of file descriptors and the like is waited out: the listener stays.
    pub async fn accept(&self) -> (Stream, Option<SocketAddr>) {
        loop {
            let accepted = match self {
                Listener::Tcp(l) => l.accept().await.map(|(s, peer)| {
                    // Replies are small and wanted at once; failing to say so only costs time.
                    let _only_slower = s.set_nodelay(true);
                    (Stream::Tcp(s), Some(peer))
                }),
                Listener::Unix(l, _) => l.accept().await.map(|(s, _)| (Stream::Unix(s), None)),
            };
            match accepted {
                Ok(connection) => return connection,
                Err(error) => {
                    tracing::warn!(%error, listener = self.address(), "could not accept a connection, trying again");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = self {
            // A file left behind is replaced at the next start.
            let _left = std::fs::remove_file(path);
        }
    }
}

/// How many connections are open, in all and by address.
pub struct Gate {
    total: usize,
    per_ip: usize,
    open: Mutex<HashMap<Option<IpAddr>, usize>>,
}

/// An open connection's place; given back when dropped.
pub struct Pass {
    gate: Arc<Gate>,
    ip: Option<IpAddr>,
}

impl Gate {
    /// A gate for that many connections, and that many from one address.
    pub fn new(total: usize, per_ip: usize) -> Arc<Gate> {
        Arc::new(Gate {
            total,
            per_ip,
            open: Mutex::default(),
        })
    }

    /// A place for a connection, or `None` when there are enough. Unix sockets count only in all.
    pub fn enter(self: &Arc<Gate>, ip: Option<IpAddr>) -> Option<Pass> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let own = open.get(&ip).copied().unwrap_or(0);
        if all >= self.total || (ip.is_some() && own >= self.per_ip) {
            return None;
        }
        open.insert(ip, own + 1);
        Some(Pass {
            gate: Arc::clone(self),
            ip,
        })
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .sum()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut open = self
            .gate
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.ip);
            }
        }
    }
}
