//! Authors who chose it hear when somebody sets the state of their patches, and when these land.

use std::collections::BTreeSet;

use askama::Template;

use super::notify::Notice;
use super::report::{WIDTH, answerable, short, title};
use super::{Ctx, PipelineError, parse, think};
use crate::list::notice::{Event, Happened, News, What, untold, wrap};
use crate::store::job::Held;
use crate::store::{ACCEPTED, LandedWhen, Noted, ToReport, state_name};
use crate::types::{Address, SeriesId};

/// Commits that are named in a letter.
const NAMED: usize = 50;

/// What is told, in words.
struct Words {
    /// A sentence or two each.
    said: Vec<String>,
    /// All of it in a word, if there is one: `landed`, `changes requested`.
    word: Option<&'static str>,
}

impl Ctx {
    /// Tells the author of a version what others decided about it and where it landed since he was told last, if he wants that. Safe to
    /// repeat.
    pub async fn news(&self, series: SeriesId, job: Held) -> Result<(), PipelineError> {
        match self.tell_news(series, job).await? {
            true => Ok(()),
            false => Ok(self.store.finish_jobs(vec![job]).await?),
        }
    }

    /// Whether something was told: then the job is struck off.
    async fn tell_news(&self, series: SeriesId, job: Held) -> Result<bool, PipelineError> {
        let Some(found) = self.store.load_to_report(series).await? else {
            return Ok(false);
        };
        let author = found.author.as_ref().and_then(|a| a.parse().ok());
        let Some(author) = author.map(|a: Address| a.key()) else {
            return Ok(false);
        };
        let Some(since) = self.store.load_news_wish(&author).await? else {
            return Ok(false);
        };
        let noted = self.store.load_noted(&found).await?;
        let own = self.store.load_linked(&author).await?;
        let news = untold(&noted.all, noted.told, since, &own);
        let Some(newest) = noted.all.last().map(|h| h.id).filter(|_| noted.live) else {
            return Ok(false);
        };
        let words = self.words(&found, &noted, &news, &own).await?;
        if words.said.is_empty() {
            return Ok(false);
        }
        let first = found.mails[0];
        let Some(mut wishing) = self.store.load_wishing(first).await? else {
            return Ok(false);
        };
        let message = parse(std::mem::take(&mut wishing.bytes)).await?;
        let Some((to, answered)) = answerable(&wishing, &message) else {
            return Ok(false);
        };
        let list = self.list_to_tell_of(&wishing, &to).await?;
        let Some(list) = list.filter(|_| to.key() == author) else {
            return Ok(false);
        };
        let text = News {
            list: list.address.clone(),
            title: wrap(&title(&found), WIDTH - 4),
            said: words.said.iter().flat_map(|l| wrap(l, WIDTH)).collect(),
            page: match list.is_open() {
                true => format!(
                    "{}/{}/patches/{}/",
                    self.base_url, list.name, found.patchset
                ),
                false => String::new(),
            },
            choose: format!("{}/me/", self.base_url),
        };
        let subject = match words.word {
            Some(word) => format!("Your patches at {}: {word}", list.address),
            None => format!("News of your patches at {}", list.address),
        };
        let now = self.store.time().await?;
        let notice = Notice {
            event: Event::News,
            list: Some(&list),
            to: &to,
            subject: &subject,
            text: &text.render()?,
            reply_to: None,
            return_path: String::new(),
            answered: Some(&answered).filter(|a| !a.ids.is_empty()),
            ip: None,
        };
        let Some(letter) = self.draft(&notice, now)? else {
            return Ok(false);
        };
        let mut about = Vec::new();
        for mail in &found.mails {
            let traces = self.store.find_traces(*mail).await?;
            about.extend(traces.into_iter().flat_map(|t| t.about()));
        }
        let word = words.word.unwrap_or("several things");
        let detail = format!("patchset {} v{}: {word}", found.patchset, found.label);
        let letter = letter.about(about);
        let recorded = self
            .store
            .record_news((&list, &found, newest), letter, detail, job, now);
        recorded.await?;
        Ok(true)
    }

    /// What is told of these notes.
    async fn words(
        &self,
        found: &ToReport,
        noted: &Noted,
        news: &[&Happened],
        own: &[String],
    ) -> Result<Words, PipelineError> {
        let moments: BTreeSet<_> = news
            .iter()
            .filter(|h| h.what == What::Landed)
            .map(|h| h.when)
            .collect();
        let all = self.store.load_landed_when(found.series).await?;
        let here: BTreeSet<i64> = all.iter().map(|l| l.number).collect();
        let whole = here.len() as i64 == found.total;
        let new = all.into_iter().filter(|l| moments.contains(&l.found));
        let new = self.by_others(new.collect(), own).await?;
        // That what landed is accepted goes without saying.
        let implied = |h: &&&Happened| h.what == What::State(ACCEPTED) && whole;
        let states: Vec<&Happened> = news
            .iter()
            .filter(|h| h.what != What::Landed && !implied(h))
            .copied()
            .collect();
        let word = match states.as_slice() {
            [] if whole => Some("landed"),
            [one] if new.is_empty() => match one.what {
                What::State(0) => Some(state_name(noted.state)),
                What::State(state) => Some(state_name(state)),
                _ => None,
            },
            _ => None,
        };
        let mut said = landings(&new, found.total, whole);
        said.extend(states.into_iter().map(|h| decided(h, noted.state)));
        Ok(Words { said, word })
    }

