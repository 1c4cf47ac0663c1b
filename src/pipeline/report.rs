//! Authors hear what became of their patches: the first time, and when they do not apply, unless they chose otherwise.

use askama::Template;

use super::notify::Notice;
use super::rehearse::hints::{Hints, hints};
use super::{Ctx, PipelineError, Viewer, parse, think_of};
use crate::list::notice::{
    self, Answered, Case, Event, Next, Report, ReportWish, next, one_line, wrap,
};
use crate::list::order;
use crate::list::settings::Proof;
use crate::mail::{self, Message};
use crate::patchset::{CRLF, attached_patch, recognise};
use crate::store::job::Held;
use crate::store::patch_pages::ApplicationRow;
use crate::store::{ListRow, TipRow, ToReport, Told, Wishing};
use crate::types::{Address, SeriesId, Timestamp};

/// Characters of a line.
pub(super) const WIDTH: usize = 72;
/// Mails of a version that are looked at for what a mail program broke.
const LOOKED_AT: usize = 50;

impl Ctx {
    /// Tells the author of a version what became of it, if that is wanted and not told yet. Safe to repeat.
    pub async fn report(&self, series: SeriesId, job: Held) -> Result<(), PipelineError> {
        let now = self.store.time().await?;
        let Some(found) = self.store.load_to_report(series).await? else {
            return Ok(self.store.finish_jobs(vec![job]).await?);
        };
        // What is wanted is looked at before any mail is read: mostly nothing is.
        let author = found.author.as_ref().and_then(|a| a.parse().ok());
        let Some(author) = author.map(|a: Address| a.key()) else {
            return Ok(self.store.finish_jobs(vec![job]).await?);
        };
        let application = self.store.find_application(series.0).await?;
        let case = Case {
            complete: found.complete,
            arrived: found.arrived,
            outcome: application.as_ref().map(|a| a.outcome.as_str()),
            owed: found.owed,
            told_incomplete: found.told.contains(&Told::Incomplete),
            told: found.told.contains(&Told::Outcome),
            known: self.store.has_sent_before(&found.mails, &author).await?,
            wish: self.store.load_report_wish(&author).await?,
        };
        let event = match next(&case, now) {
            Next::Look(at) => return Ok(self.store.put_off_job(job, at).await?),
            Next::Nothing => return Ok(self.store.finish_jobs(vec![job]).await?),
            Next::Tell(event) => event,
        };
        let first = found.mails[0];
        let wishing = self.store.load_wishing(first).await?;
        let read = match wishing {
            Some(mut wishing) => {
                let message = parse(std::mem::take(&mut wishing.bytes)).await?;
                let way = Way::of(&message);
                answerable(&wishing, &message).map(|found| (wishing, found, way))
            }
            None => None,
        };
        let read = read.filter(|(_, (to, _), _)| to.key() == author);
        let Some((wishing, (to, answered), way)) = read else {
            return Ok(self.store.finish_jobs(vec![job]).await?);
        };
        let Some(list) = self.list_to_tell_of(&wishing, &to).await? else {
            return Ok(self.store.finish_jobs(vec![job]).await?);
        };
        let tip = self.store.load_tips(&[series.0]).await?.remove(&series.0);
        let mut said = said(&found, application.as_ref(), tip.as_ref(), way);
        said.extend(self.what_broke(&found, case.outcome).await?);
        let text = Report {
            list: list.address.clone(),
            came: event == Event::Reported,
            title: wrap(&title(&found), WIDTH - 4),
            said: said.iter().flat_map(|line| wrap(line, WIDTH)).collect(),
            page: match list.is_open() {
                true => format!(
                    "{}/{}/patches/{}/",
                    self.base_url, list.name, found.patchset
                ),
                false => String::new(),
            },
            next: format!("-v{}", major(&found.label) + 1),
            attached: way.attached,
            choose: format!("{}/me/", self.base_url),
        };
        let subject = match event {
            Event::Reported => format!("Your patches at {}", list.address),
            _ => format!("Your patches at {} do not apply", list.address),
        };
        let posting: Option<Address> = list.address.parse().ok();
        let notice = Notice {
            event,
            list: Some(&list),
            to: &to,
            subject: &subject,
            text: &text.render()?,
            // A new version is often an answer to this.
            reply_to: posting.as_ref(),
            return_path: String::new(),
            answered: Some(&answered).filter(|a| !a.ids.is_empty()),
            ip: None,
        };
        let Some(letter) = self.draft(&notice, now)? else {
            return Ok(self.store.finish_jobs(vec![job]).await?);
        };
        let mut about = Vec::new();
        for mail in &found.mails {
            let traces = self.store.find_traces(*mail).await?;
            about.extend(traces.into_iter().flat_map(|t| t.about()));
        }
        let letter = letter.about(about);
        let told = match found.complete {
            true => Told::Outcome,
            false => Told::Incomplete,
        };
        // Names of files are the mails' own, which may be purged: the note has the outcome alone.
        let outcome = application.map_or_else(|| "not tried".to_owned(), |a| a.outcome);
        let detail = format!("patchset {} v{}: {outcome}", found.patchset, found.label);
        let about = (list.id, first, told);
        let recorded = self.store.record_report(about, letter, detail, job, now);
        Ok(recorded.await?)
    }

