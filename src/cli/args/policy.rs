//! Options of commands about who may write what, and about held mail.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Json;
use crate::list::settings::{self, Outsiders, OwnRemoval, Proof};
use crate::types::ListName;

/// Whose mail a person looks at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Moderation {
    /// Nobody's
    None,
    /// That of people whom the list does not know, unless they are authenticated and answer a mail that it has
    Strangers,
    /// Everybody's but the moderators'
    All,
}

impl From<Moderation> for settings::Moderation {
    fn from(given: Moderation) -> Self {
        match given {
            Moderation::None => settings::Moderation::None,
            Moderation::Strangers => settings::Moderation::Strangers,
            Moderation::All => settings::Moderation::All,
        }
    }
}

/// By what people are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// The domain in From speaks for the mail
    Authenticated,
    /// From alone: whoever writes an address passes for its owner
    From,
}

impl From<By> for Proof {
    fn from(given: By) -> Self {
        match given {
            By::Authenticated => Proof::Authenticated,
            By::From => Proof::From,
        }
    }
}

/// What becomes of mail without the right to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Outside {
    /// It is refused with words
    Reject,
    /// A person looks at it
    Hold,
}

impl From<Outside> for Outsiders {
    fn from(given: Outside) -> Self {
        match given {
            Outside::Reject => Outsiders::Reject,
            Outside::Hold => Outsiders::Hold,
        }
    }
}

/// What becomes of an author's wish that a mail of his is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Own {
    /// He is told to write to the people who run the list
    Off,
    /// Moderators are asked
    Ask,
    /// It is taken back at once
    Hide,
}

impl From<Own> for OwnRemoval {
    fn from(given: Own) -> Self {
        match given {
            Own::Off => OwnRemoval::Off,
            Own::Ask => OwnRemoval::Ask,
            Own::Hide => OwnRemoval::Hide,
        }
    }
}

/// A switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On
    On,
    /// Off
    Off,
}

/// `policy`
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Show who may do what at a list, and what is held
    #[command(after_help = "Example:\n  patchpost policy show dev")]
    Show {
        /// The list
        list: String,
        /// How to print
        #[command(flatten)]
        json: Json,
    },
    /// Change it
    #[command(
        after_help = "Examples:\n  patchpost policy set dev --person ana@example.org=reply,post,moderate\n  patchpost policy set dev --rule 'Subject *lottery* discard' --ban spam.example\n  patchpost policy set dev --emergency on"
    )]
    Set(Box<PolicySet>),
    /// Say step by step what would become of a mail, and do nothing
    #[command(after_help = "Example:\n  patchpost policy explain dev mail.eml --from-ip 192.0.2.7")]
    Explain {
        /// The list
        list: String,
        /// The mail as it would come in
        file: PathBuf,
        /// Address of the client that would bring it by SMTP, or with --lmtp to the mail server on this machine, which passes it on
        #[arg(long, value_name = "IP")]
        from_ip: Option<IpAddr>,
        /// Envelope sender; empty for the null one [default: the address in From]
        #[arg(long, value_name = "ADDRESS")]
        sender: Option<String>,
        /// As if the mail server on this machine brought it by LMTP
        #[arg(long)]
        lmtp: bool,
        /// How to print
        #[command(flatten)]
        json: Json,
    },
}

/// `policy set`
#[derive(Debug, Args)]
pub struct PolicySet {
    /// The list
    pub list: String,
    /// What everybody may do: browse, reply, post, moderate with commas between them, or none
    #[arg(long, value_name = "RIGHTS")]
    pub anybody: Option<String>,
    /// What subscribers may do
    #[arg(long, value_name = "RIGHTS")]
    pub subscribers: Option<String>,
    /// Let members of any list here do what subscribers of this one may
    #[arg(long, value_enum)]
    pub any_list: Option<Switch>,
    /// Let who may browse a list that is not public read it on the pages, signed in
    #[arg(long, value_enum)]
    pub web: Option<Switch>,
    /// What one person may do; ADDRESS= takes it back; may be repeated
    #[arg(long, value_name = "ADDRESS=RIGHTS")]
    pub person: Vec<String>,
    /// Whose mail is held
    #[arg(long, value_enum)]
    pub moderation: Option<Moderation>,
    /// By what people are known
    #[arg(long, value_enum)]
    pub proof: Option<By>,
    /// What becomes of mail without the right to it
    #[arg(long, value_enum)]
    pub outsiders: Option<Outside>,
    /// Hold everything
    #[arg(long, value_enum)]
    pub emergency: Option<Switch>,
    /// Bytes above which a mail is held
    #[arg(long, value_name = "BYTES")]
    pub max_size: Option<i64>,
    /// Take mails that have only HTML
    #[arg(long, value_enum)]
    pub html: Option<Switch>,
    /// Send copies over TLS only
    #[arg(long, value_enum)]
    pub tls_only: Option<Switch>,
    /// Refuse mails with a part of such a type, as 'application/x-ms*'; replaces the present ones; '' for none; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub refuse_type: Vec<String>,
    /// Add a rule at the end: FIELD PATTERN accept, hold, reject or discard; may be repeated
    #[arg(long, value_name = "RULE")]
    pub rule: Vec<String>,
    /// Forget all rules first
    #[arg(long)]
    pub no_rules: bool,
    /// Take no mail of an address or a domain; may be repeated
    #[arg(long, value_name = "NAME")]
    pub ban: Vec<String>,
    /// Lift a ban; may be repeated
    #[arg(long, value_name = "NAME")]
    pub unban: Vec<String>,
    /// The bans hold for every list here
    #[arg(long)]
    pub everywhere: bool,
    /// Mails of strangers that pass in an hour; 0: all
    #[arg(long, value_name = "COUNT")]
    pub strangers_per_hour: Option<i64>,
    /// Seconds by which first posts go out late, up to twice as many; 0: at once
    #[arg(long, value_name = "SECONDS")]
    pub delay: Option<i64>,
    /// What becomes of an author's wish, by mail, that a mail of his is removed
    #[arg(long, value_enum)]
    pub own_removal: Option<Own>,
    /// Days after which held mail is dropped
    #[arg(long, value_name = "DAYS")]
    pub hold_days: Option<i64>,
    /// Authors whose mail is authenticated hear that it is held; not where copies go over TLS only
    #[arg(long, value_enum)]
    pub tell_held: Option<Switch>,
}

