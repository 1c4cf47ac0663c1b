//! G05: what patches of monstrous size cost. Each is done, or refused by the limit that is meant for it and no other: hunks fit,
//! and where an id is claimed it is the right one. The real command must stay within memory and work.

use std::fmt::Write as _;
use std::path::PathBuf;

use sha1::{Digest, Sha1};

use super::{bare_beside, snapshot};
use crate::harness::{report, size};
use crate::real_mail::{feed, plain_git};
use crate::tools;

const MIB: usize = 1 << 20;

/// Several times what any case takes in a build that is not optimised, but those that end by the work that is counted.
const CPU_SECONDS: f64 = 12.0;
/// Several times what all the work takes that a series may cause.
const ALL_CPU_SECONDS: f64 = 400.0;

/// Files of the folder `r/`, each of which a patch may rename.
const SMALL_FILES: usize = 10_000;
/// Files that are elsewhere, and changed, in the base.
const MOVED_FILES: usize = 2_500;

/// A repository with files to be monstrous about, and the command to apply mails on it.
struct Field {
    dir: tempfile::TempDir,
    bare: PathBuf,
    base: String,
    /// Path and blob of each file that the base has no more.
    moved: Vec<(String, String)>,
    /// A case each: name, peak memory in MiB, CPU seconds.
    costs: Vec<(String, u64, f64)>,
    /// CPU seconds that are enough for a case.
    enough: f64,
}

fn numbered(count: usize) -> String {
    (1..=count).map(|n| format!("l {n}\n")).collect()
}

/// As many files as this many equal lines; a line that is found behind them, and where the file goes on.
fn equal_lines(count: usize) -> String {
    format!("{}mark\n{}", "same\n".repeat(count), numbered(3))
}

fn seed() -> Vec<u8> {
    let mut state = 1u32;
    let byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(byte).take(1 << 16).collect()
}

fn words_of(file: usize, from: usize) -> String {
    (from..from + 200)
        .map(|n| format!("{:05} of {file:05}\n", n * 7919 % 100_003))
        .collect()
}

impl Field {
    fn new() -> Field {
        let dir = tempfile::tempdir().unwrap();
        let bare = dir.path().join("repo.git");
        std::fs::create_dir(&bare).unwrap();
        bare_beside(&bare, dir.path());
        let mut script = Vec::new();
        let file = |script: &mut Vec<u8>, path: &str, content: &[u8]| {
            script.extend(format!("M 100644 inline {path}\ndata {}\n", content.len()).bytes());
            script.extend(content);
            script.push(b'\n');
        };
        let commit = "commit refs/heads/main\ncommitter C <c@x.org> 1 +0000\ndata 1\nx\n";
        script.extend(commit.bytes());
        file(&mut script, "lines", numbered(700_000).as_bytes());
        file(&mut script, "same", "same\n".repeat(60_000).as_bytes());
        for n in 0..4 {
            file(
                &mut script,
                &format!("far{n}"),
                equal_lines(25_000).as_bytes(),
            );
        }
        file(&mut script, "seed", &seed());
        for n in 0..SMALL_FILES {
            file(&mut script, &format!("r/{n}"), format!("{n}\n").as_bytes());
        }
        for n in 0..MOVED_FILES {
            file(&mut script, &format!("old/{n}"), words_of(n, 0).as_bytes());
        }
        script.extend(commit.bytes());
        script.extend(b"D old\n");
        for n in 0..MOVED_FILES {
            file(
                &mut script,
                &format!("new/_{n}"),
                words_of(n, 5_000).as_bytes(),
            );
        }
        let (fine, _, said) = feed(plain_git(&bare).args(["fast-import", "--quiet"]), &script);
        assert!(fine, "{said}");
        let git = |arguments: &[&str]| {
            let (fine, out, said) = feed(plain_git(&bare).args(arguments), b"");
            assert!(fine, "{said}");
            String::from_utf8(out).unwrap().trim().to_owned()
        };
        let listed = git(&["ls-tree", "-r", "main~1", "old/"]);
        let row = |line: &str| {
            let (facts, path) = line.split_once('\t').unwrap();
            (
                path.to_owned(),
                facts.rsplit(' ').next().unwrap().to_owned(),
            )
        };
        Field {
            base: git(&["rev-parse", "main"]),
            moved: listed.lines().map(row).collect(),
            bare,
            dir,
            costs: Vec::new(),
            enough: CPU_SECONDS,
        }
    }

