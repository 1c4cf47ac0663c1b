//! Signing in on the pages: by a mail with a link and a code, without a password.
//!
//! What is told says nothing of who is known here, and an address that is not known costs the same steps.

use std::net::IpAddr;

use askama::Template;

use super::notify::Notice;
use super::{Ctx, PipelineError};
use crate::list::notice::{self, Answered, Confirm, Event, SignIn};
use crate::list::sign_in::{self, Hash, SECRET, SEEN_SECS};
use crate::store::{NewSignIn, Owed, SessionRow, SignInRow};
use crate::types::{Address, Timestamp};

/// A browser that was just signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// As whom, in lower case.
    pub address: String,
    /// What its cookie is to hold.
    pub cookie: String,
    /// What it is to keep of this visit.
    pub mark: String,
}

/// Who looks at a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    /// As whom, in lower case.
    pub address: String,
    /// What forms carry.
    pub guard: String,
    /// The hash of the browser's cookie.
    pub session: Vec<u8>,
    /// The operator that the settings name.
    pub operator: bool,
}

impl Ctx {
    /// Sends an address a link and a code, if it is known here. Returns what became of it, and what the cookie of the browser that asks is to hold.
    ///
    /// `before` is that cookie of its last question, if it has one. `mark` is what the browser kept of an earlier visit. Limits count such browsers apart, and what is not known here apart from
    /// what is: nobody is locked out by others who ask.
    pub async fn ask_to_sign_in(
        &self,
        address: &Address,
        (before, mark): (Option<&str>, Option<&str>),
        ip: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<(Owed, String), PipelineError> {
        let key = address.key();
        let ours = self.is_list_address(address).await?;
        let published = ours || self.store.is_archive(&key).await?;
        let known = self.store.is_known(&key).await? || self.is_operator(&key);
        let (link, browser, code) = (secret()?, secret()?, code()?);
        // As it is stored: nobody gets a mail for an address that only looks like a known one.
        let Ok(to) = key.parse::<Address>() else {
            return Ok((Owed::EnoughForAddress, browser));
        };
        let text = SignIn {
            address: &to,
            site: &self.base_url,
            link: &format!("{}/sign-in/{link}", self.base_url),
            code: &code,
            minutes: sign_in::HOLDS_SECS / 60,
        };
        let notice = Notice {
            event: Event::SignIn,
            list: None,
            to: &to,
            subject: &format!("Sign in at {}", self.hostname),
            text: &text.render()?,
            reply_to: None,
            return_path: String::new(),
            answered: None,
            ip,
        };
        let Some(mut letter) = self.draft(&notice, now)? else {
            return Ok((Owed::EnoughForAddress, browser));
        };
        if mark.is_some_and(|mark| sign_in::is_mark(&self.token_key, &key, mark)) {
            letter.counted.push_str(" here");
        } else if !known {
            letter.counted = format!("{key} unknown");
        }
        let of = sign_in::hash(&browser);
        let new = NewSignIn {
            link: sign_in::hash(&link),
            browser: of,
            before: before.map(sign_in::hash),
            code: sign_in::hash_code(&self.token_key, &of, &code),
            address: key,
            other: String::new(),
            known: known && !published,
            letter,
        };
        let owed = self.store.insert_sign_in(new, now).await?;
        Ok((owed, browser))
    }

    /// Asks an address whether it is the same person's as one that is signed in; the link in the mail says yes.
    pub async fn ask_to_link_with(
        &self,
        viewer: &Viewer,
        address: &Address,
        ip: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Owed, PipelineError> {
        let odd = !notice::is_plain(address) || self.is_list_address(address).await?;
        if odd || address.key() == viewer.address {
            return Ok(Owed::EnoughForAddress);
        }
        // An archive publishes the link.
        let published = self.store.is_archive(&address.key()).await?;
        let link = secret()?;
        // Of two addresses the other is told by the page only: whoever asks chose it.
        let text = Confirm {
            what: "link this address with another one, which the page below names",
            address,
            link: &format!("{}/sign-in/{link}", self.base_url),
            reply: false,
            owner: "",
        };
        let notice = Notice {
            event: Event::Confirm,
            list: None,
            to: address,
            subject: "Please confirm: link two addresses",
            text: &text.render()?,
            reply_to: None,
            return_path: String::new(),
            answered: None,
            ip,
        };
        let Some(letter) = self.draft(&notice, now)? else {
            return Ok(Owed::EnoughForAddress);
        };
        let new = NewSignIn {
            link: sign_in::hash(&link),
            // No browser and no code fit.
            browser: sign_in::hash(&secret()?),
            before: None,
            code: sign_in::hash(&secret()?),
            address: address.key(),
            other: viewer.address.clone(),
            known: !published,
            letter,
        };
        Ok(self.store.insert_sign_in(new, now).await?)
    }

    /// What the link in a mail is for, while it holds; changes nothing.
    pub async fn find_sign_in(
        &self,
        link: &str,
        now: Timestamp,
    ) -> Result<Option<SignInRow>, PipelineError> {
        Ok(self.store.find_sign_in(&sign_in::hash(link), now).await?)
    }

    /// What became of a link that does not hold; `None`: nothing is known of it.
    pub async fn find_spent_link(&self, link: &str) -> Result<Option<(bool, bool)>, PipelineError> {
        Ok(self.store.find_spent_link(&sign_in::hash(link)).await?)
    }

    /// Uses a link up; the browser's session of before, if it has one, ends.
    pub async fn sign_in_by_link(
        &self,
        link: &str,
        old: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<SignedIn>, PipelineError> {
        let cookie = secret()?;
        let (link, session) = (sign_in::hash(link), sign_in::hash(&cookie));
        let old = old.map(sign_in::hash);
        let signed = self.store.sign_in_by_link(link, session, old, now).await?;
        Ok(signed.map(|address| self.signed_in(address, cookie)))
    }

    /// Tries a code in the browser that asked.
    pub async fn sign_in_by_code(
        &self,
        browser: &str,
        code: &str,
        old: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<SignedIn>, PipelineError> {
        let cookie = secret()?;
        let (browser, session) = (sign_in::hash(browser), sign_in::hash(&cookie));
        let code = sign_in::hash_code(&self.token_key, &browser, code);
        let old = old.map(sign_in::hash);
        let signed = self
            .store
            .sign_in_by_code(browser, code, session, old, now)
            .await?;
        Ok(signed.map(|address| self.signed_in(address, cookie)))
    }

    fn signed_in(&self, address: String, cookie: String) -> SignedIn {
        let mark = sign_in::render_mark(&self.token_key, &address);
        SignedIn {
            address,
            cookie,
            mark,
        }
    }

    /// Links the two addresses that a link is for; both hear of it.
    pub async fn link_by_mail(
        &self,
        link: &str,
        now: Timestamp,
    ) -> Result<Option<SignInRow>, PipelineError> {
        let ctx = self.clone();
        let letters = move |linked: &SignInRow| {
            let both = [linked.address.as_str(), linked.other.as_str()];
            ctx.linked_letters(None, both, &Answered::default(), now)
        };
        let link = sign_in::hash(link);
        Ok(self.store.link_by_mail(link, letters, now).await?)
    }

    /// Who a session is of, noting now and then that it was used.
    pub async fn greet(&self, row: SessionRow, now: Timestamp) -> Result<Viewer, PipelineError> {
        if row.seen.plus_secs(SEEN_SECS) < now {
            self.store.record_seen(row.id.clone(), now).await?;
        }
        let id = Hash::try_from(row.id.as_slice()).unwrap_or_default();
        Ok(Viewer {
            guard: sign_in::render_guard(&self.token_key, &id),
            operator: self.is_operator(&row.address),
            address: row.address,
            session: row.id,
        })
    }

    /// Whether a form was made for this browser.
    pub fn is_guard(&self, viewer: &Viewer, text: &str) -> bool {
        let id = Hash::try_from(viewer.session.as_slice());
        id.is_ok_and(|id| sign_in::is_guard(&self.token_key, &id, text))
    }

    /// Signs a browser out.
    pub async fn sign_out(&self, viewer: &Viewer) -> Result<(), PipelineError> {
        Ok(self.store.end_session(viewer.session.clone()).await?)
    }

    /// Signs all browsers of somebody out.
    pub async fn sign_out_everywhere(&self, viewer: &Viewer) -> Result<(), PipelineError> {
        Ok(self.store.end_sessions(viewer.address.clone()).await?)
    }

    pub(super) fn is_operator(&self, key: &str) -> bool {
        self.operator.as_ref().is_some_and(|o| o.key() == key)
    }
}

fn secret() -> Result<String, PipelineError> {
    let mut chance = [0u8; SECRET];
    getrandom::fill(&mut chance).map_err(no_chance)?;
    Ok(sign_in::render_secret(chance))
}

fn code() -> Result<String, PipelineError> {
    let mut chance = [0u8; 8];
    getrandom::fill(&mut chance).map_err(no_chance)?;
    Ok(sign_in::render_code(u64::from_be_bytes(chance)))
}

fn no_chance(error: getrandom::Error) -> PipelineError {
    PipelineError::Broken(format!("no random numbers: {error}"))
}
