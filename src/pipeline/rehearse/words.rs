//! What the answer to a rehearsal says of a series: what it is, whether it applies, what a mail program broke.

use super::{DROPPED, Group, HELD, REFUSED, Waiting};
use crate::git::{Base, Conflict, GitError, Outcome};
use crate::list::notice::{self, beside, one_line, wrap};
use crate::mail;
use crate::patchset::{Input, Recognised, Series, shown_alone};
use crate::pipeline::apply::{facts, request};
use crate::pipeline::base::{Place, Start};
use crate::pipeline::{Ctx, PipelineError, file, think};
use crate::store::{ListRow, RepoRow, SeriesToApply};
use crate::types::{MailId, PatchsetId, SeriesId};

/// Characters of a line of the answer, less its indent.
const WIDTH: usize = 72;
/// Trailers that are shown.
const MOST_TRAILERS: usize = 60;

/// How much may be said of mails: what goes over TLS only does not travel in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    Whole,
    Bare,
}

impl Detail {
    fn of(list: &ListRow) -> Detail {
        match list.policy.tls_only {
            true => Detail::Bare,
            false => Detail::Whole,
        }
    }

    /// The whole text, or what is said in its place.
    fn say(self, whole: String, bare: &str) -> String {
        match self {
            Detail::Whole => whole,
            Detail::Bare => bare.to_owned(),
        }
    }
}

impl Ctx {
    /// The answer about one group.
    pub(super) async fn rehearsed(
        &self,
        list: &ListRow,
        mails: &[Waiting],
        group: &Group,
    ) -> Result<notice::Rehearsal, PipelineError> {
        let members = || group.members.iter().map(|at| &mails[*at]);
        let detail = Detail::of(list);
        let title = |mail: &Waiting| detail.say(one_line(&mail.subject, 60), &place_of(mail));
        let (decision, steps) = &mails[group.members[0]].said;
        let mut decided = wrap(decision, WIDTH);
        for other in members().filter(|m| m.said.0 != *decision) {
            let text = format!("{}: {}", title(other), other.said.0);
            decided.extend(wrap(&text, WIDTH));
        }
        let found = match &group.series {
            None => vec!["It is no patch, cover letter or pull request: it would be shown as a mail of its thread.".to_owned()],
            Some(series) => self.series_words(series, &group.others, detail).await?,
        };
        let (mut applies, mut damage) = (Vec::new(), Vec::new());
        let mut fits = None;
        if let Some(series) = &group.series {
            (applies, fits) = self.applies_words(list, mails, group, series).await?;
        }
        for mail in members() {
            let title = title(mail);
            let mut broken = mail.hints.said.clone();
            if fits == Some(false) {
                broken.extend(mail.hints.unfit());
            }
            damage.extend(
                broken
                    .iter()
                    .map(|b| detail.say(b.clone(), &unquoted(b)))
                    .map(|b| one_line(&format!("{title}: {b}"), 400)),
            );
        }
        if damage.is_empty() {
            damage.push("Nothing that can be seen.".to_owned());
        }
        let lines = |texts: &[String]| texts.iter().flat_map(|t| wrap(t, WIDTH)).collect();
        let verdict = verdict(members(), group, fits);
        let end = match &verdict {
            Ok(_) => format!("To post it, send the same mails to {}.", list.address),
            Err(_) => {
                let at = list.address.parse().ok();
                let at = at.and_then(|list| notice::with_suffix(&list, "+check"));
                let at = at.map_or_else(|| "the same address".to_owned(), |a| a.to_string());
                format!(
                    "When that is mended, try again at {at}; an answer to this mail goes there."
                )
            }
        };
        let verdict = verdict.unwrap_or_else(|why| format!("Do not send this yet: {why}."));
        let verdict = detail.say(verdict.clone(), &unquoted(&verdict));
        Ok(notice::Rehearsal {
            verdict: wrap(&verdict, WIDTH),
            end,
            list: list.address.clone(),
            count: members().count(),
            mails: match detail {
                Detail::Whole => members().map(|m| one_line(&m.subject, WIDTH)).collect(),
                Detail::Bare => vec!["(what it says goes over TLS only)".to_owned()],
            },
            decision: decided,
            steps: steps
                .iter()
                .flat_map(|(name, found)| beside(name, &one_line(found, 300)))
                .collect(),
            series: lines(&found),
            applies: lines(&applies),
            damage: lines(&damage),
            trailers: match detail {
                Detail::Whole => trailers(members()),
                Detail::Bare => Vec::new(),
            },
        })
    }