    /// Runs the command; what it said. It must stay within so many MiB, and leave the repository alone if it refuses.
    #[track_caller]
    fn run(&mut self, what: &str, mails: &[Vec<u8>], most_mib: u64) -> String {
        let before = snapshot(&self.bare);
        let mut command = vec![env!("CARGO_BIN_EXE_patchpost").to_owned()];
        let repo = self.bare.display().to_string();
        command.extend(["am", "--repo", &repo, "--base", &self.base].map(str::to_owned));
        for (n, mail) in mails.iter().enumerate() {
            let path = self.dir.path().join(format!("{n:04}.eml"));
            std::fs::write(&path, mail).unwrap();
            command.push(path.display().to_string());
        }
        let ran = tools::python("measured.py", &[], &command.into());
        let said = ran["said"].as_str().unwrap().to_owned();
        let (peak, cpu) = (
            ran["peak_mib"].as_u64().unwrap(),
            ran["cpu_seconds"].as_f64().unwrap(),
        );
        println!("am, bounds: {what}: {peak} MiB, {cpu:.1} CPU s");
        self.costs.push((what.to_owned(), peak, cpu));
        let applied = said.starts_with("commit ");
        assert_eq!(ran["status"], i64::from(!applied), "{what}: {said}");
        assert!(
            applied || snapshot(&self.bare) == before,
            "{what}: something was written"
        );
        assert!(
            peak <= most_mib,
            "{what}: {peak} MiB of memory, {most_mib} are enough"
        );
        assert!(cpu <= self.enough, "{what}: {cpu} seconds of work");
        said
    }

    #[track_caller]
    fn does(&mut self, what: &str, patch: impl AsRef<[u8]>, most_mib: u64) {
        let said = self.run(what, &[mail(patch.as_ref())], most_mib);
        assert!(said.starts_with("commit "), "{what}: {said}");
    }

    #[track_caller]
    fn refuses(&mut self, what: &str, patches: &[impl AsRef<[u8]>], words: &str, most_mib: u64) {
        let mails: Vec<Vec<u8>> = patches.iter().map(|p| mail(p.as_ref())).collect();
        let said = self.run(what, &mails, most_mib);
        assert!(said.contains(words), "{what}: {words:?} is not in {said}");
    }

    /// Says what the cases cost.
    fn tell(&self) {
        let worst = self.costs.iter().max_by_key(|(_, peak, _)| *peak).unwrap();
        let all: f64 = self.costs.iter().map(|(_, _, cpu)| cpu).sum();
        report(&format!(
            "am, patches of monstrous size: {} cases, at most {} MiB ({}), {all:.0} CPU s together",
            self.costs.len(),
            worst.1,
            worst.0
        ));
    }
}

fn mail(patch: &[u8]) -> Vec<u8> {
    let head =
        "From: E <e@x.org>\nSubject: [PATCH] x\nDate: Mon, 1 Jan 2024 00:00:00 +0000\n\nx\n---\n";
    [head.as_bytes(), patch].concat()
}

fn new_file(path: &str, lines: usize, text: &str) -> String {
    format!(
        "diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,{lines} @@\n{text}"
    )
}

/// A new file of lines of ten bytes, as a diff of so many bytes.
fn large_file(bytes: usize) -> String {
    let lines = bytes / 10;
    new_file("large", lines, &"+12345678\n".repeat(lines))
}

/// So many hunks that fit, each with a line of context above and below.
fn many_hunks(count: usize) -> String {
    let mut out = "diff --git a/lines b/lines\n--- a/lines\n+++ b/lines\n".to_owned();
    for n in 0..count {
        let at = 3 * n + 1;
        let (removed, below) = (at + 1, at + 2);
        writeln!(
            out,
            "@@ -{at},3 +{at},3 @@\n l {at}\n-l {removed}\n+L {removed}\n l {below}"
        )
        .unwrap();
    }
    out
}

/// A change of a line behind a thousand and more equal ones: `count` of them stand in the hunk, which says another place.
fn far_hunk(path: &str, count: usize, last: &str) -> String {
    let same = " same\n".repeat(count);
    let (old, new) = (count + 4, count + 4);
    format!(
        "diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -2,{old} +2,{new} @@\n{same}-{last}\n+other\n l 1\n l 2\n l 3\n"
    )
}

#[test]
fn patches_of_monstrous_size_stay_within_memory_and_work() {
    let mut field = Field::new();
    text(&mut field);
    places(&mut field);
    names(&mut field);
    zlib_bombs(&mut field);
    delta_bombs(&mut field);
    field.tell();
}

