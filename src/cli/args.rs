//! The command line: every command with an example in its `--help`.

mod landing;
mod member;
mod operator;
mod policy;
mod sending;
mod series;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use landing::{RepoSet, SeriesApply};
pub use member::{Member, MemberKind, MemberSet, Nodupes};
pub use operator::{Doctor, Init, Print};
pub use policy::{
    By, Held, Moderation, Outside, Own, Policy, PolicySet, Recall, Remove, Switch, Which,
};
pub use sending::{Chosen, Dkim, DmarcUnaligned, Queue, QueueState};
pub use series::{Place, Series, SeriesMbox, State};

/// An e-mail driven patch and mailing-list server in one binary.
#[derive(Debug, Parser)]
#[command(
    name = "patchpost",
    version,
    about,
    after_help = "Examples:\n  patchpost serve --demo\n  patchpost list create dev --description 'Development'"
)]
pub struct Cli {
    /// Folder with the database, repositories and copies to send
    #[arg(
        long,
        global = true,
        env = "PATCHPOST_DATA",
        default_value = "patchpost-data",
        value_name = "DIR"
    )]
    pub data: PathBuf,
    /// Configuration file [default: patchpost.toml in the data folder, if it is there]
    #[arg(long, global = true, env = "PATCHPOST_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server
    #[command(after_help = "Example:\n  patchpost serve --data /var/lib/patchpost")]
    Serve(Serve),
    /// Make, change and show lists
    #[command(
        subcommand,
        after_help = "Examples:\n  patchpost list create dev --repo tool\n  patchpost list ls --json"
    )]
    List(List),
    /// Make repositories known
    #[command(
        subcommand,
        after_help = "Examples:\n  patchpost repo add tool --clone https://git.example.org/tool.git\n  patchpost repo fetch tool"
    )]
    Repo(Repo),
    /// Who gets copies
    #[command(
        subcommand,
        after_help = "Examples:\n  patchpost member add dev ana@example.org\n  patchpost member ls dev --json"
    )]
    Member(Member),
    /// Who may write what to a list, and why
    #[command(
        subcommand,
        after_help = "Examples:\n  patchpost policy show dev\n  patchpost policy set dev --moderation all\n  patchpost policy explain dev mail.eml"
    )]
    Policy(Policy),
    /// Mail that a person looks at before it is archived
    #[command(
        subcommand,
        after_help = "Examples:\n  patchpost held ls\n  patchpost held accept 12 --person"
    )]
    Held(Held),
    /// Take posted mails back: copies that were not sent are stopped, and nothing shows them any more
    #[command(
        after_help = "Example:\n  patchpost recall 20260319140509.1-1-ana@example.org --ban\n\nWhat was recalled is held: `patchpost held accept` undoes it, `patchpost held discard` ends it."
    )]
    Recall(Recall),
    /// Delete a posted mail for ever
    #[command(
        after_help = "Examples:\n  patchpost remove 20260319140509.1-1-ana@example.org --redact --why 'names a third person'\n  patchpost remove 20260319140509.1-1-ana@example.org --purge --everywhere"
    )]
    Remove(Remove),
    /// Take an archive into a list; nobody gets a copy
    #[command(
        after_help = "Examples:\n  patchpost import dev old.mbox\n  patchpost import dev dev/git/0.git --format public-inbox"
    )]
    Import(Import),
    /// Write a list's archive
    #[command(after_help = "Example:\n  patchpost export dev dev.mbox --format mbox")]
    Export(Export),
    /// Show patch series, and correct how mails were grouped
    #[command(
        subcommand,
        after_help = "Examples:\n  patchpost series ls dev --json\n  patchpost series mbox 12 | git am\n  patchpost series state 12 accepted"
    )]
    Series(Series),
    /// Apply mails with patches to a bare repository, as git am does in a checkout
    #[command(
        after_help = "Examples:\n  patchpost am --repo tool.git --base main --ref refs/heads/topic series.mbox\n  patchpost series mbox 12 | patchpost am --repo tool.git --base v1.2 --json -\n  patchpost series mbox 12 --original | patchpost am --repo tool.git --base v1.2 --mboxrd -"
    )]
    Am(Am),
    /// Group the mails of an archive anew with today's rules
    #[command(after_help = "Example:\n  patchpost reclassify dev --dry-run")]
    Reclassify(Reclassify),
    /// Show owed work, and try parked work again
    #[command(after_help = "Examples:\n  patchpost jobs --json\n  patchpost jobs --retry")]
    Jobs(Jobs),
    /// Show what was noted about mail that was not archived: refused, dropped, or come back
    #[command(after_help = "Examples:\n  patchpost events dev\n  patchpost events --json")]
    Events(Events),
    /// Check settings, machine, DNS, certificates, mail in and out, and say how to mend what is wrong
    #[command(
        after_help = "Examples:\n  patchpost doctor\n  patchpost doctor --json\n  patchpost doctor --probe dev@lists.example.org\n\n\
        --probe sends one mail to the list's own address through the relay, waits for it to come back, and says what the relay changed and what\n\
        does not hold behind it. No member gets it. With an address elsewhere, let that forward to LIST+echo@DOMAIN, such as dev+echo@lists.example.org."
    )]
    Doctor(Doctor),
    /// Set up a site: asks what must be known, writes the settings, prints the DNS records and what is left to do
    #[command(
        after_help = "Examples:\n  patchpost init --data /var/lib/patchpost\n  patchpost init --hostname lists.example.org --operator ana@example.org --address 192.0.2.10 --postfix --list dev --yes"
    )]
    Init(Init),
    /// Print the configuration of other programs that fits this site
    #[command(
        subcommand,
        after_help = "Examples:\n  patchpost print postfix >> /etc/postfix/main.cf\n  patchpost print dns"
    )]
    Print(Print),
    /// Save the whole data folder as one file, while the server runs
    #[command(
        after_help = "Example:\n  patchpost backup /var/backups/patchpost-2026-11-25.tar.zst"
    )]
    Backup {
        /// The file, which must not exist
        file: PathBuf,
    },
    /// Fill a new data folder from a backup
    #[command(
        after_help = "Example:\n  patchpost restore patchpost-2026-11-25.tar.zst --data /var/lib/patchpost"
    )]
    Restore {
        /// What `patchpost backup` wrote
        file: PathBuf,
    },
    /// Make keys that sign the mail of a domain, and show their DNS records
    #[command(
        subcommand,
        after_help = "Examples:\n  patchpost dkim rotate lists.example.org\n  patchpost dkim show"
    )]
    Dkim(Dkim),
    /// Show and steer what is owed to members and others by mail
    #[command(
        subcommand,
        after_help = "Examples:\n  patchpost queue show\n  patchpost queue retry --to example.com"
    )]
    Queue(Queue),
    /// Print the configuration as it is in force
    #[command(after_help = "Example:\n  patchpost config > patchpost.toml")]
    Config,
    /// Print completions for a shell
    #[command(
        after_help = "Example:\n  patchpost completions bash > /etc/bash_completion.d/patchpost"
    )]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write manual pages into a folder
    #[command(after_help = "Example:\n  patchpost man /usr/local/share/man/man1")]
    Man {
        /// The folder, which is made if needed
        folder: PathBuf,
    },
}

