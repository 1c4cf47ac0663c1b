//! `backup` and `restore`: the whole data folder as one file, written while the server runs.
//!
//! The file is a zstd-compressed tar. First a line that says when it was made, then the database, as one consistent snapshot; repositories are copied after it, refs
//! before objects. As objects are written before the refs and rows that name them, and nothing is pruned, everything that
//! the snapshot names is there.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::output::count;
use crate::pipeline::Ctx;
use crate::store::{Dialect, Store};
use crate::types::Timestamp;
use crate::worker;

/// Level of compression: mails and packs are compressed already.
const LEVEL: i32 = 1;
/// Looks at a repository until nothing new is in it: a repack may put a new pack in the place of copied ones.
const MAX_LOOKS: usize = 20;
/// Database, repositories, keys that sign, and settings; locks and copies to send are no part of a backup.
const DATABASE: &str = "patchpost.db";
const REPOS: &str = "repos";
const KEYS: &str = "dkim";
const SETTINGS: &str = "patchpost.toml";
/// A line that says when and by which version a backup was made; it comes first, and is taken out of the folder that is filled.
const NOTE: &str = "patchpost-backup.txt";

/// `patchpost backup FILE`
pub async fn backup(ctx: &Ctx, file: &Path) -> Result<()> {
    if ctx.store.dialect() == Dialect::Postgres {
        bail!(
            "the database is PostgreSQL: save it with pg_dump first, then copy {}",
            ctx.store.data().join(REPOS).display()
        );
    }
    if file.exists() {
        bail!("{} exists already; choose another name", file.display());
    }
    let scratch = Scratch::new(file)?;
    // The moment of which it is at least: what comes in while it is written may be in it.
    let began = crate::store::now();
    let database = scratch.0.join(DATABASE);
    ctx.store
        .write_snapshot(&database)
        .await
        .context("cannot copy the database")?;
    let data = ctx.store.data().to_owned();
    let target = file.to_owned();
    let size = tokio::task::spawn_blocking(move || -> Result<u64> {
        let draft = scratch.0.join("draft");
        pack(&draft, &note(began), &database, &data).context("cannot write the backup")?;
        fs::rename(&draft, &target)?;
        // The name too must survive a power cut.
        File::open(
            target
                .parent()
                .filter(|f| !f.as_os_str().is_empty())
                .unwrap_or(Path::new(".")),
        )?
        .sync_all()?;
        Ok(fs::metadata(&target)?.len())
    })
    .await??;
    ctx.note_backup(crate::store::now()).await?;
    println!("{}: {} MB", file.display(), size.div_ceil(1_000_000));
    Ok(())
}

/// What is said of a backup in it.
fn note(began: Timestamp) -> String {
    format!(
        "made {} by patchpost {}",
        began.human(),
        env!("CARGO_PKG_VERSION")
    )
}

/// What a backup says of itself; what older ones do not say is told by the age of the database in them.
fn told_of(data: &Path) -> Result<String> {
    let path = data.join(NOTE);
    match fs::read_to_string(&path) {
        Ok(text) => {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            let plain = |c: &char| !c.is_control();
            Ok(text.chars().filter(plain).take(200).collect())
        }
        Err(_) => {
            let made = fs::metadata(data.join(DATABASE))?.mtime();
            let made = Timestamp::from_secs(made).human();
            Ok(format!(
                "made {made} by a patchpost that did not say its version"
            ))
        }
    }
}

/// `patchpost restore FILE`: into a data folder that is empty or not there. Says when the backup was made.
pub fn restore(data: &Path, file: &Path) -> Result<()> {
    if data.join(DATABASE).exists() || data.join(REPOS).exists() {
        bail!(
            "{} holds data already; restore into a new folder with --data",
            data.display()
        );
    }
    make_folder(data)?;
    let _folder = Store::lock_for_serving(data)?;
    let source = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let unpacked = zstd::Decoder::new(BufReader::new(source)).and_then(|text| {
        let mut archive = tar::Archive::new(text);
        archive.set_preserve_permissions(false);
        archive.unpack(data)
    });
    unpacked.with_context(|| {
        format!(
            "{} is no backup of patchpost, or is cut off",
            file.display()
        )
    })?;
    if !data.join(DATABASE).exists() {
        bail!(
            "{} holds no database: it is no backup of patchpost",
            file.display()
        );
    }
    println!("{}: {}", file.display(), told_of(data)?);
    Ok(())
}

/// The folder to fill; where this user may not make it, how root does.
fn make_folder(data: &Path) -> Result<()> {
    fs::create_dir_all(data).map_err(|error| anyhow::anyhow!(cannot_make(data, &error)))
}

fn cannot_make(data: &Path, error: &io::Error) -> String {
    let said = format!("cannot make {}: {error}", data.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "{said}; as root: {}; then give this command again",
            install(data)
        ),
        _ => said,
    }
}

/// How root makes a folder for the user that runs this.
fn install(folder: &Path) -> String {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    format!(
        "install --directory --owner={} --group={} --mode=750 {}",
        user.as_raw(),
        group.as_raw(),
        super::hint::shell_word(folder)
    )
}

