//! The corpus of b4, row by row of its manifest: what `series mbox` writes is what `b4 am` writes, byte for byte, or becomes the
//! commits that `b4 shazam` makes; covers and trailers are found as it finds them.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use patchpost::patchset::parse_trailers;

use super::harness::{TestServer, corpus_for, report};
use super::real_mail::{feed, plain_git, unbundle};

const OWN: &str = "--signoff=Test Override <test-override@example.com>";
const MASK: &str = "--link=https://patch.msgid.link/%s";

/// (mailbox, reference, options): both without `trailers-followup-` and their endings.
const FOLDED: [(&str, &str, &[&str]); 22] = [
    ("single", "single-ref-defaults", &[]),
    ("single", "single-ref-noadd", &["--no-trailers"]),
    ("single", "single-ref-addmysob", &[OWN]),
    ("single", "single-ref-copyccs", &[OWN, "--copy-cc"]),
    ("single", "single-ref-addlink", &[OWN, MASK]),
    ("single", "single-ref-addmsgid", &[OWN, "--message-id"]),
    (
        "single",
        "single-ref-ordered",
        &[OWN, "--copy-cc", "--order=Cc,Tested*,Reviewed*,*"],
    ),
    ("single", "single-ref-sloppy", &[OWN, "--sloppy"]),
    ("with-cover", "with-cover-ref-defaults", &[OWN]),
    ("with-cover", "with-cover-ref-addlink", &[OWN, MASK]),
    ("custody", "custody-ref-unordered", &[OWN, "--copy-cc"]),
    (
        "custody",
        "custody-ref-ordered",
        &[
            OWN,
            "--copy-cc",
            "--order=Cc,Fixes*,Link*,Suggested*,Reviewed*,Tested*,*",
        ],
    ),
    (
        "custody",
        "custody-ref-with-ignored",
        &[OWN, "--copy-cc", "--ignore=followup-reviewer1@example.com"],
    ),
    ("partial-reroll", "partial-reroll-ref-defaults", &[OWN]),
    ("nore", "nore-ref-defaults", &[]),
    ("non-git-patch", "non-git-patch-ref-defaults", &[]),
    (
        "non-git-patch-with-comments",
        "non-git-patch-with-comments-ref-defaults",
        &[],
    ),
    ("with-diffstat", "with-diffstat-ref-defaults", &[]),
    ("name-parens", "name-parens-ref-defaults", &[]),
    ("bare-address", "bare-address-ref-defaults", &[]),
    ("stripped-lines", "stripped-lines-ref-defaults", &[]),
    ("htmljunk", "htmljunk-ref-defaults", &[]),
];

fn samples(what: &str) -> Option<PathBuf> {
    Some(corpus_for(what)?.join("b4/samples"))
}

/// Imports a mailbox into a list, and so a realm, of its own; its newest patchset.
fn import(server: &TestServer, list: &str, mbox: &Path) -> serde_json::Value {
    server.cli(&["list", "create", list, "--private"]);
    let path = mbox.display().to_string();
    server.cli(&["import", list, &path, "--format", "mbox"]);
    server.drain();
    let all = server.json(&["series", "ls", list]);
    let number = all[0]["patchset"]
        .as_i64()
        .unwrap_or_else(|| panic!("{path}: no series"));
    let shown = server.json(&["series", "show", &number.to_string()]);
    shown.as_array().unwrap().last().unwrap().clone()
}

/// Rows that are not about what is sent, grouped and exported: (file, start of the options or of the behaviour, why).
const NOT_FOLLOWED: [(&str, &str, &str); 10] = [
    (
        "shazam-git1-just-series.mbox",
        "-M",
        "a merge commit is made by the one who merges, of commits that are fetched from here",
    ),
    (
        "trailers-thread-with-followups.mbox",
        "word vivendum",
        "about a local branch that has other changes than the mails",
    ),
    (
        "trailers-thread-with-followups.mbox",
        "--fuzzy",
        "about a local branch that has other changes than the mails",
    ),
    (
        "trailers-thread-with-followups.mbox",
        "local repo",
        "about the messages of a local branch",
    ),
    ("sevenbitify-1.verify", "", "no test of b4 names it"),
    (
        "gpg-good-valid-trusted.txt",
        "",
        "OpenPGP signatures inside of mails are not looked at",
    ),
    (
        "gpg-good-valid-notrust.txt",
        "",
        "OpenPGP signatures inside of mails are not looked at",
    ),
    (
        "gpg-good-invalid-notrust.txt",
        "",
        "OpenPGP signatures inside of mails are not looked at",
    ),
    (
        "gpg-badsig.txt",
        "",
        "OpenPGP signatures inside of mails are not looked at",
    ),
    (
        "gpg-no-pubkey.txt",
        "",
        "OpenPGP signatures inside of mails are not looked at",
    ),
];

