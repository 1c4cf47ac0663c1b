//! What was found, as lines for people and as JSON for scripts.

use std::process::ExitCode;

use serde::Serialize;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing fails by it.
    Note,
    /// Something does not work, or soon will not.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is, in a few words.
    pub what: String,
    /// How it is.
    pub state: State,
    /// What was seen.
    pub detail: String,
    /// The command to give, the record to set, the setting to change; empty if there is nothing to do.
    pub mend: String,
}

/// All that was looked at, in order.
#[derive(Debug, Default)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, what: &str, state: State, detail: &str, mend: &str) {
        self.findings.push(Finding {
            what: what.to_owned(),
            state,
            detail: detail.to_owned(),
            mend: mend.to_owned(),
        });
    }

    /// All is well with it.
    pub fn ok(&mut self, what: &str, detail: &str) {
        self.add(what, State::Ok, detail, "");
    }

    /// Worth knowing.
    pub fn note(&mut self, what: &str, detail: &str, mend: &str) {
        self.add(what, State::Note, detail, mend);
    }

    /// It has to be mended, and how.
    pub fn bad(&mut self, what: &str, detail: &str, mend: &str) {
        self.add(what, State::Bad, detail, mend);
    }

    /// Well or bad, by the outcome of a look; the mend is for the bad case.
    pub fn outcome(&mut self, what: &str, seen: Result<String, String>, mend: &str) {
        match seen {
            Ok(detail) => self.ok(what, &detail),
            Err(detail) => self.bad(what, &detail, mend),
        }
    }

    /// Makes what texts name fit this run.
    pub fn complete(&mut self, fit: fn(&str) -> String) {
        for finding in &mut self.findings {
            finding.detail = fit(&finding.detail);
            finding.mend = fit(&finding.mend);
        }
    }

    /// Status 1 if anything is bad.
    pub fn exit_code(&self) -> ExitCode {
        match self.findings.iter().any(|f| f.state == State::Bad) {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        }
    }

    /// A line for each finding, and below it how to mend it.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let word = match finding.state {
                State::Ok => "ok  ",
                State::Note => "note",
                State::Bad => "BAD ",
            };
            // What servers elsewhere said may hold anything.
            let plain = |t: &str| t.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}");
            let (what, detail) = (plain(&finding.what), plain(&finding.detail));
            text.push_str(&format!("{word} {what}: {}\n", detail.replace('\n', " ")));
            for line in plain(&finding.mend).lines() {
                text.push_str(&format!("     > {line}\n"));
            }
        }
        text
    }
}
