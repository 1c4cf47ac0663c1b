//! A series of mails → commits in a repository: all of it or nothing.
//!
//! The work is done in memory (`series`); what it made reaches the repository as one pack, and then the refs are set together.

use std::path::{Path, PathBuf};

use gix::ObjectId;
use gix::objs::Kind;

use super::objects::Objects;
use super::refs::{self, From, Wish};
use super::series::{Committer, Done, Failure, Fallback, apply_mails};
use super::{Base, GitError, Repos, pack, run, upkeep};

/// A series to be applied.
#[derive(Debug, Clone)]
pub struct Request {
    /// The repository's name.
    pub repo: String,
    /// Its realm's companion: `None` for the public one.
    pub private_realm: Option<i64>,
    /// `refs/patches/12/v2`: never moves once it is there.
    pub ref_name: String,
    /// `refs/patches/12/head`, if this is the newest version.
    pub head: Option<String>,
    /// Where to begin.
    pub base: Base,
    /// The mails' stored bytes, in order.
    pub mails: Vec<Vec<u8>>,
    /// Name and address of the list, and the arrival of the last patch, so that a second run makes the same commits.
    pub committer: Committer,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All patches are commits, and the ref points to the last.
    Applied {
        /// One id a patch; a patch whose change was there already has the id before it.
        commits: Vec<String>,
        /// The tree of the last.
        tree: String,
    },
    /// A patch does not fit; nothing was made.
    Conflict(Conflict),
    /// A mail is no patch that could be used.
    Bad {
        /// Which, from 1.
        patch: usize,
        /// Why.
        reason: String,
    },
}

/// Where a series stops to fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Which patch, from 1.
    pub patch: usize,
    /// The file.
    pub file: String,
    /// The hunk within the file's part of the patch, from 1; 0 if the whole file is in the way.
    pub hunk: i64,
    /// In words.
    pub detail: String,
}

/// Mails for any repository, as `patchpost am` takes them.
#[derive(Debug, Clone)]
pub struct AmRequest {
    /// A repository: bare, or one whose git folder is `.git`.
    pub repo: PathBuf,
    /// A revision of it.
    pub base: String,
    /// A full ref name that is made, or moved from the base.
    pub ref_name: Option<String>,
    /// What happens to a patch that does not fit.
    pub fallback: Fallback,
    /// The mails, in order.
    pub mails: Vec<Vec<u8>>,
    /// Who commits; `None`: as git says in that repository, by the environment and the configuration of whoever runs this.
    pub committer: Option<Committer>,
    /// Whether the committer's date is the author's.
    pub with_author_date: bool,
}

impl Repos {
    /// Applies a series and publishes its ref. Repeating it is harmless: the same commits come out.
    ///
    /// [`GitError::Published`] if the ref is there and the series makes another commit on this base.
    pub fn apply(&self, request: &Request) -> Result<Outcome, GitError> {
        let companion = self.companion_of(request)?;
        let base = parse_id(&request.base.commit)?;
        let _held = upkeep::share(&companion)?;
        let mut objects = Objects::open_beside(&companion, &self.clone_dir(&request.repo))?;
        let done = apply_mails(
            &mut objects,
            base,
            &request.mails,
            &request.committer,
            Fallback::ThreeWay,
        )?;
        publish(&companion, &objects, done, |head| {
            let own = Wish {
                name: &request.ref_name,
                to: head,
                from: From::Only(None),
            };
            let newest = request.head.as_deref().map(|name| Wish {
                name,
                to: head,
                from: From::Anything,
            });
            [Some(own), newest].into_iter().flatten().collect()
        })
    }

    /// What applying would come to; nothing of it is kept.
    pub fn try_apply(&self, request: &Request) -> Result<Outcome, GitError> {
        let companion = self.companion_of(request)?;
        let base = parse_id(&request.base.commit)?;
        let _held = upkeep::share(&companion)?;
        let mut objects = Objects::open_beside(&companion, &self.clone_dir(&request.repo))?;
        let (mails, committer) = (&request.mails, &request.committer);
        let done = apply_mails(&mut objects, base, mails, committer, Fallback::ThreeWay)?;
        Ok(done.map_or_else(refused, applied))
    }

    fn companion_of(&self, request: &Request) -> Result<PathBuf, GitError> {
        let companion = match request.private_realm {
            None => self.companion_dir(&request.repo),
            Some(realm) => self.private_dir(&request.repo, realm),
        };
        self.make_companion(&request.repo, &companion)?;
        Ok(companion)
    }

    /// The commit on which a published series begins, if each of its patches made a commit.
    pub fn find_published_base(&self, request: &Request) -> Result<Option<String>, GitError> {
        let name = format!("{}~{}", request.ref_name, request.mails.len());
        self.find_patch_ref(&request.repo, request.private_realm, &name)
    }

