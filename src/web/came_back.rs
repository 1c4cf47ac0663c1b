//! What mail servers said of copies that came back, on the member's own page and on the page of a list's members.

use super::page::Problem;
use super::routes::App;
use crate::types::{ListId, Timestamp};
use crate::view::text::visible;

/// Answers that are shown of an address at a list.
const SHOWN: i64 = 3;

/// One answer.
pub struct CameBack {
    /// When it came.
    pub when: Timestamp,
    /// Of which list the copy was.
    pub list: String,
    /// The server's words.
    pub said: String,
    /// It came from many members at once and was not counted.
    pub storm: bool,
}

/// The last answers about copies of a list, the newest first.
pub async fn load(
    app: &App,
    (list, name): (ListId, &str),
    address: &str,
) -> Result<Vec<CameBack>, Problem> {
    let rows = app.store.load_bounces(list, address, SHOWN).await?;
    let shown = rows.into_iter().map(|row| CameBack {
        when: Timestamp(row.arrived),
        list: name.to_owned(),
        said: match row.text.is_empty() {
            true => format!("{} {}", row.class, row.code),
            false => visible(&row.text),
        },
        storm: row.storm,
    });
    Ok(shown.collect())
}

/// The newest of several lists' answers.
pub fn newest(mut all: Vec<CameBack>) -> Vec<CameBack> {
    all.sort_by_key(|b| std::cmp::Reverse(b.when));
    all.truncate(SHOWN as usize);
    all
}
