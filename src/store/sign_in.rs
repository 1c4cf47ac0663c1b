//! Who signs in, and the browsers that are signed in. Secrets come as hashes.

use super::letter::{self, mark_of_hash};
use super::notice::{self, CappedLetter, Owed};
use super::person;
use super::writer::Tx;
use super::{Reader, Store, StoreError};
use crate::list::sign_in::{
    HOLDS_SECS, Hash, IDLE_SECS, LIFE_SECS, LINK_SECS, TRIES, TRIES_A_DAY, TRIES_OF_ALL,
};
use crate::types::Timestamp;

const DAY: i64 = 86_400;

/// A mail with which somebody signs in, or links an address with the one that is signed in.
#[derive(Debug, Clone)]
pub struct NewSignIn {
    /// The link's secret.
    pub link: Hash,
    /// The cookie of the browser that asked.
    pub browser: Hash,
    /// The one that it has of its last question, of which the code counts no more: that mail need not be sent.
    pub before: Option<Hash>,
    /// The code.
    pub code: Hash,
    /// Who, in lower case.
    pub address: String,
    /// The address that it is to be linked with; empty: this is to sign in.
    pub other: String,
    /// Whether the mail goes out. An address that nobody knows here, or that publishes what it gets, is counted and stored like others, so that nothing tells.
    pub known: bool,
    /// The mail.
    pub letter: CappedLetter,
}

/// What a link is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInRow {
    /// Who signs in, or is to be linked.
    pub address: String,
    /// With which address; empty: this is to sign in.
    pub other: String,
}

/// A browser that is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// The hash of its cookie.
    pub id: Vec<u8>,
    /// As whom, in lower case.
    pub address: String,
    /// Since when.
    pub made: Timestamp,
    /// When it was here last, to the hour.
    pub seen: Timestamp,
}

const SESSION: &str = "select id, address, made, seen from session";

fn session_row((id, address, made, seen): (Vec<u8>, String, i64, i64)) -> SessionRow {
    let (made, seen) = (Timestamp(made), Timestamp(seen));
    SessionRow {
        id,
        address,
        made,
        seen,
    }
}

/// Links that still hold, of either kind.
const OPEN: &str =
    "known = 1 and used = 0 and ((other = '' and made >= $2) or (other <> '' and made >= $3))";

fn open_binds(link: &Hash, now: Timestamp) -> Vec<super::Bind> {
    let since = |secs: i64| now.plus_secs(-secs).0.into();
    vec![(*link).into(), since(HOLDS_SECS), since(LINK_SECS)]
}

impl Reader {
    /// Whether an address, in lower case, is one of a member, of somebody with rights, of a linked person, or of an author whose mail was authenticated.
    pub async fn is_known(&self, address: &str) -> Result<bool, StoreError> {
        let text = "select case when exists (select 1 from member where address = $1) or exists (select 1 from access where address = $1) \
             or exists (select 1 from person_address where address = $1) \
             or exists (select 1 from realm r join mail m on m.realm = r.id where lower(m.address) = $1 and m.level = 1) then 1 else 0 end";
        let row: Option<(i64,)> = self.fetch_one(text, vec![address.into()]).await?;
        Ok(row.is_some_and(|r| r.0 == 1))
    }

    /// Whether an address, in lower case, is one of an archive: what goes there is published.
    pub async fn is_archive(&self, address: &str) -> Result<bool, StoreError> {
        let text = "select count(*) from member where address = $1 and kind = 'archive'";
        let row: Option<(i64,)> = self.fetch_one(text, vec![address.into()]).await?;
        Ok(row.is_some_and(|r| r.0 > 0))
    }

    /// What a link is for, while it holds.
    pub async fn find_sign_in(
        &self,
        link: &Hash,
        now: Timestamp,
    ) -> Result<Option<SignInRow>, StoreError> {
        let text = format!("select address, other from sign_in where link = $1 and {OPEN}");
        let row: Option<(String, String)> = self.fetch_one(text, open_binds(link, now)).await?;
        Ok(row.map(|(address, other)| SignInRow { address, other }))
    }

    /// What became of a link that does not hold, of the last days: whether it was used, and whether it was to link two addresses.
    pub async fn find_spent_link(&self, link: &Hash) -> Result<Option<(bool, bool)>, StoreError> {
        let text = "select used, case when other <> '' then 1 else 0 end from sign_in where link = $1 and known = 1";
        let row: Option<(i64, i64)> = self.fetch_one(text, vec![(*link).into()]).await?;
        Ok(row.map(|(used, other)| (used == 1, other == 1)))
    }

