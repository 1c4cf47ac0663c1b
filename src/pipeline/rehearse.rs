//! The private rehearsal, `list+check@`: a mail that is neither archived nor sent on, and an answer to its author about what would become of it.
//!
//! Mails wait in the store until their series is complete or nothing more comes of it; then one answer is owed and they are deleted, in one commit.

pub(super) mod hints;
mod words;

use std::collections::{BTreeMap, HashMap};

use askama::Template;
use hints::Hints;

use super::command::{Errand, Said};
use super::notify::Notice;
use super::{Ctx, PipelineError, file, think, think_of};
use crate::list::address::Target;
use crate::list::command::{self, Leave};
use crate::list::notice::{self, Answered, Event};
use crate::list::order::{self, Step};
use crate::list::policy::Decision;
use crate::mail;
use crate::patchset::{self, Input, Patchset, Series, link_keys};
use crate::session::Reply;
use crate::store::job::{Held, MAX_ATTEMPTS};
use crate::store::{CappedLetter, ListRow, NewRehearsal, Rehearsal, Room, mark_of};
use crate::types::{Address, ListId, MailId, Timestamp};
use crate::verdict::Standing;

/// What mails that were tried are remembered by.
const WORD: &str = "rehearse";
/// An incomplete series is answered when nothing more came for so many seconds: git send-email takes some for each mail.
const QUIET: i64 = 20;
/// Characters of a subject that are said again in an answer's.
const TITLE: usize = 80;
/// Tries after which an author is told that there was trouble: one less than a job has.
const TRIES: i64 = MAX_ATTEMPTS - 1;

/// A mail that waits, as it is thought about: what a mail is read into may take far more room than its bytes.
struct Waiting {
    row: i64,
    input: Input,
    subject: String,
    answered: Answered,
    /// What a mail program did to it.
    hints: Hints,
    said: (String, Vec<(String, String)>),
    bytes: Vec<u8>,
}

/// Mails that get one answer: a series as it would be, or one mail that is none.
struct Group {
    /// Places in the mails that wait.
    members: Vec<usize>,
    series: Option<Series>,
    /// Labels of the other versions of its patchset, and the mails that stand for them.
    others: Vec<(String, MailId)>,
    /// What it has of the archive: patches that it takes over or completes, and the cover letter.
    archived: HashMap<MailId, Input>,
}

impl Ctx {
    /// Keeps a mail for its rehearsal, if its author is known to have written it.
    pub(super) async fn take_rehearsal(
        &self,
        errand: &Errand<'_>,
        leave: Leave,
    ) -> Result<Said, PipelineError> {
        let (list, now) = (errand.list, errand.asking.now);
        let address = leave.address();
        let refusal = |code, enhanced, text: &str, why| Ok((Reply::new(code, enhanced, text), why));
        let refused: Result<(Reply, &'static str), ()> = if let Leave::Ask(_) = leave {
            let text = "A rehearsal is answered to senders that are authenticated only (DKIM or SPF); nothing was archived or sent on";
            refusal(550, "5.7.1", text, "rehearsal by nobody known")
        } else if !command::is_sent_here(&errand.asking) {
            let text = "A rehearsal is of a mail of these days that names this address in To or Cc, where your domain's signature (DKIM) covers \
                 that or your domain's own server brings it (SPF); nothing was archived or sent on";
            refusal(
                550,
                "5.7.1",
                text,
                "rehearsal that its author did not send here",
            )
        } else if !notice::is_plain(address) {
            let text =
                "Your address needs quotes or letters beyond ASCII; no answer can be sent to it";
            refusal(550, "5.1.7", text, "odd address")
        } else if !self.store.may_browse(list, &address.key()).await? {
            let text = "Rehearsals of this list are for people who may read it";
            refusal(550, "5.7.1", text, "rehearsal by an outsider")
        } else if self.has_rehearsed_enough(list, address, now).await? {
            let text = "There were enough rehearsals of yours for today";
            refusal(450, "4.7.1", text, "too many rehearsals")
        } else {
            Err(())
        };
        if let Ok(refusal) = refused {
            return self.refuse(errand, refusal).await;
        }
        let outcome = self.decide(list, &Target::Post, errand.asked, now).await?;
        let said = (
            decision_words(&outcome),
            outcome.steps.iter().map(told).collect::<Vec<_>>(),
        );
        let new = NewRehearsal {
            list: list.id,
            address: address.key(),
            identity: errand.asking.message.identity,
            arrived: now,
            verdict: errand.asking.verdict.clone(),
            said: serde_json::to_string(&said).expect("plain values are written as JSON"),
            data: errand.bytes.to_vec(),
        };
        match self.store.insert_rehearsal(new, errand.once(WORD)).await? {
            Room::Taken => Ok(Ok(())),
            Room::Full => {
                let reply = Reply::new(
                    452,
                    "4.3.1",
                    "Too much waits for its rehearsal; come again in a minute",
                );
                Ok(Err(reply))
            }
        }
    }

