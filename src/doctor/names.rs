//! What DNS says of the site: what the world must find so that mail comes in and copies are believed.

use std::net::IpAddr;

use super::records::{self, Record, Site, Weight};
use super::report::Report;
use crate::dns::{Dns, RecordKind};

/// An address of nobody (RFC 5737): who lets it send lets everybody send.
const NOBODY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// Looks at all records of a site.
pub async fn check(dns: &Dns, site: &Site, report: &mut Report) {
    let addresses = machine(dns, site, report).await;
    for ip in &addresses {
        name(dns, site, *ip, report).await;
    }
    if let Some(wanted) = site.spf_of_helo() {
        spf(dns, site, &wanted, &addresses, report).await;
    }
    for domain in &site.domains {
        mx(dns, site, domain, report).await;
        spf(dns, site, &site.spf(domain), &addresses, report).await;
        let keys: Vec<_> = site
            .keys
            .iter()
            .filter(|key| key.domain == *domain)
            .collect();
        if keys.is_empty() {
            let what = format!("dns DKIM {domain}");
            let mend = format!(
                "if it had keys, put the folder dkim back from the last backup, as DNS names those; if it had none: `patchpost dkim rotate {domain}`"
            );
            report.bad(&what, "no key signs the domain's mail", &mend);
        }
        for key in keys {
            signing_key(dns, key, report).await;
        }
        dmarc(dns, domain, report).await;
    }
}

/// Where it is not known what DNS has.
const AGAIN: &str = "look again when DNS answers; `dns.servers` says whom to ask";

/// The same of one record.
fn again(record: &Record) -> String {
    format!("look again when DNS answers; it should say: {record}")
}

fn set(record: &Record) -> String {
    format!("set in DNS: {record}")
}

/// The machine's addresses: as they are set, else as DNS has them.
async fn machine(dns: &Dns, site: &Site, report: &mut Report) -> Vec<IpAddr> {
    let mut known = Vec::new();
    for kind in [RecordKind::A, RecordKind::Aaaa] {
        let what = format!("dns {kind} {}", site.hostname);
        match dns.find_records(&site.hostname, kind).await {
            Ok(found) => known.extend(found.iter().filter_map(|t| t.parse::<IpAddr>().ok())),
            Err(error) => {
                report.bad(&what, &error, AGAIN);
                return site.addresses.clone();
            }
        }
    }
    let what = format!("dns address {}", site.hostname);
    let text = |ips: &[IpAddr]| {
        let ips: Vec<String> = ips.iter().map(ToString::to_string).collect();
        ips.join(", ")
    };
    if site.addresses.is_empty() {
        let mend = format!(
            "set in DNS: {}. 3600 IN A and the public address of this machine",
            site.hostname
        );
        match known.is_empty() {
            true => report.bad(&what, "DNS has no address for it", &mend),
            false => report.ok(&what, &text(&known)),
        }
        return known;
    }
    let missing = site.addresses.iter().filter(|ip| !known.contains(ip));
    let missing: Vec<String> = missing
        .map(|ip| set(&records::address(&site.hostname, *ip)))
        .collect();
    let others: Vec<IpAddr> = known
        .iter()
        .filter(|ip| !site.addresses.contains(ip))
        .copied()
        .collect();
    if !missing.is_empty() {
        let detail = match known.is_empty() {
            true => "DNS has no address for it".to_owned(),
            false => format!("DNS says {}", text(&known)),
        };
        report.bad(&what, &detail, &missing.join("\n"));
    } else if !others.is_empty() {
        let mend = format!(
            "take {} out of DNS, or add it to site.addresses",
            text(&others)
        );
        report.bad(&what, "DNS has an address that is not ours, too", &mend);
    } else {
        report.ok(&what, &text(&known));
    }
    site.addresses.clone()
}

