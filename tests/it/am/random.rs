//! Random histories, sent as mails with random options and the damage that mailers do, onto their base and onto others.

use patchpost::git::Fallback;

use super::{ASSERTION, Became, Pair, mails_of};
use crate::harness::{report, size};

/// A small generator whose seed is printed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.roll(of.len())]
    }
}

const NAMES: [&str; 14] = [
    "a.c",
    "b.c",
    "src/a.c",
    "src/b b.c",
    "src/deep/er/x.h",
    "ä/ö.txt",
    "q\"uote",
    "tab\tname",
    "docs/read me",
    "bin/data",
    "x",
    "src.c",
    "-dash",
    "new\\line",
];

/// Lines that repeat, so that hunks have several places.
fn line(dice: &mut Dice) -> String {
    match dice.roll(6) {
        0 => "}\n".to_owned(),
        1 => "\n".to_owned(),
        2 => "\treturn 0;\n".to_owned(),
        3 => "-- \n".to_owned(),
        _ => format!("line {}\n", dice.roll(40)),
    }
}

fn text(dice: &mut Dice) -> Vec<u8> {
    let mut out: String = (0..dice.roll(60)).map(|_| line(dice)).collect();
    match dice.roll(12) {
        0 => drop(out.pop()),
        1 => out = out.replace("line 1\n", "line 1\r\n"),
        2 => out.push_str("no end: é"),
        _ => {}
    }
    out.into_bytes()
}

fn binary(dice: &mut Dice) -> Vec<u8> {
    (0..20 + dice.roll(3_000))
        .map(|n| {
            if n % 5 == 0 {
                0
            } else {
                u8::try_from(dice.roll(7)).unwrap()
            }
        })
        .collect()
}

fn edit(dice: &mut Dice, content: &[u8]) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = content
        .split_inclusive(|b| *b == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(lines.len() + 1);
        match dice.roll(4) {
            0 if at < lines.len() => drop(lines.remove(at)),
            1 if at < lines.len() => lines[at] = line(dice).into_bytes(),
            2 if at < lines.len() => {
                let block: Vec<Vec<u8>> = lines.drain(at..(at + 4).min(lines.len())).collect();
                let to = dice.roll(lines.len() + 1);
                lines.splice(to..to, block);
            }
            _ => lines.insert(at, line(dice).into_bytes()),
        }
    }
    lines.concat()
}

fn files(pair: &Pair) -> Vec<String> {
    let out = pair.git(&["ls-files", "-z"]);
    out.split('\0')
        .filter(|f| !f.is_empty() && !f.starts_with("sub"))
        .map(str::to_owned)
        .collect()
}