/// `serve`
#[derive(Debug, Args)]
pub struct Serve {
    /// Make a list, a repository and a sample series to try things with
    #[arg(long)]
    pub demo: bool,
    /// Write the bound addresses as JSON into this file once everything listens
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// `jobs`
#[derive(Debug, Args)]
pub struct Jobs {
    /// Try work again that was parked after it failed too often, and ask DNS now about mails of which it said nothing
    #[arg(long)]
    pub retry: bool,
    /// How to print
    #[command(flatten)]
    pub json: Json,
}

/// `events`
#[derive(Debug, Args)]
pub struct Events {
    /// Of this list only
    pub list: Option<String>,
    /// How to print
    #[command(flatten)]
    pub json: Json,
}

/// How to print.
#[derive(Debug, Args)]
pub struct Json {
    /// One JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

/// What a list is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Style {
    /// Patches and their review
    Patch,
    /// Talk
    Discuss,
    /// Some write, everybody reads
    Announce,
    /// Reports of holes: everybody writes, only members read; implies --private
    Security,
}

impl Style {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Style::Patch => "patch",
            Style::Discuss => "discuss",
            Style::Announce => "announce",
            Style::Security => "security",
        }
    }
}

/// `list`
#[derive(Debug, Subcommand)]
pub enum List {
    /// Make a list
    #[command(
        after_help = "Example:\n  patchpost list create dev --address dev@lists.example.org --repo tool"
    )]
    Create {
        /// Name in URLs and commands
        name: String,
        /// Posting address [default: NAME@ the domain in site.domain]
        #[arg(long)]
        address: Option<String>,
        /// One line on what it is
        #[arg(long, default_value = "")]
        description: String,
        /// Repository that its patches are for; may be repeated
        #[arg(long)]
        repo: Vec<String>,
        /// What it is for
        #[arg(long, value_enum, default_value = "patch")]
        style: Style,
        /// Not public: nothing of it is shown to anybody but who may browse it (`policy set --web`)
        #[arg(long)]
        private: bool,
        /// Whose mail a person looks at first [default: what lists.moderation says]
        #[arg(long, value_enum)]
        moderation: Option<Moderation>,
    },
    /// Change a list
    #[command(
        after_help = "Example:\n  patchpost list set dev --description 'Development of tool'"
    )]
    Set {
        /// The list
        name: String,
        /// New posting address
        #[arg(long)]
        address: Option<String>,
        /// New description
        #[arg(long)]
        description: Option<String>,
        /// New repositories, replacing the present ones
        #[arg(long)]
        repo: Vec<String>,
        /// New purpose
        #[arg(long, value_enum)]
        style: Option<Style>,
        /// What to do with mail that no DKIM signature of its author's domain covers while that domain asks receivers to refuse such
        /// mail: rewrite From, pass it on as it is, or hold copies in the queue
        #[arg(long, value_enum)]
        dmarc_unaligned: Option<DmarcUnaligned>,
    },
    /// Show a list
    #[command(after_help = "Example:\n  patchpost list show dev --json")]
    Show {
        /// The list
        name: String,
        /// How to print
        #[command(flatten)]
        json: Json,
    },
    /// Show all lists
    #[command(after_help = "Example:\n  patchpost list ls")]
    Ls(Json),
    /// Delete a list; one with an archive only if told to delete that as well
    #[command(after_help = "Example:\n  patchpost list rm dev")]
    Rm {
        /// The list
        name: String,
        /// Delete its archive too, for ever
        #[arg(long)]
        purge: bool,
    },
}

