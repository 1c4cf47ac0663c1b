//! Refusals that the client did not hear, as another list took the mail: noted, and told to an author who is known to have sent it.

use super::ask::Asked;
use super::command::rendered;
use super::{Ctx, PipelineError};
use crate::list::notice::{self, Answered, Event, NotTaken, wrap};
use crate::session::{Protocol, Reply};
use crate::store::{CappedLetter, ListRow};
use crate::types::Timestamp;

/// Characters of a line.
const WIDTH: usize = 68;

impl Ctx {
    /// Notes who refused a mail that others took: the sender hears one answer for all, and that is "taken".
    pub(super) async fn note_refusals(
        &self,
        refused: &[(ListRow, Reply)],
        asked: &Asked<'_>,
        now: Timestamp,
    ) -> Result<(), PipelineError> {
        // In trouble that passes the answer for all is 4xx, and the mail comes again. Over LMTP each list answers for itself.
        let heard = asked.protocol == Protocol::Lmtp || refused.iter().any(|r| r.1.code < 500);
        for (list, reply) in refused {
            let detail = format!("{reply}: {}", asked.message.message_id);
            self.store
                .insert_event(list, "refused", asked.sender.to_owned(), detail, now)
                .await?;
            if heard {
                continue;
            }
            if let Some(letter) = self.not_taken_letter(list, reply, asked, now).await? {
                self.store.insert_capped_letter(letter, now).await?;
            }
        }
        Ok(())
    }

    async fn not_taken_letter(
        &self,
        list: &ListRow,
        reply: &Reply,
        asked: &Asked<'_>,
        now: Timestamp,
    ) -> Result<Option<CappedLetter>, PipelineError> {
        let Some((own, to)) = self.author_to_tell(list, asked, now).await? else {
            return Ok(None);
        };
        let owner = notice::with_suffix(&own, "+owner");
        let text = NotTaken {
            list: &own,
            which: &notice::which_mail(asked.message, false),
            said: &wrap(&reply.to_string(), WIDTH),
            owner: &owner.map_or_else(String::new, |o| o.to_string()),
        };
        let subject = format!("Not taken: your mail to {own}");
        let words = (Event::NotTaken, subject.as_str(), rendered(&text));
        Ok(self.letter(Some(list), &to, words, &Answered::from(asked.message), now))
    }
}