    /// The browser with that cookie, while it is signed in.
    pub async fn find_session(
        &self,
        id: &Hash,
        now: Timestamp,
    ) -> Result<Option<SessionRow>, StoreError> {
        let text = format!("{SESSION} where id = $1 and seen >= $2 and made >= $3");
        let binds = vec![
            (*id).into(),
            now.plus_secs(-IDLE_SECS).0.into(),
            now.plus_secs(-LIFE_SECS).0.into(),
        ];
        let row: Option<(Vec<u8>, String, i64, i64)> = self.fetch_one(text, binds).await?;
        Ok(row.map(session_row))
    }

    /// All browsers that are signed in with an address, the newest first.
    pub async fn load_sessions(
        &self,
        address: &str,
        now: Timestamp,
    ) -> Result<Vec<SessionRow>, StoreError> {
        let text = format!(
            "{SESSION} where address = $1 and seen >= $2 and made >= $3 order by made desc, id"
        );
        let binds = vec![
            address.into(),
            now.plus_secs(-IDLE_SECS).0.into(),
            now.plus_secs(-LIFE_SECS).0.into(),
        ];
        let rows: Vec<(Vec<u8>, String, i64, i64)> = self.fetch(text, binds).await?;
        Ok(rows.into_iter().map(session_row).collect())
    }
}

impl Store {
    /// Keeps what a mail signs in and owes the mail, within its limits; beyond them nothing is kept.
    pub async fn insert_sign_in(&self, new: NewSignIn, now: Timestamp) -> Result<Owed, StoreError> {
        let owed = self.write(move |tx| Box::pin(insert(tx, new, now))).await?;
        self.deliveries.notify_one();
        Ok(owed)
    }

    /// Uses a link up: signs the browser with cookie `session` in, in place of `old`. Returns as whom.
    pub async fn sign_in_by_link(
        &self,
        link: Hash,
        session: Hash,
        old: Option<Hash>,
        now: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let text = format!("update sign_in set used = 1 where link = $1 and {OPEN} and other = '' returning address");
                let used: Option<(String,)> = tx.fetch_one(text, open_binds(&link, now)).await?;
                letter::strike_off(tx, mark_of_hash(&link)).await?;
                match used {
                    Some((address,)) => begin(tx, session, old, address, now).await.map(Some),
                    None => Ok(None),
                }
            })
        })
        .await
    }

    /// Tries a code in the browser that asked; every try counts. Returns as whom it signed in.
    pub async fn sign_in_by_code(
        &self,
        browser: Hash,
        code: Hash,
        session: Hash,
        old: Option<Hash>,
        now: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                match try_code(tx, browser, code, now).await? {
                    Some(address) => begin(tx, session, old, address, now).await.map(Some),
                    None => Ok(None),
                }
            })
        })
        .await
    }

    /// Uses a link up that is to link two addresses, and owes what `letters` makes of them, in one commit. Returns both.
    pub async fn link_by_mail(
        &self,
        link: Hash,
        letters: impl FnOnce(&SignInRow) -> Vec<CappedLetter> + Send + 'static,
        now: Timestamp,
    ) -> Result<Option<SignInRow>, StoreError> {
        let linked = self.write(move |tx| {
            Box::pin(async move {
                let text = format!("update sign_in set used = 1 where link = $1 and {OPEN} and other <> '' returning address, other");
                let used: Option<(String, String)> =
                    tx.fetch_one(text, open_binds(&link, now)).await?;
                let Some((address, other)) = used else {
                    return Ok(None);
                };
                letter::strike_off(tx, mark_of_hash(&link)).await?;
                person::link(tx, &address, &other, now).await?;
                let linked = SignInRow { address, other };
                for letter in letters(&linked) {
                    notice::insert(tx, letter, now).await?;
                }
                Ok(Some(linked))
            })
        });
        let linked = linked.await?;
        self.deliveries.notify_one();
        Ok(linked)
    }

    /// Notes that a browser was here.
    pub async fn record_seen(&self, session: Vec<u8>, now: Timestamp) -> Result<(), StoreError> {
        let text = "update session set seen = $1 where id = $2 and seen < $1";
        self.write(move |tx| {
            Box::pin(async move {
                tx.execute(text, vec![now.0.into(), session.into()]).await?;
                Ok(())
            })
        })
        .await
    }

    /// Signs one browser out.
    pub async fn end_session(&self, session: Vec<u8>) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let text = "delete from session where id = $1";
                tx.execute(text, vec![session.into()]).await?;
                Ok(())
            })
        })
        .await
    }

    /// Signs all browsers of an address out, and makes the links void that were not used.
    pub async fn end_sessions(&self, address: String) -> Result<(), StoreError> {
        self.write(move |tx| Box::pin(async move { end_all(tx, &address).await }))
            .await
    }
}