/// `repo`
#[derive(Debug, Subcommand)]
pub enum Repo {
    /// Make a repository known
    #[command(
        after_help = "Examples:\n  patchpost repo add tool --clone https://git.example.org/tool.git\n  patchpost repo add notes --init"
    )]
    Add {
        /// Name in URLs and commands
        name: String,
        /// Where it comes from
        #[command(flatten)]
        source: RepoSource,
        /// Branch that series are applied to [default: the source's own]
        #[arg(long)]
        branch: Option<String>,
        /// Branch to look at too for patches that came in, such as 'stable/*'; may be repeated
        #[arg(long, value_name = "BRANCH")]
        follow: Vec<String>,
    },
    /// Change which branches of a repository are followed
    #[command(
        after_help = "Examples:\n  patchpost repo set tool --follow next --follow 'stable/*'\n  patchpost repo set tool --no-follow"
    )]
    Set(RepoSet),
    /// Show all repositories
    #[command(after_help = "Example:\n  patchpost repo ls")]
    Ls(Json),
    /// Forget a repository that no list uses, with its clone
    #[command(after_help = "Example:\n  patchpost repo rm tool")]
    Rm {
        /// The repository
        name: String,
    },
    /// Fetch from its source now
    #[command(after_help = "Example:\n  patchpost repo fetch tool")]
    Fetch {
        /// The repository
        name: String,
    },
}

/// Where a repository comes from.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct RepoSource {
    /// A repository on this machine
    #[arg(long, value_name = "DIR")]
    pub path: Option<PathBuf>,
    /// A URL
    #[arg(long, value_name = "URL")]
    pub clone: Option<String>,
    /// New and empty, here
    #[arg(long)]
    pub init: bool,
}

/// A form of archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One file of mails (mboxrd; mboxo is understood)
    Mbox,
    /// A folder with cur/ and new/
    Maildir,
    /// An epoch of a public-inbox: a bare git repository or a bundle of one
    PublicInbox,
}

/// `import`
#[derive(Debug, Args)]
pub struct Import {
    /// The list
    pub list: String,
    /// The archive
    pub path: PathBuf,
    /// Its form [default: by looking at it]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
}

/// `export`
#[derive(Debug, Args)]
pub struct Export {
    /// The list
    pub list: String,
    /// File or folder to write; it must not exist
    pub path: PathBuf,
    /// Its form
    #[arg(long, value_enum)]
    pub format: ExportFormat,
}

/// A form of archive that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// One file of mails (mboxrd)
    Mbox,
    /// An epoch of a public-inbox: a bare git repository
    PublicInbox,
}

/// `am`
#[derive(Debug, Args)]
pub struct Am {
    /// The repository; a checkout of it is not touched
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    /// Commit, tag or branch to begin at
    #[arg(long, value_name = "REV")]
    pub base: String,
    /// Merge patches that fit nowhere three-way by the blobs that they name (the default)
    #[arg(long = "3way", overrides_with = "no_three_way")]
    pub three_way: bool,
    /// Stop at a patch that fits nowhere
    #[arg(long = "no-3way", overrides_with = "three_way")]
    pub no_three_way: bool,
    /// Full name of a ref to make, or to move from the base to the last commit
    #[arg(long = "ref", value_name = "REF")]
    pub ref_name: Option<String>,
    /// The committer's date is the author's
    #[arg(long)]
    pub committer_date_is_author_date: bool,
    /// Mboxes quote lines with `From ` as mboxrd does: take one `>` off each; without it such lines stay as they are, as in git
    #[arg(long)]
    pub mboxrd: bool,
    /// Say what would come of it, and leave the repository as it is
    #[arg(long)]
    pub dry_run: bool,
    /// How to print
    #[command(flatten)]
    pub json: Json,
    /// Mails, mboxes and Maildirs in order; - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// `reclassify`
#[derive(Debug, Args)]
pub struct Reclassify {
    /// Only this list's archive
    pub list: Option<String>,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[cfg(test)]
mod tests;
