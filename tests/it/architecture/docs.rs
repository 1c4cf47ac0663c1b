//! What the docs name exists: paths of this repository, commands and options of patchpost, targets of make.

use std::path::Path;

use clap::CommandFactory;

/// Everything that `text`, the file `name`, says wrongly. In Markdown only code is looked at.
pub fn problems(root: &Path, name: &str, text: &str) -> Vec<String> {
    let code = if name.ends_with(".md") {
        markdown_code(text)
    } else {
        lines(text)
    };
    let makefile = std::fs::read_to_string(root.join("Makefile")).unwrap_or_default();
    let mut problems = Vec::new();
    for (number, line) in code {
        let found = missing_paths(root, &line)
            .into_iter()
            .chain(wrong_commands(&line))
            .chain(missing_targets(&makefile, &line));
        problems.extend(found.map(|problem| format!("{name} line {number}: {problem}")));
    }
    problems
}

fn lines(text: &str) -> Vec<(usize, String)> {
    text.lines()
        .enumerate()
        .map(|(n, line)| (n + 1, line.to_owned()))
        .collect()
}

/// The code of a Markdown text: fenced blocks, indented lines, and what stands between backticks.
fn markdown_code(text: &str) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut code = Vec::new();
    for (n, line) in lines(text) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced || line.starts_with("    ") {
            code.push((n, line));
        } else {
            let spans = line.split('`').skip(1).step_by(2);
            code.extend(spans.map(|span| (n, span.to_owned())));
        }
    }
    code
}

const FOLDERS: [&str; 10] = [
    "src/",
    "migrations/",
    "templates/",
    "tests/",
    "fixtures/",
    "benches/",
    "fuzz/",
    "deploy/",
    "docs/",
    ".ci/",
];

fn missing_paths(root: &Path, line: &str) -> Vec<String> {
    let apart = |c: char| c.is_whitespace() || "\"'`()[],;=|&<>".contains(c);
    let names = line
        .split(apart)
        .filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)));
    names
        .map(|word| word.trim_end_matches(['.', ':', '/']))
        // A pattern names all that fits; the folder before it must be there.
        .map(|word| word.split(['*', '{', '$', '…']).next().unwrap_or_default())
        .filter(|word| !root.join(word).exists())
        .map(|word| format!("there is no {word}"))
        .collect()
}

fn wrong_commands(line: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for (at, _) in line.match_indices("patchpost ") {
        let before = line[..at].chars().next_back().unwrap_or(' ');
        if before.is_alphanumeric() || "-_.@=".contains(before) {
            continue;
        }
        let rest = &line[at + "patchpost ".len()..];
        let rest = rest
            .split(['|', '>', '#', ';', '&', '`'])
            .next()
            .unwrap_or_default();
        problems.extend(wrong_command(rest));
    }
    problems
}

fn wrong_command(rest: &str) -> Option<String> {
    let mut command = patchpost::cli::args::Cli::command();
    command.build();
    let mut path = "patchpost".to_owned();
    let mut words = rest.split_whitespace().peekable();
    while command.has_subcommands() {
        // Options, placeholders, alternatives and paths end what names the command.
        let plain =
            |w: &&str| w.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !w.starts_with('-');
        let Some(word) = words.next_if(plain) else {
            break;
        };
        path = format!("{path} {word}");
        match command.find_subcommand(word) {
            Some(found) => command = found.clone(),
            None => return Some(format!("there is no command `{path}`")),
        }
    }
    let options = words.filter_map(|word| word.trim_start_matches('[').strip_prefix("--"));
    for option in options {
        let name = |c: &char| c.is_ascii_lowercase() || *c == '-';
        let option: String = option.chars().take_while(name).collect();
        if !command
            .get_arguments()
            .any(|arg| arg.get_long() == Some(&option))
        {
            return Some(format!("`{path}` has no option --{option}"));
        }
    }
    None
}

fn missing_targets(makefile: &str, line: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut words = line.split_whitespace();
    while let Some(word) = words.next() {
        if word != "make" && !word.ends_with("/make") {
            continue;
        }
        let Some(target) = words.next() else { break };
        let plain = target.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        if plain
            && !makefile
                .lines()
                .any(|l| l.starts_with(&format!("{target}:")))
        {
            problems.push(format!("there is no `make {target}`"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, text: &str, expected: &[&str]) {
        let found = problems(Path::new(env!("CARGO_MANIFEST_DIR")), name, text);
        assert_eq!(found, expected, "text: {text}");
    }

    #[test]
    fn names_of_things_that_are_not_there_are_found() {
        check(
            "a.md",
            "see `src/lib.rs` and `src/nowhere.rs`.",
            &["a.md line 1: there is no src/nowhere.rs"],
        );
        check("a.md", "`fixtures/session/*.txt`, `tests/it`", &[]);
        check(
            "Makefile",
            "x:\n\ttests/missing --now",
            &["Makefile line 2: there is no tests/missing"],
        );
        check("a.md", "src/nowhere.rs in prose is a word", &[]);
        check(
            "a.md",
            "    patchpost lst ls",
            &["a.md line 1: there is no command `patchpost lst`"],
        );
        check(
            "a.md",
            "```\n/usr/bin/patchpost list mv dev\n```",
            &["a.md line 2: there is no command `patchpost list mv`"],
        );
        check(
            "a.md",
            "`patchpost serve --deno`",
            &["a.md line 1: `patchpost serve` has no option --deno"],
        );
        check(
            "a.md",
            "`patchpost list ls --json | jq`, `patchpost import LIST PATH --format mbox`",
            &[],
        );
        check(
            "a.md",
            "`patchpost serve --data=/x --demo`, `patchpost --help`, `cd patchpost && ls`",
            &[],
        );
        check(
            "a.md",
            "`make run` and `make nothing`",
            &["a.md line 1: there is no `make nothing`"],
        );
    }
}