/// An address must have the machine's name, and that name the address: many receivers refuse all others.
async fn name(dns: &Dns, site: &Site, ip: IpAddr, report: &mut Report) {
    let what = format!("dns PTR {ip}");
    let wanted = records::name_of(ip, &site.hostname);
    let mend = format!(
        "the provider of the address sets its name, often on a page called reverse DNS: {wanted}"
    );
    let names = match dns.find_records(&wanted.name, RecordKind::Ptr).await {
        Ok(names) => names,
        Err(error) => return report.bad(&what, &error, &again(&wanted)),
    };
    let seen = match &names[..] {
        [] => Err("the address has no name".to_owned()),
        names if names.iter().any(|n| same(n, &site.hostname)) => Ok(site.hostname.clone()),
        names => Err(format!("its name is {}", names.join(", "))),
    };
    report.outcome(&what, seen, &mend);
}

async fn mx(dns: &Dns, site: &Site, domain: &str, report: &mut Report) {
    let what = format!("dns MX {domain}");
    let found = match dns.find_records(domain, RecordKind::Mx).await {
        Ok(found) => found,
        Err(error) => return report.bad(&what, &error, &again(&site.mx(domain))),
    };
    let host = |text: &String| text.split_once(' ').map(|(_, host)| host.to_owned());
    let hosts: Vec<String> = found.iter().filter_map(host).collect();
    let seen = match hosts.iter().any(|h| same(h, &site.hostname)) {
        true => Ok(site.hostname.clone()),
        false if hosts.is_empty() => Err("the domain has none".to_owned()),
        false => Err(format!("its mail goes to {}", hosts.join(", "))),
    };
    report.outcome(&what, seen, &set(&site.mx(domain)));
}

/// Whether a name lets those send for it who do, and nobody else.
async fn spf(dns: &Dns, site: &Site, wanted: &Record, addresses: &[IpAddr], report: &mut Report) {
    let domain = &wanted.name;
    let what = format!("dns SPF {domain}");
    let found = match texts(dns, domain, "v=spf1").await {
        Ok(found) => found,
        Err(error) => return report.bad(&what, &error, &again(wanted)),
    };
    let text = match &found[..] {
        [text] => text,
        [] => return report.bad(&what, "the domain has none", &set(wanted)),
        all => {
            let detail = format!("the domain has {}, of which none counts", all.len());
            let mend = format!("keep one of them, such as: {wanted}");
            return report.bad(&what, &detail, &mend);
        }
    };
    if dns.spf_allows(NOBODY, domain).await == Ok(true) {
        let detail = format!("it lets everybody send: {text}");
        return report.bad(&what, &detail, &set(wanted));
    }
    // Which machines a provider sends from is for it to say: that one of them takes mail says nothing of the others.
    if let Some(relay) = site.provider() {
        let named = text.to_ascii_lowercase().split(' ').any(|t| {
            let word = t.trim_start_matches(['+', '?', '~']);
            let known = ["include:", "redirect=", "ip4:", "ip6:"];
            known.iter().any(|k| word.starts_with(k))
        });
        let mend = provider_mend(relay);
        return match named {
            true => report.note(
                &what,
                &format!("{text}; whether that is {relay}'s is not known here"),
                "",
            ),
            false => report.bad(
                &what,
                &format!("it names no provider: {text}"),
                &format!("{mend}: {wanted}"),
            ),
        };
    }
    let senders = match &site.relay {
        Some(relay) => addresses_of(dns, relay).await,
        None => addresses.to_vec(),
    };
    for ip in senders {
        let detail = match dns.spf_allows(ip, domain).await {
            Ok(true) => continue,
            Ok(false) => format!("it does not let {ip} send: {text}"),
            Err(error) => return report.bad(&what, &error, AGAIN),
        };
        // It names others of our records.
        let mend = match text.eq_ignore_ascii_case(&wanted.value) {
            true => "it is right once the address and MX records are".to_owned(),
            false => set(wanted),
        };
        return report.bad(&what, &detail, &mend);
    }
    report.ok(&what, text);
}

/// What has to be done about SPF where a provider's machines send.
pub fn provider_mend(relay: &str) -> String {
    format!(
        "ask the provider of {relay} for its `include:` and put it before ~all, which becomes -all then"
    )
}

