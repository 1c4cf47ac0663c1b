//! Moderation by mail: moderators hear of held mail and answer with a word.
//!
//! An answer counts if it came to the address that was made for this mail and this moderator, names that address in To or Cc, is
//! authenticated as the moderator's, and the mail is held still. The address alone gives nobody the right: it may have been
//! quoted or forwarded. Whatever was decided once is not decided again.

use std::collections::{HashMap, HashSet};

use askama::Template;

use super::ask::Asked;
use super::notify::Notice;
use super::{Ctx, PipelineError, parse};
use crate::list::held::{Answer, parse_answer};
use crate::list::notice::{self, Answered, Event, Held, Moderated, Rejected, Reminder, Waiting};
use crate::list::settings::Bits;
use crate::list::{order, token};
use crate::mail::Message;
use crate::patchset::attached_patch;
use crate::store::{CappedLetter, Fate, HeldRow, ListRow};
use crate::types::{Address, ReceiptId, Timestamp};

const DAY: i64 = 24 * 3_600;
/// Days before the end on which a reminder says that it is near.
const SOON: i64 = 3;
/// Held mails of one look that are told one by one; further ones are counted.
const ONE_BY_ONE: usize = 5;

impl Ctx {
    /// Tells the moderators of a list what is held since the last time.
    pub(super) async fn tell_moderators(
        &self,
        list: &ListRow,
        now: Timestamp,
    ) -> Result<(), PipelineError> {
        let news = self.store.load_untold(list.id).await?;
        // A list's address was read as one when it was made.
        let (Some(first), Ok(own)) = (news.first(), list.address.parse::<Address>()) else {
            return Ok(());
        };
        tracing::info!(
            list.name = list.name,
            held.oldest = first.id,
            "{}: {} mails wait for a moderator",
            list.name,
            news.len()
        );
        let addresses = self.find_moderators(list).await?;
        let groups = groups(&news);
        let shown: Vec<&Vec<&HeldRow>> = groups.iter().take(ONE_BY_ONE).collect();
        let ids: Vec<ReceiptId> = shown.iter().map(|g| ReceiptId(g[0].id)).collect();
        let mut excerpts: HashMap<i64, Vec<String>> = HashMap::new();
        // What goes over TLS only does not travel in a notice.
        for id in ids.iter().filter(|_| !list.policy.tls_only) {
            for receipt in self.store.load_receipts(&[*id]).await? {
                let message = parse(receipt.bytes).await?;
                excerpts.insert(id.0, notice::excerpt(said_in(&message)));
            }
        }
        let turns = self.store.load_turns(&ids).await?;
        let all = |groups: &[Vec<&HeldRow>]| -> Vec<i64> {
            groups.iter().flatten().map(|h| h.id).collect()
        };
        let rest = all(groups.get(ONE_BY_ONE..).unwrap_or_default());
        let mut letters = Vec::new();
        for to in &addresses {
            for group in &shown {
                let id = group[0].id;
                let excerpt = excerpts.get(&id).map_or(&[][..], Vec::as_slice);
                let turn = turns.get(&id).copied().unwrap_or(0);
                let letter = self.held_letter(list, &own, to, (group, turn), excerpt, now)?;
                let about = group.iter().map(|h| h.id).collect();
                letters.extend(letter.map(|l| (about, l)));
            }
            if !rest.is_empty() {
                let count = i64::try_from(rest.len()).unwrap_or(i64::MAX);
                let letter = self.waiting_letter(list, &own, to, count, now)?;
                letters.extend(letter.map(|l| (rest.clone(), l)));
            }
        }
        // Of whatever has no letter that goes out the moderators hear the next time.
        Ok(self.store.record_told(letters, now).await?)
    }

    /// Who decides about a list's held mail: its moderators, or the operator where it has none that mail reaches.
    pub(super) async fn find_moderators(
        &self,
        list: &ListRow,
    ) -> Result<Vec<Address>, PipelineError> {
        let people = self.store.load_access(list.id).await?;
        let moderators = people.iter().filter(|p| p.rights.has(Bits::MODERATE));
        let addresses = moderators.filter_map(|p| p.address.parse::<Address>().ok());
        let mut reached = Vec::new();
        for address in addresses {
            // A list's address is nobody's mailbox.
            if !self.is_list_address(&address).await? {
                reached.push(address);
            }
        }
        if reached.is_empty()
            && let Some(operator) = &self.operator
            && !self.is_list_address(operator).await?
        {
            reached.push(operator.clone());
        }
        Ok(reached)
    }