    /// The commit a companion's ref points to.
    pub fn find_patch_ref(
        &self,
        repo: &str,
        realm: Option<i64>,
        name: &str,
    ) -> Result<Option<String>, GitError> {
        let dir = realm.map_or_else(
            || self.companion_dir(repo),
            |realm| self.private_dir(repo, realm),
        );
        if !dir.exists() {
            return Ok(None);
        }
        let out = run::output(
            run::git(&dir).args(["rev-parse", "--verify", "--quiet", name]),
            &dir,
            None,
        )?;
        Ok(out.status.success().then(|| run::line(&out.stdout)))
    }
}

/// Applies mails to a repository as `git am` would in a checkout of the base, which is not needed here.
///
/// The repository gets objects, and the ref if one is named; it stays as it is if a patch does not fit.
pub fn am(request: &AmRequest) -> Result<Outcome, GitError> {
    let (repo, base, objects, done) = work_out(request)?;
    publish(&repo, &objects, done, |head| wishes(request, base, head))
}

/// What [`am`] would come to; the repository stays as it is.
pub fn try_am(request: &AmRequest) -> Result<Outcome, GitError> {
    let (repo, base, _, done) = work_out(request)?;
    if let Ok(Done { commits, .. }) = &done
        && let Some(head) = commits.last()
    {
        refs::check(&repo, &wishes(request, base, *head))?;
    }
    Ok(done.map_or_else(refused, applied))
}

/// The ref that is named, if one is.
fn wishes(request: &AmRequest, base: ObjectId, head: ObjectId) -> Vec<Wish<'_>> {
    let wish = request.ref_name.as_deref().map(|name| Wish {
        name,
        to: head,
        from: From::Only(Some(base)),
    });
    wish.into_iter().collect()
}

type Worked = (PathBuf, ObjectId, Objects, Result<Done, Failure>);

fn work_out(request: &AmRequest) -> Result<Worked, GitError> {
    let repo = git_folder(&request.repo)?;
    let mut objects = Objects::open(&repo)?;
    let base = find_base(&repo, &objects, &request.base)?;
    let committer = match &request.committer {
        Some(committer) => committer.clone(),
        None => run::committer(&repo)?,
    };
    let committer = Committer {
        with_author_date: request.with_author_date,
        ..committer
    };
    let (mails, fallback) = (&request.mails, request.fallback);
    let done = apply_mails(&mut objects, base, mails, &committer, fallback)?;
    Ok((repo, base, objects, done))
}

/// The commit that a revision names; a full id is looked up here, all else by git.
fn find_base(repo: &Path, objects: &Objects, revision: &str) -> Result<ObjectId, GitError> {
    if let Ok(id) = ObjectId::from_hex(revision.as_bytes())
        && objects
            .find(&id)?
            .is_some_and(|(kind, _)| kind == Kind::Commit)
    {
        return Ok(id);
    }
    let wanted = format!("{revision}^{{commit}}");
    let mut command = run::git(repo);
    command.args([
        "rev-parse",
        "--verify",
        "--quiet",
        "--end-of-options",
        &wanted,
    ]);
    let found = run::output(&mut command, repo, None)?;
    if !found.status.success() {
        let repo = repo.display();
        return Err(GitError::Refused(format!(
            "there is no commit {revision} in {repo}"
        )));
    }
    parse_id(&run::line(&found.stdout))
}

fn git_folder(path: &Path) -> Result<PathBuf, GitError> {
    let inner = path.join(".git");
    let found = [path, &inner]
        .into_iter()
        .find(|p| p.join("objects").is_dir() && p.join("HEAD").is_file());
    let found = found.and_then(|p| p.canonicalize().ok());
    found.ok_or_else(|| GitError::Refused(format!("there is no repository at {}", path.display())))
}

pub(super) fn parse_id(hex: &str) -> Result<ObjectId, GitError> {
    ObjectId::from_hex(hex.as_bytes()).map_err(|_| {
        GitError::Refused(match hex.len() {
            64 => {
                "the repository has SHA-256 ids, which are not supported: only SHA-1 is".to_owned()
            }
            _ => format!("{hex} is no id of an object in a repository with SHA-1 ids"),
        })
    })
}

fn applied(done: Done) -> Outcome {
    Outcome::Applied {
        commits: done.commits.iter().map(ToString::to_string).collect(),
        tree: done.tree.to_string(),
    }
}

fn refused(failure: Failure) -> Outcome {
    match failure {
        Failure::Conflict(conflict) => Outcome::Conflict(conflict),
        Failure::Bad { patch, reason } => Outcome::Bad { patch, reason },
    }
}

/// The new objects as one flushed pack, then the refs.
fn publish<'a>(
    repo: &Path,
    objects: &Objects,
    done: Result<Done, Failure>,
    wishes: impl FnOnce(ObjectId) -> Vec<Wish<'a>>,
) -> Result<Outcome, GitError> {
    let done = match done {
        Ok(done) => done,
        Err(failure) => return Ok(refused(failure)),
    };
    let Some(head) = done.commits.last() else {
        let reason = "there is no mail".to_owned();
        return Ok(Outcome::Bad { patch: 1, reason });
    };
    let wishes = wishes(*head);
    // What is refused leaves no object behind.
    refs::check(repo, &wishes)?;
    pack::write(objects, repo)?;
    refs::set(repo, &wishes)?;
    Ok(applied(done))
}
