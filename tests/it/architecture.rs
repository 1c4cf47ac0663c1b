//! The rules that keep the code readable, checked file by file: rings, who may touch what, sizes, names.
//!
//! A rule that fails says file, line and what to do. The table of rings is the one in the design; a
//! change that needs another line in it is a change of the design.

mod docs;
mod letters;
mod scan;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use scan::Source;

/// Imports nothing of this crate.
const WORDS: &str = "types";
const PURE: [&str; 10] = [
    "config", "mail", "session", "verdict", "list", "thread", "diff", "patchset", "archive",
    "query",
];
/// Pure as well; named apart because the array above is in the order of a mail's way.
const VIEW: &str = "view";
const EDGE: [&str; 7] = ["store", "git", "net", "smtp", "dns", "deliver", "web"];
const WIRING: [&str; 7] = [
    "pipeline", "worker", "serve", "doctor", "cli", "main", "lib",
];

const MAX_FILE_LINES: usize = 600;
const MAX_FUNCTION_LINES: usize = 100;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All rules over one file of `src`, whose path is given from there, like `mail/parse.rs`.
fn problems(path: &str, text: &str) -> Vec<String> {
    let module = path.split(['/', '.']).next().unwrap_or_default();
    let source = Source::read(text);
    let mut found = ring_problems(module, path, &source);
    found.extend(reach_problems(module, &source));
    found.extend(look_up_problems(module, path, &source));
    found.extend(sql_problems(module, &source));
    found.extend(size_problems(text, &source));
    let unwraps = source.lines_with(".unwrap()").into_iter();
    found.extend(unwraps.map(|n| {
        (
            n,
            "unwrap() outside tests: say with expect() why it cannot happen".into(),
        )
    }));
    found.sort();
    found
        .iter()
        .map(|(n, problem)| format!("src/{path} line {n}: {problem}"))
        .collect()
}

type Problems = Vec<(usize, String)>;

fn is_pure(module: &str) -> bool {
    module == WORDS || module == VIEW || PURE.contains(&module)
}

/// Whether `from` may import `to`.
fn may_import(from: &str, to: &str) -> bool {
    if from == to || WIRING.contains(&from) {
        return true;
    }
    match from {
        _ if from == WORDS => false,
        _ if is_pure(from) => is_pure(to),
        "smtp" | "web" if to == "pipeline" => true,
        _ => is_pure(to) || to == "store" || to == "net",
    }
}

fn ring_problems(module: &str, path: &str, source: &Source) -> Problems {
    if !(is_pure(module) || EDGE.contains(&module) || WIRING.contains(&module)) {
        return vec![(
            1,
            format!("the module {module} is in no ring; the design names all modules"),
        )];
    }
    // `mod.rs` and `x.rs` directly in src are one level below the crate's root, `x/y.rs` two.
    let folders = path.matches('/').count();
    let depth = if path.ends_with("/mod.rs") {
        folders
    } else {
        folders + 1
    };
    let imported = source.paths().into_iter().filter_map(|(line, path)| {
        let supers = path.iter().take_while(|word| *word == "super").count();
        let at = if path[0] == "crate" {
            1
        } else if supers >= depth {
            supers
        } else {
            return None;
        };
        path.get(at).map(|to| (line, to.clone()))
    });
    imported
        .filter(|(_, to)| {
            let known = is_pure(to) || EDGE.contains(&to.as_str()) || WIRING.contains(&to.as_str());
            known && !may_import(module, to)
        })
        .map(|(line, to)| (line, format!("{module} may not import {to}")))
        .collect()
}

/// What only some modules may name: paths that begin so, who may, and why.
fn reach_problems(module: &str, source: &Source) -> Problems {
    let mut found = Problems::new();
    for (line, path) in source.paths() {
        let begins = |start: &str| {
            let start: Vec<&str> = start.split("::").collect();
            path.len() >= start.len() && path.iter().zip(&start).all(|(a, b)| a == b)
        };
        let name = path.join("::");
        let exit = begins("std::process::ExitCode") || begins("std::process::exit");
        let process = (begins("std::process") && !exit) || begins("tokio::process");
        if (process || begins("gix")) && module != "git" {
            found.push((
                line,
                format!("{name}: only git touches git or spawns processes"),
            ));
        }
        if begins("sqlx") && module != "store" {
            found.push((line, format!("{name}: only store speaks SQL")));
        }
        if begins("crate::store::Store") && module == "web" {
            found.push((
                line,
                format!("{name}: pages read through store::Reader and write nothing"),
            ));
        }
        if begins("mail_parser") && module != "mail" {
            found.push((line, format!("{name}: only mail names the parser crate")));
        }
        let outside = [
            "tokio",
            "tokio_util",
            "std::fs",
            "std::env",
            "std::process",
            "std::thread",
            "std::net::TcpStream",
            "std::net::TcpListener",
            "std::net::UdpSocket",
            "std::os::unix::net",
            "std::time::SystemTime",
            "std::time::Instant",
            "getrandom",
            "chrono::Utc::now",
            "chrono::Local",
            "std::io::stdin",
            "std::io::stdout",
            "std::io::stderr",
        ];
        if is_pure(module) && outside.iter().any(|start| begins(start)) {
            found.push((
                line,
                format!("{name}: {module} is pure; the caller hands such things in"),
            ));
        }
    }
    if ["cli", "serve", "doctor", "web"].contains(&module) {
        for word in [
            ".insert_", ".update_", ".delete_", ".record_", ".retry_", ".close_",
        ] {
            let lines = source.lines_with(word).into_iter();
            let text = format!("{word}…: writes of meaning go through pipeline");
            found.extend(lines.map(|n| (n, text.clone())));
        }
    }
    if is_pure(module) {
        for word in [
            "async ",
            ".await",
            "Utc::now",
            "SystemTime::now",
            "Instant::now",
        ] {
            let lines = source.lines_with(word).into_iter();
            found.extend(lines.map(|n| (n, format!("{}: {module} is pure", word.trim()))));
        }
    }
    found
}

