//! Options of commands that bring patches into the project, and of what is looked at to see that they came in.

use clap::Args;

use super::Json;

/// `series apply`
#[derive(Debug, Args)]
pub struct SeriesApply {
    /// The patchset's number
    pub patchset: i64,
    /// Which version, such as 2 or 3-r1 [default: the newest]
    #[arg(long, value_name = "LABEL")]
    pub version: Option<String>,
    /// Repository of the list to land it in [default: the one that it is for]
    #[arg(long, value_name = "NAME")]
    pub repo: Option<String>,
    /// Branch to land it on [default: the repository's main one]
    #[arg(long)]
    pub branch: Option<String>,
    /// Add a Signed-off-by as the last trailer
    #[arg(long, value_name = "NAME <ADDRESS>")]
    pub signoff: Option<String>,
    /// Show what would be pushed, and push nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How to print
    #[command(flatten)]
    pub json: Json,
}

/// `repo set`
#[derive(Debug, Args)]
pub struct RepoSet {
    /// The repository
    pub name: String,
    /// Branches to look at beside the main one for patches that came in, as a name or a pattern; may be repeated
    #[arg(long, value_name = "BRANCH", required_unless_present = "no_follow")]
    pub follow: Vec<String>,
    /// Look at the main branch only
    #[arg(long, conflicts_with = "follow")]
    pub no_follow: bool,
}
