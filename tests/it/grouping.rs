//! Grouping over a real list: no order of the mails changes anything.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use patchpost::patchset::{Input, Patchset, assemble};
use patchpost::types::{Identity, ListId, MailId, MessageId};
use patchpost::verdict::{Level, Standing};
use serde_json::{Value, json};

use super::harness::{Database, TestServer, corpus_for, git, report, size};
use super::manifest::story::Story;
use super::real_mail::{list_mails, unbundle};

/// The kernel list as the grouping sees it.
fn inputs() -> Vec<Input> {
    let dir = tempfile::tempdir().unwrap();
    let mails: Vec<Vec<u8>> = list_mails(dir.path())
        .into_iter()
        .map(|m| m.bytes)
        .collect();
    Story::inputs_of(&mails)
}

/// A small generator of numbers (Marsaglia's xorshift64): the same seed gives the same test.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// These mails with what is known of their senders: the domains of half of them speak for seven mails of eight, for the eighth
/// and for all others nothing does. Some signed mails come once more under another name, an hour later or earlier. They came to
/// one list, to another, or to both.
fn with_standings(mails: &[Input]) -> Vec<Input> {
    let mut out = Vec::new();
    for (at, mail) in mails.iter().enumerate() {
        let mut mail = mail.clone();
        let letters = mail.recognised.submitter.bytes().map(u32::from);
        let signs = letters.sum::<u32>() % 2 == 0 && at % 8 != 7;
        mail.standing = match signs {
            true => Standing {
                level: Level::Aligned,
                proofs: vec![format!("b of {}", mail.message_id)],
                direct: at % 16 == 1,
            },
            false => Standing {
                level: Level::None,
                ..Standing::default()
            },
        };
        mail.lists = [&[1][..], &[2], &[1, 2]][at % 3]
            .iter()
            .copied()
            .map(ListId)
            .collect();
        if signs && at % 16 == 2 {
            let mut again = mail.clone();
            again.mail = MailId(1_000_000 + mail.mail.0);
            again.message_id = MessageId::parse(&format!("again.{}", mail.message_id)).unwrap();
            let Identity(mut bytes) = mail.identity;
            bytes[0] ^= 1;
            again.identity = Identity(bytes);
            again.arrived = mail.arrived.plus_secs([3_600, -3_600][at / 16 % 2]);
            out.push(again);
        }
        out.push(mail);
    }
    out
}

/// Series that only claim to belong to a patchset.
fn claims(sets: &[Patchset]) -> usize {
    let series = sets.iter().flat_map(|s| &s.series);
    series.filter(|s| s.claims.is_some()).count()
}

/// Windows of 300 mails, some of them twice, in random orders, give what they give in order: as an archive that was taken
/// over, whose senders nobody looked at, and as mail of which half is authenticated.
#[test]
fn no_order_of_real_mails_and_no_duplicate_changes_the_outcome() {
    if corpus_for("orders of real mails").is_none() {
        return;
    }
    let inputs = inputs();
    let (windows, orders) = [(4, 3), (20, 10), (100, 20)][size() - 1];
    let seed = std::env::var("PATCHPOST_SEED")
        .ok()
        .and_then(|s| s.parse().ok());
    let seed: u64 = seed.unwrap_or(0x005e_ed0f_9a7c_4905);
    report(&format!(
        "{windows} windows of 300 mails in {orders} orders each, PATCHPOST_SEED={seed}"
    ));
    let mut random = Random(seed.max(1));
    let (mut series, mut claimed) = (0, 0);
    for turn in 0..windows {
        let start = random.below(inputs.len() - 300);
        let window = &inputs[start..start + 300];
        let window = match turn % 2 {
            0 => with_standings(window),
            _ => window.to_vec(),
        };
        let expected = assemble(&window);
        series += expected.iter().map(|s| s.series.len()).sum::<usize>();
        claimed += claims(&expected);
        for _ in 0..orders {
            let mut mails = window.clone();
            for _ in 0..30 {
                mails.push(window[random.below(window.len())].clone());
            }
            for at in (1..mails.len()).rev() {
                mails.swap(at, random.below(at + 1));
            }
            assert!(
                assemble(&mails) == expected,
                "window at {start}, seed {seed}"
            );
        }
    }
    report(&format!(
        "orders: {series} series, {claimed} of which only claim to belong to another"
    ));
    assert!(claimed > 0, "authority has a part in it");
}

