//! Whether the site is reached: listeners, the mail server in front and behind, the pages.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::machine::{Place, certificate};
use super::names::addresses_of;
use super::report::{Report, State};
use crate::config::{Config, Transport, addresses};
use crate::deliver;
use crate::dns::Dns;
use crate::net::{self, Certificate};
use crate::store::ListRow;
use crate::types::Timestamp;

/// A server may ask others before it answers: Postfix takes up to 9 seconds to see whether a list is there.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether copies can be handed over now.
pub async fn relay(config: &Config, report: &mut Report) {
    let relay = &config.delivery.relay;
    if config.delivery.transport != Transport::Smtp {
        let detail = "copies are written into a folder and nothing leaves this machine";
        return report.note("relay", detail, "set delivery.transport and delivery.relay");
    }
    let sender = format!("postmaster@{}", config.site.list_domain());
    let greeted = match deliver::Relay::open(&config.delivery) {
        Ok(opened) => {
            open_way(&opened, report);
            deliver::greet(&opened, &config.site.hostname, &sender).await
        }
        Err(error) => Err(error),
    };
    let seen = greeted.map(|()| format!("{relay} takes mail"));
    let seen = seen.map_err(|error| format!("{relay}: {error}"));
    let mend =
        "copies are kept and tried again; start that server, or set delivery.relay to another";
    report.outcome("relay", seen, mend);
}

/// Mail over the network without TLS can be read and changed by whoever is on the way.
fn open_way(relay: &deliver::Relay, report: &mut Report) {
    if !relay.is_open() {
        return;
    }
    let host = relay.address.rsplit_once(':').map_or("", |(host, _)| host);
    let private = match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(ip)) => ip.is_private(),
        Ok(IpAddr::V6(ip)) => ip.is_unique_local(),
        Err(_) => false,
    };
    let detail = format!("all copies go to {} in clear", relay.address);
    let mend = "set delivery.relay_tls to \"starttls\", or to \"tls\" for port 465";
    match private {
        true => report.note("relay tls", &detail, mend),
        false => report.bad("relay tls", &detail, mend),
    }
}

/// Lists whose copies go over TLS only need a way that has it.
pub fn tls_only(config: &Config, lists: &[ListRow], report: &mut Report) {
    let open = config.delivery.transport == Transport::Smtp
        && deliver::Relay::open(&config.delivery).is_ok_and(|relay| relay.is_open());
    let concerned = lists.iter().filter(|l| l.policy.tls_only);
    let names: Vec<&str> = concerned.map(|l| l.name.as_str()).collect();
    if names.is_empty() {
        return;
    }
    let relay = &config.delivery.relay;
    let names = names.join(", ");
    match open {
        false => report.ok("tls only", &format!("copies of {names} go no open way")),
        true => {
            let detail = format!("copies of {names} wait: the way to {relay} is without TLS");
            let mend = "set delivery.relay_tls = \"starttls\", or let a mail server on this machine relay them";
            report.bad("tls only", &detail, mend);
        }
    }
}

/// The mail server that copies go out by, if it is another machine's.
pub fn relay_elsewhere(config: &Config) -> Option<String> {
    if config.delivery.transport != Transport::Smtp {
        return None;
    }
    let (host, _) = config.delivery.relay.rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']);
    let here = host == "localhost" || host.eq_ignore_ascii_case(&config.site.hostname);
    let ip = host.parse::<IpAddr>();
    (!here && !ip.is_ok_and(|ip| ip.is_loopback())).then(|| host.to_owned())
}

/// Where other machines bring mail by SMTP, if that is to patchpost itself.
pub fn public_listener(config: &Config) -> Option<SocketAddr> {
    let mut parsed = addresses(&config.smtp.listen).filter_map(|a| a.parse::<SocketAddr>().ok());
    parsed.find(|a| !a.ip().is_loopback())
}