/// A row of the manifest.
struct Row<'a> {
    file: &'a str,
    options: &'a str,
    expected: &'a str,
}

impl Row<'_> {
    fn read(line: &str) -> Row<'_> {
        let fields: Vec<&str> = line.split('\t').collect();
        Row {
            file: fields[0].strip_prefix("samples/").unwrap(),
            options: fields[3],
            expected: fields[4],
        }
    }

    fn is_not_followed(&self) -> bool {
        let named = |n: &&(&str, &str, &str)| n.0 == self.file && self.options.starts_with(n.1);
        NOT_FOLLOWED.iter().any(|n| named(&n))
    }
}

/// A server that has read some of the mailboxes, each into a realm of its own.
struct Box4 {
    server: TestServer,
    samples: PathBuf,
    numbers: HashMap<String, String>,
}

impl Box4 {
    /// The newest patchset of a mailbox.
    fn patchset(&mut self, file: &str) -> String {
        if let Some(number) = self.numbers.get(file) {
            return number.clone();
        }
        let list = format!("b{}", self.numbers.len());
        let series = import(&self.server, &list, &self.samples.join(file));
        let number = series["patchset"].to_string();
        self.numbers.insert(file.to_owned(), number.clone());
        number
    }

    fn newest(&mut self, file: &str) -> serde_json::Value {
        let number = self.patchset(file);
        let shown = self.server.json(&["series", "show", &number]);
        shown.as_array().unwrap().last().unwrap().clone()
    }

    fn mbox(&mut self, file: &str, options: &[&str]) -> String {
        let number = self.patchset(file);
        let words = [&["series", "mbox", number.as_str()], options].concat();
        self.server.cli(&words)
    }

    /// The commits that `git am` makes of what is exported, on the repository of b4's tests, newest first.
    fn log(&mut self, file: &str, options: &[&str], format: &str) -> String {
        let mbox = self.mbox(file, options);
        let dir = tempfile::tempdir_in(self.server.dir.path()).unwrap();
        let code = unbundle(&self.samples.join("gitdir.bundle"), dir.path());
        let git = |at: &Path, words: &[&str], input: &[u8]| {
            let mut command = plain_git(at);
            let who = ["GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"];
            let whose = ["Test Override", "test-override@example.com"];
            command.args(words).envs(who.into_iter().zip(whose));
            let (fine, out, said) = feed(&mut command, input);
            assert!(fine, "{words:?}: {said}");
            String::from_utf8(out).unwrap()
        };
        let source = code.display().to_string();
        git(dir.path(), &["clone", "-q", &source, "work"], b"");
        let work = dir.path().join("work");
        git(&work, &["am", "-q"], mbox.as_bytes());
        let format = format!("--format={format}");
        git(&work, &["log", &format, "HEAD...origin/HEAD"], b"")
    }

    fn reference(&self, name: &str) -> String {
        std::fs::read_to_string(self.samples.join(name)).unwrap()
    }

    /// What must come out of a row, and what does.
    fn outcome(&mut self, row: &Row) -> (String, String) {
        if let Some((_, name)) = row.expected.split_once("byte-equal to ") {
            return self.folded(row.file, name);
        }
        let (linked, signed) = ("shazam-git1-just-series-addlink.verify", &[OWN][..]);
        let shazam = "%ae%n%ce%n%s%n%b---";
        let local = "%ae%n%s%n%b---";
        let verify = |name: &str| name.replace(".mbox", ".verify");
        match (row.file, row.options) {
            ("shazam-git1-just-series.mbox", "none or -H") => (
                self.reference("shazam-git1-just-series-defaults.verify"),
                self.log(row.file, &[], shazam),
            ),
            (_, "--add-link") => (self.reference(linked), self.log(row.file, &[MASK], shazam)),
            (_, "--signoff") => (
                self.reference(&verify(row.file)),
                self.log(row.file, signed, local),
            ),
            ("gitdir.bundle", _) => ("applies: true, 4 commits".to_owned(), self.applied()),
            ("trailers-followup-already-present.mbox", _) => (
                "1: Tested-by: Someone Else <someone-else@example.com> (claim)".to_owned(),
                given(&self.newest(row.file)).join("\n"),
            ),
            ("naked-cover-single.mbox", _) => (
                "cover: true, title: do a thing to the widget subsystem".to_owned(),
                cover(&self.newest(row.file)),
            ),
            ("naked-cover-bugreport.mbox", _) => (
                "cover: false, title: widget: fix data corruption under load".to_owned(),
                cover(&self.newest(row.file)),
            ),
            ("trailers-test-simple.txt", _) => (SIMPLE.join("\n"), self.trailers(row.file)),
            ("trailers-test-extinfo.txt", _) => (EXTENDED.join("\n"), self.trailers(row.file)),
            ("save-7bit-clean.txt" | "save-8bit-clean.txt", _) => {
                ("From: Unicôdé".to_owned(), self.saved(row.file))
            }
            _ => ("a way to judge this row".to_owned(), "none".to_owned()),
        }
    }

