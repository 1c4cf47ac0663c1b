//! Binding and accepting, TCP and unix sockets alike.

use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A bound address.
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix socket; the file goes first, while it is still ours beyond doubt.
    Unix(SocketFile, UnixListener),
}

/// The file of a bound unix socket; removed with the listener, unless it is another's by then.
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
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

/// Binds addresses such as `127.0.0.1:2525`, `[::1]:2525`, `localhost:2525` or `unix:/path`.
///
/// A socket file that nobody listens on any more is replaced; one that is in use, or no socket, is an error. Who may
/// connect to a unix socket is decided by the permissions of its folder.
pub async fn bind<'a>(addresses: impl Iterator<Item = &'a str>) -> io::Result<Vec<Listener>> {
    let mut out = Vec::new();
    for address in addresses {
        let named =
            |e: io::Error| io::Error::new(e.kind(), format!("cannot listen on {address}: {e}"));
        out.push(bind_one(address).await.map_err(named)?);
    }
    Ok(out)
}

/// Binds one address, as [`bind`] does; the error says why, not where.
pub async fn bind_one(address: &str) -> io::Result<Listener> {
    match address.strip_prefix("unix:") {
        Some(path) => bind_unix(Path::new(path)).await,
        None => TcpListener::bind(address).await.map(Listener::Tcp),
    }
}

/// Whether somebody takes connections at an address, as [`bind`] takes it.
pub async fn is_answered(address: &str) -> bool {
    let patience = std::time::Duration::from_secs(5);
    let answered = async {
        match address.strip_prefix("unix:") {
            Some(path) => UnixStream::connect(path).await.is_ok(),
            None => TcpStream::connect(address).await.is_ok(),
        }
    };
    tokio::time::timeout(patience, answered)
        .await
        .unwrap_or(false)
}

async fn bind_unix(path: &Path) -> io::Result<Listener> {
    match std::fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => {
            let text = "the file there is no socket; move it away or choose another path";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        // Only a refusal says that nobody listens: a socket that is busy, or closed to us, is somebody's.
        Ok(_) => match UnixStream::connect(path).await {
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Err(e) => return Err(e),
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    "another program listens there",
                ));
            }
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let listener = UnixListener::bind(path)?;
    // The mail server before us runs as another user.
    std::fs::set_permissions(path, Permissions::from_mode(0o666))?;
    let file = SocketFile {
        path: path.to_owned(),
        inode: std::fs::symlink_metadata(path)?.ino(),
    };
    Ok(Listener::Unix(file, listener))
}

impl Listener {
    /// The bound address as it can be connected to: `127.0.0.1:2525` or `unix:/path`.
    pub fn address(&self) -> String {
        match self {
            Listener::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|_| String::new(), |a| a.to_string()),
            Listener::Unix(file, _) => format!("unix:{}", file.path.display()),
        }
    }

    /// The next connection and its peer's address, `None` for unix sockets.
    ///
    /// Out of file descriptors and the like is waited out: the listener stays.
    pub async fn accept(&self) -> (Stream, Option<SocketAddr>) {
        let mut failed = false;
        loop {
            let accepted = match self {
                Listener::Tcp(l) => l.accept().await.map(|(s, peer)| {
                    // Replies are small and wanted at once; failing to say so only costs time.
                    let _only_slower = s.set_nodelay(true);
                    (Stream::Tcp(s), Some(peer))
                }),
                Listener::Unix(_, l) => l.accept().await.map(|(s, _)| (Stream::Unix(s), None)),
            };
            match accepted {
                Ok(connection) => return connection,
                Err(error) => {
                    // One line for one time of trouble, however often it is tried.
                    if !std::mem::replace(&mut failed, true) {
                        tracing::error!(%error, listener = self.address(), "cannot accept connections, trying again");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path).is_ok_and(|f| f.ino() == self.inode);
        if ours {
            // A file left behind is replaced at the next start.
            let _left = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests;