/// How the world's mail comes in: by our own listener, or by a mail server on this machine, which is asked about a list of each domain.
pub async fn mail_in(config: &Config, dns: &Dns, lists: &[(String, String)], report: &mut Report) {
    if let Some(address) = public_listener(config) {
        return match address.port() {
            25 => report.ok("mail in", "by smtp.listen, on port 25"),
            port => {
                let detail = format!("smtp.listen has port {port}; other servers send to port 25");
                report.note("mail in", &detail, "listen on port 25, or forward it there");
            }
        };
    }
    if config.lmtp.listen.is_empty() {
        let listen = &config.smtp.listen;
        return match listen.is_empty() {
            true => report.bad(
                "mail in",
                "nobody hands any over",
                "set smtp.listen or lmtp.listen",
            ),
            false => report.note(
                "mail in",
                &format!("only programs on this machine reach {listen}"),
                "listen on a public address (smtp.listen), or let a mail server hand it over (lmtp.listen, `patchpost print postfix`)",
            ),
        };
    }
    let here = config.delivery.transport == Transport::Smtp && relay_elsewhere(config).is_none();
    if !here {
        let detail = "by a mail server elsewhere that hands it over; nobody can see it from here";
        return report.note("mail in", detail, "");
    }
    let mut greeting = None;
    for (domain, list) in lists {
        let greeted = front(config, domain, list, report).await;
        greeting = greeting.or(greeted);
    }
    if let Some(greeting) = greeting {
        helo(config, dns, &greeting, report).await;
    }
    port_25(config, dns, report).await;
}

/// Whether somebody listens where other servers send to: at the addresses that DNS has for this machine.
async fn port_25(config: &Config, dns: &Dns, report: &mut Report) {
    let port = config.delivery.relay.rsplit_once(':');
    let port: u16 = port.and_then(|(_, p)| p.parse().ok()).unwrap_or(25);
    let inside = is_inside_only(&net::listening_on(port), &net::listening_on(25));
    let (mut open, mut closed, mut far) = (Vec::new(), Vec::new(), Vec::new());
    for ip in addresses_of(dns, &config.site.hostname).await {
        let at = |port: u16| SocketAddr::new(ip, port).to_string();
        let own = net::bind_one(&at(0)).await.is_ok();
        match (own, inside) {
            (true, _) if net::is_answered(&at(25)).await => open.push(ip.to_string()),
            (true, _) => closed.push(ip.to_string()),
            // Behind a router the address is another machine's, which may lead to this one.
            (false, false) if net::is_answered(&at(25)).await => open.push(ip.to_string()),
            (false, _) => far.push(ip.to_string()),
        }
    }
    let host = &config.site.hostname;
    let elsewhere =
        format!("nc -vz {host} 25 on another machine shows whether firewalls let it in");
    if !closed.is_empty() {
        let detail = format!("nobody listens on port 25 of {}", closed.join(", "));
        report.bad("port 25", &detail, INTERFACES);
    } else if inside && port == 25 {
        let detail = "the mail server listens on this machine's own loopback only: nobody outside can deliver";
        report.bad("port 25", detail, INTERFACES);
    } else if inside {
        let detail = format!(
            "the mail server listens on loopback only, port {port}, and nobody on port 25: other servers send to that"
        );
        report.note("port 25", &detail, INTERFACES);
    } else if !far.is_empty() {
        let detail = format!(
            "{} does not answer from here, as may be behind a router that leads here only from outside",
            far.join(", ")
        );
        let mend = format!(
            "{elsewhere}; else let port 25 in at router and firewall, and ask the provider whether it keeps it closed"
        );
        report.note("port 25", &detail, &mend);
    } else if !open.is_empty() {
        let detail = format!("{} answers here; {elsewhere}", open.join(", "));
        report.ok("port 25", &detail);
    }
}

const INTERFACES: &str = "let the mail server listen there, too (Postfix: postconf -e inet_interfaces=all, then systemctl restart postfix)";

/// Whether nobody but this machine reaches the mail server on it: where that listens, and who listens on port 25. Where the system tells
/// nothing, nothing is known.
fn is_inside_only(front: &[IpAddr], smtp: &[IpAddr]) -> bool {
    let mut all = front.iter().chain(smtp);
    !front.is_empty() && all.all(IpAddr::is_loopback)
}

