//! Who looks, and which lists that shows: the one place that says what pages may show to whom.

use std::collections::HashMap;

use super::person::LINKED;
use super::{Bind, ListRow, Reader, StoreError, marks};
use crate::list::settings::Bits;
use crate::types::{ListId, MessageId, Timestamp};

/// Who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eyes<'a> {
    /// Anybody: nothing is known of who asks.
    Anybody,
    /// Who is signed in.
    Person {
        /// The address, in lower case.
        address: &'a str,
        /// What is shown goes over TLS.
        tls: bool,
    },
}

/// A list that may be shown to who looks now. Nothing else makes one than [`Reader::find_shown`] and [`Reader::load_shown`]:
/// whoever holds it has asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    list: ListRow,
}

impl std::ops::Deref for Shown {
    type Target = ListRow;

    fn deref(&self) -> &ListRow {
        &self.list
    }
}

impl Shown {
    /// It is shown to who looks, and not to everybody: what is made of it is kept nowhere.
    pub fn is_private(&self) -> bool {
        !self.list.is_open()
    }
}

/// A list with the arrival of its newest mail.
pub type ListLine = (Shown, Option<Timestamp>);

/// Made of the settings of the site; it has no pages.
const POSTMASTER: &str = "postmaster";

impl ListRow {
    /// Whether somebody may read a list and subscribe to it: with rights of their own there, or none, and as a member or not. What
    /// everybody may read nobody is kept from.
    fn lets_read(&self, (bits, members): Known) -> bool {
        let own = (bits >= 0).then_some(Bits(bits));
        self.is_open()
            || match own {
                // Who decides on mail reads it.
                Some(bits) => bits.has(Bits::BROWSE) || bits.has(Bits::MODERATE),
                None => members > 0 && self.policy.subscribers.has(Bits::BROWSE),
            }
    }

    /// Whether pages may show it to a person with these rights: as its owner says, and over TLS if its copies go so only.
    fn is_for(&self, known: Known, tls: bool) -> bool {
        let goes = self.policy.web && (tls || !self.policy.tls_only);
        goes && self.name != POSTMASTER && self.lets_read(known)
    }
}

/// Rights of their own that a person has at a list, -1 for none, and how many of their addresses are members there that may read it.
type Known = (i64, i64);

/// [`Known`] of `$1` at a list `l`. What was taken away from one address of a person is not given back by another one.
fn known() -> String {
    let reading = Bits::BROWSE.0 | Bits::MODERATE.0;
    format!(
        "coalesce((select a.bits from access a where a.list = l.id and a.address = $1), -1), \
         (select count(*) from member m where m.list = l.id and m.address in ({LINKED}) and not exists \
         (select 1 from access o where o.list = m.list and o.address = m.address and (o.bits & {reading}) = 0))"
    )
}

impl Reader {
    /// Whether an address, given in lower case, may read a list and subscribe to it. What everybody may read nobody is kept from;
    /// of another list it takes a right of one's own, or that of subscribers.
    pub async fn may_browse(&self, list: &ListRow, address: &str) -> Result<bool, StoreError> {
        if list.is_open() {
            return Ok(true);
        }
        let text = format!("select {} from list l where l.id = $2", known());
        let known: Option<Known> = self
            .fetch_one(text, vec![address.into(), list.id.0.into()])
            .await?;
        Ok(known.is_some_and(|known| list.lets_read(known)))
    }

    /// The list of that name, if it may be shown to who looks. To a person it takes the same steps to find that there is no such
    /// list and that it is none of theirs.
    pub async fn find_shown(
        &self,
        name: &str,
        eyes: Eyes<'_>,
    ) -> Result<Option<Shown>, StoreError> {
        let list = self.find_list(name).await?;
        let open = list.as_ref().is_some_and(ListRow::is_open);
        let found = match eyes {
            _ if open => list,
            Eyes::Anybody => None,
            Eyes::Person { address, tls } => {
                let text = format!("select {} from list l where l.name = $2", known());
                let known: Option<Known> = self
                    .fetch_one(text, vec![address.into(), name.into()])
                    .await?;
                let both = list.zip(known);
                both.and_then(|(list, known)| list.is_for(known, tls).then_some(list))
            }
        };
        Ok(found.map(|list| Shown { list }))
    }

