//! The corpus of Patchwork's own test mails and of probes: each row of its manifest comes out as that row says.
//!
//! `fixtures/manifest/patchwork.txt` holds, for each row, what must come out; `fixtures/manifest/README.md` says how it
//! was made out of the manifest and where a row is not followed.

pub mod story;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use patchpost::diff::mailinfo::mailinfo;

use super::harness::{TestServer, corpus_for, git, report};
use story::Story;

const EXPECTED: &str = include_str!("../../fixtures/manifest/patchwork.txt");

/// Blocks of `== file` and lines below.
fn expectations() -> HashMap<&'static str, &'static str> {
    let mut found = HashMap::new();
    for block in EXPECTED.split("== ").skip(1) {
        let (name, text) = block.split_once('\n').unwrap();
        let old = found.insert(name.trim(), text.trim());
        assert!(old.is_none(), "{name} stands twice");
    }
    found
}

#[test]
fn every_row_of_patchworks_manifest_comes_out_as_it_should() {
    let Some(corpus) = corpus_for("rows of Patchwork's manifest") else {
        return;
    };
    let folder = corpus.join("patchwork");
    let manifest = std::fs::read_to_string(folder.join("manifest.tsv")).unwrap();
    let expected = expectations();
    let mut score: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut wrong = Vec::new();
    let rows: Vec<&str> = manifest.lines().skip(1).collect();
    for row in &rows {
        let name = row.split('\t').next().unwrap();
        let (kind, _) = name.split_once('/').unwrap();
        let found = outcome(&folder, name);
        let (right, all) = score.entry(kind).or_default();
        *all += 1;
        let wanted = expected.get(name).copied().unwrap_or("no expectation");
        if found.trim() == wanted {
            *right += 1;
        } else {
            let should = row.rsplit('\t').next().unwrap();
            let got = found.trim();
            wrong.push(format!(
                "== {name}: {should}\nexpected\n{wanted}\ngot\n{got}\n"
            ));
        }
    }
    let sum = score.values().fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    let words = score
        .iter()
        .map(|(kind, (right, all))| format!("{kind} {right}/{all}"));
    let words = words.collect::<Vec<_>>().join(", ");
    report(&format!(
        "patchwork manifest: {}/{} rows as they should be ({words})",
        sum.0, sum.1
    ));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(rows.len(), expected.len(), "every row has its expectation");
}

/// What comes out of one file, in the words of the fixture.
fn outcome(folder: &Path, name: &str) -> String {
    let bytes = std::fs::read(folder.join(name)).unwrap();
    if name.starts_with("patches/") {
        return built_mails(&bytes);
    }
    if name.ends_with(".template") {
        return filled_template(folder, &bytes);
    }
    let story = Story::of(&bytes);
    if name.starts_with("fuzz/") {
        // What such a mail is matters to nobody; that it is kept under a name does.
        let named = story
            .messages
            .iter()
            .all(|m| !m.message_id.as_str().is_empty());
        return format!("{} mail kept, named: {named}", story.messages.len());
    }
    let grown = match name.contains("out-of-order") {
        true => render_growth(&bytes),
        false => String::new(),
    };
    let parts = [story.render(), grown, story.render_contents()];
    parts.concat() + &story.render_dependencies()
}

/// What there is after each mail but the last: pages show a series from its first mail on.
fn render_growth(mbox: &[u8]) -> String {
    let reader = patchpost::mail::mbox::Reader::new(mbox);
    let mails: Vec<Vec<u8>> = reader.map(|m| m.unwrap()).collect();
    let after = |n: usize| {
        let story = Story::of_mails(&mails[..n]).render();
        let sets = story.split_once('\n').map_or("", |(_, sets)| sets);
        format!("\nafter m{n}\n  {}", sets.replace('\n', "\n  "))
    };
    (1..mails.len()).map(after).collect()
}

