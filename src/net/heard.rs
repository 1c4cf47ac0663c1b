//! Who listens on this machine: what the system says of its own sockets. Nobody is asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses at which programs of this machine listen on a TCP port; none where the system does not tell.
pub fn listening_on(port: u16) -> Vec<IpAddr> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let tables = [read("/proc/net/tcp"), read("/proc/net/tcp6")];
    let lines = tables.iter().flat_map(|table| table.lines());
    let mut all: Vec<IpAddr> = lines
        .filter_map(listener)
        .filter(|(_, p)| *p == port)
        .map(|(ip, _)| ip)
        .collect();
    all.sort();
    all.dedup();
    all
}

/// The address and port of a line that is a listening socket's.
fn listener(line: &str) -> Option<(IpAddr, u16)> {
    let mut words = line.split_whitespace().skip(1);
    let (local, _remote, state) = (words.next()?, words.next()?, words.next()?);
    if state != "0A" {
        return None;
    }
    let (ip, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Each four octets stand as one number in the machine's own order.
    let number = |n: usize| u32::from_str_radix(ip.get(8 * n..8 * n + 8)?, 16).ok();
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(number(0)?.to_ne_bytes())),
        32 => {
            let mut octets = [0; 16];
            for (n, four) in octets.chunks_mut(4).enumerate() {
                four.copy_from_slice(&number(n)?.to_ne_bytes());
            }
            IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
        }
        _ => return None,
    };
    Some((ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_socket_is_known_by_its_line() {
        let line = |number: u32, state: &str| {
            format!("   0: {number:08X}:0019 00000000:0000 {state} 00000000:00000000 00:00000000")
        };
        let loopback = u32::from_ne_bytes([127, 0, 0, 1]);
        let expected = Some((IpAddr::V4(Ipv4Addr::LOCALHOST), 25));
        assert_eq!(listener(&line(loopback, "0A")), expected);
        assert_eq!(listener(&line(loopback, "01")), None, "a connection");
        let one = u32::from_ne_bytes([0, 0, 0, 1]);
        let six = format!("   1: {:024X}{one:08X}:0947 {:032X}:0000 0A", 0, 0);
        assert_eq!(listener(&six), Some((Ipv6Addr::LOCALHOST.into(), 2375)));
        let head = "  sl  local_address rem_address   st tx_queue rx_queue";
        assert_eq!(listener(head), None);
    }

    #[test]
    fn this_machine_says_who_listens() {
        let there = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = there.local_addr().expect("an address").port();
        assert_eq!(listening_on(port), [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    }
}