    /// What mail programs or their user did to the first mail of a version that is not whole, and what helps; empty if nothing is seen.
    async fn what_broke(
        &self,
        found: &ToReport,
        outcome: Option<&str>,
    ) -> Result<Vec<String>, PipelineError> {
        let look = match outcome {
            _ if !found.complete => Look::Incomplete,
            Some("bad" | "conflict") => Look::Unfit,
            Some("applied") => Look::Applied,
            _ => return Ok(Vec::new()),
        };
        for mail in found.mails.iter().take(LOOKED_AT) {
            let Some((bytes, _)) = self.store.load_bytes(*mail).await? else {
                continue;
            };
            let broken = think_of(bytes.len(), move || {
                let message = mail::parse(&bytes);
                let subject = one_line(&message.subject, 60);
                let recognised = recognise(&message);
                let hints = hints(message, &recognised);
                told_of(look, &subject, hints)
            });
            if let Some(said) = broken.await? {
                return Ok(said);
            }
        }
        Ok(Vec::new())
    }

    /// The first list with the mail of which its author may be told, in mail that goes as any other does.
    pub(super) async fn list_to_tell_of(
        &self,
        wishing: &Wishing,
        to: &Address,
    ) -> Result<Option<ListRow>, PipelineError> {
        if self.is_list_address(to).await? {
            return Ok(None);
        }
        for id in &wishing.lists {
            if let Some(list) = self.store.find_list_by_id(*id).await?
                && !list.policy.tls_only
                && self.may_know(&list, to).await?
            {
                return Ok(Some(list));
            }
        }
        Ok(None)
    }

    /// Keeps what the viewer wants to hear of own patches.
    pub async fn choose_reports(
        &self,
        viewer: &Viewer,
        wish: ReportWish,
        now: Timestamp,
    ) -> Result<(), PipelineError> {
        let address = viewer.address.clone();
        Ok(self.store.record_report_wish(address, wish, now).await?)
    }
}

/// Who wrote a mail, if he is known to have written it and no machine did; and what an answer names.
pub(super) fn answerable(wishing: &Wishing, message: &Message) -> Option<(Address, Answered)> {
    let who = order::who(message, &wishing.verdict, Proof::Authenticated);
    let to = who.address.parse::<Address>().ok();
    let to = to.filter(|_| who.proven)?;
    match notice::unanswerable(message, Some(&to), |_| false) {
        None => Some((to, Answered::from(message))),
        Some(_) => None,
    }
}

/// How a mail was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    /// By a tool that gives a mail the Message-ID that it had.
    git: bool,
    /// Its patch is a file.
    attached: bool,
}

impl Way {
    fn of(message: &Message) -> Way {
        let mailer = message.header("X-Mailer").unwrap_or_default();
        let is_git = mailer.starts_with("git-send-email") || mailer.starts_with("b4 ");
        Way {
            git: is_git || recognise(message).stem.is_some(),
            attached: attached_patch(message).is_some(),
        }
    }
}

/// What mails are looked at for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Patches that are in mails of others.
    Incomplete,
    /// What keeps a patch from being used.
    Unfit,
    /// What git leaves away without a word.
    Applied,
}

/// What is said of one mail, if anything is.
fn told_of(look: Look, subject: &str, hints: Hints) -> Option<Vec<String>> {
    match look {
        Look::Incomplete => hints.second.then(|| {
            let text = "holds more than one patch: the first is taken. Send each of the others as a new mail of its own, not as an answer, within a day.";
            vec![format!("\"{subject}\" {text}")]
        }),
        Look::Applied => hints.goes_on.map(|words| vec![format!("\"{subject}\": {words}")]),
        Look::Unfit => {
            let is_told = hints.broken.is_some() || hints.crlf || hints.goes_on.is_some();
            let title = format!("What was done to \"{subject}\" on its way:");
            let crlf = hints.crlf.then(|| CRLF.to_owned());
            is_told.then(|| [title].into_iter().chain(hints.said).chain(crlf).collect())
        }
    }
}