fn text(field: &mut Field) {
    field.refuses(
        "a diff of 50 MB",
        &[large_file(50_000_000)],
        "it has more than 33554432 bytes",
        250,
    );
    field.does("a diff of 32 MB", large_file(32_000_000), 420);
    let line = format!("+{}\n", "x".repeat(32_000_000));
    field.does("one line of 32 MB", new_file("line", 1, &line), 300);
    field.refuses(
        "200,001 hunks that fit",
        &[many_hunks(200_001)],
        "it has too many hunks",
        140,
    );
    field.does("200,000 hunks that fit", many_hunks(200_000), 220);
}

fn places(field: &mut Field) {
    field.enough = ALL_CPU_SECONDS;
    let costly = "looking for the lines takes too long";
    field.refuses(
        "a hunk of equal lines that fits nowhere",
        &[far_hunk("same", 20_000, "absent")],
        costly,
        64,
    );
    // Each of them is within what one file may cost; a series may not cost four times that.
    let far = |n: usize| far_hunk(&format!("far{n}"), 9_000, "mark");
    let all: Vec<String> = (0..4).map(far).collect();
    field.refuses("four hunks far from their places", &all, costly, 64);
}

fn names(field: &mut Field) {
    field.enough = CPU_SECONDS;
    let files = |count: usize| -> String {
        let one = |n| new_file(&format!("n/{n}"), 1, "+x\n");
        (0..count).map(one).collect()
    };
    field.refuses(
        "20,001 files",
        &[files(20_001)],
        "it changes more than 20000 files",
        100,
    );
    field.does("20,000 files", files(20_000), 100);
    let rename = |n: usize| {
        format!(
            "diff --git a/r/{n} b/s/{n}\nsimilarity index 100%\nrename from r/{n}\nrename to s/{n}\n"
        )
    };
    let renames: String = (0..SMALL_FILES).map(rename).collect();
    field.does("10,000 renames", &renames, 100);
    // The whole has to be merged, as one file is in the way of plain placing, and its blob is there.
    let edit = |(path, blob): &(String, String), digits: usize| {
        let n: usize = path[4..].parse().unwrap();
        let first = words_of(n, 0).lines().next().unwrap().to_owned();
        let second = words_of(n, 0).lines().nth(1).unwrap().to_owned();
        format!(
            "diff --git a/{path} b/{path}\nindex {}..{} 100644\n--- a/{path}\n+++ b/{path}\n@@ -1,2 +1,2 @@\n-{first}\n+changed\n {second}\n",
            &blob[..digits],
            "1".repeat(digits)
        )
    };
    // Ids cut short are looked for among all that the series has made until then.
    let renew = |n: usize| {
        let id = blob_id(format!("{n}\n").as_bytes());
        format!(
            "diff --git a/r/{n} b/r/{n}\nindex {}..1111111 100644\n--- a/r/{n}\n+++ b/r/{n}\n@@ -1 +1 @@\n-{n}\n+x\n",
            &id[..12]
        )
    };
    let short: String = (0..SMALL_FILES).map(renew).collect();
    let short = short + &field.moved.iter().map(|m| edit(m, 12)).collect::<String>();
    let many: String = (0..20_000)
        .map(|n| new_file(&format!("n/{n}"), 1, &format!("+{n}\n")))
        .collect();
    field.refuses(
        "short ids behind 20,000 new files",
        &[&many, &short],
        "the patch changes it, but it was removed here",
        140,
    );
    // Counted work, which takes a minute where nothing is optimised; beside the code it is tested with less of it.
    if size() > 2 {
        field.enough = ALL_CPU_SECONDS;
        let edits: String = field.moved.iter().map(|m| edit(m, 40)).collect();
        field.refuses(
            "2,500 files that are not where they were",
            &[&edits],
            "to look for where it was moved would be too much work",
            120,
        );
    }
}

/// The id that a blob of this content has.
fn blob_id(content: &[u8]) -> String {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", content.len()));
    hasher.update(content);
    data_encoding::HEXLOWER.encode(&hasher.finalize())
}

/// `GIT binary patch` data as git writes it: what kind, how long it says it is, and the bytes that are packed.
fn binary(kind: &str, said: usize, data: &[u8]) -> String {
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut packed, data).unwrap();
    let lines = base85(&packed.finish().unwrap());
    format!("GIT binary patch\n{kind} {said}\n{lines}\n")
}