    async fn series_words(
        &self,
        series: &Series,
        others: &[(String, MailId)],
        detail: Detail,
    ) -> Result<Vec<String>, PipelineError> {
        let there: Vec<i64> = series.patches.iter().map(|p| i64::from(p.number)).collect();
        let missing = match series.complete {
            true => None,
            false => notice::missing(i64::from(series.total), &there),
        };
        let cover = if series.cover.is_some() {
            " with a cover letter"
        } else {
            ""
        };
        let patches = match series.total {
            1 => "1 patch".to_owned(),
            n => format!("{n} patches"),
        };
        let title = format!("\"{}\"", one_line(&series.title, 150));
        let mut words = vec![format!(
            "{}, v{} of {patches}{cover}.",
            detail.say(title, "A series"),
            series.label
        )];
        if detail == Detail::Whole {
            words.push(one_line(&series.reason, 600));
        }
        if let Some(missing) = missing {
            words.push(format!("It is incomplete: {missing}."));
        }
        let mails: Vec<MailId> = others.iter().map(|(_, mail)| *mail).collect();
        if let Some(patchset) = self.store.find_patchset_of(&mails).await? {
            let labels: Vec<&str> = others.iter().map(|(label, _)| label.as_str()).collect();
            let name = detail.say(format!("patchset {patchset}"), "a patchset that is here");
            words.push(format!(
                "It would be a version of {name}, which has v{}.",
                labels.join(", v")
            ));
        }
        Ok(words)
    }

    /// Whether a series applies, in words; and the same as far as it was tried.
    async fn applies_words(
        &self,
        list: &ListRow,
        mails: &[Waiting],
        group: &Group,
        series: &Series,
    ) -> Result<(Vec<String>, Option<bool>), PipelineError> {
        if !series.complete {
            return Ok((
                vec!["It was not tried, as it is incomplete.".to_owned()],
                None,
            ));
        }
        let work = self.as_work(list, mails, group, series).await?;
        if work.repos.is_empty() {
            return Ok((
                vec!["It was not tried: the list has no repository.".to_owned()],
                None,
            ));
        }
        let facts = facts(&work.recognised);
        if facts.iter().any(|f| f.pull.is_some()) {
            return Ok((
                vec!["It was not tried: a pull request carries no patches.".to_owned()],
                None,
            ));
        }
        let names = self.names(&work, &facts).await?;
        let place = self.find_place(&work, &facts, &names).await?;
        let bytes = self.bytes_of(mails, group, series).await?;
        let (ctx, detail) = (self.clone(), Detail::of(list));
        think(move || ctx.try_words(&work, place, &bytes, detail)).await?
    }

    /// Tries a series where it would begin, and at the tip of the branch.
    fn try_words(
        &self,
        work: &SeriesToApply,
        place: Place,
        mails: &[Vec<u8>],
        detail: Detail,
    ) -> Result<(Vec<String>, Option<bool>), PipelineError> {
        let mut words = Vec::new();
        let (repo, starts) = match place {
            Place::Nowhere(why) => return Ok((vec![format!("It was not tried: {why}.")], None)),
            Place::Waits(repo, why) => {
                let why = detail.say(why, "waits for what it is built on");
                words.push(format!("It {why}."));
                match repo {
                    Some(repo) => (repo, Vec::new()),
                    None => return Ok((words, None)),
                }
            }
            Place::On(repo, starts) => (repo, starts),
        };
        let tip = self.repos.tip(&repo.name, &repo.branch)?;
        let mut tried = Vec::new();
        for Start { base, .. } in starts {
            let at = format!("{} at {} ({})", repo.name, short(&base.commit), base.why);
            let at = detail.say(at, "the list's repository");
            let (fits, said) = self.try_at(work, &repo, base.clone(), mails, detail)?;
            tried.push((base.commit, fits, format!("On {at}: {said}")));
            if fits {
                break;
            }
        }
        let told = tried.iter().find(|t| t.1).or(tried.first());
        let fits = told.map(|t| t.1);
        words.extend(told.map(|t| t.2.clone()));
        if let Some(tip) = tip.filter(|tip| told.is_none_or(|t| t.0 != *tip)) {
            let base = Base {
                commit: tip.clone(),
                why: String::new(),
            };
            let (_, said) = self.try_at(work, &repo, base, mails, detail)?;
            let at = format!("{}, {}", repo.branch, short(&tip));
            let at = detail.say(at, "its branch");
            words.push(format!("At the tip of {at}: {said}"));
        }
        Ok((words, fits))
    }

