//! What is stored and owed: the database, work, copies, backups, repositories.

use std::path::Path;

use super::machine::minute;
use super::report::Report;
use crate::config::Config;
use crate::pipeline::{LAST_BACKUP, TOKEN_KEY, TOKEN_KEY_DAMAGED, token_key_of};
use crate::store::queue::Refusal;
use crate::store::{DAMAGED, Dialect, ListRow, Location, Served, Store, StoreError, signed};
use crate::types::Timestamp;

const HOUR: i64 = 3600;
/// A relay takes a mail within seconds: what waits so long has a reason that somebody should look at.
pub const QUEUE_SECS: i64 = 4 * HOUR;
/// So many copies given up within a day, and a tenth of all, are told of.
const GIVEN_UP: i64 = 10;
/// A backup older than that is told of.
const BACKUP_DAYS: i64 = 7;

/// Opens the database of a data folder; `None` if there is none yet or it does not open, which the report says.
pub async fn database(data: &Path, config: &Config, report: &mut Report) -> Option<Store> {
    let location = crate::cli::location(config);
    if location == Location::File && !Store::is_file_in(data) {
        report.ok("database", "none yet; `patchpost serve` makes it");
        return None;
    }
    let opened = Store::open(data, &location).await;
    let checked = match &opened {
        Ok(store) => store.check().await.map_err(|e| e.to_string()),
        Err(StoreError::Damaged(text)) => {
            let (detail, mend) = text.split_once("; ").unwrap_or((text, DAMAGED));
            // The error of the library may have parts of its own.
            let mend = if mend.contains(DAMAGED) {
                mend
            } else {
                DAMAGED
            };
            report.bad("database", detail, mend);
            return None;
        }
        Err(StoreError::Newer(version)) => {
            let detail = format!(
                "a newer patchpost than this one ({}) wrote it: its tables have version {version}",
                env!("CARGO_PKG_VERSION")
            );
            let mend = "install that version; no older one reads it, and the only other way back is a backup that the older one made: \
                 `patchpost restore BACKUP --data NEW-FOLDER`";
            report.bad("database", &detail, mend);
            return None;
        }
        Err(error) => Err(error.to_string()),
    };
    let mend = "run this as the user that runs the server; database.url says where the database is";
    let answers = checked.map(|()| "answers".to_owned());
    report.outcome("database", answers, mend);
    opened.ok()
}

/// Whether a server runs where one should: on a folder that had one, or whose lists hold mail.
pub async fn server(
    served: Served,
    store: Option<&Store>,
    seen: Option<Timestamp>,
    report: &mut Report,
) -> Result<(), StoreError> {
    let lives = match (served, store) {
        (Served::Now, _) => {
            report.ok("server", "runs on this folder");
            return Ok(());
        }
        (Served::Hidden, _) => {
            let detail = "whether one runs on this folder is not for this user to see";
            report.note(
                "server",
                detail,
                "run this as the user that runs the server",
            );
            return Ok(());
        }
        (Served::Before, _) => true,
        // Servers of other folders may share the database.
        (Served::Never, Some(store)) if store.dialect() == Dialect::Postgres => false,
        (Served::Never, Some(store)) => seen.is_some() || store.holds_mail().await?,
        (Served::Never, None) => false,
    };
    match lives {
        true => {
            let detail = "no server runs on this folder: no mail comes in and no copies go out";
            let mend = match store {
                Some(_) => {
                    "start it: systemctl start patchpost, or `patchpost serve`; `journalctl -u patchpost` says why it ended"
                }
                None => "mend first what is said of the database; it does not start without it",
            };
            report.bad("server", detail, mend);
        }
        false => {
            let mend = "as root: `sh -c \"$(patchpost print setup)\"` starts it now and with the machine; to try it: `patchpost serve`";
            report.note("server", "none ran on this folder yet", mend);
        }
    }
    Ok(())
}

/// What is owed, and how long already.
pub async fn owed(store: &Store, now: Timestamp, report: &mut Report) -> Result<(), StoreError> {
    let (jobs, parked) = store.count_jobs().await?;
    let seen = format!("{jobs} jobs owed, {parked} parked");
    let mend = "`patchpost jobs` says why; when that is mended: `patchpost jobs --retry`";
    match parked {
        0 => report.ok("work", &seen),
        _ => report.bad("work", &seen, mend),
    }
    let (owed, failed) = store.count_deliveries().await?;
    report.ok("copies", &format!("{owed} owed, {failed} given up"));
    given_up(store, now, report).await?;
    refused(store, now, report).await?;
    let oldest = store.oldest_owed(now.plus_secs(-HOUR)).await?;
    match oldest.filter(|at| *at < now.plus_secs(-QUEUE_SECS)) {
        None => report.ok("queue age", "nothing waits long"),
        Some(at) => {
            let hours = (now.secs() - at.secs()) / HOUR;
            let detail = format!(
                "the oldest mail that is owed waits since {} ({hours} h)",
                minute(at)
            );
            report.bad("queue age", &detail, QUEUE);
        }
    }
    Ok(())
}

