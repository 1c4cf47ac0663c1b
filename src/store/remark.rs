//! What the remarks on a version's page are made from: answers to it and to the versions before it, and texts of patches.

use std::collections::HashMap;

use super::{Bind, Reader, StoreError, marks};
use crate::mail;
use crate::patchset::{Place, Recognised, patch_text};
use crate::types::MailId;

/// A mail that answers a version of a patchset.
#[derive(Debug, Clone)]
pub struct AnswerRow {
    /// Its row.
    pub mail: MailId,
    /// The patch or cover that it is about.
    pub target: MailId,
    /// Label of the version that the patch or cover came in.
    pub label: String,
}

/// A patch of an earlier version.
#[derive(Debug, Clone)]
pub struct EarlierPatch {
    /// Its mail.
    pub mail: MailId,
    /// From 1.
    pub number: i64,
    /// How many patches its version has.
    pub total: i64,
    /// Label of its version.
    pub label: String,
    /// Subject of its mail.
    pub subject: String,
}

impl Reader {
    /// The newest `limit` mails that answer a series or one before it in its patchset, oldest first.
    pub async fn load_answers_until(
        &self,
        series: i64,
        limit: i64,
    ) -> Result<Vec<AnswerRow>, StoreError> {
        let text = "select c.mail, c.target, s.label from series o join series s on s.patchset = o.patchset and s.position <= o.position \
             join comment c on c.series = s.id join mail m on m.id = c.mail where o.id = $1 and m.state = 0 \
             order by m.arrived desc, m.id desc limit $2";
        let rows: Vec<(i64, i64, String)> =
            self.fetch(text, vec![series.into(), limit.into()]).await?;
        let row = |(mail, target, label)| AnswerRow {
            mail: MailId(mail),
            target: MailId(target),
            label,
        };
        Ok(rows.into_iter().rev().map(row).collect())
    }

    /// The patches that came in versions before a series, oldest first.
    pub async fn load_earlier_patches(&self, series: i64) -> Result<Vec<EarlierPatch>, StoreError> {
        let text = "select p.mail, p.number, s.total, s.label, m.subject from series o \
             join series s on s.patchset = o.patchset and s.position < o.position \
             join patch p on p.series = s.id and p.taken_over = 0 join mail m on m.id = p.mail \
             where o.id = $1 order by s.position, p.number";
        let rows: Vec<(i64, i64, i64, String, String)> =
            self.fetch(text, vec![series.into()]).await?;
        let row = |(mail, number, total, label, subject)| EarlierPatch {
            mail: MailId(mail),
            number,
            total,
            label,
            subject,
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// For each of these mails the mail that it answers, as far as that is known.
    pub async fn load_parents_of(
        &self,
        mails: &[MailId],
    ) -> Result<HashMap<MailId, MailId>, StoreError> {
        let mut all = HashMap::new();
        for chunk in mails.chunks(200) {
            // A few steps up: the nearest mail may be one that never came.
            let text = format!(
                "select e.mail, m.id from edge e join mail m on m.node = e.parent where e.position < 4 and e.mail in ({}) \
                 order by e.mail, e.position, m.level desc, m.id",
                marks(chunk.len())
            );
            let binds = chunk.iter().map(|m| Bind::from(m.0)).collect();
            for (mail, parent) in self.fetch::<(i64, i64)>(text, binds).await? {
                all.entry(MailId(mail)).or_insert(MailId(parent));
            }
        }
        Ok(all)
    }

    /// The texts that carry the diffs of these mails; those without one, and those taken back, are left out.
    pub async fn load_patch_texts(
        &self,
        mails: &[MailId],
    ) -> Result<HashMap<MailId, String>, StoreError> {
        let mut all = HashMap::new();
        let mut attached = Vec::new();
        for chunk in mails.chunks(200) {
            let text = format!(
                "select m.id, m.recognised, b.text from mail m join body b on b.mail = m.id where m.state = 0 and m.id in ({})",
                marks(chunk.len())
            );
            let binds = chunk.iter().map(|m| Bind::from(m.0)).collect();
            for (mail, json, text) in self.fetch::<(i64, String, String)>(text, binds).await? {
                // A row that cannot be read was written by another version; `reclassify` writes it anew.
                let facts: Option<Recognised> = serde_json::from_str(&json).ok();
                match facts.and_then(|f| f.diff) {
                    Some(Place::Text) => {
                        all.insert(MailId(mail), text);
                    }
                    Some(Place::Part(_)) => attached.push(MailId(mail)),
                    None => {}
                }
            }
        }
        for chunk in attached.chunks(64) {
            for (mail, bytes, _) in self.load_bytes_of(chunk).await? {
                let message = mail::parse(&bytes);
                if let Some(text) = patch_text(&message) {
                    all.insert(mail, text.to_owned());
                }
            }
        }
        Ok(all)
    }
}