/// One random change of the checkout.
fn change(pair: &Pair, dice: &mut Dice) {
    let files = files(pair);
    let name = NAMES[dice.roll(NAMES.len())];
    let full = |path: &str| pair.checkout.join(path);
    let free = !full(name).exists()
        && !full(name).is_symlink()
        && !full(name).ancestors().any(std::path::Path::is_file);
    let some = (!files.is_empty()).then(|| files[dice.roll(files.len().max(1))].clone());
    let plain = some.filter(|f| full(f).is_file() && !full(f).is_symlink());
    let links: Vec<&String> = files.iter().filter(|f| full(f).is_symlink()).collect();
    let link = (!links.is_empty()).then(|| links[dice.roll(links.len().max(1))].clone());
    match (dice.roll(18), plain) {
        (0 | 1, _) if free => pair.write(name, text(dice)),
        (2, _) if free => pair.write(name, binary(dice)),
        (3, _) if free => pair.write(name, ""),
        (4, Some(file)) if free => {
            std::fs::create_dir_all(full(name).parent().unwrap()).unwrap();
            std::fs::rename(full(&file), full(name)).unwrap();
            if dice.roll(2) == 0 {
                let content = std::fs::read(full(name)).unwrap();
                pair.write(name, edit(dice, &content));
            }
        }
        (5, Some(file)) if free => {
            let content = std::fs::read(full(&file)).unwrap();
            pair.write(name, edit(dice, &content));
        }
        (6, Some(file)) => std::fs::remove_file(full(&file)).unwrap(),
        (7, Some(file)) => {
            use std::os::unix::fs::PermissionsExt;
            let mode = if dice.roll(2) == 0 { 0o755 } else { 0o644 };
            std::fs::set_permissions(full(&file), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        (8, Some(file)) => {
            std::fs::remove_file(full(&file)).unwrap();
            std::os::unix::fs::symlink(format!("to/{}", dice.roll(9)), full(&file)).unwrap();
        }
        (9, _) => {
            let id = format!("{:040x}", dice.roll(1_000) + 1);
            pair.git(&[
                "update-index",
                "--add",
                "--cacheinfo",
                &format!("160000,{id},sub"),
            ]);
            std::fs::create_dir_all(full("sub")).unwrap();
        }
        (16 | 17, _) if link.is_some() => {
            let link = full(&link.unwrap());
            std::fs::remove_file(&link).unwrap();
            match dice.roll(2) {
                0 => std::fs::write(link, text(dice)).unwrap(),
                _ => std::os::unix::fs::symlink(format!("on/{}", dice.roll(9)), link).unwrap(),
            }
        }
        (_, Some(file)) => {
            let content = std::fs::read(full(&file)).unwrap();
            let content = if content.contains(&0) {
                binary(dice)
            } else {
                edit(dice, &content)
            };
            std::fs::write(full(&file), content).unwrap();
        }
        _ => {}
    }
}

fn message(dice: &mut Dice) -> String {
    let subject = dice.pick(&[
        "Plain subject",
        "[tag] subsystem: with brackets",
        "Ünïcödé subject that is long enough to be folded over two lines of header",
        "Re: answers itself",
        "A subject\nof two lines",
        "Trailing dot.",
        "日本語",
    ]);
    let body = dice.pick(&[
        "",
        "One line.",
        "Two\n\nparagraphs.   \n\n\n\nAnd blanks.",
        "From here\n>From there",
        "---\nafter dashes",
        "Signed-off-by: A <a@x.org>",
        "diff - not one\n",
        "ä ö ü é",
        "From: Somebody <else@x.org>\n\nText",
        "-- >8 --\nscissors",
        "Subject: inside\n\nText",
    ]);
    format!("{subject}\n\n{body}\n")
}

fn options(dice: &mut Dice) -> Vec<&'static str> {
    let mut out = vec![dice.pick(&[
        "-M",
        "-C",
        "--find-copies-harder",
        "--no-renames",
        "-M90%",
        "-B",
    ])];
    for (option, one_in) in [
        ("--full-index", 2),
        ("--no-binary", 12),
        ("-U1", 6),
        ("-U8", 6),
        ("-U0", 20),
        ("--patience", 6),
        ("--no-prefix", 15),
        ("--attach", 8),
        ("--inter-hunk-context=4", 6),
        ("--irreversible-delete", 15),
        ("--no-signature", 6),
        ("--stat", 4),
        ("--src-prefix=i/", 15),
        ("--signoff", 8),
        ("--minimal", 8),
        ("--zero-commit", 8),
        ("--base=HEAD~1", 30),
        ("--no-stat", 5),
    ] {
        if dice.roll(one_in) == 0 {
            out.push(option);
        }
    }
    out
}

/// What happens to a mail on its way.
fn transport(dice: &mut Dice, mail: &[u8]) -> Vec<u8> {
    let at = mail.windows(2).position(|w| w == b"\n\n").unwrap();
    let (head, body) = (
        String::from_utf8_lossy(&mail[..at]).into_owned(),
        &mail[at + 2..],
    );
    let encoded = |encoding: &str, body: String| {
        let kept = head
            .lines()
            .filter(|l| !l.starts_with("Content-") && !l.starts_with("MIME-"));
        let kept: Vec<&str> = kept.collect();
        let mime = format!(
            "MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: {encoding}"
        );
        format!("{}\n{mime}\n\n{body}", kept.join("\n")).into_bytes()
    };
    let single = !head.contains("multipart");
    let whole = |text: String| [head.as_bytes(), b"\n\n", text.as_bytes()].concat();
    let utf8 = std::str::from_utf8(body).ok();
    match (dice.roll(16), utf8) {
        (8, Some(text)) if single => {
            // A client that writes Latin 1, whatever the project's files are in.
            let latin: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
            match latin {
                Some(latin) => {
                    let head = encoded("8bit", String::new());
                    let head = String::from_utf8_lossy(&head).replace("UTF-8", "ISO-8859-1");
                    [head.as_bytes(), &latin].concat()
                }
                None => mail.to_vec(),
            }
        }
        (9, Some(text)) => {
            let escape = |l: &str| {
                if l.starts_with("From ") {
                    format!(">{l}")
                } else {
                    l.to_owned()
                }
            };
            whole(text.split_inclusive('\n').map(escape).collect())
        }
        (10, Some(text)) => whole(format!("{text}\n____________________\ndev mailing list\n")),
        (11, Some(text)) => {
            let trimmed = text.lines().map(|l| format!("{}\n", l.trim_end()));
            whole(trimmed.collect())
        }
        (12, Some(text)) => whole(text.replace('\t', "        ")),
        (13, Some(text)) => {
            // Long lines broken at a blank, as by clients that fill paragraphs.
            let fill = |l: &str| match l.char_indices().rfind(|(at, c)| *at < 60 && *c == ' ') {
                Some((at, _)) if l.len() > 60 && at > 1 => {
                    format!("{}\n{}\n", &l[..at], &l[at + 1..])
                }
                _ => format!("{l}\n"),
            };
            whole(text.lines().map(fill).collect())
        }
        (14, Some(text)) if single => encoded("8bit", text.replace("  ", "\u{a0} ")),
        (0, _) => mail
            .split_inclusive(|b| *b == b'\n')
            .flat_map(|l| match l.strip_suffix(b"\n") {
                Some(l) => [l, b"\r\n"].concat(),
                None => l.to_vec(),
            })
            .collect(),
        (1, _) if single => {
            let text = data_encoding::BASE64.encode(body);
            let lines: Vec<&str> = text
                .as_bytes()
                .chunks(76)
                .map(|c| std::str::from_utf8(c).unwrap())
                .collect();
            encoded("base64", lines.join("\n") + "\n")
        }
        (2, _) if single => {
            let quote = |b: &u8| match b {
                b'\n' => "\n".to_owned(),
                b' '..=b'~' if *b != b'=' => char::from(*b).to_string(),
                _ => format!("={b:02X}"),
            };
            let text: String = body.iter().map(quote).collect();
            let soft = |line: &str| {
                let mut out = String::new();
                let mut rest = line;
                while rest.len() > 70 {
                    let cut = if rest.as_bytes()[68] == b'=' {
                        68
                    } else if rest.as_bytes()[67] == b'=' {
                        67
                    } else {
                        69
                    };
                    out.push_str(&format!("{}=\n", &rest[..cut]));
                    rest = &rest[cut..];
                }
                let end = rest.strip_suffix(' ').map(|start| format!("{start}=20"));
                out + &end.unwrap_or_else(|| rest.to_owned())
            };
            let lines: Vec<String> = text.split('\n').map(soft).collect();
            encoded("quoted-printable", lines.join("\n"))
        }
        _ => mail.to_vec(),
    }
}

/// What was found beside agreement.
#[derive(Default, Clone, Copy)]
struct Told {
    /// Histories on some of which git ends by an assertion of its own: it says nothing of what would be right.
    asserted: usize,
    /// Times that `git am -3` commits its own conflict marks where this refuses.
    marked: usize,
    /// What became of series without prefixes that `git am` refuses.
    bare: Bare,
}

/// What became of series without prefixes that `git am` refuses.
#[derive(Default, Clone, Copy)]
struct Bare {
    /// As by `git am -p0`.
    as_stripped_of_nothing: usize,
    /// Some patches as by `git am`, others as by `git am -p0`.
    mixed: usize,
}

/// A series without prefixes that `git am` refuses; whether it is applied. It is as by `git am -p0`; or, as a patch at its
/// beginning does fit with one folder taken off, each patch as `git am` has it, else as `git am -p0`.
fn bare(
    pair: &Pair,
    base: &str,
    mails: &[Vec<u8>],
    fallback: Fallback,
    told: &mut Bare,
) -> Result<bool, String> {
    let ours = pair.ours(base, mails, fallback).0;
    let same = |theirs: &Became| match (&ours, theirs) {
        (Ok(a), Ok(b)) => a == b,
        (a, b) => a.is_err() && b.is_err(),
    };
    let stripped = pair.theirs_with(base, mails, fallback, &["-p0"]);
    if same(&stripped) {
        told.as_stripped_of_nothing += 1;
        return Ok(ours.is_ok());
    }
    let mut first_ones = 0;
    let each = mails.iter().try_fold(base.to_owned(), |head, mail| {
        let one = std::slice::from_ref(mail);
        let by_default = pair.theirs_with(&head, one, fallback, &[]);
        first_ones += usize::from(by_default.is_ok());
        by_default.or_else(|_| pair.theirs_with(&head, one, fallback, &["-p0"]))
    });
    if same(&each) && first_ones > 0 {
        told.mixed += 1;
        return Ok(ours.is_ok());
    }
    Err(format!(
        "git am -p0: {stripped:?}, patch by patch: {each:?}, here: {ours:?}"
    ))
}

/// Whether git made a commit with marks of a conflict where this refused: of a file that is renamed to a name that is taken, git says so
/// and commits them all the same.
fn has_marks(pair: &Pair, why: &str) -> bool {
    let commit = why
        .split_once("git: Ok(\"")
        .and_then(|(_, id)| id.get(..40));
    let marks = "^<<<<<<<< HEAD:";
    commit.is_some_and(|id| {
        why.starts_with("we: Err") && pair.try_git(&["grep", "-q", "-e", marks, id]).is_ok()
    })
}

/// What of a history agrees: (applied, refused) counts, or the first difference.
fn history(seed: u64, told: &mut Told) -> Result<(usize, usize), String> {
    let mut dice = Dice::new(seed);
    let pair = Pair::new(None);
    for _ in 0..4 + dice.roll(5) {
        let name = NAMES[dice.roll(NAMES.len())];
        if !pair.checkout.join(name).exists()
            && !pair
                .checkout
                .join(name)
                .ancestors()
                .any(std::path::Path::is_file)
        {
            let content = if dice.roll(6) == 0 {
                binary(&mut dice)
            } else {
                text(&mut dice)
            };
            pair.write(name, content);
        }
    }
    let base = pair.commit("base");
    for _ in 0..=dice.roll(3) {
        for _ in 0..=dice.roll(4) {
            change(&pair, &mut dice);
        }
        pair.git(&["add", "-A"]);
        let author = dice.pick(&[
            "A <a@x.org>",
            "Ä. Önym <ae@x.org>",
            "\"Last, First\" <lf@x.org>",
            "名前 <n@x.org>",
        ]);
        let date = format!(
            "@{} {}",
            1_600_000_000 + dice.roll(1_000_000),
            dice.pick(&["+0000", "-0730", "+1300"])
        );
        let message = message(&mut dice);
        pair.git(&[
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            &message,
            &format!("--author={author}"),
            &format!("--date={date}"),
        ]);
    }
    let tip = pair.git(&["rev-parse", "HEAD"]);
    let options = options(&mut dice);
    if options.contains(&"--base=HEAD~1") {
        // The option wants a base within the range; a random one may be outside.
        drop(pair.try_git(&["config", "format.useAutoBase", "false"]));
    }
    let options: Vec<&str> = options
        .into_iter()
        .filter(|o| *o != "--base=HEAD~1")
        .collect();
    let mails: Vec<Vec<u8>> = mails_of(&pair, &base, &tip, &options)
        .iter()
        .map(|m| transport(&mut dice, m))
        .collect();
    if mails.is_empty() {
        return Ok((0, 0));
    }
    pair.git(&["checkout", "-q", "-f", "--detach", &base]);
    pair.git(&["clean", "-ffdxq"]);
    for _ in 0..=dice.roll(3) {
        change(&pair, &mut dice);
    }
    let other = pair.commit("other base");
    let (mut applied, mut refused) = (0, 0);
    let mut asserted = false;
    for base in [&base, &other] {
        for fallback in [Fallback::None, Fallback::ThreeWay] {
            let agreed = pair.agree(base, &mails, fallback);
            // Without prefixes git reads the names one folder too high, and mostly refuses: `git am -p0` is what is meant. With one
            // prefix alone nothing is, and both may refuse.
            let is_refused = match &agreed {
                Ok(became) => became.is_err() && !options.contains(&"--src-prefix=i/"),
                Err(why) => why.contains("git: Err"),
            };
            let agreed = match options.contains(&"--no-prefix") && is_refused {
                true => bare(&pair, base, &mails, fallback, &mut told.bare),
                false => agreed.map(|became| became.is_ok()),
            };
            if agreed.as_ref().is_err_and(|why| why.contains(ASSERTION)) {
                asserted = true;
                continue;
            }
            if agreed.as_ref().is_err_and(|why| has_marks(&pair, why)) {
                told.marked += 1;
                continue;
            }
            match agreed {
                Ok(true) => applied += 1,
                Ok(false) => refused += 1,
                Err(why) => {
                    return Err(format!(
                        "seed {seed}, {options:?}, {fallback:?}, on {base}: {why}"
                    ));
                }
            }
        }
    }
    told.asserted += usize::from(asserted);
    Ok((applied, refused))
}

#[test]
fn random_histories_become_what_git_am_makes_of_them() {
    let count = [20, 200, 2_000][size() - 1];
    // A seed of one's own repeats a failure.
    let first = std::env::var("PATCHPOST_TEST_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(1u64);
    let next = std::sync::atomic::AtomicU64::new(first);
    let work = || {
        let (mut applied, mut refused, mut wrong) = (0, 0, Vec::new());
        let mut told = Told::default();
        loop {
            let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if seed >= first + count {
                return (applied, refused, wrong, told);
            }
            match history(seed, &mut told) {
                Ok((a, r)) => (applied, refused) = (applied + a, refused + r),
                Err(why) => wrong.push(why),
            }
        }
    };
    let (one, two) = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        (work(), other.join().unwrap())
    });
    let (applied, refused) = (one.0 + two.0, one.1 + two.1);
    let wrong = [one.2, two.2].concat();
    report(&format!(
        "am, random: {count} histories from seed {first}: {applied} applied, {refused} refused, each as by git, {} differ",
        wrong.len()
    ));
    report(&format!(
        "am, random: of these {} without prefixes are as by git am -p0 where git am refuses; {} more are for their first patches as by git am, which fit with one folder taken off, and else as by git am -p0",
        one.3.bare.as_stripped_of_nothing + two.3.bare.as_stripped_of_nothing,
        one.3.bare.mixed + two.3.bare.mixed
    ));
    let asserted = one.3.asserted + two.3.asserted;
    report(&format!(
        "am, random: {} times git commits the marks of a conflict, and this refuses",
        one.3.marked + two.3.marked
    ));
    report(&format!(
        "am, random: in {asserted} histories git ends by an assertion of its own, and nothing is compared"
    ));
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    // Five in two thousand have been seen.
    assert!(asserted <= 1 + count as usize / 200, "{asserted}");
    assert!(applied > refused / 4, "{applied} {refused}");
}
