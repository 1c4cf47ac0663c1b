//! What comes back: taken in before 250, counted by a job, and what follows from it told to whom it concerns.
//!
//! The rules are pure ([`crate::list::score`]); here is the order of the steps. The token of the return path says whose copy it was.

use askama::Template;

use super::notify::Notice;
use super::{Ctx, PipelineError};
use crate::list::address::{Target, readings};
use crate::list::bounce::{self, Class, Report, may_complain};
use crate::list::notice::{self, Event};
use crate::list::score::{self, Step, Storm};
use crate::list::token;
use crate::mail::Message;
use crate::store::job::Held;
use crate::store::{Due, GivenUp, ListRow, NewBounce, NewLetter, StandingRow};
use crate::types::{Address, ListId, Timestamp};
use crate::verdict::Verdict;

/// Given up copies that are judged in one transaction.
const BATCH: i64 = 500;
/// Addresses whose steps are looked for at once.
const STEPS: i64 = 100;
/// What came back is shown for so many days.
const KEPT_DAYS: i64 = 90;
/// Tokens of one complaint that are tried.
const TOKENS: usize = 50;
const DAY: i64 = 86_400;

impl Ctx {
    /// Whether a token is one of ours for a return path: of a copy, or of a probe.
    pub(super) fn knows_return(&self, token: &str) -> bool {
        token::parse_bounce(&self.token_key, token).is_some()
            || token::parse_probe(&self.token_key, token).is_some()
    }

    /// Takes in what came to a return path. On return it is safe, and a second time it changes nothing.
    pub(super) async fn take_bounce(
        &self,
        token: &str,
        (message, bytes, verdict): (&Message, &[u8], &Verdict),
        now: Timestamp,
    ) -> Result<(), PipelineError> {
        let report = bounce::read(message, bytes);
        metrics::counter!("patchpost_bounces", "class" => report.class.word()).increment(1);
        if let Some(probe) = token::parse_probe(&self.token_key, token) {
            return self.take_probe(probe, report, now).await;
        }
        let Some(copy) = token::parse_bounce(&self.token_key, token) else {
            return Ok(());
        };
        if report.class == Class::Complaint {
            return self.complain(copy, report, (message, verdict), now).await;
        }
        self.store.insert_bounce(new(copy, report, now)).await?;
        Ok(())
    }

    async fn take_probe(
        &self,
        probe: token::Standing,
        report: Report,
        now: Timestamp,
    ) -> Result<(), PipelineError> {
        let said = format!("{} {}", report.code, report.text);
        let disabled = self
            .store
            .record_probe_bounce(probe, report.class, said, now)
            .await?;
        if disabled {
            metrics::counter!("patchpost_addresses_disabled").increment(1);
            self.store.jobs.ring("bounces");
        }
        Ok(())
    }

    /// A complaint about a copy that came to a person (a feedback loop sends it to an address that the operator gave): the
    /// copy inside names its return path, whose token nobody else could make.
    pub(super) async fn take_complaint(
        &self,
        (message, bytes, verdict): (&Message, &[u8], &Verdict),
        now: Timestamp,
    ) -> Result<(), PipelineError> {
        if bounce::read_complaint(message).is_none() {
            return Ok(());
        }
        for token in tokens(bytes) {
            if let Some(copy) = token::parse_bounce(&self.token_key, token) {
                let report = bounce::read(message, bytes);
                self.complain(copy, report, (message, verdict), now).await?;
            }
        }
        Ok(())
    }

    /// A complaint about a copy. Its token is known to whoever reads the copy whole, as the readers of a mirror do: so it takes a member
    /// off the list only if the report is the member's own or the member's server's. Else the copies stop, and the member is told.
    async fn complain(
        &self,
        copy: token::Bounce,
        report: Report,
        (message, verdict): (&Message, &Verdict),
        now: Timestamp,
    ) -> Result<(), PipelineError> {
        let Some((address, archive)) = self.store.find_reader(copy).await? else {
            return Ok(());
        };
        let told = new(copy, report, now);
        if told.class != Class::Complaint {
            self.store.insert_bounce(told).await?;
        } else if archive {
            let class = Class::Other;
            self.store
                .insert_bounce(NewBounce { class, ..told })
                .await?;
        } else if may_complain(&address, message, verdict) {
            self.store.insert_bounce(told).await?;
        } else {
            let letter = self.paused_letter(copy.list, &address, now).await?;
            self.store.pause_complained(told, letter).await?;
        }
        Ok(())
    }

    async fn paused_letter(
        &self,
        list: ListId,
        address: &str,
        now: Timestamp,
    ) -> Result<Option<NewLetter>, PipelineError> {
        let (list, to) = (self.store.find_list_by_id(list).await?, address.parse());
        let (Some(list), Ok(to)) = (list, to) else {
            return Ok(None);
        };
        if self.is_list_address(&to).await? {
            return Ok(None);
        }
        let (local, domain) = list.address.split_once('@').unwrap_or((&list.address, ""));
        let text = notice::Paused {
            address: &to,
            list: &list.address,
            local,
            domain,
        };
        let subject = "You get no copies of a list for now";
        let wish = (Event::Paused, subject, text.render()?);
        self.bounce_letter(&list, &to, wish, String::new(), now)
    }

