//! Listeners shared by all protocols: TCP and unix sockets, limits, TLS, deadlines.
//!
//! Edge: sockets only; what is said over them is decided elsewhere.

mod gate;
mod listener;
mod patient;
mod tls;

pub use gate::{Gate, Pass, source};
pub use listener::{Listener, SocketFile, Stream, bind, bind_one};
pub use patient::Patient;
pub use tls::Tls;
#[cfg(test)]
pub(crate) use tls::tests as tls_tests;

/// Free megabytes on the disk that holds `folder`; `None` if the system does not say.
pub fn free_disk_mb(folder: &std::path::Path) -> Option<u64> {
    // Only asked for as a precaution: not knowing is no reason to refuse mail.
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize) >> 20)
}
