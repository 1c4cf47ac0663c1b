//! `import`, `export`.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::Digest;

use super::args::{self, ExportFormat, Format};
use super::output::count;
use crate::archive::{self, EpochCommit};
use crate::git::{Change, Epoch, write_epoch};
use crate::mail::{self, mbox};
use crate::pipeline::{Ctx, Import};
use crate::store::ListRow;
use crate::types::{MailId, Timestamp};
use crate::worker;

/// `patchpost import`
pub async fn import(ctx: &Ctx, wish: args::Import) -> Result<()> {
    let list = super::find_list(ctx, &wish.list).await?;
    let path = wish
        .path
        .canonicalize()
        .with_context(|| format!("there is nothing at {}", wish.path.display()))?;
    let format = match wish.format {
        Some(format) => format,
        None => detect(&path)?,
    };
    let mut import = Import::new(ctx, list.clone());
    match format {
        Format::Mbox => import_mbox(ctx, &list, &path, &mut import).await?,
        Format::Maildir => import_maildir(&path, &mut import).await?,
        Format::PublicInbox => import_epoch(ctx, &list, &path, &mut import).await?,
    }
    import.finish().await?;
    let done = import.done;
    // What an earlier import left, and what could not be filed in company.
    worker::drain(ctx, &["file"]).await?;
    println!(
        "{} read: {} new, {} known already",
        count(done.read, "mail"),
        done.new,
        done.known
    );
    if done.removed > 0 {
        println!(
            "{} removed here before and left out",
            count(done.removed, "mail")
        );
    }
    Ok(())
}

fn detect(path: &Path) -> Result<Format> {
    if path.is_dir() {
        if path.join("cur").is_dir() || path.join("new").is_dir() {
            return Ok(Format::Maildir);
        }
        if path.join("objects").is_dir() || path.join(".git").is_dir() {
            return Ok(Format::PublicInbox);
        }
        bail!(
            "{} is neither a Maildir nor a bare git repository; say which with --format",
            path.display()
        );
    }
    let mut head = [0u8; 16];
    let length = File::open(path)?.read(&mut head)?;
    match &head[..length] {
        [] => bail!("{} is empty: there is no mail in it", path.display()),
        h if h.starts_with(b"# v2 git bundle") || h.starts_with(b"# v3 git bundle") => {
            Ok(Format::PublicInbox)
        }
        h if h.starts_with(b"From ") => Ok(Format::Mbox),
        _ => bail!(
            "{} is neither an mbox nor a git bundle; say what it is with --format",
            path.display()
        ),
    }
}

pub(super) fn progress(length: u64, unit: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    let template = format!("{{bar:40}} {{pos}}/{{len}} {unit}, {{elapsed}} so far, {{eta}} to go");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar
}

async fn import_mbox(
    ctx: &Ctx,
    list: &ListRow,
    path: &Path,
    import: &mut Import<'_>,
) -> Result<()> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let source = format!("mbox:{}", path.display());
    let known = ctx.store.find_import(list.id, &source).await?;
    let start = match known {
        Some(known) => place_in(&file, &known)?.unwrap_or_else(|| {
            eprintln!(
                "{} is another file than before, or was changed: it is read from its start",
                path.display()
            );
            0
        }),
        None => 0,
    };
    let marks = file.try_clone()?;
    file.seek(SeekFrom::Start(start))?;
    let bar = progress(length, "bytes");
    let mut reader = mbox::Reader::new(BufReader::with_capacity(1 << 20, file));
    let mut count = 0u64;
    loop {
        let before = reader.position;
        let Some(bytes) = reader.next_mail()? else {
            break;
        };
        import.add(bytes, None).await?;
        count += 1;
        if count.is_multiple_of(1_000) {
            import.flush().await?;
            let place = name_place(&marks, start + before)?;
            ctx.note_import(list.id, source.clone(), place).await?;
        }
        bar.set_position(start + reader.position);
    }
    import.flush().await?;
    bar.finish_and_clear();
    Ok(())
}

/// So much of an mbox's beginning, and of what stands before a place, says that it is the same file still.
const LOOKED_AT: u64 = 64 << 10;

/// A place in a file, with what is before it: `OFFSET HASH`.
fn name_place(file: &File, offset: u64) -> std::io::Result<String> {
    let mut hash = sha2::Sha256::new();
    for from in [0, offset.saturating_sub(LOOKED_AT)] {
        let mut piece = vec![0; usize::try_from(LOOKED_AT.min(offset)).unwrap_or(0)];
        file.read_exact_at(&mut piece, from)?;
        hash.update(&piece);
    }
    let hash = data_encoding::HEXLOWER.encode(&hash.finalize());
    Ok(format!("{offset} {hash}"))
}

/// Where the last run came to, if the file holds there what it held then: mail appended since is behind it. `None`: the
/// file shrank, or was replaced, as when a log of mail is rotated.
fn place_in(file: &File, known: &str) -> std::io::Result<Option<u64>> {
    let offset = known.split(' ').next().and_then(|o| o.parse().ok());
    let Some(offset) = offset.filter(|o: &u64| file.metadata().is_ok_and(|m| *o <= m.len())) else {
        return Ok(None);
    };
    Ok((name_place(file, offset)? == known).then_some(offset))
}

