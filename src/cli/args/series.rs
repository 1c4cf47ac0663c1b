//! Options of commands about patch series.

use clap::{Args, Subcommand, ValueEnum};

use super::{Json, SeriesApply};

/// `series mbox`
#[derive(Debug, Args)]
pub struct SeriesMbox {
    /// The patchset's number
    pub patchset: i64,
    /// Which version, such as 2 or 3-r1 [default: the newest]
    #[arg(long, value_name = "LABEL")]
    pub version: Option<String>,
    /// The mails as they came, nothing folded in
    #[arg(long, conflicts_with_all = ["no_trailers", "signoff", "copy_cc", "link", "message_id", "order", "ignore", "sloppy"])]
    pub original: bool,
    /// Fold no trailers in
    #[arg(long, conflicts_with_all = ["signoff", "copy_cc", "link", "message_id", "order", "ignore", "sloppy"])]
    pub no_trailers: bool,
    /// Print what is here of a version of which patches are missing
    #[arg(long)]
    pub incomplete: bool,
    /// Add a Signed-off-by as the last trailer
    #[arg(long, value_name = "NAME <ADDRESS>")]
    pub signoff: Option<String>,
    /// Add Cc trailers for all in To and Cc who are not named yet
    #[arg(long)]
    pub copy_cc: bool,
    /// Add a Link trailer; %s in the mask stands for the Message-ID [default mask: the page of the mail here]
    #[arg(long, value_name = "MASK", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub link: Option<String>,
    /// Add a Message-ID trailer
    #[arg(long, conflicts_with = "link")]
    pub message_id: bool,
    /// Order of what is added, by name, such as Cc,Fixes*,Reviewed*,* [default: as it came]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub order: Vec<String>,
    /// Leave out what this address gave; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub ignore: Vec<String>,
    /// Fold in trailers that do not name the sender of their mail, too
    #[arg(long)]
    pub sloppy: bool,
}

/// `series`
#[derive(Debug, Subcommand)]
pub enum Series {
    /// Show all series, newest first
    #[command(after_help = "Example:\n  patchpost series ls dev --json")]
    Ls {
        /// Of this list only
        list: Option<String>,
        /// How to print
        #[command(flatten)]
        json: Json,
    },
    /// Show the versions of a patchset: whether each applies, also at the tip, its patches, and why they are one series
    #[command(after_help = "Example:\n  patchpost series show 12 --json")]
    Show {
        /// The patchset's number
        patchset: i64,
        /// How to print
        #[command(flatten)]
        json: Json,
    },
    /// Show what changed between two versions, as git range-diff does
    #[command(after_help = "Example:\n  patchpost series range-diff 12 v1 v2")]
    RangeDiff {
        /// The patchset's number
        patchset: i64,
        /// The old version
        old: String,
        /// The new version
        new: String,
        /// How to print
        #[command(flatten)]
        json: Json,
    },
    /// Print the patches of a version as an mbox for git am, with the trailers that replies gave folded in
    #[command(
        after_help = "Examples:\n  patchpost series mbox 12 | git am -3\n  patchpost series mbox 12 --signoff 'Ana Lima <ana@example.org>' --link | git am -3"
    )]
    Mbox(SeriesMbox),
    /// Apply a version to the tip of a branch with the trailers that replies gave, show the commits, and push them
    #[command(
        after_help = "Examples:\n  patchpost series apply 12 --dry-run\n  patchpost series apply 12 --signoff 'Ana Lima <ana@example.org>'"
    )]
    Apply(SeriesApply),
    /// Say that a patch or cover belongs to the series that holds another mail
    #[command(
        after_help = "Example:\n  patchpost series move late@example.org --to cover@example.org"
    )]
    Move {
        /// Message-ID of the patch or cover
        mail: String,
        /// Message-ID of any mail of the series that it belongs to
        #[arg(long, value_name = "MAIL")]
        to: String,
        /// Where
        #[command(flatten)]
        place: Place,
    },
    /// Say that these patches are a series and a patchset of their own
    #[command(after_help = "Example:\n  patchpost series split p1@example.org p2@example.org")]
    Split {
        /// Message-IDs
        #[arg(required = true)]
        mails: Vec<String>,
        /// Where
        #[command(flatten)]
        place: Place,
    },
    /// Say that two patchsets are one
    #[command(
        after_help = "Examples:\n  patchpost series merge 12 15\n  patchpost series merge v1@example.org v2@example.org"
    )]
    Merge {
        /// A patchset's number, or the Message-ID of any of its mails
        one: String,
        /// Another one
        other: String,
        /// Where
        #[command(flatten)]
        place: Place,
    },
    /// Say that a mail does not answer another, nor what stands above that
    #[command(
        after_help = "Example:\n  patchpost series cut new@example.org --from old@example.org"
    )]
    Cut {
        /// Message-ID of the mail that answers
        mail: String,
        /// Message-ID of the mail that it does not belong under [default: the nearest above it]
        #[arg(long, value_name = "MAIL")]
        from: Option<String>,
        /// Where
        #[command(flatten)]
        place: Place,
    },
    /// Say which version a series is
    #[command(after_help = "Example:\n  patchpost series version 12 3")]
    Version {
        /// A patchset's number (its newest version is meant), or the Message-ID of any mail of a series
        series: String,
        /// 3, or 5.1
        version: String,
        /// Where
        #[command(flatten)]
        place: Place,
    },
    /// Set the state of a series, or of one of its patches; no rule changes it afterwards
    #[command(
        after_help = "Examples:\n  patchpost series state 12 accepted\n  patchpost series state p1@example.org changes-requested\n  patchpost series state 12 rejected --patch 3"
    )]
    State {
        /// A patchset's number (its newest version is meant), or the Message-ID of any mail of a series
        series: String,
        /// The state
        #[arg(value_enum)]
        state: State,
        /// Of this patch alone, by its number in the series; `auto` lets it have the series' state again
        #[arg(long, value_name = "NUMBER")]
        patch: Option<i64>,
        /// Which version of the patchset, such as 2 or 3-r1 [default: the newest]
        #[arg(long, value_name = "LABEL")]
        version: Option<String>,
        /// Where
        #[command(flatten)]
        place: Place,
    },
}

/// Where a mail is looked for.
#[derive(Debug, Args)]
pub struct Place {
    /// The list that has the mail [default: all]
    #[arg(long)]
    pub list: Option<String>,
}

/// A state that a person sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// As the rules say, of a patch as its series: takes back what a person set
    Auto = 0,
    /// Nobody has looked
    New = 1,
    /// Somebody looks
    UnderReview = 2,
    /// Taken
    Accepted = 3,
    /// Not taken
    Rejected = 4,
    /// Sent for comments only
    Rfc = 5,
    /// Not for this project
    NotApplicable = 6,
    /// Wanted in another form
    ChangesRequested = 7,
    /// Goes in elsewhere first
    AwaitingUpstream = 8,
    /// Another version stands in its place
    Superseded = 9,
    /// Not now
    Deferred = 10,
}