/// Held mail is dropped after days, so somebody has to look at it.
const HELD_DAYS: i64 = 3;

/// What a person has to look at, and files that still hold what was purged.
pub async fn held(store: &Store, now: Timestamp, report: &mut Report) -> Result<(), StoreError> {
    let (count, oldest) = store.count_held().await?;
    let mend = "`patchpost held ls` shows it; `patchpost policy set LIST --person ADDRESS=reply,post,moderate` names somebody who is told";
    match oldest {
        None => report.ok("held mail", "nothing is held"),
        Some(at) => {
            let seen = format!("{count} held, the oldest since {}", minute(at));
            match at < now.plus_secs(-HELD_DAYS * 24 * HOUR) {
                true => report.bad("held mail", &seen, mend),
                false => report.ok("held mail", &seen),
            }
        }
    }
    match store.load_scrubs().await?.is_empty() {
        true => report.ok("purged mail", "the files hold nothing of it"),
        false => report.bad(
            "purged mail",
            "a removal broke off: the database's files still hold bytes of it",
            "run the same `patchpost remove --purge` again",
        ),
    }
    Ok(())
}

/// Whether many copies were given up within a day. A few always are: addresses end.
async fn given_up(store: &Store, now: Timestamp, report: &mut Report) -> Result<(), StoreError> {
    let lately = store.given_up_since(now.plus_secs(-24 * HOUR)).await?;
    let seen = format!("{} copies within a day, of {}", lately.count, lately.made);
    if lately.count < GIVEN_UP || lately.count * 10 < lately.made {
        report.ok("given up", &seen);
        return Ok(());
    }
    let detail = format!("{seen}; the last one met: {}", lately.problem);
    let mend = "`patchpost queue ls --state given-up`; when that is mended: `patchpost queue retry --state given-up`";
    report.bad("given up", &detail, mend);
    Ok(())
}

/// Whether mail waits as the relay refuses to take it from us. Limits that pass by themselves are told after an hour.
async fn refused(store: &Store, now: Timestamp, report: &mut Report) -> Result<(), StoreError> {
    let waiting = store.load_refused().await?;
    let passing = waiting.refusal == Refusal::Passing && waiting.oldest > now.plus_secs(-HOUR);
    match waiting.mails {
        0 => report.ok("refused", "the relay refuses no mail that is owed"),
        n if passing => report.ok("refused", &format!("{n} wait: {}", waiting.problem)),
        n => {
            let detail = format!(
                "{n} mails that are owed wait since {}: {}",
                minute(waiting.oldest),
                waiting.problem
            );
            let mend = "let the relay take this site's mail, by its address (Postfix: mynetworks) or by a login (delivery.relay_user); \
                 then: `patchpost queue retry`";
            report.bad("refused", &detail, mend);
        }
    }
    Ok(())
}

/// Whether the keys of a domain whose mail was signed are gone: the mail waits.
pub async fn lost_keys(
    store: &Store,
    data: &Path,
    domains: &[String],
    report: &mut Report,
) -> Result<(), StoreError> {
    for domain in domains {
        let there = data.join("dkim").join(domain).is_dir();
        if there || store.find_meta(&signed(domain)).await?.is_none() {
            continue;
        }
        let detail = "those that signed are gone, and the domain's mail waits";
        let mend = format!(
            "{}. Only if there is no backup: `patchpost dkim rotate {domain}`, and its records into DNS",
            super::signing::from_backup(data)
        );
        report.bad(&format!("dkim keys {domain}"), detail, &mend);
    }
    Ok(())
}

/// Whether what links in mails and signed-in browsers are made with can be read: the server does not start without it.
pub async fn token_key(store: &Store, report: &mut Report) -> Result<(), StoreError> {
    let key = store.find_meta(TOKEN_KEY).await?;
    // The first start makes it.
    if key.is_some_and(|key| token_key_of(&key).is_none()) {
        report.bad("token key", TOKEN_KEY_DAMAGED, DAMAGED);
    }
    Ok(())
}

/// How to look at a queue that does not move.
pub const QUEUE: &str = "the server's log says what the relay answers; delivery.relay names it";

/// When the last backup was made.
pub async fn backup(store: &Store, now: Timestamp, report: &mut Report) -> Result<(), StoreError> {
    if store.dialect() == Dialect::Postgres {
        report.note(
            "backup",
            "pg_dump's are not known here",
            "see Backup in docs/operating.md",
        );
        return Ok(());
    }
    let mend = "`patchpost backup FILE`, best every night by cron; docs/operating.md has the line";
    let limit = now.plus_secs(-BACKUP_DAYS * 24 * HOUR);
    match store.find_moment(LAST_BACKUP).await? {
        Some(at) if at >= limit => report.ok("backup", &format!("made on {}", minute(at))),
        Some(at) => report.bad("backup", &format!("the last is of {}", minute(at)), mend),
        None => match store.first_list_made().await?.filter(|at| *at < limit) {
            Some(at) => {
                let detail = format!(
                    "none was ever made, and lists are here since {}",
                    minute(at)
                );
                report.bad("backup", &detail, mend);
            }
            None => report.note("backup", "none was made yet", mend),
        },
    }
    Ok(())
}

