//! One mail of a list, sent to who asks for it: web mailers answer only what is in their mailbox.

use super::{Ctx, PipelineError, Viewer};
use crate::list::notice::{self, ON_REQUEST};
use crate::list::roster::Kind;
use crate::list::treatment::Treatment;
use crate::store::{CappedLetter, CopyOnRequest, ListRow, Owed};
use crate::types::{Address, Timestamp};

/// What became of a wish for a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// It is on its way.
    Yes,
    /// There were enough for now.
    Enough,
    /// There is no such mail, or none that goes out.
    Nothing,
}

impl Ctx {
    /// Sends a mail of a list that everybody reads to the address that is signed in: the copy that members get, with the token to
    /// leave of a member alone who is no archive. What comes back of it says nothing of anybody: its return path is the null one.
    pub async fn send_copy(
        &self,
        viewer: &Viewer,
        list: &ListRow,
        number: i64,
        now: Timestamp,
    ) -> Result<Copied, PipelineError> {
        let to = viewer.address.parse::<Address>();
        let Some(to) = to.ok().filter(notice::is_plain) else {
            return Ok(Copied::Nothing);
        };
        if !list.is_open() || self.is_list_address(&to).await? {
            return Ok(Copied::Nothing);
        }
        let found = self.store.find_mail_by_number(list.id, number).await?;
        let posting = self.store.load_posting_to_send(list.id, number).await?;
        let Some((mail, posting)) = found.zip(posting) else {
            return Ok(Copied::Nothing);
        };
        let treatment = match posting.treatment.as_str() {
            "" => self.find_treatment(posting).await?,
            stored => Treatment::from_stored(stored),
        };
        // Copies of it wait for an operator: so does this one.
        if treatment.held {
            return Ok(Copied::Nothing);
        }
        let key = to.key();
        let member = self.store.find_member_by_address(list.id, &key).await?;
        // An archive publishes what it gets.
        let member = member.filter(|m| m.kind != Kind::Archive);
        let copy = CopyOnRequest {
            number,
            member: member.map(|m| m.id),
            treatment: treatment.to_stored(),
        };
        let traces = self.store.find_traces(mail.mail).await?;
        let about = traces.map_or(Vec::new(), |traces| traces.about());
        let letter = CappedLetter {
            letter: copy.letter(list.id, to.to_string(), about),
            cap: ON_REQUEST,
            counted: notice::counted(&to),
            source: notice::counted(&to),
        };
        Ok(match self.store.insert_capped_letter(letter, now).await? {
            Owed::Yes => Copied::Yes,
            Owed::EnoughForAddress | Owed::EnoughFromSource => Copied::Enough,
        })
    }
}
