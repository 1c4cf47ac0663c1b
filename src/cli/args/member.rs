//! `member`

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Json, Switch};

/// `member`
#[derive(Debug, Subcommand)]
pub enum Member {
    /// Subscribe addresses
    #[command(after_help = "Example:\n  patchpost member add dev ana@example.org ben@example.org")]
    Add {
        /// The list
        list: String,
        /// Addresses, with or without a name: 'Ana <ana@example.org>'; none: one a line from standard input
        addresses: Vec<String>,
    },
    /// Unsubscribe addresses
    #[command(after_help = "Example:\n  patchpost member rm dev ana@example.org")]
    Rm {
        /// The list
        list: String,
        /// Addresses
        #[arg(required = true)]
        addresses: Vec<String>,
    },
    /// Show members
    #[command(after_help = "Example:\n  patchpost member ls dev")]
    Ls {
        /// The list
        list: String,
        /// How to print
        #[command(flatten)]
        json: Json,
    },
    /// Show how a member's address stands, and what came back of its copies
    #[command(after_help = "Example:\n  patchpost member show dev ana@example.org --json")]
    Show {
        /// The list
        list: String,
        /// The member's address
        address: String,
        /// How to print
        #[command(flatten)]
        json: Json,
    },
    /// Give addresses that were disabled by bounces their copies again, on all their lists
    #[command(after_help = "Example:\n  patchpost member enable ana@example.org")]
    Enable {
        /// Addresses
        #[arg(required = true)]
        addresses: Vec<String>,
    },
    /// Change what a member gets
    #[command(
        after_help = "Examples:\n  patchpost member set dev ana@example.org --nodupes on\n  patchpost member set dev archive@example.net --kind archive"
    )]
    Set(MemberSet),
    /// Subscribe those whom a file names, with their settings
    #[command(
        after_help = "Examples:\n  patchpost member import dev members.csv\n  patchpost member import dev /var/spool/mlmmj/dev\n\n\
        A file is CSV whose first line names its columns (address or email, mail, nodupes, own, kind; name says nothing), parted by commas,\n\
        semicolons or tabs, or has an address a line, as Mailman 2's list_members and Mailman 3's `mailman members` print them. A folder is\n\
        a list of mlmmj. All or nobody is subscribed: what cannot be read is named with its line. Nobody gets a mail about it."
    )]
    Import {
        /// The list
        list: String,
        /// The file or folder
        path: PathBuf,
    },
    /// Print members with their settings as CSV
    #[command(after_help = "Example:\n  patchpost member export dev > members.csv")]
    Export {
        /// The list
        list: String,
    },
    /// Say that two addresses are one person's
    #[command(after_help = "Example:\n  patchpost member link ana@example.org ana@home.example")]
    Link {
        /// One
        address: String,
        /// And the other
        other: String,
    },
    /// Part an address from all that it was linked with
    #[command(after_help = "Example:\n  patchpost member unlink ana@home.example")]
    Unlink {
        /// The address
        address: String,
    },
}

/// `member set`
#[derive(Debug, Args)]
pub struct MemberSet {
    /// The list
    pub list: String,
    /// The member
    pub address: String,
    /// Whether copies are sent
    #[arg(long, value_enum)]
    pub mail: Option<Switch>,
    /// No copy of mail that names the member in To or Cc; default: on where the style is discuss
    #[arg(long, value_enum)]
    pub nodupes: Option<Nodupes>,
    /// A copy of the member's own mail, too
    #[arg(long, value_enum)]
    pub own: Option<Switch>,
    /// An archive shows its copies to others: they hold no link to leave by
    #[arg(long, value_enum)]
    pub kind: Option<MemberKind>,
}

/// Yes, no, or as the list has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Nodupes {
    /// Yes
    On,
    /// No
    Off,
    /// As the list's style has it
    Default,
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MemberKind {
    /// Somebody who reads
    Person,
    /// An archive
    Archive,
}
