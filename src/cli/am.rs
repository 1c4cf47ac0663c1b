//! `patchpost am`: mails → commits in a bare repository, with no list and no database.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::json;

use super::args::Am;
use super::output::print_json;
use crate::git::{self, AmRequest, Fallback, Outcome};
use crate::mail::mbox;

/// Runs it; exit status 1 if a patch does not apply, and then the repository is as before.
pub fn am(wish: &Am) -> Result<ExitCode> {
    let mut mails = Vec::new();
    for file in &wish.files {
        read(file, wish.mboxrd, &mut mails)?;
    }
    let request = AmRequest {
        repo: wish.repo.clone(),
        base: wish.base.clone(),
        ref_name: wish.ref_name.clone(),
        fallback: if wish.no_three_way {
            Fallback::None
        } else {
            Fallback::ThreeWay
        },
        mails,
        committer: None,
        with_author_date: wish.committer_date_is_author_date,
    };
    let outcome = match wish.dry_run {
        true => git::try_am(&request)?,
        false => git::am(&request)?,
    };
    if wish.json.json {
        print_json(&as_json(&outcome))?;
    } else {
        println!("{}", as_text(&outcome));
    }
    Ok(match outcome {
        Outcome::Applied { .. } => ExitCode::SUCCESS,
        Outcome::Conflict(_) | Outcome::Bad { .. } => ExitCode::FAILURE,
    })
}

fn as_json(outcome: &Outcome) -> serde_json::Value {
    match outcome {
        Outcome::Applied { commits, tree } => {
            json!({ "applies": true, "commit": commits.last(), "tree": tree, "commits": commits })
        }
        Outcome::Conflict(c) => {
            json!({ "applies": false, "patch": c.patch, "file": c.file, "hunk": c.hunk, "detail": c.detail })
        }
        Outcome::Bad { patch, reason } => {
            json!({ "applies": false, "patch": patch, "detail": reason })
        }
    }
}

fn as_text(outcome: &Outcome) -> String {
    let shown = |text: &str| {
        text.chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect::<String>()
    };
    match outcome {
        Outcome::Applied { commits, tree } => {
            let commit = commits.last().map_or("", String::as_str);
            format!("commit {commit}\ntree {tree}")
        }
        Outcome::Conflict(c) if c.hunk > 0 => {
            format!(
                "patch {} does not apply: {} hunk {}: {}",
                c.patch,
                shown(&c.file),
                c.hunk,
                shown(&c.detail)
            )
        }
        Outcome::Conflict(c) => format!(
            "patch {} does not apply: {}: {}",
            c.patch,
            shown(&c.file),
            shown(&c.detail)
        ),
        Outcome::Bad { patch, reason } => {
            format!("patch {patch} cannot be used: {}", shown(reason))
        }
    }
}

/// The mails of a file, a folder or standard input.
fn read(path: &Path, mboxrd: bool, mails: &mut Vec<Vec<u8>>) -> Result<()> {
    if path.is_dir() {
        return read_maildir(path, mails);
    }
    let mut bytes = Vec::new();
    let done = if path == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes))
    };
    done.with_context(|| format!("cannot read {}", path.display()))?;
    if !bytes.starts_with(b"From ") {
        mails.push(bytes);
        return Ok(());
    }
    let source = BufReader::new(bytes.as_slice());
    let mut reader = match mboxrd {
        true => mbox::Reader::new(source),
        false => mbox::Reader::keeping_quotes(source),
    };
    while let Some(mail) = reader.next_mail()? {
        mails.push(mail);
    }
    Ok(())
}

/// Mails of `cur`, then of `new`, each by name, numbers in names by their value, as git-mailsplit(1) has it.
fn read_maildir(folder: &Path, mails: &mut Vec<Vec<u8>>) -> Result<()> {
    let mut found: Vec<(Vec<(u64, String)>, PathBuf)> = Vec::new();
    for part_name in ["cur", "new"] {
        let part = folder.join(part_name);
        let entries = std::fs::read_dir(&part)
            .with_context(|| format!("{} is no Maildir", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if !name.starts_with('.') {
                found.push((sort_key(&format!("{part_name}/{name}")), path));
            }
        }
    }
    found.sort();
    for (_, path) in found {
        let mail =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        mails.push(mail);
    }
    Ok(())
}

/// Numbers and the text behind each.
fn sort_key(name: &str) -> Vec<(u64, String)> {
    let mut key = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number = rest[..digits]
            .parse()
            .unwrap_or(if digits > 0 { u64::MAX } else { 0 });
        let text = rest[digits..]
            .bytes()
            .take_while(|b| !b.is_ascii_digit())
            .count();
        key.push((number, rest[digits..digits + text].to_owned()));
        rest = &rest[digits + text..];
    }
    key
}