/// What was taken and not filed yet is filed now. What was owed when the backup was made is held, and work that would owe more is parked:
/// all of it may have gone out since.
pub async fn settle(ctx: &Ctx) -> Result<()> {
    ctx.store.free_claims().await?;
    worker::drain(ctx, &["file"]).await?;
    let (held, parked) = ctx.store.hold_restored(crate::store::now()).await?;
    let folder = super::hint::shell_word(ctx.store.data());
    let config = super::hint::config_option();
    let patchpost = format!("{}patchpost", super::owner::prefix(ctx.store.data()));
    println!("restored into {folder}; check it with\n  {patchpost} doctor --data {folder}{config}");
    if held > 0 {
        println!(
            "{} that {} owed when the backup was made {} held, as {} may have gone out since; look at them with\n  \
             {patchpost} queue ls --data {folder}{config}\nand let them go with `{patchpost} queue retry --data {folder}{config}`, or not with queue drop",
            count(held, "mail"),
            if held == 1 { "was" } else { "were" },
            if held == 1 { "is" } else { "are" },
            if held == 1 { "it" } else { "they" },
        );
    }
    if parked > 0 {
        println!(
            "{} that would send more mail {} parked for the same reason; \
             `{patchpost} jobs --retry --data {folder}{config}` does all of it",
            count(parked, "job"),
            if parked == 1 { "is" } else { "are" },
        );
    }
    if rustix::process::geteuid().is_root() {
        println!(
            "all of it belongs to root now: give it to the user that runs the server, such as by\n  chown -R patchpost: {folder}"
        );
    }
    Ok(())
}

/// A folder that goes away with its owner.
struct Scratch(PathBuf);

impl Scratch {
    /// Beside the file to be made: renaming does not cross file systems.
    fn new(file: &Path) -> Result<Scratch> {
        let mut name = file.as_os_str().to_owned();
        name.push(".unfinished");
        let path = PathBuf::from(name);
        // What an earlier try left behind when it was killed.
        if path.exists() {
            fs::remove_dir_all(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
        let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
        match (fs::create_dir(&path), folder) {
            (Err(error), Some(folder)) if error.kind() == io::ErrorKind::NotFound => bail!(
                "there is no folder {}; make it first, as root: {}",
                folder.display(),
                install(folder)
            ),
            (made, _) => made.with_context(|| format!("cannot make {}", path.display()))?,
        }
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A left-over folder says by its name what it is.
        let _left = fs::remove_dir_all(&self.0);
    }
}

fn pack(file: &Path, note: &str, database: &Path, data: &Path) -> Result<()> {
    // It holds what the settings hold, passwords too.
    let made = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    let out = zstd::Encoder::new(BufWriter::new(made), LEVEL)?;
    let mut archive = tar::Builder::new(out);
    archive.follow_symlinks(false);
    let mut header = tar::Header::new_gnu();
    header.set_size(note.len() as u64);
    header.set_mode(0o600);
    archive.append_data(&mut header, NOTE, note.as_bytes())?;
    archive.append_path_with_name(database, DATABASE)?;
    let settings = data.join(SETTINGS);
    if settings.exists() {
        archive.append_path_with_name(&settings, SETTINGS)?;
    }
    let keys = data.join(KEYS);
    if keys.is_dir() {
        for path in walk(&keys)? {
            archive.append_path_with_name(&path, path.strip_prefix(data)?)?;
        }
    }
    let repos = data.join(REPOS);
    if repos.is_dir() {
        for repo in sorted(&repos)? {
            append_repo(&mut archive, data, &repo)?;
        }
    }
    let out = archive.into_inner()?.finish()?;
    out.into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()?;
    Ok(())
}

/// Loose refs first, then packed ones (a ref may move from there to here meanwhile), then all else until nothing is new.
fn append_repo<W: io::Write>(
    archive: &mut tar::Builder<W>,
    data: &Path,
    repo: &Path,
) -> Result<()> {
    let mut taken = BTreeSet::new();
    let mut take = |archive: &mut tar::Builder<W>, path: &Path| -> Result<bool> {
        if !taken.insert(path.to_owned()) {
            return Ok(false);
        }
        let name = path.strip_prefix(data)?;
        match archive.append_path_with_name(path, name) {
            // Gone since it was listed: a packed ref, a replaced pack.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            other => Ok(other.map(|()| true)?),
        }
    };
    for path in walk(&repo.join("refs"))? {
        take(archive, &path)?;
    }
    if repo.join("packed-refs").exists() {
        take(archive, &repo.join("packed-refs"))?;
    }
    for _ in 0..MAX_LOOKS {
        let mut any = false;
        for path in walk(repo)? {
            let is_object = path.starts_with(repo.join("objects"));
            any |= take(archive, &path)? && is_object;
        }
        if !any {
            return Ok(());
        }
    }
    bail!(
        "{} kept changing; try again when less is going on",
        repo.display()
    )
}

/// Folders and files below and with `folder`, a folder before what is in it; without scratch folders.
fn walk(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        let name = next.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("apply-") || name.ends_with(".lock") {
            continue;
        }
        if next.is_dir() {
            open.extend(sorted(&next)?);
        }
        all.push(next);
    }
    Ok(all)
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?
    {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_into_a_folder_that_only_root_can_make_says_how() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let said = cannot_make(Path::new("/var/lib/patchpost-new"), &denied);
        assert!(
            said.contains("; as root: install --directory --owner="),
            "{said}"
        );
        assert!(
            said.contains(" --mode=750 /var/lib/patchpost-new; "),
            "{said}"
        );
    }

    #[test]
    fn a_backup_into_a_folder_that_is_not_there_says_how_to_make_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let Err(error) = Scratch::new(&folder.path().join("absent/a.tar.zst")) else {
            panic!("it was made");
        };
        let said = error.to_string();
        assert!(said.contains("there is no folder "), "{said}");
        assert!(said.contains("install --directory --owner="), "{said}");
        assert!(said.ends_with("/absent"), "{said}");
    }
}
