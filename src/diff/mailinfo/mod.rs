//! A mail with a patch → author, date, commit message and patch text, as `git am` makes them.
//!
//! Follows `git mailinfo` as `git am` calls it (git-mailinfo(1), git-am(1) "DISCUSSION"): UTF-8 output, brackets and
//! `Re:` taken off the subject, in-body From, Subject and Date, scissors off, CR before LF dropped (git-mailsplit(1)
//! without `--keep-cr`). Where git stops with an error because a charset label is wrong, an encoded word is broken or the
//! Date cannot be read, this goes on with what stands there: such mails come to a list every week.

mod body;
mod date;
mod header;
mod text;

use std::borrow::Cow;

pub use body::{begins_patch, is_format_patch_line, unflow};
pub use date::AuthorDate;
pub use header::recode;

/// A mail as `git am` would commit it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Author's name as it stands in a commit; never empty.
    pub name: String,
    /// Author's address as it stands in a commit; empty in odd mail, as git has it.
    pub email: String,
    /// Author's date; `None` if the mail has none or one that git cannot read: the caller has one to fall back on.
    pub date: Option<AuthorDate>,
    /// Commit message: subject, empty line, text; cleaned as git-stripspace(1) does.
    pub message: String,
    /// From the first line that begins the patch (`diff -`, `Index: `, `---`) to the end, notes and diffstat included;
    /// transfer encoding undone, charset as sent. Never empty.
    pub patch: Vec<u8>,
}

/// Why a mail makes no commit. All of them are the sender's doing: a retry changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MailinfoError {
    /// Nothing in the text begins a patch.
    #[error("the mail holds no patch")]
    NoPatch,
    /// No From that a name or an address can be taken from.
    #[error("the mail has no author: its From field is missing or empty")]
    NoAuthor,
    /// Git refuses commits that hold a NUL byte outside of files.
    #[error("there is a NUL byte in the author or the commit message")]
    Nul,
}

/// Reads a mail. Line ends may be LF or CRLF; time and memory are linear in its size.
pub fn mailinfo(mail: &[u8]) -> Result<Letter, MailinfoError> {
    let mail = without_cr(mail);
    let parts = body::read(&mail);
    if parts.patch.is_empty() {
        return Err(MailinfoError::NoPatch);
    }
    let field = |inside: &Option<Vec<u8>>, top: &Option<Vec<u8>>| inside.clone().or(top.clone());
    let from = field(&parts.inside.from, &parts.top.from).unwrap_or_default();
    let subject = field(&parts.inside.subject, &parts.top.subject).unwrap_or_default();
    let date = field(&parts.inside.date, &parts.top.date).unwrap_or_default();
    let (name, email) = header::author(&from);
    let (name, email) = (text::without_crud(&name), text::without_crud(&email));
    if name.is_empty() {
        return Err(MailinfoError::NoAuthor);
    }
    let mut message = header::clean_subject(&subject);
    message.extend_from_slice(b"\n\n");
    message.extend_from_slice(&parts.log);
    let message = text::strip_space(&message);
    if [&name, &email, &message].iter().any(|t| t.contains(&0)) {
        return Err(MailinfoError::Nul);
    }
    Ok(Letter {
        name: text::to_utf8(&name),
        email: text::to_utf8(&email),
        date: date::parse(&date),
        message: text::to_utf8(&message),
        patch: parts.patch,
    })
}

/// git-mailsplit(1) without `--keep-cr`: one CR before a LF is dropped.
fn without_cr(mail: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\r', mail).is_none() {
        return Cow::Borrowed(mail);
    }
    let mut out = Vec::with_capacity(mail.len());
    for line in mail.split_inclusive(|b| *b == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(text) => {
                out.extend_from_slice(text);
                out.push(b'\n');
            }
            None => out.extend_from_slice(line),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests;
