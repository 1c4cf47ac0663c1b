//! What somebody who looks after a list sees of it: members as they stand, and numbers.

use super::list::MemberRow;
use super::sql::Bind;
use super::{Reader, StoreError};
use crate::list::roster::Kind;
use crate::types::{ListId, MemberId, Timestamp};

/// Which members are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberFilter {
    /// What the address holds, in lower case; empty: anything.
    pub words: String,
    /// How they stand.
    pub standing: MemberStanding,
    /// Addresses above this one.
    pub after: String,
}

/// How a member stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MemberStanding {
    /// In any way.
    #[default]
    Any,
    /// Wants no copies for now.
    Paused,
    /// Mail came back: points, a probe, or no copies any more.
    Bounces,
}

/// A list in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListNumbers {
    /// Members.
    pub members: i64,
    /// Those who get copies.
    pub copies: i64,
    /// Those who wanted none for now.
    pub paused: i64,
    /// Those who get none as mail came back.
    pub disabled: i64,
    /// Mails in the archive.
    pub postings: i64,
    /// Threads.
    pub threads: i64,
    /// Patchsets.
    pub patchsets: i64,
    /// Mails of the last 7 days.
    pub week: i64,
    /// Mails of the last 30 days.
    pub month: i64,
    /// Mails that are held.
    pub held: i64,
    /// When the oldest of them arrived.
    pub oldest_held: Option<Timestamp>,
    /// What was decided in the last 30 days: `accepted`, `rejected`, `discarded`, `expired`, and how often.
    pub decided: Vec<(String, i64)>,
    /// Copies that are owed.
    pub owed: i64,
    /// Copies that are not tried any more.
    pub given_up: i64,
}

const DAY: i64 = 86_400;

impl Reader {
    /// Members of a list that fit, by address, at most `limit`; each with how its address stands, if mail ever came back.
    pub async fn find_members(
        &self,
        list: ListId,
        filter: &MemberFilter,
        limit: i64,
    ) -> Result<Vec<(MemberRow, Option<String>)>, StoreError> {
        let standing = match filter.standing {
            MemberStanding::Any => "",
            MemberStanding::Paused => "and m.mail = 0",
            MemberStanding::Bounces => "and (s.halves > 0 or s.state <> 'fine')",
        };
        let text = format!(
            "select m.id, m.address, m.mail, m.nodupes, m.own, m.kind, m.created, \
             case when s.halves > 0 and s.state = 'fine' then 'counted' else s.state end \
             from member m left join standing s on s.address = m.address \
             where m.list = ? and m.address > ? and m.address like ? escape '!' {standing} order by m.address limit ?"
        );
        let binds: Vec<Bind> = vec![
            list.0.into(),
            filter.after.as_str().into(),
            like(&filter.words).into(),
            limit.into(),
        ];
        type Row = (
            i64,
            String,
            i64,
            Option<i64>,
            i64,
            String,
            i64,
            Option<String>,
        );
        let rows: Vec<Row> = self.fetch(text, binds).await?;
        let row = |(id, address, mail, nodupes, own, kind, created, state): Row| {
            let member = MemberRow {
                id: MemberId(id),
                address,
                mail: mail == 1,
                nodupes: nodupes.map(|n| n == 1),
                own: own == 1,
                kind: Kind::parse(&kind),
                created: Timestamp(created),
            };
            (member, state)
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// A list in numbers.
    pub async fn load_numbers(
        &self,
        list: ListId,
        now: Timestamp,
    ) -> Result<ListNumbers, StoreError> {
        let (postings, threads, patchsets, members) = self.count_list(list).await?;
        let id = || Bind::from(list.0);
        let sum = |when: &str| {
            format!("cast(coalesce(sum(case when {when} then 1 else 0 end), 0) as bigint)")
        };
        let text = format!(
            "select {}, {} from member m left join standing s on s.address = m.address where m.list = ?",
            sum("m.mail = 0"),
            sum("m.mail = 1 and s.state = 'disabled'")
        );
        let (paused, disabled): (i64, i64) =
            self.fetch_one(text, vec![id()]).await?.unwrap_or_default();
        let text = "select (select count(*) from posting where list = $1 and arrived > $2), \
             (select count(*) from posting where list = $1 and arrived > $3), \
             (select count(*) from held where list = $1), (select min(arrived) from held where list = $1)";
        let since = |days: i64| Bind::from(now.plus_secs(-days * DAY).0);
        let row: Option<(i64, i64, i64, Option<i64>)> = self
            .fetch_one(text, vec![id(), since(7), since(30)])
            .await?;
        let (week, month, held, oldest) = row.unwrap_or_default();
        let text = format!(
            "select {}, {} from delivery where list = ?",
            sum("state < 2"),
            sum("state = 2")
        );
        let (owed, given_up): (i64, i64) =
            self.fetch_one(text, vec![id()]).await?.unwrap_or_default();
        let text = "select kind, count(*) from event where list = $1 and happened > $2 \
             and kind in ('accepted', 'rejected', 'discarded', 'expired') group by kind order by kind";
        let decided = self.fetch(text, vec![id(), since(30)]).await?;
        Ok(ListNumbers {
            members,
            copies: members - paused - disabled,
            paused,
            disabled,
            postings,
            threads,
            patchsets,
            week,
            month,
            held,
            oldest_held: oldest.map(Timestamp),
            decided,
            owed,
            given_up,
        })
    }
}

/// A pattern for what holds the words, whatever signs are in them.
fn like(words: &str) -> String {
    let mut out = String::from("%");
    for c in words.chars() {
        if matches!(c, '%' | '_' | '!') {
            out.push('!');
        }
        out.push(c);
    }
    out.push('%');
    out
}
