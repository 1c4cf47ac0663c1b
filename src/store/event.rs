//! Notes on mail that was not archived: what was refused, dropped, or came back, of whom and why.

use super::{Bind, ListRow, Store, StoreError};
use crate::types::{ListId, Timestamp};

/// A note as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct EventRow {
    /// When, in microseconds since 1970.
    pub happened: i64,
    /// The list's name.
    pub list: String,
    /// `bounce`, `dropped` or `refused`.
    pub kind: String,
    /// The envelope sender; empty: none was given.
    pub actor: String,
    /// What it was and why.
    pub detail: String,
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
        let text = "insert into event (realm, list, kind, actor, happened, detail) values ($1, $2, $3, $4, $5, $6)";
        let binds = vec![
            list.realm.0.into(),
            list.id.0.into(),
            kind.into(),
            actor.into(),
            now.0.into(),
            detail.into(),
        ];
        self.write(move |tx| Box::pin(async move { tx.execute(text, binds).await.map(|_| ()) }))
            .await
    }

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
