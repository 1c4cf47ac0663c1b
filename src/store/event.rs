//! Notes on mail that was not archived: what was refused, dropped, or came back, of whom and why.

use super::writer::Tx;
use super::{Bind, ListRow, Reader, Store, StoreError};
use crate::types::{ListId, MailId, RealmId, Timestamp};

/// A note as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct EventRow {
    /// When, in microseconds since 1970.
    pub happened: i64,
    /// The list's name.
    pub list: String,
    /// `bounce`, `dropped`, `refused`; of held mail `accepted`, `rejected`, `discarded`, `expired`; `recalled`.
    pub kind: String,
    /// The envelope sender, or who decided; empty: none was given.
    pub actor: String,
    /// What it was and why.
    pub detail: String,
}

impl Reader {
    /// The newest notes, the newest first; of one list if that is given.
    pub async fn load_events(
        &self,
        list: Option<ListId>,
        limit: i64,
    ) -> Result<Vec<EventRow>, StoreError> {
        let mut text = "select e.happened, l.name, e.kind, e.actor, e.detail from event e join list l on l.id = e.list".to_owned();
        let mut binds: Vec<Bind> = Vec::new();
        if let Some(list) = list {
            text.push_str(" where e.list = ?");
            binds.push(list.0.into());
        }
        text.push_str(" order by e.id desc limit ?");
        binds.push(limit.into());
        let rows: Vec<(i64, String, String, String, String)> = self.fetch(text, binds).await?;
        let row = |(happened, list, kind, actor, detail)| EventRow {
            happened,
            list,
            kind,
            actor,
            detail,
        };
        Ok(rows.into_iter().map(row).collect())
    }
}

impl Store {
    /// Notes what became of a mail to a list, by whom it was sent, when and why.
    pub async fn insert_event(
        &self,
        list: &ListRow,
        kind: &'static str,
        actor: String,
        detail: String,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.insert_events(list, kind, &actor, vec![detail], now)
            .await
    }

    /// Makes several such notes in one commit.
    pub async fn insert_events(
        &self,
        list: &ListRow,
        kind: &'static str,
        actor: &str,
        details: Vec<String>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let note = |detail| Note {
            realm: list.realm,
            list: list.id,
            kind,
            actor: actor.to_owned(),
            detail,
            receipt: None,
        };
        let notes = details.into_iter().map(note).collect();
        self.write(move |tx| Box::pin(insert(tx, notes, now))).await
    }
}

/// Kinds of notes that strangers cause, as many as they like.
const CAUSED: &str = "('dropped', 'refused', 'moderation', 'unproven wish')";

impl Store {
    /// Forgets what is noted of mail that did nothing, letters that were given up, and complaints, of before then.
    pub async fn delete_old_notes(&self, before: Timestamp) -> Result<(), StoreError> {
        let old = format!(
            "select id from (select id from event where kind in {CAUSED} and happened < $1 limit 1) e \
             union all select id from (select id from letter where state = 2 and made < $1 limit 1) l \
             union all select happened from (select happened from complaint where happened < $1 limit 1) c"
        );
        let at = move || vec![Bind::from(before.0)];
        if self.fetch_one::<(i64,)>(old, at()).await?.is_none() {
            return Ok(());
        }
        self.write(move |tx| {
            Box::pin(async move {
                let text = format!("delete from event where kind in {CAUSED} and happened < $1");
                tx.execute(text, at()).await?;
                for text in [
                    "delete from letter where state = 2 and made < $1",
                    "delete from complaint where happened < $1",
                ] {
                    tx.execute(text, at()).await?;
                }
                Ok(())
            })
        })
        .await
    }
}

/// A note to make.
pub(super) struct Note {
    pub realm: RealmId,
    pub list: ListId,
    pub kind: &'static str,
    pub actor: String,
    pub detail: String,
    /// The receipt of the mail that it is about: the note goes when the mail is removed.
    pub receipt: Option<i64>,
}

/// Makes notes in a transaction that has more to do.
pub(super) async fn insert(
    tx: &mut Tx,
    notes: Vec<Note>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let row = |n: Note| {
        vec![
            n.realm.0.into(),
            n.list.0.into(),
            n.kind.into(),
            n.actor.into(),
            now.0.into(),
            n.detail.into(),
            n.receipt.into(),
        ]
    };
    let rows = notes.into_iter().map(row).collect();
    let head = "event (realm, list, kind, actor, happened, detail, receipt)";
    tx.insert(head, rows, "").await?;
    Ok(())
}

/// A note for a transaction that has more to do.
pub(super) struct NewEvent {
    /// The list that it is about.
    pub list: ListId,
    /// What happened, in a word.
    pub kind: &'static str,
    /// Whom it concerns.
    pub actor: String,
    /// What it was and why.
    pub detail: String,
    /// When.
    pub happened: Timestamp,
}

/// Notes what happened to lists that are there.
pub(super) async fn record(tx: &mut Tx, events: Vec<NewEvent>) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let rows: Vec<(i64, i64)> = tx.fetch("select id, realm from list", vec![]).await?;
    let realms: std::collections::BTreeMap<i64, i64> = rows.into_iter().collect();
    let row = |event: NewEvent| {
        let realm = realms.get(&event.list.0)?;
        Some(vec![
            (*realm).into(),
            event.list.0.into(),
            event.kind.into(),
            event.actor.into(),
            event.happened.0.into(),
            event.detail.into(),
        ])
    };
    let rows: Vec<Vec<Bind>> = events.into_iter().filter_map(row).collect();
    let head = "event (realm, list, kind, actor, happened, detail)";
    tx.insert(head, rows, "").await?;
    Ok(())
}

/// Notes what happened with a mail of a list; nothing if the list is gone.
pub(super) async fn record_about(
    tx: &mut Tx,
    mail: MailId,
    event: NewEvent,
) -> Result<(), StoreError> {
    let text = "insert into event (realm, list, kind, mail, actor, happened, detail) \
         select realm, id, $1, $2, $3, $4, $5 from list where id = $6";
    let binds = vec![
        event.kind.into(),
        mail.0.into(),
        event.actor.into(),
        event.happened.0.into(),
        event.detail.into(),
        event.list.0.into(),
    ];
    tx.execute(text, binds).await?;
    Ok(())
}