/// Pages look lists up by who asks. These are for those who look after a list or the site, and ask that themselves.
fn look_up_problems(module: &str, path: &str, source: &Source) -> Problems {
    let own = ["web/settings.rs", "web/me.rs", "web/queue.rs"];
    if module != "web" || own.contains(&path) {
        return Problems::new();
    }
    let words = [".find_list(", ".find_list_by_", ".load_lists("];
    let lines = words.iter().flat_map(|word| source.lines_with(word));
    let text = "a list without asking who looks: find_shown and load_shown ask";
    lines.map(|n| (n, text.to_owned())).collect()
}

fn sql_problems(module: &str, source: &Source) -> Problems {
    if module == "store" {
        return Problems::new();
    }
    let strings = source.strings.iter();
    let sql = strings.filter(|(_, text)| {
        let text = text.trim_start().to_lowercase();
        let then = |start: &str, word: &str| text.starts_with(start) && text.contains(word);
        then("select ", " from ")
            || then("insert into ", "")
            || then("update ", " set ")
            || then("delete from ", "")
            || then("create table ", "")
            || then("with ", " as (select ")
    });
    sql.map(|(n, _)| (*n, "SQL: it lives in src/store".to_owned()))
        .collect()
}

fn size_problems(text: &str, source: &Source) -> Problems {
    let mut found = Problems::new();
    let lines = text.lines().count() - source.test_lines.len();
    if lines > MAX_FILE_LINES {
        found.push((
            1,
            format!("{lines} lines without tests; {MAX_FILE_LINES} is the limit: split it"),
        ));
    }
    let raw: Vec<&str> = text.lines().collect();
    for function in source.functions() {
        let length = function.last - function.first + 1;
        // The exception stands above the function or in it, and says why.
        let near = &raw[function.first.saturating_sub(8)..function.last];
        let excepted = near
            .iter()
            .any(|line| line.trim_start().starts_with("// long: "));
        if length > MAX_FUNCTION_LINES && !excepted {
            let name = function.name;
            found.push((
                function.first,
                format!("{name} has {length} lines; {MAX_FUNCTION_LINES} is the limit"),
            ));
        }
    }
    found
}

/// The files below `folder`, from `root`, in order.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![root().join(folder)];
    while let Some(next) = waiting.pop() {
        // A folder that the design allows need not be there.
        let Ok(entries) = fs::read_dir(&next) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("a directory entry").path();
            if path.is_dir() {
                waiting.push(path)
            } else {
                found.push(path)
            }
        }
    }
    found.sort();
    found
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/") || path.ends_with("_tests.rs")
}