async fn import_maildir(path: &Path, import: &mut Import<'_>) -> Result<()> {
    let mut files = Vec::new();
    for folder in ["cur", "new"] {
        let Ok(entries) = std::fs::read_dir(path.join(folder)) else {
            continue;
        };
        for entry in entries {
            files.push(entry?.path());
        }
    }
    // Names begin with the time of delivery.
    files.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    let bar = progress(files.len() as u64, "mails");
    for file in files {
        if file.is_file() {
            import.add(std::fs::read(&file)?, None).await?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

async fn import_epoch(
    ctx: &Ctx,
    list: &ListRow,
    path: &Path,
    import: &mut Import<'_>,
) -> Result<()> {
    let source = format!("public-inbox:{}", path.display());
    let after = ctx.store.find_import(list.id, &source).await?;
    let scratch = ctx.store.data().join("tmp");
    std::fs::create_dir_all(&scratch)?;
    let mut epoch = Epoch::open(path, &scratch, after.as_deref())?;
    let bar = progress(epoch.remaining() as u64, "mails");
    let (mut count, mut last) = (0u64, None);
    let mut removed = 0u64;
    while let Some((commit, time, change)) = epoch.next_change()? {
        match change {
            Change::Add(bytes) => import.add(bytes, Some(time)).await?,
            Change::Remove(_) => removed += 1,
            Change::Other => {}
        }
        count += 1;
        if count.is_multiple_of(1_000) {
            import.flush().await?;
            ctx.note_import(list.id, source.clone(), commit.clone())
                .await?;
        }
        last = Some(commit);
        bar.inc(1);
    }
    import.flush().await?;
    if let Some(last) = last {
        ctx.note_import(list.id, source, last).await?;
    }
    bar.finish_and_clear();
    if removed > 0 {
        println!(
            "{removed} commits of the epoch take mails back; these mails were not taken out here"
        );
    }
    Ok(())
}

/// `patchpost export`
pub async fn export(ctx: &Ctx, wish: args::Export) -> Result<()> {
    let list = super::find_list(ctx, &wish.list).await?;
    if wish.path.exists() {
        bail!(
            "{} exists already; choose another name or remove it",
            wish.path.display()
        );
    }
    let written = match wish.format {
        ExportFormat::Mbox => export_mbox(ctx, &list, &wish.path).await?,
        ExportFormat::PublicInbox => export_epoch(ctx, &list, &wish.path).await?,
    };
    let written = count(written, "mail");
    println!("{written} written to {}", wish.path.display());
    Ok(())
}

/// All mails of a list. Of several with one Message-ID the best authenticated comes first, as tools take the first they
/// meet; the others stand at the end, so that nothing is lost by moving an archive this way.
async fn export_mbox(ctx: &Ctx, list: &ListRow, path: &Path) -> Result<u64> {
    let mut out = std::io::BufWriter::new(File::create(path)?);
    let mut count = 0;
    let mut after = 0;
    let mut others = Vec::new();
    loop {
        let postings = ctx.store.load_postings(list.id, after, 200).await?;
        let Some(last) = postings.last() else { break };
        after = last.0;
        let mails: Vec<MailId> = postings.iter().map(|p| p.1).collect();
        let shadowed = ctx.store.find_shadowed(Some(list.id), &mails).await?;
        let (last, first): (Vec<MailId>, Vec<MailId>) =
            mails.into_iter().partition(|m| shadowed.contains(m));
        for mail in first {
            mbox::write(&mut out, &super::bytes_of(ctx, mail).await?)?;
            count += 1;
        }
        others.extend(last);
    }
    for mail in others {
        mbox::write(&mut out, &super::bytes_of(ctx, mail).await?)?;
        count += 1;
    }
    out.flush()?;
    out.get_ref().sync_all()?;
    Ok(count)
}

async fn export_epoch(ctx: &Ctx, list: &ListRow, path: &Path) -> Result<u64> {
    let (send, receive) = std::sync::mpsc::sync_channel::<EpochCommit>(64);
    let (owned, name, address) = (path.to_owned(), list.name.clone(), list.address.clone());
    let writer = tokio::task::spawn_blocking(move || {
        write_epoch(&owned, |out| {
            let mut any = false;
            for commit in receive {
                archive::write_commit(out, &commit, &name, &address)?;
                any = true;
            }
            if any {
                out.write_all(b"done\n")
            } else {
                out.write_all(b"reset refs/heads/master\ndone\n")
            }
        })
    });
    let (mut count, mut after) = (0, 0);
    'all: loop {
        let postings = ctx.store.load_postings(list.id, after, 200).await?;
        let Some(last) = postings.last() else { break };
        after = last.0;
        for (_, mail, arrived) in postings {
            let bytes = super::bytes_of(ctx, mail).await?;
            let commit = EpochCommit::new(mail::parse(&bytes), bytes, Timestamp(arrived));
            if send.send(commit).is_err() {
                break 'all;
            }
            count += 1;
        }
    }
    drop(send);
    writer.await??;
    Ok(count)
}
