//! Parts of patchpost without the start of a program around them, for `benches/run`: each runs some times in one process, and one
//! line of JSON says what it took.
//!
//!     engine apply REPO BASE MBOX RUNS     one mbox in memory; nothing is written
//!     engine base DATA REPO BRANCH MBOX…   on which commit each mbox belongs

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use patchpost::git::{self, AmRequest, Committer, Fallback, Outcome, Repos};
use patchpost::mail::{self, mbox};
use patchpost::patchset::{first_blobs, recognise};
use patchpost::types::Timestamp;

fn main() -> ExitCode {
    // `cargo bench` adds a word of its own.
    let words = std::env::args().skip(1).filter(|w| w != "--bench");
    let words: Vec<String> = words.collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["apply", repo, base, file, runs] => apply(repo, base, file, runs),
        ["base", data, repo, branch, files @ ..] => find_bases(data, repo, branch, files),
        _ => Err("say `apply REPO BASE MBOX RUNS` or `base DATA REPO BRANCH MBOX…`".into()),
    };
    match done {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

type Said = Result<serde_json::Value, Box<dyn std::error::Error>>;

fn mails(file: &str) -> std::io::Result<Vec<Vec<u8>>> {
    let mut reader = mbox::Reader::new(BufReader::new(File::open(file)?));
    let mut mails = Vec::new();
    while let Some(mail) = reader.next_mail()? {
        mails.push(mail);
    }
    Ok(mails)
}

/// Seconds of processor that this process has used.
fn cpu() -> std::io::Result<f64> {
    let ticks: u64 = std::fs::read_to_string("/proc/self/schedstat")?
        .split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .ok_or_else(|| std::io::Error::other("no figure in /proc/self/schedstat"))?;
    Ok(ticks as f64 / 1e9)
}

fn apply(repo: &str, base: &str, file: &str, runs: &str) -> Said {
    let request = AmRequest {
        repo: Path::new(repo).to_owned(),
        base: base.to_owned(),
        ref_name: None,
        fallback: Fallback::ThreeWay,
        mails: mails(file)?,
        committer: Some(Committer {
            name: "Bench".to_owned(),
            email: "bench@example.org".to_owned(),
            date: Timestamp::from_secs(1_700_000_000),
            zone: 0,
            with_author_date: false,
        }),
        with_author_date: false,
    };
    let runs: u32 = runs.parse()?;
    let (clock, before) = (Instant::now(), cpu()?);
    let mut tree = String::new();
    for _ in 0..runs {
        match git::try_am(&request)? {
            Outcome::Applied { tree: made, .. } => tree = made,
            other => return Err(format!("{file} does not apply: {other:?}").into()),
        }
    }
    let wall = clock.elapsed().as_secs_f64() / f64::from(runs);
    Ok(
        serde_json::json!({ "tree": tree, "wall": wall, "cpu": (cpu()? - before) / f64::from(runs) }),
    )
}

fn find_bases(data: &str, repo: &str, branch: &str, files: &[&str]) -> Said {
    let repos = Repos::new(Path::new(data));
    let mut all = Vec::new();
    for file in files {
        let facts = mails(file)?;
        let facts = facts.iter().map(|m| recognise(&mail::parse(m)));
        all.push(first_blobs(&facts.collect::<Vec<_>>()));
    }
    let (clock, before) = (Instant::now(), cpu()?);
    let mut found = Vec::new();
    for blobs in &all {
        let base = repos.find_base(repo, branch, None, blobs)?;
        found.push(base.map(|b| b.commit));
    }
    let (wall, cpu) = (clock.elapsed().as_secs_f64(), cpu()? - before);
    Ok(serde_json::json!({ "found": found, "wall": wall, "cpu": cpu }))
}