    /// Once a day the moderators hear what is held for a day or longer, and how much of it is dropped soon.
    pub(super) async fn remind_moderators(
        &self,
        list: &ListRow,
        now: Timestamp,
    ) -> Result<(), PipelineError> {
        let ends = |days: i64| now.plus_secs(-(list.policy.hold_days - days) * DAY);
        let (old, oldest) = self
            .store
            .count_held_before(list.id, now.plus_secs(-DAY))
            .await?;
        let (Some(oldest), Ok(own)) = (oldest, list.address.parse::<Address>()) else {
            return Ok(());
        };
        let (soon, _) = self.store.count_held_before(list.id, ends(SOON)).await?;
        // Where mail is held for so few days only, all of it ends soon.
        let soon = soon.min(old);
        let held = notice::mails(
            old,
            &format!("mail to {own} is held"),
            &format!("mails to {own} are held"),
        );
        for to in self.find_moderators(list).await? {
            let text = Reminder {
                list: &own,
                name: &list.name,
                count: old,
                since: &oldest.human(),
                soon,
                days: list.policy.hold_days,
            };
            let subject = match soon {
                0 => held.clone(),
                soon if soon == old => format!("{held} and dropped soon"),
                soon => format!(
                    "{held}, {} dropped soon",
                    notice::mails(soon, "of them is", "of them are")
                ),
            };
            let letter =
                self.moderation_letter(list, &to, Event::Reminder, &subject, text, None, now)?;
            if let Some(letter) = letter {
                self.store.insert_capped_letter(letter, now).await?;
            }
        }
        Ok(())
    }

    fn held_letter(
        &self,
        list: &ListRow,
        own: &Address,
        to: &Address,
        (group, turn): (&[&HeldRow], i64),
        excerpt: &[String],
        now: Timestamp,
    ) -> Result<Option<CappedLetter>, PipelineError> {
        let Some(held) = group.first() else {
            return Ok(None);
        };
        let token = token::render_moderate(&self.token_key, held.id, turn, &to.key());
        let answer = token.and_then(|t| notice::with_suffix(own, &format!("+mod-{t}")));
        // What goes over TLS only does not travel in a notice.
        let open = !list.policy.tls_only;
        let secret = "(shown on the server only)".to_owned();
        let show = |text: &str| match open {
            true => notice::one_line(text, 150),
            false => secret.clone(),
        };
        let series: Vec<String> = match group.len() {
            0 | 1 => Vec::new(),
            _ => notice::listed(group.iter().map(|h| show(&h.subject))),
        };
        let verdict = match held.verdict.as_str() {
            "" => "nobody looked",
            words => words,
        };
        let text = Held {
            list: own,
            from: &show(&format!("{} <{}>", held.author, held.address)),
            subject: &show(&held.subject),
            size: held.size,
            reason: &show(&held.reason),
            verdict: &show(verdict),
            count: group.len(),
            series: &series,
            answer: answer.is_some(),
            days: list.policy.hold_days,
            command: &crate::cli::command_anywhere(&format!("held show {}", held.id)),
            page: &format!(
                "{}/sign-in?to=/{}/settings/held/{}/",
                self.base_url, list.name, held.id
            ),
            excerpt,
        };
        let subject = format!("Held {}: a mail to {own}", held.id);
        let reply_to = answer.as_ref();
        let letter =
            self.moderation_letter(list, to, Event::Held, &subject, text, reply_to, now)?;
        let about = group.iter().map(|h| h.id).collect();
        Ok(letter.map(|letter| letter.about(about)))
    }

    fn waiting_letter(
        &self,
        list: &ListRow,
        own: &Address,
        to: &Address,
        count: i64,
        now: Timestamp,
    ) -> Result<Option<CappedLetter>, PipelineError> {
        let text = Waiting {
            list: own,
            name: &list.name,
            count,
            days: list.policy.hold_days,
            page: &format!("{}/sign-in?to=/{}/settings/held/", self.base_url, list.name),
        };
        let (one, many) = (
            format!("further mail to {own} is held"),
            format!("further mails to {own} are held"),
        );
        let subject = notice::mails(count, &one, &many);
        self.moderation_letter(list, to, Event::Waiting, &subject, text, None, now)
    }

    #[allow(clippy::too_many_arguments)]
    fn moderation_letter(
        &self,
        list: &ListRow,
        to: &Address,
        event: Event,
        subject: &str,
        text: impl Template,
        reply_to: Option<&Address>,
        now: Timestamp,
    ) -> Result<Option<CappedLetter>, PipelineError> {
        let text = text.render()?;
        let notice = Notice {
            event,
            list: Some(list),
            to,
            subject,
            text: &text,
            reply_to,
            return_path: String::new(),
            answered: None,
            ip: None,
        };
        self.draft(&notice, now)
    }