    fn try_at(
        &self,
        work: &SeriesToApply,
        repo: &RepoRow,
        base: Base,
        mails: &[Vec<u8>],
        detail: Detail,
    ) -> Result<(bool, String), PipelineError> {
        let tried = self
            .repos
            .try_apply(&request(work, repo, base, mails.to_vec()));
        Ok(match tried {
            Ok(Outcome::Applied { .. }) => (true, "it applies.".to_owned()),
            Ok(Outcome::Conflict(c)) => {
                let bare = format!("patch {} does not apply.", c.patch);
                (false, detail.say(conflict_words(&c), &bare))
            }
            Ok(Outcome::Bad { patch, reason }) => {
                let bare = format!("patch {patch} cannot be used");
                let whole = format!("{bare}: {}", one_line(&reason, 300));
                (false, detail.say(whole, &format!("{bare}.")))
            }
            Err(GitError::Refused(reason)) => {
                let bare = "it is beyond a limit of this server.";
                (false, detail.say(one_line(&reason, 300), bare))
            }
            Err(error) => return Err(error.into()),
        })
    }

    /// A series that is not here as one that is to be applied.
    async fn as_work(
        &self,
        list: &ListRow,
        mails: &[Waiting],
        group: &Group,
        series: &Series,
    ) -> Result<SeriesToApply, PipelineError> {
        let input = |mail: MailId| {
            let mut own = group.members.iter().map(|at| &mails[*at].input);
            let own = own.find(|input| input.mail == mail);
            own.or(group.archived.get(&mail))
        };
        let json = |input: &Input| file::to_json(&input.recognised);
        let patches = series.patches.iter().filter_map(|p| input(p.mail));
        let cover = series.cover.and_then(input);
        Ok(SeriesToApply {
            id: SeriesId(0),
            patchset: PatchsetId(0),
            realm: list.realm,
            label: series.label.clone(),
            newest: false,
            base_commit: series.base_commit.clone(),
            prefixes: series.prefixes.join(" "),
            arrived: series.arrived,
            mails: series.patches.iter().map(|p| p.mail).collect(),
            message_ids: cover
                .into_iter()
                .chain(patches.clone())
                .map(|input| input.message_id.to_string())
                .collect(),
            recognised: patches.map(json).collect(),
            cover: cover.map(json),
            open: true,
            published: None,
            list_name: list.name.clone(),
            list_address: list.address.clone(),
            repos: self.store.load_list_repos(list.id).await?,
        })
    }

    /// Bytes of its patches in order; those that it takes over from the version before are in the archive.
    async fn bytes_of(
        &self,
        mails: &[Waiting],
        group: &Group,
        series: &Series,
    ) -> Result<Vec<Vec<u8>>, PipelineError> {
        let mut all = Vec::with_capacity(series.patches.len());
        for slot in &series.patches {
            let own = group.members.iter().map(|at| &mails[*at]);
            match own.into_iter().find(|m| m.input.mail == slot.mail) {
                Some(mail) => all.push(mail.bytes.clone()),
                None => {
                    let Some((bytes, _)) = self.store.load_bytes(slot.mail).await? else {
                        let text = format!("mail {} has no bytes", slot.mail);
                        return Err(PipelineError::Broken(text));
                    };
                    let shown = move || shown_alone(&bytes, &mail::parse(&bytes)).into_owned();
                    all.push(think(shown).await?);
                }
            }
        }
        Ok(all)
    }
}

