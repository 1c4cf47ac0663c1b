//! `dkim` and `queue`.

use clap::{Args, Subcommand, ValueEnum};

use super::Json;

/// `dkim`
#[derive(Debug, Subcommand)]
pub enum Dkim {
    /// Make a key for a domain beside those that it has; mail from the domain is signed with it at once
    #[command(
        after_help = "Examples:\n  patchpost dkim rotate lists.example.org\n  patchpost dkim rotate lists.example.net --new"
    )]
    Rotate {
        /// The domain of lists' addresses
        domain: String,
        /// Also where no list has an address in the domain yet
        #[arg(long)]
        new: bool,
        /// How to print
        #[command(flatten)]
        json: Json,
    },
    /// Print the DNS records of all keys, ready to paste into a zone file
    #[command(after_help = "Example:\n  patchpost dkim show lists.example.org --json")]
    Show {
        /// Of this domain only
        domain: Option<String>,
        /// How to print
        #[command(flatten)]
        json: Json,
    },
    /// Delete an old key once a newer one has been in DNS for a week
    #[command(after_help = "Example:\n  patchpost dkim drop lists.example.org p20261126-101500")]
    Drop {
        /// The domain
        domain: String,
        /// The key's selector
        selector: String,
        /// Also when nothing else signs mail of the domain, or not for a week yet
        #[arg(long)]
        now: bool,
    },
}

/// What the queue shows or changes.
#[derive(Debug, Args)]
pub struct Chosen {
    /// Numbers that `patchpost queue ls` shows: c12 is a copy, l3 a letter
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// All of this list
    #[arg(long)]
    pub list: Option<String>,
    /// All to this domain
    #[arg(long, value_name = "DOMAIN")]
    pub to: Option<String>,
    /// All in this state
    #[arg(long, value_enum)]
    pub state: Option<QueueState>,
}

/// The state of a copy or letter that is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum QueueState {
    /// Waits for its turn or its next try
    Due,
    /// Is being sent
    Sending,
    /// Is not tried any more
    GivenUp,
    /// Waits until it is let go
    Held,
}

impl QueueState {
    /// As stored.
    pub fn number(self) -> i64 {
        match self {
            QueueState::Due => 0,
            QueueState::Sending => 1,
            QueueState::GivenUp => 2,
            QueueState::Held => 3,
        }
    }
}

/// `queue`
#[derive(Debug, Subcommand)]
pub enum Queue {
    /// Show copies and letters that are owed: since when, when they are tried next, and what the relay answered last; first those that are due first
    #[command(
        after_help = "Examples:\n  patchpost queue ls --to example.com\n  patchpost queue ls --state given-up --json\n\n\
        MAIL         the posting's number in its list that it is a copy of, or what a letter of patchpost's own is for\n\
        STATE        due: waits for its turn or its next try; sending: is being sent; held: waits until `patchpost queue retry`, as an operator, a restored backup or the list's settings held it back; given-up: not tried any more\n\
        SINCE        when it was made, or let go again: after five days it is given up\n\
        TRIES        how often it was begun\n\
        NEXT TRY     for what is due\n\
        LAST ANSWER  what was in the way: the words of the relay, or ours"
    )]
    Ls {
        /// Which; none: all
        #[command(flatten)]
        chosen: Chosen,
        /// At most so many
        #[arg(long, default_value_t = 1_000, value_name = "NUMBER")]
        limit: i64,
        /// How to print
        #[command(flatten)]
        json: Json,
    },
    /// Show how many are owed by list, destination and state, and when the first of them is tried next
    #[command(after_help = "Example:\n  patchpost queue show --json")]
    Show(Json),
    /// Try again at once what waits, is held, or was given up
    #[command(
        after_help = "Examples:\n  patchpost queue retry c12 l3\n  patchpost queue retry --to example.com"
    )]
    Retry(Chosen),
    /// Hold back; `retry` lets it go
    #[command(after_help = "Example:\n  patchpost queue hold --list dev")]
    Hold(Chosen),
    /// Never send
    #[command(after_help = "Example:\n  patchpost queue drop --to example.com --state given-up")]
    Drop(Chosen),
}

/// What a list does where the author's domain would have unchanged copies refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DmarcUnaligned {
    /// From becomes the list's address; `git am` still credits the author
    Munge,
    /// Nothing; some receivers refuse the copies
    Pass,
    /// Copies wait in the queue until `patchpost queue retry`
    Hold,
}

impl DmarcUnaligned {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            DmarcUnaligned::Munge => "munge",
            DmarcUnaligned::Pass => "pass",
            DmarcUnaligned::Hold => "hold",
        }
    }
}