async fn signing_key(dns: &Dns, key: &records::SigningKey, report: &mut Report) {
    let wanted = key.as_record();
    let what = format!("dns DKIM {}", wanted.name);
    let is_start = |text: &str| {
        let (seen, ours) = (tag(text, "p"), tag(&wanted.value, "p"));
        let both = seen.zip(ours);
        both.is_some_and(|(seen, ours)| !seen.is_empty() && ours.starts_with(&seen[..]))
    };
    let found = match dns.find_records(&wanted.name, RecordKind::Txt).await {
        Ok(found) => found,
        Err(error) => {
            return match key.weight {
                Weight::Spare => report.note(&what, &error, &again(&wanted)),
                Weight::Needed => report.bad(&what, &error, &again(&wanted)),
            };
        }
    };
    let seen = match &found[..] {
        [] => Err("DNS has no such key".to_owned()),
        [one] if tag(one, "p") == tag(&wanted.value, "p") => Ok("it is our key".to_owned()),
        [one] if is_start(one) => Err(
            "DNS has only the beginning of the key: all pieces belong into the one record"
                .to_owned(),
        ),
        [_] => Err("DNS has another key than the one that signs".to_owned()),
        many => Err(format!("DNS has {} texts there; one is wanted", many.len())),
    };
    match seen {
        Err(detail) if key.weight == Weight::Spare => report.note(&what, &detail, &set(&wanted)),
        seen => report.outcome(&what, seen, &set(&wanted)),
    }
}

/// The record of the domain, or of one above it (RFC 9989: the tree walk).
async fn dmarc(dns: &Dns, domain: &str, report: &mut Report) {
    let what = format!("dns DMARC {domain}");
    let wanted = records::dmarc(domain);
    let mut at = domain;
    loop {
        let found = match texts(dns, &format!("_dmarc.{at}"), "v=dmarc1").await {
            Ok(found) => found,
            Err(error) => return report.bad(&what, &error, &again(&wanted)),
        };
        let policy = |text: &str| tag(text, "p").map(|p| p.to_lowercase());
        match &found[..] {
            [] => {}
            [text] => {
                let known = ["none", "quarantine", "reject"];
                return match policy(text).is_some_and(|p| known.contains(&p.as_str())) {
                    true => report.ok(&what, text),
                    false => report.bad(&what, &format!("it has no policy: {text}"), &set(&wanted)),
                };
            }
            _ => {
                let mend = format!("keep one of them, such as: {wanted}");
                return report.bad(&what, &format!("_dmarc.{at} has several"), &mend);
            }
        }
        match at.split_once('.') {
            Some((_, above)) if above.contains('.') => at = above,
            _ => return report.bad(&what, "there is none", &set(&wanted)),
        }
    }
}

/// The texts of a name that begin with a version.
async fn texts(dns: &Dns, name: &str, version: &str) -> Result<Vec<String>, String> {
    let begins = |text: &String| {
        let text = text.to_ascii_lowercase();
        let rest = text.strip_prefix(version);
        rest.is_some_and(|r| r.is_empty() || r.starts_with([' ', ';']))
    };
    let mut found = dns.find_records(name, RecordKind::Txt).await?;
    found.retain(begins);
    Ok(found)
}

/// All addresses of a host; none if DNS does not say.
pub async fn addresses_of(dns: &Dns, host: &str) -> Vec<IpAddr> {
    if let Ok(ip) = host.trim_matches(['[', ']']).parse() {
        return vec![ip];
    }
    let mut all = Vec::new();
    for kind in [RecordKind::A, RecordKind::Aaaa] {
        let found = dns.find_records(host, kind).await.unwrap_or_default();
        all.extend(found.iter().filter_map(|t| t.parse::<IpAddr>().ok()));
    }
    all
}

/// The value of a tag in a list such as `v=DKIM1; p=…`, blanks left out.
fn tag(text: &str, name: &str) -> Option<String> {
    let mut tags = text.split(';').filter_map(|t| t.split_once('='));
    let (_, value) = tags.find(|(n, _)| n.trim() == name)?;
    Some(value.split_whitespace().collect())
}

fn same(one: &str, other: &str) -> bool {
    let plain = |t: &str| t.trim_end_matches('.').to_ascii_lowercase();
    plain(one) == plain(other)
}