/// The number of a version without what follows it: 3 of `3-r1`.
fn major(label: &str) -> u32 {
    let number = label.split(['.', '-']).next().unwrap_or_default();
    number.parse().unwrap_or(1)
}

/// `"Two fixes", v2 of 3 patches.`
pub(super) fn title(found: &ToReport) -> String {
    let patches = match found.total {
        1 => "1 patch".to_owned(),
        n => format!("{n} patches"),
    };
    let title = one_line(&found.title, 150);
    format!("\"{title}\", v{} of {patches}", found.label)
}

/// What became of a version, a sentence or two each.
fn said(
    found: &ToReport,
    application: Option<&ApplicationRow>,
    tip: Option<&TipRow>,
    way: Way,
) -> Vec<String> {
    if !found.complete {
        let missing = notice::missing(found.total, &found.numbers);
        let what = match missing {
            Some(missing) => format!("It is incomplete: {missing}."),
            None => "It is incomplete.".to_owned(),
        };
        let again = match way.git {
            true => "send just that mail again, with the Message-ID that it had",
            false => "send that patch as a new mail of its own, not as an answer, within a day",
        };
        let mend =
            format!("Mail that is held or delayed comes by itself. If it was lost, {again}.");
        return vec![what, mend];
    }
    let whole = "All patches are there.".to_owned();
    let Some(a) = application else {
        let unknown =
            "Whether they apply could not be found out; the people who run the server see that.";
        return vec![whole, unknown.to_owned()];
    };
    let on = match (&a.repo, &a.base) {
        (Some((repo, _)), Some(base)) => format!("{repo} at {} ({})", short(base), a.why),
        _ => "its base".to_owned(),
    };
    let place = || {
        let file = a
            .file
            .as_deref()
            .map_or_else(String::new, |f| one_line(f, 150));
        match a.hunk.filter(|h| *h > 0) {
            Some(hunk) if !file.is_empty() => format!("{file}, hunk {hunk}: "),
            _ if file.is_empty() => String::new(),
            _ => format!("{file}: "),
        }
    };
    let (patch, detail) = (a.patch.unwrap_or(1), one_line(&a.detail, 300));
    let outcome = match a.outcome.as_str() {
        "applied" => format!("They apply to {on}."),
        "conflict" => format!("Patch {patch} does not apply to {on}: {}{detail}", place()),
        "bad" => format!("Patch {patch} cannot be used: {detail}"),
        "waits" => format!("The series {detail}."),
        _ => format!("They were not tried: {detail}."),
    };
    let late = tip.filter(|t| a.outcome == "applied" && t.outcome == "conflict");
    let late = late.map(|t| {
        let (_, branch) = &t.repo;
        let commit = short(&t.tip);
        format!("At the tip of {branch}, {commit}, they do not apply any more.")
    });
    [whole, outcome].into_iter().chain(late).collect()
}

pub(super) fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::MailId;

    #[test]
    fn what_to_do_about_a_hole_is_what_the_author_can_do() {
        let found = ToReport {
            series: SeriesId(1),
            patchset: 1,
            label: "3-r1".to_owned(),
            title: "one".to_owned(),
            total: 2,
            numbers: vec![1],
            complete: false,
            mails: vec![MailId(1)],
            author: None,
            arrived: Timestamp(0),
            owed: false,
            told: Vec::new(),
        };
        assert_eq!(major(&found.label), 3);
        let check = |fields: &str, id: &str, expected: &str| {
            let mail = format!("From: a@b.c\nMessage-ID: <{id}>\n{fields}Subject: x\n\nHello.\n");
            let said = said(&found, None, None, Way::of(&mail::parse(mail.as_bytes())));
            assert!(said[1].contains(expected), "{said:?}");
        };
        check(
            "",
            "20240315173105.636749-2-a@b.c",
            "with the Message-ID that it had",
        );
        check(
            "X-Mailer: git-send-email 2.47\n",
            "x@y",
            "with the Message-ID that it had",
        );
        check(
            "",
            "CA+x@mail.example",
            "as a new mail of its own, not as an answer",
        );
        let hints = Hints {
            second: true,
            ..Hints::default()
        };
        let told = told_of(Look::Incomplete, "x", hints).unwrap_or_default();
        assert!(told[0].contains("holds more than one patch"), "{told:?}");
    }
}