    /// The mails to authenticated authors whose mails are rejected with words, each with the held mail that it is about.
    pub(super) async fn rejection_letters(
        &self,
        held: &[HeldRow],
        words: &str,
        now: Timestamp,
    ) -> Result<Vec<(i64, CappedLetter)>, PipelineError> {
        let known = held.iter().filter(|h| h.authenticated);
        let known: HashMap<i64, &HeldRow> = known.map(|h| (h.id, h)).collect();
        let lists = self.store.load_lists().await?;
        let mut letters = Vec::new();
        for (id, row) in known {
            for receipt in self.store.load_receipts(&[ReceiptId(id)]).await? {
                let list = lists.iter().find(|l| l.id == receipt.list);
                let (Some(list), Ok(to)) = (list, row.address.parse::<Address>()) else {
                    continue;
                };
                let message = parse(receipt.bytes).await?;
                let silent = notice::unanswerable(&message, Some(&to), |_| false).is_some();
                if silent || self.is_list_address(&to).await? {
                    continue;
                }
                let letter = self.rejection_letter(list, &to, &message, words, now)?;
                letters.extend(letter.map(|l| (id, l.about(vec![id]))));
            }
        }
        Ok(letters)
    }

    fn rejection_letter(
        &self,
        list: &ListRow,
        to: &Address,
        message: &Message,
        words: &str,
        now: Timestamp,
    ) -> Result<Option<CappedLetter>, PipelineError> {
        let Ok(own) = list.address.parse::<Address>() else {
            return Ok(None);
        };
        let owner = notice::with_suffix(&own, "+owner");
        let lines: Vec<&str> = words.lines().collect();
        let text = Rejected {
            list: &own,
            which: &notice::which_mail(message, list.policy.tls_only),
            words: &lines,
            owner: &owner.map_or_else(String::new, |o| o.to_string()),
        };
        let text = text.render()?;
        let notice = Notice {
            event: Event::Rejected,
            list: Some(list),
            to,
            subject: &format!("Not taken: your mail to {own}"),
            text: &text,
            reply_to: None,
            return_path: String::new(),
            answered: Some(&Answered::from(message)),
            ip: None,
        };
        self.draft(&notice, now)
    }

    /// Carries out what a moderator answered to a notice. What does not count does nothing and is noted.
    pub(super) async fn moderate(
        &self,
        list: &ListRow,
        text: &str,
        asked: &Asked<'_>,
        now: Timestamp,
    ) -> Result<(), PipelineError> {
        let who = order::who(asked.message, asked.verdict, list.policy.proof);
        match self.check_moderator(list, text, asked, &who).await? {
            Err(why) => {
                let detail = format!("an answer to a notice did nothing: {why}");
                let sender = asked.sender.to_owned();
                self.store
                    .insert_event(list, "moderation", sender, detail, now)
                    .await?;
                Ok(())
            }
            Ok(held) => {
                let done = self.carry_out(list, held, asked, &who.address, now).await?;
                self.tell_done(list, asked, &who.address, done, now).await
            }
        }
    }