/// A diff in mails of all shapes that people send: the diff found is the file's, with the message above it.
fn built_mails(diff: &[u8]) -> String {
    let diff = String::from_utf8(diff.to_vec()).unwrap();
    let head = "From: A <a@example.org>\nMessage-ID: <p@example.org>\nSubject: [PATCH] x\nMIME-Version: 1.0\n";
    let plain = format!("{head}Content-Type: text/plain; charset=utf-8\n\n");
    let part = |kind: &str| {
        format!(
            "{head}Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\n\nWords.\n\n\
             --b\nContent-Type: {kind}; charset=utf-8\n\n{diff}\n--b--\n"
        )
    };
    let mails = [
        ("bare", format!("{plain}{diff}")),
        ("inline", format!("{plain}Words.\n\n{diff}")),
        (
            "with a signature",
            format!("{plain}Words.\n\n{diff}-- \n2.40.0\n"),
        ),
        (
            "with a list's footer",
            format!("{plain}Words.\n\n{diff}\n_______________________\nlist@example.org\n"),
        ),
        (
            "with notes",
            format!("{plain}Words.\n---\nUpdate: new words\n\n{diff}"),
        ),
        (
            "with words like diff",
            format!("{plain}difficult words\ndiff is one\n--- or so\n\n{diff}"),
        ),
        ("as text/x-patch", part("text/x-patch")),
        ("as text/x-diff", part("text/x-diff")),
    ];
    let line = |(shape, mail): &(&str, String)| {
        let mail = mail.as_bytes();
        let story = Story::of_mails(&[mail.to_vec()]);
        let facts = &story.inputs[0].recognised;
        let letter = mailinfo(mail).unwrap();
        let patch = String::from_utf8(letter.patch).unwrap();
        // The diff to the byte, and what else stands with it.
        let around = patch.split_once(&diff);
        let around = around.map_or("not whole".to_owned(), |(above, below)| {
            format!("whole, above {above:?}, below {below:?}")
        });
        let shown = patchpost::patchset::patch_text(&story.messages[0]);
        format!(
            "{shape}: {}, files {:?}, blobs {:?}, {:?} lines, message {:?}, diff {around}, shown whole: {}",
            facts.kind.as_str(),
            facts.files,
            facts.blobs,
            facts.stat,
            letter.message,
            shown.is_some_and(|text| text.matches(&diff).count() == 1)
        )
    };
    mails.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Series that depend on those of two other files, named by Message-ID or by the URL of an archive.
fn filled_template(folder: &Path, template: &[u8]) -> String {
    let read = |name: &str| std::fs::read(folder.join("series").join(name)).unwrap();
    let bases = [
        read("dependency-base-patch.mbox"),
        read("base-cover-letter.mbox"),
    ];
    let [base, other] = [0, 1].map(|n| Story::of(&bases[n]));
    let name = |n: usize| format!("<{}>", base.messages[n].message_id);
    let of_other = |n: usize| format!("<{}>", other.messages[n].message_id);
    let url = |n: usize| {
        format!(
            "https://lists.example.org/dev/{}/",
            base.messages[n].message_id
        )
    };
    let template = String::from_utf8(template.to_vec()).unwrap();
    let own = Story::of(template.as_bytes()).messages[0]
        .message_id
        .clone();
    let fillings = [
        ("the cover", name(0), name(0)),
        ("patch 1 and patch 2", name(1), name(2)),
        ("URLs of the cover and of patch 2", url(0), url(2)),
        ("one series and another", name(0), of_other(2)),
        ("the other series first", of_other(0), url(1)),
        ("itself", format!("<{own}>"), format!("<{own}>")),
        ("an unknown mail", "<not@here.example>".to_owned(), name(1)),
    ];
    let mut out = Story::of(template.as_bytes()).render();
    for (what, one, two) in fillings {
        let filled = template
            .replace("{depends_token}", &one)
            .replace("{depends_token_1}", &one)
            .replace("{depends_token_2}", &two);
        let all = [
            &bases[0][..],
            b"\n",
            &bases[1][..],
            b"\n",
            filled.as_bytes(),
        ]
        .concat();
        out.push_str(&format!(
            "\nnaming {what}:{}",
            Story::of(&all).render_dependencies()
        ));
    }
    out
}

/// Rows that speak of archiving, states, authors of commits and of two lists need the whole program.
#[test]
fn rows_that_need_the_whole_program_come_out_as_they_should() {
    let Some(corpus) = corpus_for("rows of Patchwork's manifest through the whole program") else {
        return;
    };
    let folder = corpus.join("patchwork");
    let server = TestServer::start();
    // The probes use the same Message-IDs again and again: each gets a realm of its own.
    let import = |list: &str, file: &str| {
        server.cli(&["list", "create", list, "--private"]);
        let path = folder.join(file).display().to_string();
        server.cli(&["import", list, &path, "--format", "mbox"])
    };
    let mut kept = 0;
    let mut files: Vec<_> = std::fs::read_dir(folder.join("fuzz"))
        .unwrap()
        .flatten()
        .collect();
    files.sort_by_key(std::fs::DirEntry::file_name);
    server.cli(&["list", "create", "wire", "--address", "wire@x.org"]);
    for (n, file) in files.iter().enumerate() {
        let name = format!("fuzz/{}", file.file_name().display());
        let said = import(&format!("f{n}"), &name);
        kept += usize::from(said.contains("1 mail read: 1 new"));
        let bytes = std::fs::read(file.path()).unwrap();
        let reply = server.send(&["wire@x.org"], &bytes);
        // NUL and bare CR are never taken from the wire (DESIGN 6); all else of strangers is.
        let forbidden = bytes.contains(&0) || bytes.contains(&b'\r');
        let wanted = if forbidden { "550 5.5.2" } else { "250" };
        assert!(reply.starts_with(wanted), "{name}: {reply}");
    }
    assert_eq!(kept, files.len(), "all are archived by import");

    import("state", "probes/23-x-patchwork-state-accepted.mbox");
    import("acks", "probes/30-trailer-replies.mbox");
    server.cli(&["list", "create", "one"]);
    server.cli(&["list", "create", "two"]);
    let both = folder.join("probes/37-same-cover-two-lists-with-refs.mbox");
    for list in ["one", "two"] {
        server.cli(&["import", list, &both.display().to_string()]);
    }
    server.drain();
    assert_eq!(server.json(&["series", "ls", "state"])[0]["state"], "new");
    // Trailers in replies, that to the cover for every patch: claims here, as they name others than the sender.
    let number = server.json(&["series", "ls", "acks"])[0]["patchset"].to_string();
    let added = [
        "Acked-by: Ack <ack@example.org>\n",
        "Co-developed-by: Co <co@example.org>\n",
        "Reviewed-by: Rev <rev@example.org>\n",
    ];
    let plain = server.cli(&["series", "mbox", &number]);
    assert!(added.iter().all(|t| !plain.contains(t)), "{plain}");
    let sloppy = server.cli(&["series", "mbox", &number, "--sloppy"]);
    assert!(added.iter().all(|t| sloppy.contains(t)), "{sloppy}");
    assert!(!sloppy.contains("q@example.org"), "quoted: {sloppy}");
    for list in ["one", "two"] {
        let all = server.json(&["series", "ls", list]);
        assert_eq!(all.as_array().unwrap().len(), 1, "{list}: {all}");
        assert_eq!(all[0]["cover"], "x0@example.org", "{list}");
        assert_eq!(all[0]["version"], "2", "{list}");
    }
}

/// The author of a commit is who the body says; the submitter is who sent it.
#[test]
fn an_author_in_the_body_is_the_commits_and_the_sender_stays_the_submitter() {
    let Some(corpus) = corpus_for("an author in the body, of Patchwork's manifest") else {
        return;
    };
    let server = TestServer::start();
    let work = server.dir.path().join("work");
    std::fs::create_dir(&work).unwrap();
    git(&work, &["init", "-q", "-b", "main"]);
    std::fs::write(work.join("a.txt"), "foo\n").unwrap();
    git(&work, &["add", "a.txt"]);
    git(&work, &["commit", "-q", "-m", "base"]);
    server.cli(&["repo", "add", "proj", "--path", &work.display().to_string()]);
    server.cli(&["list", "create", "dev", "--repo", "proj"]);
    let mbox = corpus.join("patchwork/probes/32-in-body-from.mbox");
    server.cli(&["import", "dev", &mbox.display().to_string()]);
    server.drain();
    let all = server.json(&["series", "ls", "dev"]);
    assert_eq!(all[0]["applies"], true, "{all}");
    assert_eq!(all[0]["submitter"], "author@example.org");
    let name = all[0]["ref"].as_str().unwrap();
    let companion = server.data().join("repos/proj.patches.git");
    assert_eq!(
        git(&companion, &["log", "-1", "--format=%an <%ae>", name]),
        "Real Author <real@example.org>"
    );
}