async fn insert(tx: &mut Tx, new: NewSignIn, now: Timestamp) -> Result<Owed, StoreError> {
    let letter = new.letter.about(vec![mark_of_hash(&new.link)]);
    let owed = match new.known {
        true => notice::insert(tx, letter, now).await?,
        false => notice::count(tx, &letter, now).await?,
    };
    if owed != Owed::Yes {
        return Ok(owed);
    }
    let text = "delete from letter where state in (0, 3) and purpose = $1 and made < $2";
    let lapsed = now.plus_secs(-HOLDS_SECS).0.into();
    tx.execute(text, vec![letter::sign_in_purpose().into(), lapsed])
        .await?;
    if let Some(before) = new.before {
        let text = "select link from sign_in where browser = $1 and address = $2 and other = ''";
        let binds = vec![before.into(), new.address.as_str().into()];
        strike_off(tx, text, binds).await?;
    }
    // Tries of a day are counted.
    let text = "delete from sign_in where made < $1 or (other = '' and made < $2)";
    let old = [LINK_SECS, DAY].map(|secs| now.plus_secs(-secs).0.into());
    tx.execute(text, old.to_vec()).await?;
    let row = vec![
        new.link.into(),
        new.browser.into(),
        new.code.into(),
        new.address.into(),
        new.other.into(),
        new.known.into(),
        0.into(),
        0.into(),
        now.0.into(),
    ];
    let head = "sign_in (link, browser, code, address, other, known, tries, used, made)";
    tx.insert(head, vec![row], "").await?;
    Ok(owed)
}

/// Strikes off the mails, as far as they are owed, whose links a statement returns.
async fn strike_off(
    tx: &mut Tx,
    text: &'static str,
    binds: Vec<super::Bind>,
) -> Result<(), StoreError> {
    let links: Vec<(Vec<u8>,)> = tx.fetch(text, binds).await?;
    // Of one address there are a few a day.
    for (link,) in links {
        if let Ok(link) = Hash::try_from(link.as_slice()) {
            letter::strike_off(tx, mark_of_hash(&link)).await?;
        }
    }
    Ok(())
}

/// Counts first, so that two tries at once are two.
async fn try_code(
    tx: &mut Tx,
    browser: Hash,
    code: Hash,
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    let text = "update sign_in set tries = tries + 1 where browser = $1 and other = '' and used = 0 and tries < $2 and made >= $3 \
         returning link, code, address, known";
    let binds = vec![
        browser.into(),
        TRIES.into(),
        now.plus_secs(-HOLDS_SECS).0.into(),
    ];
    type Row = (Vec<u8>, Vec<u8>, String, i64);
    let Some((link, right, address, known)) = tx.fetch_one::<Row>(text, binds).await? else {
        return Ok(None);
    };
    let text = "select cast(coalesce(sum(case when address = $1 then tries else 0 end), 0) as bigint), \
         cast(coalesce(sum(tries), 0) as bigint) from sign_in where made > $2";
    let binds = vec![address.as_str().into(), now.plus_secs(-DAY).0.into()];
    let tries: Option<(i64, i64)> = tx.fetch_one(text, binds).await?;
    let enough = tries.is_some_and(|(own, all)| own > TRIES_A_DAY || all > TRIES_OF_ALL);
    if enough || known == 0 || right != code {
        return Ok(None);
    }
    let text = "update sign_in set used = 1, tries = tries - 1 where link = $1 and used = 0";
    let first = tx.execute(text, vec![link.clone().into()]).await? == 1;
    if let Ok(link) = Hash::try_from(link.as_slice()) {
        letter::strike_off(tx, mark_of_hash(&link)).await?;
    }
    Ok(first.then_some(address))
}

/// A browser gets a secret that was never sent before; what it had ends.
async fn begin(
    tx: &mut Tx,
    session: Hash,
    old: Option<Hash>,
    address: String,
    now: Timestamp,
) -> Result<String, StoreError> {
    let text = "delete from session where id = $1 or made < $2 or seen < $3";
    let binds = vec![
        old.unwrap_or(session).into(),
        now.plus_secs(-LIFE_SECS).0.into(),
        now.plus_secs(-IDLE_SECS).0.into(),
    ];
    tx.execute(text, binds).await?;
    let row = vec![
        session.into(),
        address.as_str().into(),
        now.0.into(),
        now.0.into(),
    ];
    tx.insert("session (id, address, made, seen)", vec![row], "")
        .await?;
    Ok(address)
}

/// As [`Store::end_sessions`], in a transaction that has more to do.
pub(super) async fn end_all(tx: &mut Tx, address: &str) -> Result<(), StoreError> {
    let text = "delete from session where address = $1";
    tx.execute(text, vec![address.into()]).await?;
    let text = "update sign_in set used = 1 where address = $1 or other = $1 returning link";
    strike_off(tx, text, vec![address.into()]).await
}