/// What an archive says of its series, by the mails that they consist of: numbers are given as mail comes, and tell nothing.
fn told(server: &TestServer) -> BTreeMap<String, Value> {
    let repos = server.data().join("repos/code.patches.git");
    let refs = git(
        &repos,
        &[
            "for-each-ref",
            "--format=%(refname) %(objectname)",
            "refs/patches",
        ],
    );
    let refs: HashMap<&str, &str> = refs.lines().filter_map(|l| l.split_once(' ')).collect();
    let mut all = BTreeMap::new();
    let listed = server.json(&["series", "ls", "dev"]);
    let listed = listed.as_array().unwrap();
    let mails_of = |series: &Value| -> Vec<String> {
        let mails = series["patches"].as_array().unwrap().iter();
        mails.map(|p| text(p, "message_id")).collect()
    };
    // Patchsets are known by all their mails, and each version by its place among the others.
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut places: Vec<usize> = Vec::new();
    let mut met: HashMap<String, usize> = HashMap::new();
    for series in listed {
        let number = series["patchset"].to_string();
        let place = met.entry(number.clone()).or_default();
        places.push(*place);
        *place += 1;
        names.entry(number).or_default().extend(mails_of(series));
    }
    for (number, mails) in &names {
        // The newest version that has authority, as what it was applied.
        let head = refs.get(format!("refs/patches/{number}/head").as_str());
        all.insert(format!("head of {mails:?}"), json!(head));
    }
    for (mut series, place) in listed.iter().cloned().zip(places) {
        let (patchset, label) = (series["patchset"].to_string(), text(&series, "version"));
        let commit = series["ref"].as_str().and_then(|name| refs.get(name));
        series["commit"] = commit.map_or(Value::Null, |c| json!(c));
        let whole = series["complete"] == true;
        series["mbox"] = match whole {
            true => json!(server.page(&format!("/dev/patches/{patchset}/v{label}/mbox"))),
            false => Value::Null,
        };
        // At the present tip only what is open is tried.
        if text(&series, "state") != "new" {
            series.as_object_mut().unwrap().remove("tip");
        }
        let own = format!("refs/patches/{patchset}/");
        let name = series["ref"]
            .as_str()
            .map(|name| name.strip_prefix(&own).unwrap().to_owned());
        series["ref"] = json!(name);
        series["patchset"] = json!(names[&patchset]);
        series["place"] = json!(place);
        series["claims"] = json!(names.get(&series["claims"].to_string()));
        for words in ["detail", "reason"] {
            series[words] = json!(masked(series[words].as_str().unwrap_or_default()));
        }
        let before = all.insert(format!("{} v{label}", mails_of(&series).join(" ")), series);
        assert!(before.is_none(), "{before:?}");
    }
    all
}

/// Words without the numbers in them.
fn masked(words: &str) -> String {
    let parts = words.split(|c: char| c.is_ascii_digit());
    parts
        .filter(|p| !p.is_empty())
        .collect::<Vec<_>>()
        .join("#")
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap().to_owned()
}

/// An archive of these mails, imported file by file, with the real project as its repository.
fn filed(
    database: Database,
    code: &Path,
    mails: &[&[u8]],
    files: usize,
) -> BTreeMap<String, Value> {
    let server = TestServer::start_on(database);
    let path = code.display().to_string();
    server.cli(&["repo", "add", "code", "--path", &path, "--branch", "main"]);
    let list = "dev@lists.example.org";
    server.cli(&["list", "create", "dev", "--address", list, "--repo", "code"]);
    for (at, part) in mails.chunks(mails.len().div_ceil(files)).enumerate() {
        let file = server.dir.path().join(format!("{at}.mbox"));
        let mut mbox = Vec::new();
        for mail in part {
            mbox.extend(b"From mboxrd@z Thu Jan  1 00:00:00 1970\n");
            for line in mail.split_inclusive(|b| *b == b'\n') {
                let quotes = line.iter().take_while(|b| **b == b'>').count();
                if line[quotes..].starts_with(b"From ") {
                    mbox.push(b'>');
                }
                mbox.extend(line);
            }
            mbox.extend(b"\n");
        }
        std::fs::write(&file, mbox).unwrap();
        server.cli(&["import", "dev", &file.display().to_string()]);
        server.drain();
    }
    let found = told(&server);
    let changes = server.cli(&["reclassify", "dev", "--dry-run"]);
    assert!(changes.contains("nothing changes"), "{changes}");
    found
}

/// Real mails, filed by servers in other orders and other portions, some twice, also on the other database: the same series,
/// states, reasons, commits and mboxes.
#[test]
fn archives_filed_in_other_orders_are_the_same() {
    let Some(corpus) = corpus_for("real archives filed in other orders") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let code = unbundle(&corpus.join("selinux-code.bundle"), dir.path());
    git(&code, &["update-ref", "refs/heads/main", "HEAD"]);
    let mails = list_mails(dir.path());
    let (windows, length, orders) = [(1, 100, 1), (1, 300, 2), (6, 300, 4)][size() - 1];
    let mut random = Random(0x0a11_0fde_75e5_eed5);
    let mut counted = [0; 3];
    for _ in 0..windows {
        let start = random.below(mails.len() - length);
        let window: Vec<&[u8]> = mails[start..start + length]
            .iter()
            .map(|m| m.bytes.as_slice())
            .collect();
        let expected = filed(Database::Sqlite, &code, &window, 1);
        counted[0] += expected
            .keys()
            .filter(|name| !name.starts_with("head of"))
            .count();
        counted[1] += expected.values().filter(|s| !s["commit"].is_null()).count();
        for order in 0..orders {
            let mut mails = window.clone();
            for _ in 0..length / 10 {
                mails.push(window[random.below(length)]);
            }
            for at in (1..mails.len()).rev() {
                mails.swap(at, random.below(at + 1));
            }
            let database = [Database::Postgres, Database::Sqlite][order % 2];
            let found = filed(database, &code, &mails, 2 + order);
            counted[2] += 1;
            for (name, series) in &expected {
                assert_eq!(found.get(name), Some(series), "window at {start}: {name}");
            }
            assert_eq!(found.len(), expected.len(), "window at {start}");
        }
    }
    let [series, applied, orders] = counted;
    assert!(
        series > 5 && applied > 0,
        "{series} series, {applied} applied"
    );
    report(&format!(
        "archives: {windows} windows of {length} mails, {series} series of which {applied} are commits, the same in {orders} other orders, every second one on PostgreSQL"
    ));
}