/// The mail server on this machine: it must take mail for the lists of a domain and refuse others while their senders wait. How it greets.
async fn front(config: &Config, domain: &str, list: &str, report: &mut Report) -> Option<String> {
    let what = format!("mail in {domain}");
    let unknown = format!("no-such-list@{domain}");
    let lines = [
        &format!("EHLO {}", config.site.hostname),
        &format!("MAIL FROM:<postmaster@{}>", config.site.hostname),
        &format!("RCPT TO:<{list}>"),
        &format!("RCPT TO:<{unknown}>"),
        "QUIT",
    ];
    let relay = &config.delivery.relay;
    let print = "as root: `sh -c \"$(patchpost print setup)\"`; what Postfix needs is shown by `patchpost print postfix`";
    let answers = match net::ask(relay, &lines, PATIENCE).await {
        Ok(answers) => answers,
        // That it cannot be reached at all is said of the relay already.
        Err(error) => {
            report.note(&what, &format!("{relay}: {error}"), print);
            return None;
        }
    };
    let of = |n: usize| answers.get(n).map_or("", String::as_str);
    let (known, stranger) = (of(3), of(4));
    if known.starts_with('4') || stranger.starts_with('4') {
        let detail = format!("{relay} does not know yet: {known}; {stranger}");
        report.note(
            &what,
            &detail,
            "look again in a minute, while `patchpost serve` runs",
        );
    } else if !known.starts_with('2') {
        let mend = match is_taken_for_a_user(known) {
            true => MYDESTINATION.to_owned() + print,
            false => print.to_owned(),
        };
        let detail = format!("{relay} refuses {list}: {known}");
        report.bad(&what, &detail, &mend);
    } else if stranger.starts_with('2') {
        let detail =
            format!("{relay} takes mail for lists that are not there, and has to bounce it");
        let mend = format!("{print}, and has to name {domain}");
        report.bad(&what, &detail, &mend);
    } else {
        let detail = format!("{relay} takes mail for {list} and refuses unknown lists");
        report.ok(&what, &detail);
    }
    Some(of(0).to_owned())
}

/// The mail server on this machine must go by our name, or by another one of this machine.
async fn helo(config: &Config, dns: &Dns, greeting: &str, report: &mut Report) {
    let relay = &config.delivery.relay;
    let domain = config.site.list_domain();
    let name = greeting.split_whitespace().nth(1).unwrap_or_default();
    let ours = &config.site.hostname;
    if name.eq_ignore_ascii_case(ours) {
        return report.ok("helo", &format!("{relay} calls itself {name}"));
    }
    let (theirs, known) = (addresses_of(dns, name).await, addresses_of(dns, ours).await);
    match theirs.iter().any(|ip| known.contains(ip)) {
        true => report.ok(
            "helo",
            &format!("{relay} calls itself {name}, which is this machine"),
        ),
        false => {
            let detail =
                format!("{relay} calls itself {name}, which DNS does not know as this machine");
            // Debian's mydestination holds myhostname, which must not make the lists' domain Postfix's own.
            let mend = format!(
                "postconf -e myhostname={ours} && postfix reload; mydestination must not name {domain}, nor $myhostname if that is the same"
            );
            report.bad("helo", &detail, &mend);
        }
    }
}

/// Postfix's words for an address of a domain that it takes for this machine's.
fn is_taken_for_a_user(reply: &str) -> bool {
    reply.contains("local recipient table")
}

const MYDESTINATION: &str = "it takes the lists' domain for that of this machine's users: take it, and $myhostname if that is the same, out of \
     mydestination (`postconf mydestination` shows it), then `postfix reload`; ";

