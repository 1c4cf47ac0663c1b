//! How many connections may be open, in all and from one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts connections and turns away those that are too many.
pub struct Gate {
    total: usize,
    per_ip: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    all: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// An open connection's place; given back when dropped.
pub struct Pass {
    gate: Arc<Gate>,
    source: Option<IpAddr>,
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

    /// A place for a connection, or `None` when there are enough.
    ///
    /// Unix sockets and this machine itself count only in all: a proxy or mail server before us speaks for many. An
    /// IPv6 client counts by its /64, of which it can use every address.
    pub fn enter(self: &Arc<Gate>, ip: Option<IpAddr>) -> Option<Pass> {
        let source = ip.and_then(source);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.all >= self.total {
            return None;
        }
        if let Some(source) = source {
            let own = open.by_source.entry(source).or_default();
            if *own >= self.per_ip {
                return None;
            }
            *own += 1;
        }
        open.all += 1;
        Some(Pass {
            gate: Arc::clone(self),
            source,
        })
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

/// What a client is counted by; `None` for this machine itself: a proxy or mail server before us speaks for many.
pub fn source(ip: IpAddr) -> Option<IpAddr> {
    match ip.to_canonical() {
        ip if ip.is_loopback() => None,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Some(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
        }
        v4 => Some(v4),
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut open = self
            .gate
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open.all = open.all.saturating_sub(1);
        let Some(source) = self.source else { return };
        if let Some(own) = open.by_source.get_mut(&source) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                open.by_source.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn a_client_has_its_share_and_others_theirs() {
        let gate = Gate::new(10, 2);
        let _first = gate.enter(ip("192.0.2.1")).expect("room");
        let second = gate.enter(ip("192.0.2.1")).expect("room");
        assert!(gate.enter(ip("192.0.2.1")).is_none());
        // The same client on a listener for both families.
        assert!(gate.enter(ip("::ffff:192.0.2.1")).is_none());
        assert!(gate.enter(ip("192.0.2.2")).is_some());
        drop(second);
        assert!(gate.enter(ip("192.0.2.1")).is_some());
    }

    #[test]
    fn a_v6_client_does_not_have_a_share_for_each_of_its_addresses() {
        let gate = Gate::new(10, 1);
        let _first = gate.enter(ip("2001:db8:0:1::1")).expect("room");
        assert!(gate.enter(ip("2001:db8:0:1:ffff::2")).is_none());
        assert!(gate.enter(ip("2001:db8:0:2::1")).is_some());
    }

    #[test]
    fn the_mail_server_on_this_machine_counts_only_in_all() {
        let gate = Gate::new(3, 1);
        let passes = [ip("127.0.0.1"), ip("::1"), None].map(|from| gate.enter(from));
        assert!(passes.iter().all(Option::is_some));
        assert_eq!(gate.open(), 3);
        assert!(gate.enter(None).is_none());
        drop(passes);
        assert_eq!(gate.open(), 0);
        assert!(gate.open.lock().expect("no panic").by_source.is_empty());
    }
}