    /// The held mail that an answer is about (`None`: it is held no longer), or why the answer does not count.
    async fn check_moderator(
        &self,
        list: &ListRow,
        text: &str,
        asked: &Asked<'_>,
        who: &order::Who,
    ) -> Result<Result<Option<HeldRow>, &'static str>, PipelineError> {
        let sender = asked.sender.parse::<Address>().ok();
        if notice::unanswerable(asked.message, sender.as_ref(), |_| false).is_some() {
            return Ok(Err("a machine wrote it"));
        }
        if !who.proven {
            return Ok(Err("nothing proves who sent it"));
        }
        let Some(id) = token::parse_moderate(&self.token_key, text) else {
            return Ok(Err("the address was made for nobody here"));
        };
        let turns = self.store.load_turns(&[ReceiptId(id)]).await?;
        let turn = turns.get(&id).copied().unwrap_or(0);
        if !token::is_moderators(&self.token_key, text, turn, &who.address) {
            return Ok(Err(
                "the address was made for somebody else, or before the mail was taken back",
            ));
        }
        if !self.is_moderator(list, &who.address).await? {
            return Ok(Err("its sender is no moderator"));
        }
        let suffix = format!("+mod-{}@", text.to_lowercase());
        let is_it = |address: &str| address.to_lowercase().contains(&suffix);
        let proof = list.policy.proof;
        if !order::names(asked.message, asked.verdict, proof, is_it) {
            return Ok(Err(
                "it does not name the address in To or Cc, or nobody signed that it does",
            ));
        }
        let held = self.store.find_held(id).await?;
        match held {
            Some(held) if held.list_id != list.id => Ok(Err("it is about a mail of another list")),
            held => Ok(Ok(held)),
        }
    }

    /// Does what the first line says.
    async fn carry_out(
        &self,
        list: &ListRow,
        held: Option<HeldRow>,
        asked: &Asked<'_>,
        actor: &str,
        now: Timestamp,
    ) -> Result<Moderation, PipelineError> {
        let nothing = |text: &str| {
            Ok(Moderation {
                text: text.to_owned(),
                ..Moderation::default()
            })
        };
        let Some(held) = held else {
            return nothing(
                "This mail is held no longer: it was decided before. Nothing was done now.",
            );
        };
        let Some(answer) = parse_answer(&asked.message.text) else {
            return nothing(
                "The first line of your reply is none of: accept; accept person; reject: words; discard. Nothing was done, \
                 and the mail is held still.",
            );
        };
        let done = match answer {
            Answer::Accept { person } => self.accept_held(vec![held], person, actor, now).await?,
            // The notice was about the series.
            Answer::Reject(words) => {
                let series = self.with_series(vec![held]).await?;
                let fate = Fate::Reject(words);
                self.refuse_held(series, fate, actor, now).await?
            }
            Answer::Discard => {
                let series = self.with_series(vec![held]).await?;
                self.refuse_held(series, Fate::Discard, actor, now).await?
            }
        };
        let ids = done.iter().map(|h| h.id).collect();
        let mails = match list.policy.tls_only {
            true => Vec::new(),
            false => notice::listed(done.iter().map(|h| notice::one_line(&h.subject, 150))),
        };
        let text = match asked_words(&asked.message.text) {
            _ if done.is_empty() => "Somebody else was faster: it was decided before.",
            "accept" => "It goes through now, with the held mails of its series:",
            "reject" => {
                "It is rejected. Its author hears your words if his mail was authenticated. With the held mails of its series:"
            }
            _ => "It is discarded, with the held mails of its series:",
        };
        let text = match mails.is_empty() {
            true => text.trim_end_matches(['.', ':']).to_owned() + ".",
            false => text.to_owned(),
        };
        Ok(Moderation { text, mails, ids })
    }

    async fn tell_done(
        &self,
        list: &ListRow,
        asked: &Asked<'_>,
        to: &str,
        done: Moderation,
        now: Timestamp,
    ) -> Result<(), PipelineError> {
        // It was read as an address when the answer was checked.
        let Ok(to) = to.parse::<Address>() else {
            return Ok(());
        };
        let text = Moderated {
            text: &done.text,
            mails: &done.mails,
        };
        let text = text.render()?;
        let notice = Notice {
            event: Event::Moderated,
            list: Some(list),
            to: &to,
            subject: "Moderation",
            text: &text,
            reply_to: None,
            return_path: String::new(),
            answered: Some(&Answered::from(asked.message)),
            ip: None,
        };
        if !self.is_list_address(&to).await?
            && let Some(letter) = self.draft(&notice, now)?
        {
            let letter = letter.about(done.ids);
            self.store.insert_capped_letter(letter, now).await?;
        }
        Ok(())
    }
}

/// What was done, in words, and with which mails: their subjects and numbers.
#[derive(Default)]
struct Moderation {
    text: String,
    mails: Vec<String>,
    ids: Vec<i64>,
}

/// `accept`, `reject` or something else.
fn asked_words(text: &str) -> &'static str {
    match parse_answer(text) {
        Some(Answer::Accept { .. }) => "accept",
        Some(Answer::Reject(_)) => "reject",
        _ => "",
    }
}

/// Held mails by their series, in the order of arrival; each mail in one group.
fn groups(news: &[HeldRow]) -> Vec<Vec<&HeldRow>> {
    let mut seen: HashSet<i64> = HashSet::new();
    let mut groups = Vec::new();
    // Those of one sender stand together: a flood of many senders costs no comparison of all with all.
    let mut by_sender: HashMap<(&str, bool), Vec<&HeldRow>> = HashMap::new();
    for held in news {
        let key = (held.address.as_str(), held.authenticated);
        by_sender.entry(key).or_default().push(held);
    }
    for held in news {
        if !seen.insert(held.id) {
            continue;
        }
        let mut group = vec![held];
        if groups.len() < ONE_BY_ONE && !held.address.is_empty() {
            let key = (held.address.as_str(), held.authenticated);
            let beside = by_sender.get(&key).into_iter().flatten();
            for other in beside.filter(|o| o.series.is_same(&held.series)) {
                if seen.insert(other.id) {
                    group.push(other);
                }
            }
        }
        groups.push(group);
    }
    groups
}

/// The text of a mail; where it has none, the patch that is attached to it.
fn said_in(message: &Message) -> &str {
    match attached_patch(message) {
        Some(patch) if message.text.trim().is_empty() => patch,
        _ => &message.text,
    }
}