/// Whether the pages are reached by TLS, and how long their certificate holds.
pub async fn pages(config: &Config, dns: &Dns, now: Timestamp, report: &mut Report) {
    let url = &config.http.base_url;
    let mend = format!(
        "set http.base_url, such as to https://{}",
        config.site.hostname
    );
    if url.is_empty() {
        let detail = "http.base_url is empty: links in mails lead nowhere";
        return report.bad("pages", detail, &mend);
    }
    let Some(rest) = url.strip_prefix("https://") else {
        return report.note(
            "pages",
            &format!("{url} is not https"),
            "`patchpost print nginx`",
        );
    };
    let authority = rest.split('/').next().unwrap_or(rest);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, port),
        _ => (authority, "443"),
    };
    let found = addresses_of(dns, host).await;
    let Some(ip) = found.first() else {
        let detail = format!("DNS has no address for {host}");
        return report.bad("pages", &detail, "set it in DNS as that of the web server");
    };
    let address = match ip {
        IpAddr::V4(ip) => format!("{ip}:{port}"),
        IpAddr::V6(ip) => format!("[{ip}]:{port}"),
    };
    let renew = "renew it, such as by `certbot renew`, and reload the web server";
    match Certificate::shown_by(&address, host).await {
        Ok(found) => {
            let place = Place {
                what: "pages",
                name: host,
                renew,
                // Only who tries things on one machine looks past it.
                own: match ip.is_loopback() {
                    true => State::Note,
                    false => State::Bad,
                },
            };
            certificate(&place, &found, now, report);
        }
        Err(error) => report.bad(
            "pages",
            &error,
            "`patchpost print nginx` says how to set it up",
        ),
    }
}

/// A listener's address: ours while the server runs, free while it does not.
pub async fn listener(name: &str, address: &str, serving: bool, report: &mut Report) {
    let what = format!("{name} {address}");
    if serving && address.ends_with(":0") {
        return report.ok(&what, "the server runs and chose a port; its log names it");
    }
    match (net::bind_one(address).await, serving) {
        (Ok(_), false) => report.ok(&what, "free, `patchpost serve` can listen there"),
        (Ok(_), true) => {
            let detail = "a server runs on this folder, but nobody listens here";
            report.bad(&what, detail, "restart it: systemctl restart patchpost");
        }
        // That we may not listen there says nothing: whoever does, answers.
        (Err(_), true) if net::is_answered(address).await => {
            report.ok(&what, "answers, the server runs");
        }
        (Err(error), _) => {
            let mend =
                format!("another program has it, or it needs more rights; or change {name}.listen");
            report.bad(&what, &error.to_string(), &mend);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn look(address: &str, serving: bool) -> String {
        let mut report = Report::default();
        listener("http", address, serving, &mut report).await;
        report.render()
    }

    #[tokio::test]
    async fn a_listener_is_well_when_it_answers_and_not_when_it_cannot_be_had() {
        let there = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let there = there.expect("a port");
        let address = there.local_addr().expect("an address").to_string();
        let seen = look(&address, true).await;
        assert!(seen.ends_with(": answers, the server runs\n"), "{seen}");
        assert!(look(&address, false).await.starts_with("BAD  http "));
        drop(there);
        assert!(look(&address, true).await.contains("nobody listens here"));
        // It cannot be bound for another reason, and nobody answers.
        let nowhere = "unix:/nowhere/patchpost.sock";
        assert!(look(nowhere, true).await.starts_with("BAD  http unix:"));
    }

    #[test]
    fn a_mail_server_on_loopback_only_is_reached_by_nobody_outside() {
        let check = |front: &[&str], smtp: &[&str], expected| {
            let parsed = |all: &[&str]| -> Vec<IpAddr> {
                all.iter()
                    .map(|ip| ip.parse().expect("an address"))
                    .collect()
            };
            let seen = is_inside_only(&parsed(front), &parsed(smtp));
            assert_eq!(seen, expected, "{front:?} {smtp:?}");
        };
        check(&["127.0.0.1", "::1"], &["127.0.0.1", "::1"], true);
        check(&["127.0.0.1"], &[], true);
        check(&["0.0.0.0", "::"], &["0.0.0.0", "::"], false);
        check(&["127.0.0.1"], &["192.0.2.10"], false);
        check(&[], &[], false);
    }

    #[test]
    fn the_way_to_a_relay_elsewhere_has_tls() {
        let look = |relay: &str| {
            let mut report = Report::default();
            open_way(&relay.to_owned().into(), &mut report);
            report.render().chars().take(4).collect::<String>()
        };
        assert_eq!(look("127.0.0.1:25"), "");
        assert_eq!(look("localhost:25"), "");
        assert_eq!(look("10.0.0.2:25"), "note");
        assert_eq!(look("mail.example.org:587"), "BAD ");
        assert_eq!(look("192.0.2.1:25"), "BAD ");
    }
}