/// Whether the projects' repositories can be fetched.
pub async fn repositories(store: &Store, report: &mut Report) -> Result<(), StoreError> {
    for repo in store.load_repos().await? {
        let what = format!("repository {}", repo.name);
        match &repo.problem {
            None => report.ok(&what, repo.tip.as_deref().unwrap_or("no commit yet")),
            Some(problem) => {
                let name = &repo.name;
                let mend = format!("mend what git says, then: `patchpost repo fetch {name}`");
                report.bad(&what, problem, &mend);
            }
        }
    }
    Ok(())
}

/// The domains that take mail for lists: those of all lists but the operator's own, and that of new ones.
pub fn domains(lists: &[ListRow], config: &Config) -> Vec<String> {
    let of_lists = lists.iter().filter(|l| l.name != "postmaster");
    let of_lists = of_lists.filter_map(|l| l.address.rsplit_once('@'));
    let mut all: Vec<String> = of_lists.map(|(_, domain)| domain.to_lowercase()).collect();
    // A site without a name of its own has no domain to speak of.
    let own = config.site.list_domain().to_lowercase();
    if own != "localhost" || all.is_empty() {
        all.push(own);
    }
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::delivery_tests::{fan_out_all, open, seed};
    use crate::store::{Outcome, Turn};

    #[tokio::test]
    async fn a_relay_that_refuses_to_relay_is_told_at_once() {
        let (_folder, store) = open().await;
        let start = Timestamp::from_secs(0);
        let list = seed(&store, 2, b"Subject: s\n\nb\n", start).await;
        fan_out_all(&store, list, 1).await;
        let look = async |secs| {
            let mut report = Report::default();
            let looked = owed(&store, Timestamp::from_secs(secs), &mut report).await;
            looked.expect("a read");
            report.render()
        };
        let put_off = async |secs: i64, said: &str| {
            let now = Timestamp::from_secs(secs);
            let claimed = store.claim_deliveries(9, &Turn::default(), now).await;
            let why = format!("the next hop 127.0.0.1:25 refuses: {said}");
            let later = |copy| (copy, Outcome::Later(now.plus_secs(60), why.clone()));
            let outcomes = claimed.expect("a claim").into_iter().map(later).collect();
            store.record_deliveries(outcomes).await.expect("recorded");
        };
        assert!(look(1).await.contains("ok   refused"));
        put_off(1, "451 4.7.1 slow down").await;
        assert!(look(2).await.contains("ok   refused"));
        let seen = look(2 * HOUR).await;
        assert!(seen.contains("BAD  refused"), "{seen}");
        put_off(100, "554 5.7.1 <x@y.org>: Relay access denied").await;
        let seen = look(101).await;
        assert!(seen.contains("BAD  refused: 2 mails"), "{seen}");
        assert!(seen.contains("Relay access denied"), "{seen}");
        assert!(seen.contains("mynetworks"), "{seen}");
    }

    #[tokio::test]
    async fn keys_that_are_gone_are_told_where_they_signed_before() {
        let (folder, store) = open().await;
        let look = async || {
            let mut report = Report::default();
            let domains = ["x.org".to_owned()];
            let looked = lost_keys(&store, folder.path(), &domains, &mut report).await;
            looked.expect("a read");
            report.render()
        };
        assert_eq!(look().await, "");
        let noted = store.record_meta(signed("x.org"), "1".to_owned()).await;
        noted.expect("noted");
        let seen = look().await;
        assert!(seen.starts_with("BAD  dkim keys x.org: "), "{seen}");
        assert!(seen.contains("tar --extract"), "{seen}");
        std::fs::create_dir_all(folder.path().join("dkim/x.org")).expect("made");
        assert_eq!(look().await, "");
    }

    #[tokio::test]
    async fn many_copies_given_up_at_once_are_told() {
        let (_folder, store) = open().await;
        let start = Timestamp::from_secs(0);
        let list = seed(&store, 90, b"Subject: s\n\nb\n", start).await;
        fan_out_all(&store, list, 1).await;
        let now = Timestamp::from_secs(3_600);
        let look = async || {
            let mut report = Report::default();
            owed(&store, now, &mut report).await.expect("a read");
            report.render()
        };
        for (count, word) in [(9, "ok   given up"), (1, "BAD  given up")] {
            let claimed = store.claim_deliveries(count, &Turn::default(), now).await;
            let claimed = claimed.expect("a claim").into_iter();
            let problem = || Outcome::GaveUp("554 5.7.1 Relay access denied".to_owned());
            let given_up = claimed.map(|copy| (copy, problem())).collect();
            store.record_deliveries(given_up).await.expect("recorded");
            let seen = look().await;
            assert!(seen.contains(word), "{seen}");
        }
        let seen = look().await;
        let said = "10 copies within a day, of 90; the last one met: 554 5.7.1 Relay access denied";
        assert!(seen.contains(said), "{seen}");
    }
}