    /// All lists that may be shown to who looks, by name.
    pub async fn load_shown(&self, eyes: Eyes<'_>) -> Result<Vec<ListLine>, StoreError> {
        let mut lists = self.load_lists().await?;
        match eyes {
            Eyes::Anybody => lists.retain(ListRow::is_open),
            Eyes::Person { address, tls } => {
                let text = format!(
                    "select l.id, {} from list l where l.visibility <> 'public'",
                    known()
                );
                let rows: Vec<(i64, i64, i64)> = self.fetch(text, vec![address.into()]).await?;
                let known: HashMap<i64, Known> =
                    rows.into_iter().map(|(l, b, m)| (l, (b, m))).collect();
                let own = |l: &ListRow| {
                    known
                        .get(&l.id.0)
                        .is_some_and(|known| l.is_for(*known, tls))
                };
                lists.retain(|l| l.is_open() || own(l));
            }
        }
        let ids: Vec<ListId> = lists.iter().map(|l| l.id).collect();
        let newest = self.load_newest_arrivals(&ids).await?;
        let line = |list: ListRow| {
            let newest = newest.get(&list.id.0).copied();
            (Shown { list }, newest.map(Timestamp))
        };
        Ok(lists.into_iter().map(line).collect())
    }

    /// Which of these lists that are not public has a mail of that name, the oldest list first.
    pub async fn find_private_list_of<'a>(
        &self,
        id: &MessageId,
        lists: &'a [ListLine],
    ) -> Result<Option<&'a Shown>, StoreError> {
        let own: Vec<&Shown> = lists.iter().map(|l| &l.0).collect();
        let own: Vec<&Shown> = own.into_iter().filter(|l| l.is_private()).collect();
        for chunk in own.chunks(200) {
            let marks = marks(chunk.len());
            let text = format!(
                "select p.list from node n join mail m on m.node = n.id join posting p on p.mail = m.id \
                 where n.realm in ({marks}) and n.message_id = ? and p.list in ({marks}) order by p.list limit 1"
            );
            let realms = chunk.iter().map(|l| Bind::from(l.realm.0));
            let ids = chunk.iter().map(|l| Bind::from(l.id.0));
            let binds = realms.chain([id.as_str().into()]).chain(ids).collect();
            let row: Option<(i64,)> = self.fetch_one(text, binds).await?;
            if let Some((list,)) = row {
                return Ok(chunk.iter().find(|l| l.id.0 == list).copied());
            }
        }
        Ok(None)
    }

    async fn load_newest_arrivals(
        &self,
        lists: &[ListId],
    ) -> Result<HashMap<i64, i64>, StoreError> {
        let mut newest = HashMap::new();
        for chunk in lists.chunks(400) {
            let text = format!(
                "select l.id, (select max(t.last_arrived) from list_thread t where t.list = l.id) from list l where l.id in ({})",
                marks(chunk.len())
            );
            let binds = chunk.iter().map(|l| Bind::from(l.0)).collect();
            let rows: Vec<(i64, Option<i64>)> = self.fetch(text, binds).await?;
            newest.extend(rows.into_iter().filter_map(|(l, at)| Some((l, at?))));
        }
        Ok(newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::settings::Policy;
    use crate::types::RealmId;

    fn list(style: &str, visibility: &str) -> ListRow {
        ListRow {
            id: ListId(7),
            name: "inner".to_owned(),
            address: String::new(),
            description: String::new(),
            style: style.to_owned(),
            visibility: visibility.to_owned(),
            realm: RealmId(7),
            version: 0,
            created: Timestamp(0),
            policy: Policy {
                anybody: Bits(Bits::REPLY.0 | Bits::POST.0),
                ..Policy::of_style(style)
            },
        }
    }

    #[test]
    fn who_may_browse_sees_a_list_that_is_not_public() {
        let inner = list("patch", "private");
        let check = |bits: i64, members: i64, expected: bool| {
            assert_eq!(
                inner.is_for((bits, members), false),
                expected,
                "{bits} {members}"
            );
        };
        check(-1, 0, false);
        check(-1, 1, true);
        check(Bits::BROWSE.0, 0, true);
        check(Bits::MODERATE.0, 0, true);
        // What a person may do replaces what subscribers may.
        check(Bits::POST.0, 1, false);
        check(0, 1, false);
    }

    #[test]
    fn what_goes_over_tls_only_is_shown_over_tls_only() {
        let mut closed = list("security", "private");
        assert!(!closed.is_for((-1, 1), true), "its owner says so first");
        closed.policy.web = true;
        assert!(!closed.is_for((-1, 1), false));
        assert!(closed.is_for((-1, 1), true));
        assert!(!closed.is_for((-1, 0), true));
    }

    #[test]
    fn an_owner_keeps_a_list_off_the_web() {
        let mut inner = list("patch", "private");
        inner.policy.web = false;
        for known in [(-1, 1), (Bits::BROWSE.0, 1), (Bits::MODERATE.0, 0)] {
            assert!(!inner.is_for(known, true), "{known:?}");
        }
    }

    #[test]
    fn the_postmasters_list_has_no_pages() {
        let mut list = list("discuss", "private");
        list.name = POSTMASTER.to_owned();
        assert!(!list.is_for((-1, 1), true));
    }
}