    async fn has_rehearsed_enough(
        &self,
        list: &ListRow,
        address: &Address,
        now: Timestamp,
    ) -> Result<bool, PipelineError> {
        let counted = notice::counted(address);
        Ok(self
            .store
            .has_had_enough(notice::REHEARSED, &counted, list.id, now)
            .await?)
    }

    /// Answers the mails to a list that wait for it. Safe to repeat: an answer and the end of its mails are one commit.
    ///
    /// What goes wrong for one author keeps no other from an answer; after `attempts` enough the author hears that it could not be tried.
    pub async fn rehearse(
        &self,
        list: ListId,
        job: Held,
        attempts: i64,
    ) -> Result<(), PipelineError> {
        let now = self.store.time().await?;
        let Some(list) = self.store.find_list_by_id(list).await? else {
            return Ok(self.store.finish_jobs(vec![job]).await?);
        };
        let mut again: Option<Timestamp> = None;
        let mut trouble = None;
        for author in self.store.load_rehearsing(list.id).await? {
            // One author's at a time: what all of them sent may be a lot.
            let waiting = self.store.load_rehearsals(list.id, &author).await?;
            let rows = waiting.iter().map(|w| w.id).collect();
            match self.rehearse_for(&list, &author, waiting, now).await {
                Ok(next) => again = [again, next].into_iter().flatten().min(),
                Err(error) if error.passes() || attempts < TRIES => {
                    trouble.get_or_insert(error);
                }
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "a rehearsal at {} could not be tried: {error}",
                        list.name
                    );
                    self.give_up(&list, &author, rows, now).await?;
                }
            }
        }
        if let Some(error) = trouble {
            return Err(error);
        }
        Ok(self.store.finish_rehearsals(list.id, again, job).await?)
    }

    /// Answers one author; returns when to look again, if mails of his wait still.
    async fn rehearse_for(
        &self,
        list: &ListRow,
        author: &str,
        waiting: Vec<Rehearsal>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, PipelineError> {
        let last = waiting.iter().map(|w| w.mail.arrived).max().unwrap_or(now);
        let mut mails = Vec::with_capacity(waiting.len());
        for one in waiting {
            let (size, list) = (one.mail.data.len(), list.id);
            mails.push(think_of(size, move || read(list, one)).await?);
        }
        let groups = self.group_rehearsed(list, &mails).await?;
        let to: Option<Address> = author.parse().ok();
        let mut later = false;
        for group in groups {
            if group.series.as_ref().is_some_and(may_grow) && now < last.plus_secs(QUIET) {
                later = true;
                continue;
            }
            let rows = group.members.iter().map(|at| mails[*at].row).collect();
            let letter = match &to {
                Some(to) if !self.has_rehearsed_enough(list, to, now).await? => {
                    let text = self.rehearsed(list, &mails, &group).await?.render()?;
                    let first = &mails[group.members[0]];
                    let of = Some((first.subject.as_str(), &first.answered));
                    let letter = self.rehearsal_letter(list, to, &text, of, now)?;
                    let own = group.members.iter().map(|at| &mails[*at].input);
                    let of = own.chain(group.archived.values());
                    let about = of.map(|input| mark_of(&input.identity)).collect();
                    letter.map(|letter| letter.about(about))
                }
                _ => None,
            };
            self.store.answer_rehearsals(rows, letter, now).await?;
        }
        Ok(later.then(|| last.plus_secs(QUIET)))
    }

    fn rehearsal_letter(
        &self,
        list: &ListRow,
        to: &Address,
        text: &str,
        of: Option<(&str, &Answered)>,
        now: Timestamp,
    ) -> Result<Option<CappedLetter>, PipelineError> {
        let mut subject = format!("Rehearsal at {}", list.address);
        // What goes over TLS only is named in no mail.
        if let Some((title, _)) = of.filter(|_| !list.policy.tls_only) {
            subject += &format!(": {}", notice::one_line(title, TITLE));
        }
        let own: Option<Address> = list.address.parse().ok();
        let again = own.and_then(|a| notice::with_suffix(&a, "+check"));
        let notice = Notice {
            event: Event::Rehearsed,
            list: Some(list),
            to,
            subject: &subject,
            text,
            reply_to: again.as_ref(),
            return_path: String::new(),
            answered: of.map(|(_, answered)| answered),
            ip: None,
        };
        self.draft(&notice, now)
    }

    /// Tells an author that his mails could not be tried, and drops them.
    async fn give_up(
        &self,
        list: &ListRow,
        author: &str,
        rows: Vec<i64>,
        now: Timestamp,
    ) -> Result<(), PipelineError> {
        let text = notice::Untried {
            list: &list.address,
            count: rows.len(),
        };
        let letter = match author.parse() {
            Ok(to) => self.rehearsal_letter(list, &to, &text.render()?, None, now)?,
            Err(_) => None,
        };
        Ok(self.store.answer_rehearsals(rows, letter, now).await?)
    }

    /// Groups waiting mails with what the archive has, as if they had been posted.
    async fn group_rehearsed(
        &self,
        list: &ListRow,
        mails: &[Waiting],
    ) -> Result<Vec<Group>, PipelineError> {
        let ids: Vec<_> = mails
            .iter()
            .flat_map(|m| m.input.parents.iter().cloned())
            .collect();
        let keys: Vec<String> = mails.iter().flat_map(|m| link_keys(&m.input)).collect();
        let seeds = self.store.find_near(list.realm, &ids, &keys).await?;
        let closure = self.store.load_closure(list.realm, &seeds).await?;
        let mut own: Vec<Input> = mails.iter().map(|m| m.input.clone()).collect();
        let people = own.iter().map(|o| o.recognised.submitter.clone()).collect();
        let people = self.store.load_stand_ins(people).await?;
        for one in &mut own {
            if let Some(person) = people.get(&one.recognised.submitter) {
                one.person.clone_from(person);
            }
        }
        think(move || {
            let (mut inputs, corrections) = file::inputs(&closure);
            // Whatever is here already is the same mail: it is not sent again, it is tried.
            inputs.retain(|known| own.iter().all(|o| o.identity != known.identity));
            inputs.extend(own.iter().cloned());
            let sets = patchset::assemble_corrected(&inputs, &corrections);
            let places: HashMap<MailId, usize> = own
                .iter()
                .enumerate()
                .map(|(at, input)| (input.mail, at))
                .collect();
            groups(sets, &places, &inputs)
        })
        .await
    }
}

