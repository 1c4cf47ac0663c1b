//! The texts of automatic mail to members, to people who want to be, and to the operator. Names and addresses in them were checked when they
//! were made; they hold no line end.

use askama::Template;

use crate::types::Address;

/// `templates/mail/confirm.txt`
#[derive(Debug, Template)]
#[template(path = "mail/confirm.txt")]
pub struct Confirm<'a> {
    /// `join the list dev@x.org with this address`
    pub what: &'a str,
    /// The address that is to confirm.
    pub address: &'a Address,
    /// The page with the button.
    pub link: &'a str,
    /// Whether a reply confirms as well.
    pub reply: bool,
    /// The people who run the list; may be empty.
    pub owner: &'a str,
}

/// `templates/mail/welcome.txt`
#[derive(Debug, Template)]
#[template(path = "mail/welcome.txt")]
pub struct Welcome<'a> {
    /// Posting address.
    pub list: &'a Address,
    /// Its part before the `@`.
    pub local: &'a str,
    /// And behind it.
    pub domain: &'a str,
    /// The new member.
    pub address: &'a Address,
    /// The list's page.
    pub page: &'a str,
    /// The page that ends the subscription.
    pub leave: &'a str,
}

/// `templates/mail/done.txt`
#[derive(Debug, Template)]
#[template(path = "mail/done.txt")]
pub struct Done<'a> {
    /// What was done, in a sentence or two.
    pub text: &'a str,
    /// What can be done next; may be empty.
    pub next: &'a str,
    /// The people who run the list.
    pub owner: &'a str,
}

/// `templates/mail/help.txt`
#[derive(Debug, Template)]
#[template(path = "mail/help.txt")]
pub struct Help<'a> {
    /// Posting address.
    pub list: &'a Address,
    /// Its part before the `@`.
    pub local: &'a str,
    /// And behind it.
    pub domain: &'a str,
    /// The list's page.
    pub page: &'a str,
}

/// `templates/mail/trouble.txt`
#[derive(Debug, Template)]
#[template(path = "mail/trouble.txt", escape = "none")]
pub struct Trouble<'a> {
    /// Name of this machine in the mail system.
    pub hostname: &'a str,
    /// What turned bad: what it is, what was seen, what mends it.
    pub worse: &'a [(String, String, String)],
    /// What is well again.
    pub better: &'a [(String, String, String)],
    /// What shows all on the server.
    pub command: &'a str,
}

/// `templates/mail/probe.txt`
#[derive(Debug, Template)]
#[template(path = "mail/probe.txt")]
pub struct Probe<'a> {
    /// Whom it asks.
    pub address: &'a Address,
    /// Posting address of a list that it is on.
    pub list: &'a str,
    /// After so many days it is taken to have arrived.
    pub days: i64,
}

/// `templates/mail/disabled.txt`
#[derive(Debug, Template)]
#[template(path = "mail/disabled.txt")]
pub struct Disabled<'a> {
    /// Whom it tells.
    pub address: &'a Address,
    /// The day on which it was disabled.
    pub since: &'a str,
    /// The day on which it leaves the lists.
    pub gone: &'a str,
    /// The page with the button.
    pub link: &'a str,
    /// Whether no other warning follows.
    pub last: bool,
}

/// `templates/mail/paused.txt`
#[derive(Debug, Template)]
#[template(path = "mail/paused.txt")]
pub struct Paused<'a> {
    /// Whom it tells.
    pub address: &'a Address,
    /// Posting address of the list.
    pub list: &'a str,
    /// Its part before the `@`.
    pub local: &'a str,
    /// And behind it.
    pub domain: &'a str,
}

/// `templates/mail/storm.txt`
#[derive(Debug, Template)]
#[template(path = "mail/storm.txt")]
pub struct Storm<'a> {
    /// The destination.
    pub domain: &'a str,
    /// The code that its servers give.
    pub code: &'a str,
    /// How many members.
    pub recipients: usize,
    /// When it began.
    pub began: &'a str,
}

/// `templates/mail/sign_in.txt`
#[derive(Debug, Template)]
#[template(path = "mail/sign_in.txt")]
pub struct SignIn<'a> {
    /// Who is to sign in.
    pub address: &'a Address,
    /// Where.
    pub site: &'a str,
    /// The page with the button.
    pub link: &'a str,
    /// Six digits for the browser that asked.
    pub code: &'a str,
    /// How long both hold.
    pub minutes: i64,
}