    fn folded(&mut self, file: &str, name: &str) -> (String, String) {
        let reference = name.strip_prefix("trailers-followup-").unwrap();
        let reference = reference.strip_suffix(".txt").unwrap();
        let known = FOLDED.iter().find(|(_, r, _)| *r == reference);
        let Some((mbox, _, options)) = known else {
            return ("options for this reference".to_owned(), "none".to_owned());
        };
        assert_eq!(file, format!("trailers-followup-{mbox}.mbox"));
        let got = self.mbox(file, options);
        // In any number of runs, and asked for by its label, the same.
        let newest = self.newest(file)["version"].as_str().unwrap().to_owned();
        let labelled = format!("--version={newest}");
        let again = [options, &[labelled.as_str()][..]].concat();
        assert_eq!(self.mbox(file, &again), got, "{name}");
        (self.reference(name), got)
    }

    /// The series applied by the server itself, on the repository of b4's tests.
    fn applied(&self) -> String {
        let code = unbundle(&self.samples.join("gitdir.bundle"), self.server.dir.path());
        let path = code.display().to_string();
        self.server.cli(&["repo", "add", "lipsum", "--path", &path]);
        let create = ["list", "create", "open", "--repo", "lipsum"];
        self.server.cli(&create);
        let mbox = self.samples.join("shazam-git1-just-series.mbox");
        self.server
            .cli(&["import", "open", &mbox.display().to_string()]);
        self.server.drain();
        let one = &self.server.json(&["series", "ls", "open"])[0];
        let companion = self.server.data().join("repos/lipsum.patches.git");
        let range = format!(
            "{}..{}",
            one["base"].as_str().unwrap_or("none"),
            one["ref"].as_str().unwrap_or("none")
        );
        let count = super::harness::git(&companion, &["rev-list", "--count", &range]);
        format!("applies: {}, {count} commits", one["applies"])
    }

    fn trailers(&self, file: &str) -> String {
        let bytes = std::fs::read(self.samples.join(file)).unwrap();
        let message = patchpost::mail::parse(&bytes);
        let found = parse_trailers(&message.text);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        found.join("\n")
    }

    /// The first words of the author's field of a mail that has got a diff, as it is exported.
    fn saved(&mut self, file: &str) -> String {
        let diff = "---\n\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n";
        let mail = self.reference(file);
        let path = self.server.dir.path().join(file);
        std::fs::write(&path, format!("{}\n{diff}", mail.trim_end())).unwrap();
        let list = file.split('-').nth(1).unwrap();
        let series = import(&self.server, list, &path);
        let number = series["patchset"].to_string();
        let out = self.server.cli(&["series", "mbox", &number]);
        let line = out.lines().find(|l| l.starts_with("From: "));
        let words: Vec<&str> = line.unwrap_or_default().split(' ').take(2).collect();
        words.join(" ")
    }
}

fn cover(series: &serde_json::Value) -> String {
    let title = series["title"].as_str().unwrap();
    format!("cover: {}, title: {title}", series["cover"].is_string())
}

const SIMPLE: [&str; 4] = [
    "Reported-by: \"Doe, Jane\" <jane@example.com>",
    "Reviewed-by: Bogus Bupkes <bogus@example.com>",
    "Fixes: abcdef01234567890",
    "Link: https://msgid.link/some@msgid.here",
];
const EXTENDED: [&str; 6] = [
    "Reported-by: Some, One <somewhere@example.com>",
    "Reviewed-by: Bogus Bupkes <bogus@example.com>\n[for the parts that are bogus]",
    "Fixes: abcdef01234567890",
    "Tested-by: Some Person <bogus2@example.com>\n           [this person visually indented theirs]",
    "Link: https://msgid.link/some@msgid.here  # initial submission",
    "Signed-off-by: Wrapped Persontrailer <broken@example.com>",
];