#[track_caller]
fn assert_none(found: &[String]) {
    assert!(
        found.is_empty(),
        "{} rules broken:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn every_source_file_keeps_the_rules() {
    let mut found = Vec::new();
    let mut seen = 0;
    for file in files("src") {
        let path = file
            .strip_prefix(root().join("src"))
            .expect("below src")
            .display()
            .to_string();
        if path.ends_with(".rs") && !is_test_file(&path) {
            seen += 1;
            let text = fs::read_to_string(&file).expect("a source file");
            found.extend(problems(&path, &text));
            if !text.starts_with("//!") {
                found.push(format!("src/{path} line 1: says nothing about itself"));
            }
        }
    }
    assert!(seen > 20, "only {seen} files were looked at");
    assert_none(&found);
}

/// A rule that catches nothing is no rule: each is shown a file that breaks it.
mod the_rules_themselves {
    use super::*;

    #[track_caller]
    fn check(path: &str, code: &str, expected: &[&str]) {
        let found = problems(path, code);
        let expected: Vec<String> = expected
            .iter()
            .map(|p| format!("src/{path} line {p}"))
            .collect();
        assert_eq!(found, expected, "code: {code}");
    }

    #[test]
    fn rings() {
        check(
            "types.rs",
            "use crate::mail::Message;",
            &["1: types may not import mail"],
        );
        check(
            "mail/parse.rs",
            "use crate::types::X;\nuse crate::store::Store;",
            &["2: mail may not import store"],
        );
        check(
            "thread/mod.rs",
            "use super::{mail, git};",
            &["1: thread may not import git"],
        );
        check(
            "thread/tree.rs",
            "use super::git;\nfn f() { super::super::git::x() }",
            &["2: thread may not import git"],
        );
        check(
            "store/mail.rs",
            "use crate::{types::A, pipeline};",
            &["1: store may not import pipeline"],
        );
        check(
            "web/page.rs",
            "use crate::pipeline::Ctx;\nuse crate::git::Repos;",
            &["2: web may not import git"],
        );
        check("git/mod.rs", "use crate::{net, store, diff, types};", &[]);
        check(
            "pipeline/file.rs",
            "use crate::{git, web, store, view};",
            &[],
        );
        check(
            "helper/mod.rs",
            "",
            &["1: the module helper is in no ring; the design names all modules"],
        );
        check(
            "mail/x.rs",
            "#[cfg(test)]\nmod tests { use crate::store::Store; }",
            &[],
        );
    }

    #[test]
    fn sql_processes_and_the_parser_have_one_home() {
        let sqlx = "sqlx::query: only store speaks SQL";
        check(
            "web/x.rs",
            "fn f() { sqlx::query(\"\"); }",
            &[&format!("1: {sqlx}")],
        );
        check(
            "web/x.rs",
            "const Q: &str = \"\n  SELECT a FROM b\";",
            &["1: SQL: it lives in src/store"],
        );
        check(
            "web/x.rs",
            "const Q: &str = \"Select a list from below\";",
            &["1: SQL: it lives in src/store"],
        );
        check(
            "web/x.rs",
            "// select a from b\nconst Q: &str = \"selected from\";",
            &[],
        );
        check(
            "store/x.rs",
            "const Q: &str = \"select a from b\"; use sqlx::query;",
            &[],
        );
        check(
            "deliver/x.rs",
            "use std::process::Command;",
            &["1: std::process::Command: only git touches git or spawns processes"],
        );
        check(
            "serve.rs",
            "use std::process::{ExitCode, Stdio};",
            &["1: std::process::Stdio: only git touches git or spawns processes"],
        );
        check(
            "pipeline/x.rs",
            "fn f(o: gix::ObjectId) {}",
            &["1: gix::ObjectId: only git touches git or spawns processes"],
        );
        check(
            "git/x.rs",
            "use tokio::process::Command; use gix::Repository;",
            &[],
        );
        check(
            "view/x.rs",
            "use mail_parser::Message;",
            &["1: mail_parser::Message: only mail names the parser crate"],
        );
    }

    #[test]
    fn pages_look_lists_up_by_who_asks() {
        let text = "a list without asking who looks: find_shown and load_shown ask";
        check(
            "web/feed.rs",
            "fn f() { store.find_list(name); store.load_lists() }",
            &[&format!("1: {text}"), &format!("1: {text}")],
        );
        check("web/settings.rs", "fn f() { store.find_list(name) }", &[]);
        check(
            "web/list.rs",
            "fn f() { store.find_shown(name, eyes) }",
            &[],
        );
        check("pipeline/me.rs", "fn f() { store.find_list(name) }", &[]);
    }

    #[test]
    fn purity() {
        check(
            "thread/x.rs",
            "use std::time::{Duration, Instant};",
            &["1: std::time::Instant: thread is pure; the caller hands such things in"],
        );
        check(
            "mail/x.rs",
            "use std::fs;",
            &["1: std::fs: mail is pure; the caller hands such things in"],
        );
        check(
            "list/x.rs",
            "fn f() { let n = chrono::Utc::now(); }",
            &[
                "1: Utc::now: list is pure",
                "1: chrono::Utc::now: list is pure; the caller hands such things in",
            ],
        );
        check(
            "session/x.rs",
            "pub async fn f() {}",
            &["1: async: session is pure"],
        );
        check(
            "diff/x.rs",
            "fn f() { getrandom::fill(b) }",
            &["1: getrandom::fill: diff is pure; the caller hands such things in"],
        );
        check(
            "net/x.rs",
            "use tokio::net::TcpStream; use std::time::Instant;",
            &[],
        );
    }

    #[test]
    fn sizes_and_unwrap() {
        let long = |n: usize| format!("fn f() {{\n{}}}\n", "    g();\n".repeat(n));
        check("mail/x.rs", &long(98), &[]);
        check(
            "mail/x.rs",
            &long(99),
            &["1: f has 101 lines; 100 is the limit"],
        );
        check(
            "mail/x.rs",
            &format!("// long: a flat table\n{}", long(99)),
            &[],
        );
        check(
            "mail/x.rs",
            &"\n".repeat(601),
            &["1: 601 lines without tests; 600 is the limit: split it"],
        );
        check(
            "mail/x.rs",
            &format!("#[cfg(test)]\nmod tests {{{}}}", "\n".repeat(700)),
            &[],
        );
        check(
            "mail/x.rs",
            "fn f() { a\n.unwrap(); }",
            &["2: unwrap() outside tests: say with expect() why it cannot happen"],
        );
        check(
            "mail/x.rs",
            "#[test]\nfn f() { a.unwrap(); \".unwrap()\" } // .unwrap()",
            &[],
        );
    }
}
