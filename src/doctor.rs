//! Checks what the server needs, and says how to mend what is missing.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::config::{Config, addresses};
use crate::store::Store;

struct Report {
    bad: u32,
}

impl Report {
    fn line(&mut self, fine: bool, what: &str, detail: &str) {
        self.bad += u32::from(!fine);
        println!("{} {what}: {detail}", if fine { "ok  " } else { "BAD " });
    }
}

/// `patchpost doctor`: exit status 1 when something is bad.
pub async fn run(data: &Path, config: &Config) -> Result<ExitCode> {
    let mut report = Report { bad: 0 };
    report.line(true, "configuration", "read");
    let there = data.is_dir();
    let hint = if there {
        data.display().to_string()
    } else {
        format!(
            "{} is not there; `patchpost serve` makes it",
            data.display()
        )
    };
    report.line(there, "data folder", &hint);
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
    match crate::git::version() {
        Ok(version) => report.line(true, "git", &version),
        Err(error) => report.line(false, "git", &format!("{error}; install git")),
    }
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

async fn database(data: &Path, config: &Config, report: &mut Report) {
    let store = match Store::open(data, &crate::cli::location(config)).await {
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

async fn listener(name: &str, address: &str, serving: bool, report: &mut Report) {
    let what = format!("{name} {address}");
    match (crate::net::bind(std::iter::once(address)).await, serving) {
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