    /// The address that an enabling link names, while it is disabled since the moment that the link names.
    pub async fn find_disabled(&self, token: &str) -> Result<Option<StandingRow>, PipelineError> {
        match token::parse_enable(&self.token_key, token) {
            Some(token) => Ok(self.store.find_standing_by_token(token).await?),
            None => Ok(None),
        }
    }

    /// Gives an address its copies again on all its lists; `false`: it was not kept from them.
    pub async fn enable_address(
        &self,
        address: &str,
        now: Timestamp,
    ) -> Result<bool, PipelineError> {
        Ok(self.store.enable_address(address.to_owned(), now).await?)
    }

    /// All that is due about bounces at `now`: judges given up copies, counts what waited, sends probes and warnings, removes.
    pub async fn check_bounces(&self, now: Timestamp) -> Result<(), PipelineError> {
        let mended = self.store.mend_moments(now).await?;
        if mended > 0 {
            tracing::warn!("the clock ran ahead at some time: {mended} moments became now");
        }
        self.judge_given_up(now).await?;
        self.judge_probes(now).await?;
        while self.store.count_bounces(now).await? > 0 {}
        for storm in self.store.load_storms_to_tell().await? {
            self.tell_storm(storm, now).await?;
        }
        loop {
            let due = self.store.load_due(STEPS, now).await?;
            if due.is_empty() {
                break;
            }
            for due in due {
                self.take_step(due, now).await?;
            }
        }
        let old = now.plus_secs(-KEPT_DAYS * DAY);
        self.store.delete_old_bounces(old).await?;
        self.store.delete_old_notes(old).await?;
        self.store.delete_given_up(old).await?;
        Ok(())
    }

    /// The same as a job.
    pub async fn bounces(&self, job: Held) -> Result<(), PipelineError> {
        self.check_bounces(crate::store::now()).await?;
        Ok(self.store.finish_jobs(vec![job]).await?)
    }

    /// What the next hop refused at once counts as what came back.
    async fn judge_given_up(&self, now: Timestamp) -> Result<(), PipelineError> {
        loop {
            let given_up = self.store.load_given_up(BATCH).await?;
            if given_up.is_empty() {
                return Ok(());
            }
            let judge = |row: GivenUp| {
                let report = bounce::read_answer(&row.problem);
                let bounce = report.map(|report| new(row.copy, report, now));
                (row, bounce)
            };
            let judged = given_up.into_iter().map(judge).collect();
            self.store.record_judged(judged).await?;
        }
    }

    async fn judge_probes(&self, now: Timestamp) -> Result<(), PipelineError> {
        let purpose = notice::rule(Event::Probe).purpose;
        loop {
            let given_up = self.store.load_given_up_letters(purpose, BATCH).await?;
            if given_up.is_empty() {
                return Ok(());
            }
            let ids = given_up.iter().map(|(id, ..)| *id).collect();
            for (_, return_path, problem) in given_up {
                let probe = self.find_probe(&return_path);
                if let (Some(probe), Some(report)) = (probe, bounce::read_answer(&problem)) {
                    self.take_probe(probe, report, now).await?;
                }
            }
            self.store.record_judged_letters(ids).await?;
        }
    }

    /// The probe that a return path is of.
    fn find_probe(&self, return_path: &str) -> Option<token::Standing> {
        let address = Address::parse_sender(return_path).ok()?;
        let targets = readings(&address).into_iter().map(|(_, target)| target);
        let mut tokens = targets.filter_map(|target| match target {
            Target::Bounce(token) => token::parse_probe(&self.token_key, &token),
            _ => None,
        });
        tokens.next()
    }

    async fn take_step(&self, due: Due, now: Timestamp) -> Result<(), PipelineError> {
        let letter = match due.step {
            Some(Step::Probe) => self.probe_letter(&due, now).await?,
            Some(Step::Warn(number)) => self.warning(&due, number, now).await?,
            Some(Step::Remove | Step::Forgive) | None => None,
        };
        let step = due.step;
        if self.store.take_step(due, letter, now).await? {
            let word = match step {
                Some(Step::Probe) => "probe",
                Some(Step::Warn(_)) => "warning",
                Some(Step::Remove) => "removed",
                Some(Step::Forgive) | None => return Ok(()),
            };
            metrics::counter!("patchpost_bounce_steps", "step" => word).increment(1);
        }
        Ok(())
    }