/// `held`
#[derive(Debug, Subcommand)]
pub enum Held {
    /// Show held mails
    #[command(after_help = "Example:\n  patchpost held ls dev")]
    Ls {
        /// Of this list only
        list: Option<String>,
        /// How to print
        #[command(flatten)]
        json: Json,
    },
    /// Show a held mail
    #[command(after_help = "Example:\n  patchpost held show 12")]
    Show {
        /// Its number in `patchpost held ls`
        #[arg(value_parser = held_number)]
        id: i64,
        /// How to print
        #[command(flatten)]
        json: Json,
    },
    /// Let mails through, each with the series that it is of
    #[command(
        after_help = "Examples:\n  patchpost held accept 12\n  patchpost held accept 12 --person"
    )]
    Accept {
        /// Which
        #[command(flatten)]
        which: Which,
        /// Its author may write to the list from now on
        #[arg(long)]
        person: bool,
    },
    /// Drop mails; their authenticated authors get these words
    #[command(
        after_help = "Example:\n  patchpost held reject 12 --words 'This belongs to the users list.'"
    )]
    Reject {
        /// Which
        #[command(flatten)]
        which: Which,
        /// What the author reads
        #[arg(long, visible_alias = "why", value_name = "TEXT")]
        words: String,
    },
    /// Drop mails without a word
    #[command(
        after_help = "Examples:\n  patchpost held discard 12 13\n  patchpost held discard --list dev --from '*@spam.example'\n  patchpost held discard --list dev --all\n  patchpost held discard 12 --purge"
    )]
    Discard {
        /// Which
        #[command(flatten)]
        which: Which,
        /// Write the database's files anew, so that no byte of them stays in free pages
        #[arg(long)]
        purge: bool,
    },
}

/// `recall`
#[derive(Debug, Args)]
pub struct Recall {
    /// Message-IDs, with or without <>
    #[arg(required = true, value_name = "MESSAGE-ID")]
    pub ids: Vec<String>,
    /// Of this list
    #[arg(long)]
    pub list: Option<String>,
    /// Where several mails have one Message-ID: the one of this author
    #[arg(long, value_name = "ADDRESS")]
    pub author: Option<String>,
    /// Take no more mail of the author there
    #[arg(long)]
    pub ban: bool,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", default_value = "by the operator")]
    pub why: String,
}

/// `remove`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("end").required(true))]
pub struct Remove {
    /// Message-ID, with or without <>
    #[arg(value_name = "MESSAGE-ID")]
    pub id: String,
    /// Delete its words and bytes; its place in the thread stays
    #[arg(long, group = "end")]
    pub redact: bool,
    /// Delete all of it, and write the database's files anew
    #[arg(long, group = "end")]
    pub purge: bool,
    /// It comes back to no list at all, also not to one that has its realm to itself
    #[arg(long)]
    pub everywhere: bool,
    /// Of this list
    #[arg(long)]
    pub list: Option<String>,
    /// Where several mails have one Message-ID: the one of this author
    #[arg(long, value_name = "ADDRESS")]
    pub author: Option<String>,
    /// Why, for the record; nothing of the mail
    #[arg(long, value_name = "TEXT", default_value = "by the operator")]
    pub why: String,
}

/// Which held mails.
#[derive(Debug, Args)]
pub struct Which {
    /// Numbers in `patchpost held ls`
    #[arg(required_unless_present = "list", conflicts_with = "list", value_parser = held_number)]
    pub ids: Vec<i64>,
    /// Instead of numbers: those of this list
    #[arg(long, value_name = "LIST")]
    pub list: Option<String>,
    /// Of the list, those from addresses that match
    #[arg(long, value_name = "GLOB", requires = "list")]
    pub from: Option<String>,
    /// Of the list, those with a subject that matches
    #[arg(long, value_name = "GLOB", requires = "list")]
    pub subject: Option<String>,
    /// Of the list, those held for a reason that matches
    #[arg(long, value_name = "GLOB", requires = "list")]
    pub reason: Option<String>,
    /// Of the list, all
    #[arg(long, requires = "list")]
    pub all: bool,
}

/// The number of a held mail; a list's name is what people say instead.
fn held_number(text: &str) -> Result<i64, String> {
    let said = "held mails are named by their numbers, which `patchpost held ls` shows";
    text.parse().map_err(|_| match text.parse::<ListName>() {
        Ok(list) => format!(
            "{said}; those of a list by --list {list} with --all, --from, --subject or --reason"
        ),
        Err(_) => said.to_owned(),
    })
}
