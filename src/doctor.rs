//! Checks what the server needs, and says how to mend what is missing.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::config::{Config, Transport, addresses};
use crate::deliver;
use crate::store::{Location, Store};

struct Report {
    bad: u32,
}

impl Report {
    fn line(&mut self, fine: bool, what: &str, detail: &str) {
        self.bad += u32::from(!fine);
        println!("{} {what}: {detail}", if fine { "ok  " } else { "BAD " });
    }
}

/// `patchpost doctor` where the settings cannot be read: says why, and looks at what does not depend on them.
pub fn without_settings(data: &Path, error: &anyhow::Error) -> ExitCode {
    let mut report = Report { bad: 0 };
    for problem in format!("{error:#}").lines() {
        report.line(false, "configuration", problem);
    }
    folder(data, &mut report);
    git(&mut report);
    println!("     disk, database, DNS and listeners depend on the settings: mend these first");
    ExitCode::FAILURE
}

/// `patchpost doctor`: exit status 1 when something is bad.
pub async fn run(data: &Path, config: &Config) -> Result<ExitCode> {
    let mut report = Report { bad: 0 };
    report.line(true, "configuration", "read");
    let there = folder(data, &mut report);
    if let Some(free) = crate::net::free_disk_mb(data) {
        let floor = config.limits.free_disk_mb;
        let fine = free >= floor;
        let mend = if fine {
            ""
        } else {
            "; mail is refused until there is more (limits.free_disk_mb)"
        };
        report.line(
            fine,
            "disk",
            &format!("{free} MB free, {floor} MB wanted{mend}"),
        );
    }
    git(&mut report);
    if there {
        database(data, config, &mut report).await;
    }
    if !config.smtp.tls_cert.is_empty() {
        let opened = crate::net::Tls::open(
            Path::new(&config.smtp.tls_cert),
            Path::new(&config.smtp.tls_key),
        );
        let detail = opened
            .as_ref()
            .err()
            .cloned()
            .unwrap_or_else(|| "certificate and key fit".to_owned());
        report.line(opened.is_ok(), "tls", &detail);
    }
    check_dns(config, &mut report).await;
    relay(config, &mut report).await;
    let serving = there && Store::lock_for_serving(data).is_err();
    for (name, list) in [
        ("smtp", &config.smtp.listen),
        ("lmtp", &config.lmtp.listen),
        ("http", &config.http.listen),
        ("ops", &config.ops.listen),
    ] {
        for address in addresses(list) {
            listener(name, address, serving, &mut report).await;
        }
    }
    Ok(if report.bad == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Whether the data folder is there.
fn folder(data: &Path, report: &mut Report) -> bool {
    let (there, name) = (data.is_dir(), data.display());
    let hint = match there {
        true => name.to_string(),
        false => format!("{name} is not there; `patchpost serve` makes it"),
    };
    report.line(there, "data folder", &hint);
    there
}

fn git(report: &mut Report) {
    match crate::git::version() {
        Ok(version) => report.line(true, "git", &version),
        Err(error) => report.line(false, "git", &format!("{error}; install git")),
    }
}

async fn database(data: &Path, config: &Config, report: &mut Report) {
    let location = crate::cli::location(config);
    if location == Location::File && !Store::is_file_in(data) {
        return report.line(true, "database", "none yet; `patchpost serve` makes it");
    }
    let store = match Store::open(data, &location).await {
        Ok(store) => store,
        Err(error) => return report.line(false, "database", &error.to_string()),
    };
    match store.check().await {
        Ok(()) => report.line(true, "database", "answers"),
        Err(error) => report.line(false, "database", &error.to_string()),
    }
    if let Ok((jobs, parked)) = store.count_jobs().await {
        let mend = if parked == 0 {
            ""
        } else {
            "; `patchpost jobs` says why"
        };
        report.line(
            parked == 0,
            "work",
            &format!("{jobs} jobs owed, {parked} parked{mend}"),
        );
    }
    if let Ok((owed, failed)) = store.count_deliveries().await {
        report.line(true, "copies", &format!("{owed} owed, {failed} given up"));
    }
    for repo in store.load_repos().await.unwrap_or_default() {
        let problem = repo.problem.as_deref();
        let tip = repo.tip.as_deref().unwrap_or("no commit yet");
        report.line(
            problem.is_none(),
            &format!("repository {}", repo.name),
            problem.unwrap_or(tip),
        );
    }
}

async fn check_dns(config: &Config, report: &mut Report) {
    let answer = match crate::serve::open_dns(config) {
        Ok(dns) => dns.check().await,
        Err(error) => Err(format!("{error:#}")),
    };
    match answer {
        Ok(detail) => report.line(true, "dns", &detail),
        Err(error) => {
            let mend = "mail is taken, but no sender is authenticated; see dns.servers";
            report.line(false, "dns", &format!("{error}; {mend}"));
        }
    }
}

/// Whether copies can be handed over now.
async fn relay(config: &Config, report: &mut Report) {
    let relay = &config.delivery.relay;
    if config.delivery.transport != Transport::Smtp {
        return;
    }
    match deliver::greet(relay, &config.site.hostname).await {
        Ok(()) => report.line(true, "relay", &format!("{relay} takes mail")),
        Err(error) => {
            let mend = "copies are kept and tried again; see delivery.relay";
            report.line(false, "relay", &format!("{relay}: {error}; {mend}"));
        }
    }
}

async fn listener(name: &str, address: &str, serving: bool, report: &mut Report) {
    let what = format!("{name} {address}");
    if serving && address.ends_with(":0") {
        let detail = "the server runs and chose a port; its log names it";
        return report.line(true, &what, detail);
    }
    match (crate::net::bind_one(address).await, serving) {
        (Ok(_), false) => report.line(true, &what, "free, `patchpost serve` can listen there"),
        (Ok(_), true) => report.line(
            false,
            &what,
            "a server runs on this folder, but nobody listens here; restart it",
        ),
        (Err(_), true) => report.line(true, &what, "in use, the server runs"),
        (Err(error), false) => report.line(
            false,
            &what,
            &format!("{error}; another program has it, or it needs more rights"),
        ),
    }
}