    /// A probe is a short mail whose return path tells of itself alone.
    async fn probe_letter(
        &self,
        due: &Due,
        now: Timestamp,
    ) -> Result<Option<NewLetter>, PipelineError> {
        let Some((list, to)) = self.find_ends(due).await? else {
            return Ok(None);
        };
        // As it will stand when the probe is on its way.
        let probe = token::Standing {
            id: due.row.id,
            since: now.secs(),
        };
        let Some(token) = token::render_probe(&self.token_key, probe) else {
            return Ok(None);
        };
        let text = notice::Probe {
            address: &to,
            list: &list.address,
            days: score::PROBE_DAYS,
        };
        let return_path = with_token(&list, "probe", &token);
        let wish = (Event::Probe, "Does this mail reach you?", text.render()?);
        self.bounce_letter(&list, &to, wish, return_path, now)
    }

    async fn warning(
        &self,
        due: &Due,
        number: i64,
        now: Timestamp,
    ) -> Result<Option<NewLetter>, PipelineError> {
        let Some((list, to)) = self.find_ends(due).await? else {
            return Ok(None);
        };
        let standing = token::Standing {
            id: due.row.id,
            since: due.row.standing.since.secs(),
        };
        let Some(token) = token::render_enable(&self.token_key, standing) else {
            return Ok(None);
        };
        let since = due.row.standing.since;
        // Warnings that are late keep their distance to the removal.
        let told_on = usize::try_from(number)
            .ok()
            .and_then(|n| score::WARN_DAYS.get(n));
        let left = score::REMOVE_DAY - told_on.copied().unwrap_or(0);
        let gone = now.plus_secs(left * DAY);
        let text = notice::Disabled {
            address: &to,
            since: &since.human()[..10],
            gone: &gone.human()[..10],
            link: &format!("{}/-/enable/{token}", self.base_url),
            last: number + 1 == score::WARN_DAYS.len() as i64,
        };
        let subject = "You get no mail from the lists here any more";
        let wish = (Event::Disabled, subject, text.render()?);
        self.bounce_letter(&list, &to, wish, String::new(), now)
    }

    /// The list that a letter speaks for and the address that it goes to; `None` if there is no such list or address any more.
    async fn find_ends(&self, due: &Due) -> Result<Option<(ListRow, Address)>, PipelineError> {
        let Some(id) = due.list else { return Ok(None) };
        let list = self.store.find_list_by_id(id).await?;
        let to = due.row.address.parse::<Address>().ok();
        match (list, to) {
            (Some(list), Some(to)) if !self.is_list_address(&to).await? => Ok(Some((list, to))),
            _ => Ok(None),
        }
    }

    fn bounce_letter(
        &self,
        list: &ListRow,
        to: &Address,
        (event, subject, text): (Event, &str, String),
        return_path: String,
        now: Timestamp,
    ) -> Result<Option<NewLetter>, PipelineError> {
        let notice = Notice {
            event,
            list: Some(list),
            to,
            subject,
            text: &text,
            reply_to: None,
            return_path,
            answered: None,
            ip: None,
        };
        Ok(self.draft(&notice, now)?.map(|capped| capped.letter))
    }

    /// Tells the operator once that so many copies to one destination fail that nobody is blamed.
    async fn tell_storm(&self, storm: Storm, now: Timestamp) -> Result<(), PipelineError> {
        tracing::error!(
            destination = storm.domain,
            bounce.code = storm.code,
            recipients = storm.recipients,
            "copies to {} come back from many members at once ({}): their bounces are not counted",
            storm.domain,
            storm.code
        );
        metrics::counter!("patchpost_bounce_storms").increment(1);
        let text = notice::Storm {
            domain: &storm.domain,
            code: &storm.code,
            recipients: storm.recipients,
            began: &storm.span.0.human(),
        };
        let text = text.render()?;
        let letter = match &self.operator {
            Some(operator) => {
                let notice = Notice {
                    event: Event::Storm,
                    list: None,
                    to: operator,
                    subject: "Many copies to one destination come back",
                    text: &text,
                    reply_to: None,
                    return_path: String::new(),
                    answered: None,
                    ip: None,
                };
                self.draft(&notice, now)?.map(|capped| capped.letter)
            }
            None => None,
        };
        Ok(self
            .store
            .record_storm_told(storm.domain, letter, now)
            .await?)
    }
}

fn new(copy: token::Bounce, report: Report, now: Timestamp) -> NewBounce {
    NewBounce {
        copy,
        class: report.class,
        code: report.code,
        text: report.text,
        arrived: now,
    }
}

fn with_token(list: &ListRow, word: &str, token: &str) -> String {
    let (local, domain) = list.address.split_once('@').unwrap_or((&list.address, ""));
    format!("{local}+{word}-{token}@{domain}")
}

/// What may be tokens of return paths in a mail, wherever they stand.
fn tokens(bytes: &[u8]) -> impl Iterator<Item = &str> {
    let starts = memchr::memmem::find_iter(bytes, b"+b-").take(TOKENS);
    starts.filter_map(|at| {
        let rest = &bytes[at + 3..];
        let length = rest
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric())
            .count();
        std::str::from_utf8(&rest[..length.min(64)]).ok()
    })
}
