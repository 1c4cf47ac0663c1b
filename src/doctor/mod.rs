//! Checks what the server needs, here and in DNS, and says how to mend what is missing.

mod machine;
mod names;
mod probe;
mod reach;
pub mod records;
mod report;
mod signing;
mod stored;
pub mod watch;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;

use crate::cli;
use crate::config::{Config, addresses};
use crate::pipeline::LAST_WATCH;
use crate::store::{ListRow, Served, is_served};
pub use names::provider_mend;
pub use probe::probe;
pub use reach::public_listener;
use records::Site;
use report::Report;
pub use stored::domains;

/// How to print what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Lines for people.
    Text,
    /// A JSON array.
    Json,
}

/// `patchpost doctor` where the settings cannot be read: says why, and looks at what does not depend on them.
pub fn without_settings(data: &Path, error: &anyhow::Error, form: Form) -> Result<ExitCode> {
    let mut report = Report::default();
    for problem in plain(&format!("{error:#}")).lines() {
        let mend = match cli::is_denied(error) {
            true => cli::as_owner(data),
            false => {
                "`patchpost config` shows all keys; every other check but these depends on them"
                    .to_owned()
            }
        };
        report.bad("configuration", problem, &mend);
    }
    if !cli::is_denied(error) {
        machine::folder(data, &mut report);
    }
    machine::git(&mut report);
    finish(report, form)
}

/// `patchpost doctor`: exit status 1 when something is bad. `settings` is the file that the settings came from.
pub async fn run(data: &Path, settings: &Path, config: &Config, form: Form) -> Result<ExitCode> {
    let now = crate::store::now();
    let mut report = Report::default();
    report.ok("configuration", "read");
    let there = machine::folder(data, &mut report);
    machine::disk(data, config.limits.free_disk_mb, &mut report);
    machine::git(&mut report);
    let store = match there {
        true => stored::database(data, config, &mut report).await,
        false => None,
    };
    let mut lists = Vec::new();
    let mut seen = None;
    if let Some(store) = &store {
        stored::owed(store, now, &mut report).await?;
        stored::held(store, now, &mut report).await?;
        stored::backup(store, now, &mut report).await?;
        stored::token_key(store, &mut report).await?;
        stored::repositories(store, &mut report).await?;
        lists = store.load_lists().await?;
        stored::lost_keys(store, data, &stored::domains(&lists, config), &mut report).await?;
        seen = store.find_moment(LAST_WATCH).await?;
    }
    let served = is_served(data);
    if there {
        stored::server(served, store.as_ref(), seen, &mut report).await?;
    }
    machine::clock(now, seen, &mut report);
    let (key, password) = (&config.smtp.tls_key, &config.delivery.relay_password_file);
    let signing = signing::files(data);
    let mut secrets = vec![settings, Path::new(key), Path::new(password)];
    secrets.extend(signing.iter().map(PathBuf::as_path));
    machine::secrets(&secrets, &mut report);
    if there {
        signing::keys(data, &mut report);
    }
    reach::tls_only(config, &lists, &mut report);
    machine::starttls(config, now, &mut report);
    reach::relay(config, &mut report).await;
    outside(data, config, &lists, now, &mut report).await;
    let serving = served == Served::Now;
    for (name, list) in [
        ("smtp", &config.smtp.listen),
        ("lmtp", &config.lmtp.listen),
        ("http", &config.http.listen),
        ("ops", &config.ops.listen),
    ] {
        for address in addresses(list) {
            reach::listener(name, address, serving, &mut report).await;
        }
    }
    finish(report, form)
}

/// What the world sees of a site that has a name.
async fn outside(
    data: &Path,
    config: &Config,
    lists: &[ListRow],
    now: crate::types::Timestamp,
    report: &mut Report,
) {
    let opened = crate::serve::open_dns(config).map_err(|error| format!("{error:#}"));
    let answer = match &opened {
        Ok(dns) => dns.check().await,
        Err(error) => Err(error.clone()),
    };
    let fine = answer.is_ok();
    // A file that stands for DNS, where one is set.
    let mend = match (config.dns.zone.is_empty(), &opened) {
        (false, Err(_)) => {
            "mend what is named there, or set dns.zone to \"\", so that DNS is asked; the server does not start so"
        }
        _ => {
            "mail is taken, but no sender is authenticated; set dns.servers, or mend /etc/resolv.conf"
        }
    };
    report.outcome("dns", answer, mend);
    if config.site.hostname == "localhost" {
        let detail =
            "site.hostname is localhost: DNS, mail and pages were not looked at from outside";
        return report.note(
            "site",
            detail,
            "`patchpost init` sets up a site with a name",
        );
    }
    let (Ok(dns), true) = (opened, fine) else {
        return;
    };
    let site = match site(data, config, lists) {
        Ok(site) => site,
        // Which of them is said above, with what mends it.
        Err(_) => {
            let detail =
                "what DNS says was not looked at, as it depends on the keys that cannot be read";
            return report.note("records", detail, "mend the keys, then look again");
        }
    };
    names::check(&dns, &site, report).await;
    let asked = asked(&site.domains, lists, &config.site.hostname);
    reach::mail_in(config, &dns, &asked, report).await;
    reach::pages(config, &dns, now, report).await;
}

/// Each domain with the address of a list in it; that of the site, which may have no list yet, with the postmaster's.
fn asked(domains: &[String], lists: &[ListRow], hostname: &str) -> Vec<(String, String)> {
    let of = |domain: &String| {
        let is_in = |l: &&ListRow| {
            let at = l.address.rsplit_once('@');
            at.is_some_and(|(_, d)| d.eq_ignore_ascii_case(domain)) && l.name != "postmaster"
        };
        let list = lists.iter().find(is_in).map(|l| l.address.clone());
        let list = list.unwrap_or_else(|| format!("postmaster@{hostname}"));
        (domain.clone(), list)
    };
    domains.iter().map(of).collect()
}

/// All records that a site needs.
pub fn wanted(site: &Site) -> Vec<records::Record> {
    let domains = site
        .domains
        .iter()
        .flat_map(|domain| site.of_domain(domain));
    site.of_machine().into_iter().chain(domains).collect()
}

/// What decides about the records of this site.
pub fn site(data: &Path, config: &Config, lists: &[ListRow]) -> std::io::Result<Site> {
    let domains = stored::domains(lists, config);
    let mut keys = Vec::new();
    for domain in &domains {
        keys.extend(signing::of_domain(data, domain)?);
    }
    let parsed = addresses(&config.site.addresses).filter_map(|a| a.parse().ok());
    Ok(Site {
        hostname: config.site.hostname.to_lowercase(),
        addresses: parsed.collect(),
        domains,
        relay: reach::relay_elsewhere(config),
        keys,
    })
}

/// Words of the system without its numbers, which say nothing more.
fn plain(text: &str) -> String {
    let pieces: Vec<&str> = text.split(" (os error ").collect();
    let rest = |piece: &&str| {
        piece
            .split_once(')')
            .map_or("", |(_, rest)| rest)
            .to_owned()
    };
    let rests: Vec<String> = pieces[1..].iter().map(rest).collect();
    format!("{}{}", pieces[0], rests.concat())
}

fn finish(mut report: Report, form: Form) -> Result<ExitCode> {
    report.complete(cli::pasteable_anywhere);
    match form {
        Form::Text => cli::print(&report.render())?,
        Form::Json => cli::print_json(&report.findings)?,
    }
    Ok(report.exit_code())
}