    /// Without the commits that the author made himself, as whoever pushes his own patches knows of it.
    async fn by_others(
        &self,
        landed: Vec<LandedWhen>,
        own: &[String],
    ) -> Result<Vec<LandedWhen>, PipelineError> {
        let mut others = Vec::new();
        for of_repo in landed.chunk_by(|a, b| a.repo == b.repo) {
            let (git, name) = (self.repos.clone(), of_repo[0].repo.clone());
            let commits: Vec<String> = of_repo.iter().map(|l| l.commit.clone()).collect();
            // A branch that was rewritten meanwhile may have lost them: then nobody is known to have made them.
            let by = think(move || git.committers(&name, &commits)).await?;
            let by = by.unwrap_or_default();
            let is_own = |l: &&LandedWhen| {
                let who = by.get(&l.commit);
                who.is_some_and(|who| own.iter().any(|a| a.eq_ignore_ascii_case(who)))
            };
            others.extend(of_repo.iter().filter(|l| !is_own(l)).cloned());
        }
        Ok(others)
    }
}

/// A sentence for each branch.
fn landings(new: &[LandedWhen], total: i64, whole: bool) -> Vec<String> {
    let place = |l: &LandedWhen| (l.repo.clone(), l.branch.clone());
    let sentence = |of: &[LandedWhen]| {
        let named = of.iter().take(NAMED);
        let named: Vec<String> = match total {
            1 => named.map(|l| short(&l.commit).to_owned()).collect(),
            _ => named
                .map(|l| format!("patch {} as {}", l.number, short(&l.commit)))
                .collect(),
        };
        let more = match of.len().saturating_sub(NAMED) {
            0 => String::new(),
            n => format!(", and {n} more"),
        };
        let place = format!("{} of {}", of[0].branch, of[0].repo);
        let named = named.join(", ");
        match total {
            1 => format!("It is in {place} now, as {named}."),
            n if of.len() as i64 == n => format!("All of it is in {place} now: {named}{more}."),
            _ => format!("In {place} there is now: {named}{more}."),
        }
    };
    let mut said: Vec<String> = new
        .chunk_by(|a, b| place(a) == place(b))
        .map(sentence)
        .collect();
    if !said.is_empty() && !whole {
        said.push("The rest is not there yet.".to_owned());
    }
    said
}

/// A decision in a sentence; `present` is the state of the version.
fn decided(h: &Happened, present: i64) -> String {
    let by = h
        .address()
        .map_or_else(String::new, |who| format!(" by {who}"));
    match h.what {
        What::PatchState(patch, 0) => {
            format!("Patch {patch} was given the state of the series{by}.")
        }
        What::PatchState(patch, state) => {
            format!(
                "The state of patch {patch} was set to \"{}\"{by}.",
                state_name(state)
            )
        }
        What::State(0) => format!(
            "Its state is no longer set by hand{by}: it is \"{}\".",
            state_name(present)
        ),
        What::State(state) => format!("Its state was set to \"{}\"{by}.", state_name(state)),
        What::Landed => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Timestamp;

    fn landed(numbers: &[i64], branch: &str) -> Vec<LandedWhen> {
        let one = |n: &i64| LandedWhen {
            number: *n,
            repo: "tool".to_owned(),
            branch: branch.to_owned(),
            commit: format!("{n}").repeat(40),
            found: Timestamp(1),
        };
        numbers.iter().map(one).collect()
    }

    #[test]
    fn landings_are_told_by_branch() {
        let one = landings(&landed(&[1], "main"), 1, true);
        assert_eq!(one, ["It is in main of tool now, as 111111111111."]);
        let all = landings(&landed(&[1, 2], "main"), 2, true);
        let said =
            "All of it is in main of tool now: patch 1 as 111111111111, patch 2 as 222222222222.";
        assert_eq!(all, [said]);
        let both = [landed(&[2], "main"), landed(&[2], "stable")].concat();
        let said = [
            "In main of tool there is now: patch 2 as 222222222222.",
            "In stable of tool there is now: patch 2 as 222222222222.",
            "The rest is not there yet.",
        ];
        assert_eq!(landings(&both, 3, false), said);
        assert!(landings(&[], 3, false).is_empty());
    }

    #[test]
    fn decisions_name_who_made_them_if_that_is_an_address() {
        let said = |what, who: &str| {
            let who = who.to_owned();
            let (id, when) = (1, Timestamp(1));
            decided(
                &Happened {
                    id,
                    what,
                    who,
                    when,
                },
                1,
            )
        };
        let ben = "ben@example.org";
        assert_eq!(
            said(What::State(7), ben),
            "Its state was set to \"changes requested\" by ben@example.org."
        );
        assert_eq!(
            said(What::State(4), "root"),
            "Its state was set to \"rejected\"."
        );
        assert_eq!(
            said(What::State(0), "root"),
            "Its state is no longer set by hand: it is \"new\"."
        );
        assert_eq!(
            said(What::PatchState(2, 4), ben),
            "The state of patch 2 was set to \"rejected\" by ben@example.org."
        );
        assert_eq!(
            said(What::PatchState(2, 0), ben),
            "Patch 2 was given the state of the series by ben@example.org."
        );
    }
}
