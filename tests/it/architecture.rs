//! The rules that the code keeps, checked file by file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const PURE: [&str; 12] = [
    "types", "config", "mail", "session", "verdict", "list", "thread", "diff", "patchset",
    "archive", "query", "view",
];
const EDGE: [&str; 7] = ["store", "git", "net", "smtp", "dns", "deliver", "web"];
const TOP: [&str; 17] = [
    "Cargo.toml",
    "Cargo.lock",
    "Makefile",
    "README.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "deny.toml",
    ".ci",
    ".gitignore",
    "src",
    "migrations",
    "templates",
    "tests",
    "fixtures",
    "deploy",
];
const MORE_TOP: [&str; 3] = ["benches", "fuzz", "docs"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// The code of a file without comments, strings and what is compiled for tests only.
fn code(text: &str) -> String {
    let text = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text);
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("//") {
            let end = rest.find('\n').unwrap_or(rest.len());
            rest = &rest[end..];
        } else if c == '"' {
            let mut end = 1;
            let bytes = rest.as_bytes();
            while end < bytes.len() && bytes[end] != b'"' {
                end += if bytes[end] == b'\\' { 2 } else { 1 };
            }
            let end = (end + 1).min(rest.len());
            out.push_str("\"\"");
            out.extend(rest[..end].chars().filter(|c| *c == '\n'));
            rest = &rest[end..];
        } else if rest.starts_with("'\"'")
            || rest.starts_with("'{'")
            || rest.starts_with("'}'")
            || rest.starts_with("b'{'")
        {
            let skip = rest.find('\'').unwrap() + 3;
            rest = &rest[skip..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

fn strings(text: &str) -> Vec<String> {
    let text = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text);
    let lines = text.lines().filter(|l| !l.trim_start().starts_with("//"));
    lines
        .collect::<Vec<_>>()
        .join("\n")
        .split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    let first = inside
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_string_lossy()
        .into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// Modules that a file's code names by `crate::`.
fn uses(code: &str) -> BTreeSet<String> {
    let names = code.split("crate::").skip(1).map(|rest| {
        rest.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    });
    let grouped = code.split("use crate::{").skip(1).flat_map(|rest| {
        let list = rest.split("};").next().unwrap_or_default().to_owned();
        list.split(',')
            .map(|n| n.trim().split("::").next().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    });
    names
        .chain(grouped)
        .filter(|n: &String| !n.is_empty())
        .collect()
}

/// What is wrong with a file of a module; empty if nothing.
fn faults(module: &str, name: &str, text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let code = code(text);
    let pure = PURE.contains(&module);
    let test_file = name.ends_with("tests.rs");
    for used in uses(&code) {
        let known = PURE.contains(&used.as_str()) || EDGE.contains(&used.as_str());
        let allowed = match module {
            m if PURE.contains(&m) => PURE.contains(&used.as_str()),
            "smtp" | "web" => known || used == "pipeline",
            m if EDGE.contains(&m) => {
                PURE.contains(&used.as_str()) || used == "store" || used == "net" || used == module
            }
            _ => true,
        };
        if !allowed {
            out.push(format!("{module} must not use {used}"));
        }
    }
    let mut forbid = |words: &[&str], except: &[&str], what: &str| {
        if !except.contains(&module) && words.iter().any(|w| code.contains(w)) {
            out.push(format!("{what} outside {except:?}"));
        }
    };
    forbid(&["sqlx::"], &["store"], "SQL");
    forbid(
        &["process::Command", "gix::"],
        &["git"],
        "processes and git",
    );
    forbid(&["mail_parser"], &["mail"], "the parser crate");
    if pure && !test_file {
        forbid(
            &["SystemTime", "Instant::now", "getrandom", "Utc::now"],
            &[],
            "a clock or random numbers",
        );
        forbid(
            &[
                "async fn",
                ".await",
                "tokio::",
                "std::fs::",
                "std::net::Tcp",
            ],
            &[],
            "sockets, files or waiting",
        );
    }
    if !test_file && code.contains(".unwrap()") {
        out.push("unwrap outside tests".to_owned());
    }
    let sql = |s: &String| {
        let s = s.trim_start().to_lowercase();
        ["select ", "insert into ", "update ", "delete from "]
            .iter()
            .any(|w| s.starts_with(w) && s.contains(' ') && s.len() > 20)
    };
    if module != "store"
        && !test_file
        && strings(text).iter().any(|s| {
            sql(s) && (s.contains(" from ") || s.contains(" set ") || s.contains(" into "))
        })
    {
        out.push("a statement outside store".to_owned());
    }
    let lines = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text)
        .lines()
        .count();
    if lines > 600 && !test_file {
        out.push(format!("{lines} lines: split it"));
    }
    out.extend(long_functions(&code).into_iter().filter(|_| !test_file));
    out
}

fn long_functions(code: &str) -> Vec<String> {
    let mut out = Vec::new();
    let lines: Vec<&str> = code.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let start = line.trim_start();
        let is_fn = [
            "fn ",
            "pub fn ",
            "async fn ",
            "pub async fn ",
            "pub(super) fn ",
            "pub(super) async fn ",
            "pub(crate) fn ",
            "pub(crate) async fn ",
        ]
        .iter()
        .any(|w| start.starts_with(w));
        if !is_fn {
            continue;
        }
        let indent = line.len() - start.len();
        let close = format!("{}}}", " ".repeat(indent));
        let length = lines[at..].iter().position(|l| *l == close).unwrap_or(0);
        if length > 100 {
            out.push(format!("{length} lines: {start}"));
        }
    }
    out
}

#[test]
fn every_file_keeps_to_its_ring_and_size() {
    let mut all = Vec::new();
    files(&root().join("src"), &mut all);
    assert!(all.len() > 50);
    let mut wrong = Vec::new();
    for path in all {
        let text = std::fs::read_to_string(&path).unwrap();
        let module = module_of(&path);
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        wrong.extend(
            faults(&module, &name, &text)
                .into_iter()
                .map(|f| format!("{name}: {f}")),
        );
        if !text.starts_with("//!") && !name.ends_with("tests.rs") {
            wrong.push(format!("{name}: says nothing about itself"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_check_sees_what_it_is_there_for() {
    #[track_caller]
    fn check(module: &str, text: &str, fault: &str) {
        let found = faults(module, "x.rs", text).join("; ");
        assert!(
            found.contains(fault) && !fault.is_empty() || found == fault,
            "{module}: {text}: {found}"
        );
    }
    check(
        "mail",
        "use crate::store::Store;",
        "mail must not use store",
    );
    check(
        "thread",
        "use crate::{mail, web};",
        "thread must not use web",
    );
    check("git", "use crate::web::App;", "git must not use web");
    check("web", "use crate::pipeline::Ctx;", "");
    check(
        "view",
        "fn a() { std::time::SystemTime::now(); }",
        "a clock",
    );
    check("web", "fn a() { sqlx::query(x); }", "SQL outside");
    check(
        "web",
        "const A: &str = \"select name from list where id = 1\";",
        "a statement outside store",
    );
    check(
        "smtp",
        "fn a() { std::process::Command::new(x); }",
        "processes and git",
    );
    check("cli", "fn a() { b.unwrap(); }", "unwrap");
    check("cli", "// b.unwrap()\n", "");
    check("cli", &"x;\n".repeat(601), "601 lines");
    check(
        "cli",
        &format!("fn a() {{\n{}}}\n", "    b();\n".repeat(101)),
        "102 lines: fn a()",
    );
    check(
        "mail",
        "fn a() { }\n#[cfg(test)]\nmod tests { fn b() { c.unwrap(); } }",
        "",
    );
}

#[test]
fn the_top_of_the_tree_is_as_it_was_decided() {
    let listed = std::process::Command::new("git")
        .args(["ls-files"])
        .current_dir(root())
        .output()
        .unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    let tops: BTreeSet<&str> = text.lines().map(|l| l.split('/').next().unwrap()).collect();
    let odd: Vec<&&str> = tops
        .iter()
        .filter(|t| !TOP.contains(t) && !MORE_TOP.contains(t))
        .collect();
    assert_eq!(odd, Vec::<&&str>::new());
}

#[test]
fn both_databases_have_the_same_migrations_and_tables() {
    let read = |kind: &str| {
        let dir = root().join("migrations").join(kind);
        let mut names: Vec<_> = std::fs::read_dir(&dir)
            .unwrap()
            .flatten()
            .map(|e| e.file_name().into_string().unwrap())
            .collect();
        names.sort();
        let text: String = names
            .iter()
            .map(|n| std::fs::read_to_string(dir.join(n)).unwrap())
            .collect();
        let columns: Vec<String> = text
            .lines()
            .skip_while(|l| !l.starts_with("create table"))
            .take_while(|l| {
                !l.starts_with("create virtual table") && !l.starts_with("create table search")
            })
            .filter(|l| !l.trim_start().starts_with("--") && !l.starts_with("select setval"))
            .map(|l| {
                l.replace(
                    "bigint generated by default as identity primary key",
                    "integer primary key",
                )
                .replace("bytea", "blob")
                .replace(" collate \"C\"", "")
            })
            .collect();
        (names, columns)
    };
    assert_eq!(read("sqlite"), read("postgres"));
}

/// Paths in backticks that begin with a folder of ours exist, and so do the commands that the documents name.
#[test]
fn documents_name_only_what_exists() {
    use clap::CommandFactory;
    let mut documents = vec!["README.md".to_owned()];
    for entry in std::fs::read_dir(root().join("docs")).unwrap().flatten() {
        documents.push(format!("docs/{}", entry.file_name().to_string_lossy()));
    }
    let mut checked = 0;
    for document in documents {
        let text = std::fs::read_to_string(root().join(&document)).unwrap();
        for word in text.split('`').skip(1).step_by(2) {
            let folder = word.split('/').next().unwrap_or_default();
            if word.contains('/')
                && !word.contains(' ')
                && (TOP.contains(&folder) || MORE_TOP.contains(&folder))
            {
                assert!(
                    root().join(word.trim_end_matches('/')).exists(),
                    "{document} names {word}"
                );
                checked += 1;
            }
        }
        for line in text
            .lines()
            .filter_map(|l| l.trim().trim_start_matches('`').strip_prefix("patchpost "))
        {
            let mut command = patchpost::cli::args::Cli::command();
            for word in line
                .split([' ', '`'])
                .take_while(|w| w.chars().all(|c| c.is_ascii_lowercase()) && !w.is_empty())
            {
                if !command.has_subcommands() {
                    break;
                }
                let next = command.find_subcommand(word).cloned();
                command = next.unwrap_or_else(|| {
                    panic!("{document}: patchpost has no command {word} ({line})")
                });
                checked += 1;
            }
        }
    }
    assert!(checked > 10, "the documents name things: {checked}");
}