/// Whether mails of the series may be on their way still: what looks like a partial reroll may be the beginning of a whole one.
fn may_grow(series: &Series) -> bool {
    !series.complete || series.patches.iter().any(|p| p.taken_over)
}

fn read(list: ListId, waiting: Rehearsal) -> Waiting {
    let Rehearsal { id, mail } = waiting;
    let message = mail::parse(&mail.data);
    let mut recognised = patchset::recognise(&message);
    hints::keep_own_trailers(&message, &mut recognised);
    let answered = Answered::from(&message);
    let input = Input {
        // No mail of the archive has such a number.
        mail: MailId(-id),
        identity: mail.identity,
        message_id: message.message_id.clone(),
        parents: message.parents.clone(),
        arrived: mail.arrived,
        lists: vec![list],
        standing: Standing::from(&mail.verdict),
        person: recognised.submitter.clone(),
        recognised,
    };
    let subject = message.subject.clone();
    // As it would be applied.
    let bytes = patchset::shown_alone(&mail.data, &message).into_owned();
    Waiting {
        row: id,
        subject,
        answered,
        hints: hints::hints(message, &input.recognised),
        input,
        // What another version wrote is said as nothing.
        said: serde_json::from_str(&mail.said).unwrap_or_default(),
        bytes,
    }
}

