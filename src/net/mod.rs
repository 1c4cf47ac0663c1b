//! Listeners shared by all protocols: TCP and unix sockets, limits, TLS, deadlines.
//!
//! Edge: sockets only; what is said over them is decided elsewhere.

use std::net::IpAddr;

mod certificate;
mod dialogue;
mod gate;
mod heard;
mod listener;
mod patient;
mod rspamd;
mod tls;

pub use certificate::Certificate;
pub use dialogue::ask;
pub use gate::{Gate, Pass, source};
pub use heard::listening_on;
pub use listener::{Listener, SocketFile, Stream, bind, bind_one, is_answered};
pub use patient::Patient;
pub use rspamd::{Rspamd, Scan};
pub use tls::Tls;
#[cfg(test)]
pub(crate) use tls::tests as tls_tests;

/// Free megabytes on the disk that holds `folder`; `None` if the system does not say.
pub fn free_disk_mb(folder: &std::path::Path) -> Option<u64> {
    // Only asked for as a precaution: not knowing is no reason to refuse mail.
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize) >> 20)
}

/// How much of that disk is free, in per cent of what ordinary users may fill, as `df` counts.
pub fn free_disk_percent(folder: &std::path::Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    let used = disk.f_blocks.saturating_sub(disk.f_bfree);
    let free = u128::from(disk.f_bavail);
    let all = u128::from(used) + free;
    u64::try_from(free * 100 / all.max(1)).ok()
}

/// The public addresses from which this machine would speak to the internet: what its interfaces say, nobody is asked.
pub fn public_addresses() -> Vec<IpAddr> {
    // Connecting a datagram socket sends nothing: it only chooses the way. The far ends are nobody's (RFC 5737, RFC 3849).
    let ways = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    let chosen = ways.iter().filter_map(|(own, far)| {
        let socket = std::net::UdpSocket::bind(own).ok()?;
        socket.connect(far).ok()?;
        Some(socket.local_addr().ok()?.ip())
    });
    chosen.filter(is_public).collect()
}

fn is_public(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && (64..128).contains(&b);
            !(shared
                || ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified())
        }
        IpAddr::V6(ip) => ip.segments()[0] & 0xe000 == 0x2000,
    }
}
