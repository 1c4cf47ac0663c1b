//! What the machine must have: room, git, a clock, certificates that hold, keys that nobody else reads.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::report::{Report, State};
use crate::config::Config;
use crate::net::{self, Certificate};
use crate::types::Timestamp;

const DAY: i64 = 86_400;
/// A certificate that ends sooner should have been renewed: certbot does it 30 days before the end.
const RENEW: i64 = 21 * DAY;

/// How full a disk may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disk {
    /// There is room.
    Roomy,
    /// Less than 15 % are free.
    Low,
    /// Less than 5 % are free, or less than the floor below which no mail is taken.
    Full,
}

/// What free room means, given the least that mail is taken with.
pub fn disk_state(percent: u64, free_mb: u64, floor_mb: u64) -> Disk {
    match percent {
        _ if free_mb < floor_mb => Disk::Full,
        0..5 => Disk::Full,
        5..15 => Disk::Low,
        _ => Disk::Roomy,
    }
}

/// Whether the data folder is there, and for who asks to look into.
pub fn folder(data: &Path, report: &mut Report) -> bool {
    let name = data.display();
    let listed = std::fs::read_dir(data).map(|_| ());
    if listed.is_err_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied) {
        let detail = format!("{name} is closed to this user: what is in it was not looked at");
        report.bad("data folder", &detail, &crate::cli::as_owner(data));
        return false;
    }
    match std::fs::metadata(data) {
        Ok(meta) if meta.is_dir() && meta.permissions().mode() & 0o007 != 0 => {
            let mend = format!("chmod o-rwx '{name}'");
            let detail = format!("everybody on this machine may look into {name}");
            report.bad("data folder", &detail, &mend);
        }
        Ok(meta) if meta.is_dir() => report.ok("data folder", &name.to_string()),
        _ => {
            let mend = "`patchpost init` or `patchpost serve` makes it; --data names another";
            report.bad("data folder", &format!("{name} is not there"), mend);
        }
    }
    data.is_dir()
}

/// Room for mail.
pub fn disk(data: &Path, floor: u64, report: &mut Report) {
    let (Some(free), Some(percent)) = (net::free_disk_mb(data), net::free_disk_percent(data))
    else {
        return;
    };
    let detail = format!("{free} MB free, {percent} %");
    let mend = format!(
        "make room or a larger disk: below {floor} MB (limits.free_disk_mb) no mail is taken"
    );
    let state = disk_state(percent, free, floor);
    // Two things, as the operator is told of each by itself.
    match state {
        Disk::Roomy => report.ok("disk", &detail),
        Disk::Low | Disk::Full => report.bad("disk", &detail, &mend),
    }
    match state {
        Disk::Full => report.bad("disk nearly full", &detail, &mend),
        Disk::Roomy | Disk::Low => report.ok("disk nearly full", "no"),
    }
}

pub fn git(report: &mut Report) {
    let seen = crate::git::version().map_err(|e| e.to_string());
    report.outcome("git", seen, "install git: apt-get install git");
}

/// The clock: signatures, retries and certificates go by it. `seen` is when the server last noted the time.
pub fn clock(now: Timestamp, seen: Option<Timestamp>, report: &mut Report) {
    let shown = minute(now);
    if let Some(seen) = seen.filter(|seen| now < seen.plus_secs(-300)) {
        let detail = format!("{shown}, but the server ran at {} already", minute(seen));
        return report.bad("clock", &detail, CLOCK);
    }
    let keepers = [
        "/run/systemd/timesync/synchronized",
        "/run/chrony/chronyd.pid",
        "/run/chrony",
        "/run/ntpd.pid",
        "/run/openntpd.pid",
    ];
    match keepers.iter().any(|path| Path::new(path).exists()) {
        true => report.ok("clock", &format!("{shown}, kept right by a time service")),
        false => {
            let mend = "in a container its host sees to it; else apt-get install systemd-timesyncd";
            let detail = format!("{shown}; no time service was found that keeps it right");
            report.note("clock", &detail, mend);
        }
    }
}

const CLOCK: &str = "set it: timedatectl set-ntp true";