/// One group a series that has waiting mails, then one for each mail that is in none.
fn groups(sets: Vec<Patchset>, places: &HashMap<MailId, usize>, inputs: &[Input]) -> Vec<Group> {
    let stored = inputs.iter().filter(|input| input.mail.0 > 0);
    let stored: HashMap<MailId, &Input> = stored.map(|input| (input.mail, input)).collect();
    let mut found = Vec::new();
    let mut left: BTreeMap<usize, ()> = places.values().map(|at| (*at, ())).collect();
    for set in sets {
        let anchors: Vec<(String, MailId)> = set
            .series
            .iter()
            .map(|s| (s.label.clone(), s.anchor))
            .collect();
        for series in set.series {
            let own = series
                .patches
                .iter()
                .filter(|p| !p.taken_over)
                .map(|p| p.mail);
            let mails = series.cover.into_iter().chain(own).chain([series.anchor]);
            let members = mails.filter_map(|m| places.get(&m).copied());
            let members: Vec<usize> = members.filter(|at| left.remove(at).is_some()).collect();
            if members.is_empty() {
                continue;
            }
            let others = anchors
                .iter()
                .filter(|(_, mail)| mail.0 > 0)
                .cloned()
                .collect();
            let all = series.patches.iter().map(|p| p.mail).chain(series.cover);
            let archived = all.filter_map(|mail| Some((mail, (*stored.get(&mail)?).clone())));
            let archived = archived.collect();
            found.push(Group {
                members,
                series: Some(series),
                others,
                archived,
            });
        }
    }
    let alone = |at: usize| Group {
        members: vec![at],
        series: None,
        others: Vec::new(),
        archived: HashMap::new(),
    };
    found.extend(left.into_keys().map(alone));
    found
}

/// How it is said that a mail is not taken as it is.
const HELD: &str = "It would be held";
const DROPPED: &str = "It would be dropped";
const REFUSED: &str = "It would be refused";

/// What a list would do with a mail, in a sentence.
fn decision_words(outcome: &order::Outcome) -> String {
    let why = || {
        outcome
            .steps
            .last()
            .map_or_else(String::new, |step| told(step).1)
    };
    match &outcome.decision {
        Ok(Decision::Hold(_)) => format!("{HELD} until a moderator has looked at it: {}.", why()),
        Ok(Decision::Drop(_)) => format!("{DROPPED} with a note: {}.", why()),
        Ok(_) if outcome.delay > 0 => format!(
            "It would be accepted, and its copies would go out {} seconds later.",
            outcome.delay
        ),
        Ok(_) => "It would be accepted.".to_owned(),
        Err(reply) => format!("{REFUSED}: {reply}"),
    }
}

/// What may be told to a stranger of a step: not what a list looks for, lest mail is fitted to it.
fn told(step: &Step) -> (String, String) {
    let found = match step.name {
        "rules" if step.found.starts_with("rule ") => "a rule of the list matches",
        "spam" if step.found != "no filter said anything" => "the spam filter has looked at it",
        "ban" if step.found.ends_with(" is banned") => "its sender is banned",
        _ => &step.found,
    };
    (step.name.to_owned(), found.to_owned())
}