#[test]
fn every_row_of_b4s_manifest_on_grouping_covers_and_trailers_comes_out_as_it_should() {
    let Some(samples) = samples("rows of b4's manifest") else {
        return;
    };
    let manifest = std::fs::read_to_string(samples.join("../manifest.tsv")).unwrap();
    let rows: Vec<Row> = manifest.lines().skip(1).map(Row::read).collect();
    // Each reference of the corpus is some row's, and has its options here.
    let named = |name: &str| name.starts_with("trailers-followup-") && name.contains("-ref-");
    let files = std::fs::read_dir(&samples).unwrap().flatten();
    let names = files.map(|f| f.file_name().to_string_lossy().into_owned());
    let references: BTreeSet<String> = names.filter(|n| named(n)).collect();
    let table = FOLDED.map(|(_, r, _)| format!("trailers-followup-{r}.txt"));
    assert_eq!(BTreeSet::from(table), references);
    let mut box4 = Box4 {
        server: TestServer::start(),
        samples,
        numbers: HashMap::new(),
    };
    let (mut right, mut equal, mut wrong) = (0, 0, Vec::new());
    let (skipped, judged): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|r| r.is_not_followed());
    for row in &judged {
        let (expected, got) = box4.outcome(row);
        if got == expected {
            right += 1;
            equal += usize::from(row.expected.contains("byte-equal to "));
            continue;
        }
        wrong.push(format!(
            "== {} ({}): {}\nexpected\n{expected}\ngot\n{got}\n",
            row.file, row.options, row.expected
        ));
    }
    report(&format!(
        "b4 manifest: {right}/{} rows on grouping, covers and trailers as they should be, {} more not followed (fixtures/manifest/README.md says why)",
        judged.len(),
        skipped.len()
    ));
    report(&format!(
        "b4 manifest: {equal}/{} references trailers-followup-* byte-equal",
        references.len()
    ));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        skipped.len(),
        NOT_FOLLOWED.len(),
        "each reason is some row's"
    );
    assert_eq!(equal, references.len());
}

/// What each patch was given: `number: Name value (claim)`.
fn given(series: &serde_json::Value) -> Vec<String> {
    let mut out = Vec::new();
    for patch in series["patches"].as_array().unwrap() {
        for t in patch["trailers"].as_array().unwrap() {
            if t["message_id"].is_null() {
                continue;
            }
            let claim = if t["matches"] == true { "" } else { " (claim)" };
            let (name, value) = (t["name"].as_str().unwrap(), t["value"].as_str().unwrap());
            out.push(format!("{}: {name}: {value}{claim}", patch["number"]));
        }
    }
    out
}

#[test]
fn replies_give_trailers_to_the_patch_or_to_all_and_strangers_only_claim() {
    let Some(samples) = samples("trailers of b4's replies") else {
        return;
    };
    let server = TestServer::start();
    let check = |list: &str, file: &str, expected: &[&str]| {
        let series = import(&server, list, &samples.join(file));
        assert_eq!(given(&series), expected, "{file}");
        series
    };
    // The page says it, too: lists of their own are shown to nobody, so this one is public.
    server.cli(&["list", "create", "open"]);
    let file = samples.join("trailers-followup-with-cover.mbox");
    server.cli(&["import", "open", &file.display().to_string()]);
    server.drain();
    let number = &server.json(&["series", "ls", "open"])[0]["patchset"];
    let page = server.page(&format!("/open/patches/{number}/"));
    for words in [
        "1 ack<",
        "Reviewed-by <bdi>Followup Reviewer1</bdi></a> (patch 2)",
        "Reviewed-by <bdi>Coverletter Reviewer1</bdi></a> (all patches)",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    // Everything restated is in the patch already.
    check(
        "present",
        "trailers-followup-already-present.mbox",
        &["1: Tested-by: Someone Else <someone-else@example.com> (claim)"],
    );
    let one = check("one", "trailers-thread-with-followups.mbox", &ONE_REPLY);
    assert_eq!((&one["total"], &one["complete"]), (&4.into(), &true.into()));
    check(
        "cover",
        "trailers-thread-with-cover-followup.mbox",
        &COVER_REPLY,
    );
}

const ONE_REPLY: [&str; 1] = ["4: Reviewed-by: Follow Upper <follow.upper@example.org>"];
const COVER_REPLY: [&str; 7] = [
    "1: Reviewed-by: Cover Upper <cover.upper@example.org>",
    "2: Reviewed-by: Cover Upper <cover.upper@example.org>",
    "3: Reviewed-by: Cover Upper <cover.upper@example.org>",
    "4: Tested-by: Follow Upper <follow.upper@example.org>",
    "4: Link: https://example.org",
    "4: Closes: https://example.org/bug/1234",
    "4: Reviewed-by: Cover Upper <cover.upper@example.org>",
];