/// A moment for people.
pub fn minute(at: Timestamp) -> String {
    let time = chrono::DateTime::from_timestamp(at.secs(), 0).unwrap_or_default();
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// The certificate for STARTTLS, if there is to be one.
pub fn starttls(config: &Config, now: Timestamp, report: &mut Report) {
    let (cert, key) = (&config.smtp.tls_cert, &config.smtp.tls_key);
    if cert.is_empty() {
        if config.smtp.listen.is_empty() {
            return;
        }
        let detail = "no certificate: SMTP offers no STARTTLS";
        return report.note("tls", detail, "set smtp.tls_cert and smtp.tls_key");
    }
    let (cert, key) = (Path::new(cert), Path::new(key));
    if let Err(error) = net::Tls::open(cert, key) {
        return report.bad(
            "tls",
            &error,
            "set smtp.tls_cert and smtp.tls_key to files that fit",
        );
    }
    let mend = "renew it, such as by `certbot renew`; it is read again by itself";
    match Certificate::read(cert) {
        Ok(found) => {
            let place = Place {
                what: "tls",
                name: &config.site.hostname,
                renew: mend,
                // Mail servers hardly ever look who vouches.
                own: State::Note,
            };
            certificate(&place, &found, now, report);
        }
        Err(error) => report.bad("tls", &error, mend),
    }
}

/// Where a certificate is shown.
pub struct Place<'a> {
    /// What is reported on.
    pub what: &'a str,
    /// The name that clients ask for.
    pub name: &'a str,
    /// How to renew it.
    pub renew: &'a str,
    /// How it is if nobody but the certificate itself vouches for it.
    pub own: State,
}

/// How long a certificate still holds, and for whom.
pub fn certificate(place: &Place<'_>, found: &Certificate, now: Timestamp, report: &mut Report) {
    let Place {
        what,
        name,
        renew: mend,
        own,
    } = *place;
    let end = &minute(found.until)[..10];
    let days = (found.until.secs() - now.secs()).div_euclid(DAY);
    if found.until <= now {
        report.bad(what, &format!("the certificate ended on {end}"), mend);
    } else if found.until < now.plus_secs(RENEW) {
        let detail = format!("the certificate ends on {end}, in {days} days");
        report.bad(what, &detail, mend);
    } else if !found.is_for(name) {
        let get = format!("get one for it, such as by: certbot certonly --domain {name}");
        let detail = format!("the certificate is not for {name}");
        report.bad(what, &detail, &get);
    } else if found.own {
        let detail =
            format!("the certificate holds until {end}, and nobody but itself vouches for it");
        let mend = format!(
            "browsers and some mail servers refuse it; get one, such as by: certbot certonly --domain {name}"
        );
        match own {
            State::Bad => report.bad(what, &detail, &mend),
            _ => report.note(what, &detail, &mend),
        }
    } else {
        report.ok(what, &format!("the certificate holds until {end}"));
    }
}

/// Files with secrets: we must be able to read them, and not everybody.
pub fn secrets(files: &[&Path], report: &mut Report) {
    for file in files {
        let what = format!("secret {}", file.display());
        let mode = match std::fs::metadata(file) {
            Ok(meta) => meta.permissions().mode(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                let mend = "run this as the user that runs the server";
                report.bad(&what, &format!("cannot be looked at: {error}"), mend);
                continue;
            }
        };
        if mode & 0o007 != 0 {
            let mend = format!("chmod o-rwx '{}'", file.display());
            report.bad(&what, "everybody on this machine may read it", &mend);
        } else if let Err(error) = std::fs::File::open(file) {
            let mend = format!(
                "chown patchpost '{}', or run this as its owner",
                file.display()
            );
            report.bad(&what, &format!("cannot be read: {error}"), &mend);
        } else {
            report.ok(&what, "only its owner and group may read it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_low_below_15_per_cent_and_full_below_5_or_the_floor() {
        let check = |percent, free, expected| {
            assert_eq!(disk_state(percent, free, 200), expected, "{percent} {free}");
        };
        check(15, 9_000, Disk::Roomy);
        check(14, 9_000, Disk::Low);
        check(5, 9_000, Disk::Low);
        check(4, 9_000, Disk::Full);
        check(40, 199, Disk::Full);
    }

    #[test]
    fn a_certificate_that_nobody_vouches_for_is_bad_for_browsers() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("cert.pem");
        let made = rcgen::generate_simple_self_signed(["lists.example.org".to_owned()]);
        std::fs::write(&file, made.expect("made").cert.pem()).expect("written");
        let found = Certificate::read(&file).expect("read");
        let look = |own: State| {
            let mut report = Report::default();
            let place = Place {
                what: "pages",
                name: "lists.example.org",
                renew: "renew it",
                own,
            };
            certificate(
                &place,
                &found,
                Timestamp::from_secs(1_800_000_000),
                &mut report,
            );
            report.render()
        };
        let bad = look(State::Bad);
        assert!(bad.starts_with("BAD  pages: "), "{bad}");
        assert!(
            bad.contains("certbot certonly --domain lists.example.org"),
            "{bad}"
        );
        assert!(look(State::Note).starts_with("note pages: "));
    }

    #[test]
    fn a_clock_that_went_back_is_told() {
        let bad = |now: i64, seen: i64| {
            let mut report = Report::default();
            let at = Timestamp::from_secs;
            clock(at(now), Some(at(seen)), &mut report);
            report.render().starts_with("BAD  clock")
        };
        assert!(bad(1_000_000, 1_001_000));
        assert!(!bad(1_000_000, 1_000_100) && !bad(1_001_000, 1_000_000));
    }
}