/// A new file that claims the id of `content` and carries other data than that, or the same.
fn literal(path: &str, content: &[u8], said: usize, data: &[u8]) -> String {
    let (none, id) = ("0".repeat(40), blob_id(content));
    format!(
        "diff --git a/{path} b/{path}\nnew file mode 100644\nindex {none}..{id}\n{}",
        binary("literal", said, data)
    )
}

fn zlib_bombs(field: &mut Field) {
    field.enough = CPU_SECONDS;
    let zeros = vec![0; 100 * MIB];
    let most = 64 * MIB;
    // Its first ten bytes are what it claims: cut there, it would be right.
    field.refuses(
        "100 MiB that say ten bytes",
        &[literal("z", &zeros[..10], 10, &zeros)],
        "its binary data is broken",
        64,
    );
    field.refuses(
        "100 MiB of zeros",
        &[literal("z", &zeros, zeros.len(), &zeros)],
        "its binary data is too long",
        64,
    );
    let half = &zeros[..most / 2 + 1];
    let two = ["y", "z"].map(|path| literal(path, half, half.len(), half));
    field.refuses(
        "64 MiB in two files",
        &[two.concat()],
        "its binary data is too long",
        120,
    );
    field.does(
        "64 MiB of zeros",
        literal("z", &zeros[..most], most, &zeros[..most]),
        320,
    );
    field.refuses(
        "a length without end",
        &[literal("z", &zeros[..10], usize::MAX, &zeros[..10])],
        "its binary data is too long",
        64,
    );
}

/// Git's delta format: the whole source so many times, and then a few bytes.
fn delta(times: usize, end: &[u8]) -> Vec<u8> {
    let varint = |mut n: usize, out: &mut Vec<u8>| {
        while n >= 0x80 {
            out.push(0x80 | (n & 0x7f) as u8);
            n >>= 7;
        }
        out.push(n as u8);
    };
    let mut out = Vec::new();
    varint(1 << 16, &mut out);
    varint((times << 16) + end.len(), &mut out);
    // Without arguments: from the start, 64 KiB.
    out.extend(std::iter::repeat_n(0x80, times));
    if !end.is_empty() {
        out.push(u8::try_from(end.len()).unwrap());
        out.extend(end);
    }
    out
}

/// A copy of the seed that a delta makes larger.
fn grown(path: &str, times: usize, end: &[u8]) -> String {
    let delta = delta(times, end);
    let content = [seed().repeat(times), end.to_vec()].concat();
    format!(
        "diff --git a/seed b/{path}\nsimilarity index 50%\ncopy from seed\ncopy to {path}\nindex {}..{}\n{}",
        blob_id(&seed()),
        blob_id(&content),
        binary("delta", delta.len(), &delta)
    )
}

fn delta_bombs(field: &mut Field) {
    let most = (64 * MIB) >> 16;
    field.does("a delta that makes 64 MiB", grown("d", most, b""), 320);
    field.refuses(
        "a delta that makes more than 64 MiB",
        &[grown("d", most, b"x")],
        "its binary delta makes more than 64 MiB",
        64,
    );
    let mut endless = delta(1, b"");
    endless.splice(3..6, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    let claimed = format!(
        "diff --git a/seed b/seed\nindex {}..{}\n",
        blob_id(&seed()),
        "1".repeat(40)
    );
    field.refuses(
        "a delta that makes 2^63 bytes",
        &[claimed + &binary("delta", endless.len(), &endless)],
        "its binary delta makes more than 64 MiB",
        64,
    );
    let several: Vec<String> = (0..9u8)
        .map(|n| grown(&format!("d{n}"), most - 1, &[n]))
        .collect();
    field.refuses(
        "nine deltas that make 64 MiB each",
        &several,
        "a series may make objects of 512 MiB at most",
        900,
    );
}

fn base85(data: &[u8]) -> String {
    const ALPHABET: &[u8] =
        b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
    let mut out = String::new();
    for chunk in data.chunks(52) {
        let n = u8::try_from(chunk.len()).unwrap();
        out.push(char::from(if n <= 26 {
            b'A' + n - 1
        } else {
            b'a' + n - 27
        }));
        for group in chunk.chunks(4) {
            let mut word = [0; 4];
            word[..group.len()].copy_from_slice(group);
            let mut number = u32::from_be_bytes(word);
            let mut digits = [0; 5];
            for digit in digits.iter_mut().rev() {
                *digit = ALPHABET[(number % 85) as usize];
                number /= 85;
            }
            out.push_str(std::str::from_utf8(&digits).unwrap());
        }
        out.push('\n');
    }
    out
}