/// Whether it can be sent as it is, in a sentence; the error says why it had better not.
fn verdict<'a>(
    members: impl Iterator<Item = &'a Waiting> + Clone,
    group: &Group,
    fits: Option<bool>,
) -> Result<String, String> {
    let said = |start: &str| members.clone().any(|m| m.said.0.starts_with(start));
    if said(REFUSED) {
        return Err("the list would refuse it".to_owned());
    }
    if said(DROPPED) {
        return Err("the list would drop it".to_owned());
    }
    let broken = members.clone().find_map(|m| m.hints.broken);
    if let Some(why) = broken.filter(|_| fits != Some(true)) {
        return Err(why.to_owned());
    }
    if let Some(why) = members.clone().find_map(|m| m.hints.untaken.clone()) {
        return Err(why);
    }
    if members.clone().any(|m| m.hints.unread) {
        return Err("no patch can be read in it".to_owned());
    }
    if let Some(series) = &group.series {
        let is_there = |n: &u32| series.patches.iter().any(|p| p.number == *n);
        let missing = (1..=series.total).find(|n| !is_there(n));
        if let Some(missing) = missing.filter(|_| !series.complete) {
            return Err(format!("patch {missing} of {} is missing", series.total));
        }
        if let Some(why) = sent_before(series, &group.others) {
            return Err(why);
        }
    }
    if fits == Some(false) {
        return Err("it does not apply".to_owned());
    }
    if members.clone().any(|m| m.hints.second) {
        return Err("it holds more than one patch, and one mail becomes one commit".to_owned());
    }
    if members.clone().any(|m| m.hints.goes_on.is_some()) {
        return Err(
            "text stands right under its diff, perhaps the end of a line that was wrapped"
                .to_owned(),
        );
    }
    if group.series.is_none() && members.clone().any(|m| m.input.recognised.diff.is_some()) {
        return Ok(
            "This can be sent as an answer: the patch in it is not taken as one.".to_owned(),
        );
    }
    Ok(match said(HELD) {
        true => "This can be sent as it is; a moderator looks at it before it is posted.",
        false => "This can be sent as it is.",
    }
    .to_owned())
}

/// Where a version of that number is here already: the next one has the next number.
fn sent_before(series: &Series, others: &[(String, MailId)]) -> Option<String> {
    let (version, again) = series.label.split_once('-')?;
    let digits = again.bytes().all(|b| b.is_ascii_digit());
    if !digits || others.iter().all(|(label, _)| label != version) {
        return None;
    }
    let number = |label: &str| {
        let major = label.split(['.', '-']).next().unwrap_or_default();
        major.parse::<u32>().unwrap_or_default()
    };
    let last = others.iter().map(|(label, _)| number(label)).max()?;
    Some(format!(
        "v{version} is there already; a new version would be sent with -v{}",
        last + 1
    ))
}

/// `patch 2`, `the cover letter`.
fn place_of(mail: &Waiting) -> String {
    match mail.input.recognised.tag.number {
        Some(0) => "the cover letter".to_owned(),
        Some(number) => format!("patch {number}"),
        None => "the mail".to_owned(),
    }
}

/// Without what is quoted of a mail.
fn unquoted(text: &str) -> String {
    match (text.find('"'), text.rfind('"')) {
        (Some(first), Some(last)) if first < last => {
            format!("{}…{}", &text[..=first], &text[last..])
        }
        _ => text.to_owned(),
    }
}

fn conflict_words(c: &Conflict) -> String {
    let hunk = match c.hunk {
        // What stands in the way names it itself.
        hunk if hunk == 0 || c.detail.starts_with(&format!("hunk {hunk},")) => String::new(),
        hunk => format!(", hunk {hunk}"),
    };
    format!(
        "patch {} does not apply: {}{hunk}: {}",
        c.patch,
        one_line(&c.file, 150),
        one_line(&c.detail, 300)
    )
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

/// `2/3 Reviewed-by: …`, a line each.
fn trailers<'a>(members: impl Iterator<Item = &'a Waiting>) -> Vec<String> {
    let of = |mail: &'a Waiting| {
        let Recognised { tag, trailers, .. } = &mail.input.recognised;
        let number = format!("{}/{}", tag.number.unwrap_or(1), tag.total.unwrap_or(1));
        trailers
            .iter()
            .map(move |t| one_line(&format!("{number} {}: {}", t.name, t.value), 150))
    };
    members.flat_map(of).take(MOST_TRAILERS).collect()
}
