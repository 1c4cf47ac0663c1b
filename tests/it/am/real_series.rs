//! Series of a kernel list on the base that they were sent for.

use std::collections::{BTreeMap, HashMap};

use patchpost::git::Fallback;
use patchpost::mail::{Message, parse};

use super::Pair;
use crate::harness::{corpus_for, report, size};
use crate::real_mail::{list_mails, unbundle};

/// A line of `selinux-git-am.tsv`.
struct Row {
    root: String,
    version: usize,
    total: usize,
    date: i64,
    base: String,
    applies: bool,
    tree: String,
}

/// A patch mail's place: version, number, total.
fn tag(subject: &str) -> Option<(usize, usize, usize)> {
    let lower = subject.to_lowercase();
    let replies = ["re:", "aw:", "fw:", "fwd:"];
    if replies.iter().any(|r| lower.trim_start().starts_with(r)) || lower.contains("] re:") {
        return None;
    }
    let inside = lower
        .split('[')
        .skip(1)
        .filter_map(|part| part.split_once(']'));
    let inside = inside
        .map(|(inside, _)| inside)
        .find(|inside| inside.contains("patch"))?;
    let words = || inside.split(|c: char| !c.is_alphanumeric() && c != '/');
    let version = words().find_map(|w| w.strip_prefix('v')?.parse().ok());
    let number = words().find_map(|w| {
        let (number, total) = w.split_once('/')?;
        Some((number.parse().ok()?, total.parse().ok()?))
    });
    let (number, total) = number.unwrap_or((1, 1));
    Some((version.unwrap_or(1), number, total)).filter(|t| t.1 > 0)
}

fn read_rows(text: &str) -> Vec<Row> {
    let row = |line: &str| {
        let f: Vec<&str> = line.split('\t').collect();
        Row {
            root: f[0].trim_matches(['<', '>']).to_owned(),
            version: f[1].parse().unwrap(),
            total: f[2].parse().unwrap(),
            date: f[3].parse().unwrap(),
            base: f[4].to_owned(),
            applies: f[6] == "1",
            tree: f[7].to_owned(),
        }
    };
    text.lines().skip(1).map(row).collect()
}

/// The first mail of each number, by (root, version, total).
type Threads<'a> = HashMap<(String, usize, usize), Vec<(usize, &'a Message, &'a [u8])>>;

fn group<'a>(mails: &'a [(Message, Vec<u8>)]) -> Threads<'a> {
    let mut threads = Threads::new();
    for (message, bytes) in mails {
        let Some((version, number, total)) = tag(&message.subject) else {
            continue;
        };
        let references = message
            .header("References")
            .or(message.header("In-Reply-To"))
            .unwrap_or_default();
        let first = references.split(['<', '>']).nth(1).map(str::to_owned);
        let own = message.message_id.to_string();
        let root = if total > 1 { first.unwrap_or(own) } else { own };
        threads
            .entry((root, version, total))
            .or_default()
            .push((number, message, bytes));
    }
    threads
}

/// The mails of a row in order; `None` if they are not complete.
fn series(threads: &Threads, row: &Row) -> Option<Vec<Vec<u8>>> {
    let found = threads.get(&(row.root.clone(), row.version, row.total))?;
    let first = found
        .iter()
        .find(|(n, m, _)| *n == 1 && m.date.is_some_and(|d| d.secs() == row.date))?;
    let author = first.1.author().address.to_lowercase();
    let mut slots: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    for (number, message, bytes) in found {
        if message.author().address.to_lowercase() == author {
            slots.entry(*number).or_insert_with(|| bytes.to_vec());
        }
    }
    (slots.len() == row.total).then(|| slots.into_values().collect())
}

/// Series that are applied here and that `git am` refuses, each with why that is right.
const APPLIED_HERE_ONLY: [(&str, &str); 1] = [(
    "aCUNtrN_-RGv7PNq@14-5A-FC-31-E8-67 v1",
    "the text begins with the whole output of git format-patch: at its first line `From a442c879… 2001` git mailsplit cuts the mail \
     in two, the first without a patch; git mailinfo, given the mail as one, finds the same patch as is found here",
)];

/// For each series the same commits as real git makes: tree, author, date, message. The trees are those of the corpus, too.
#[test]
fn series_of_a_kernel_list_become_the_commits_that_git_am_makes() {
    let Some(corpus) = corpus_for("series of a kernel list, against git am") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let code = unbundle(&corpus.join("selinux-code.bundle"), dir.path());
    let mails: Vec<(Message, Vec<u8>)> = list_mails(dir.path())
        .into_iter()
        .map(|m| (parse(&m.bytes), m.bytes))
        .collect();
    let threads = group(&mails);
    let text = std::fs::read_to_string(corpus.join("selinux-git-am.tsv")).unwrap();
    // Real `git am` needs a checkout for each: all of them take half an hour.
    let step = [24, 12, 1][size() - 1];
    let (mut applied, mut wanted, mut refused) = (0, 0, 0);
    let (mut here_only, mut wrong) = (0, Vec::new());
    for row in read_rows(&text).into_iter().step_by(step) {
        let mails = series(&threads, &row)
            .unwrap_or_else(|| panic!("the mails of {} are not complete", row.root));
        let pair = Pair::new(Some(&code));
        let name = format!("{} v{}", row.root, row.version);
        wanted += usize::from(row.applies);
        match pair.agree(&row.base, &mails, Fallback::ThreeWay) {
            Ok(Ok(commit)) if row.applies => {
                // The checkout stands on what real git made: the same commit.
                let tree = pair.git(&["rev-parse", &format!("{commit}^{{tree}}")]);
                if tree == row.tree {
                    applied += 1;
                } else {
                    wrong.push(format!("{name}: tree {tree}, the corpus says {}", row.tree));
                }
            }
            Ok(Err(_)) if !row.applies => refused += 1,
            Ok(other) => wrong.push(format!("{name}: both say {other:?}, the corpus does not")),
            Err(why)
                if why.contains("we: Ok") && APPLIED_HERE_ONLY.iter().any(|(n, _)| *n == name) =>
            {
                here_only += 1
            }
            Err(why) => wrong.push(format!("{name}: {why}")),
        }
    }
    for (name, why) in APPLIED_HERE_ONLY {
        report(&format!(
            "am, kernel list, applied here only: {name}: {why}"
        ));
    }
    report(&format!(
        "am, kernel list: {applied} of {wanted} series that git am -3 applies are the same commits, {refused} refused as by git, {here_only} applied here only"
    ));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(applied > 0 && applied == wanted);
    // Which series the small sizes look at is no choice of theirs: at full size it is all of them.
    assert!(step > 1 || wanted == 257, "{wanted} of 257 wanted");
    // A reason that no series needs any more is taken out.
    assert!(step > 1 || here_only == APPLIED_HERE_ONLY.len());
}
