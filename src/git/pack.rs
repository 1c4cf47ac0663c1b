//! One series' objects as one pack with its index, flushed (gitformat-pack(5): pack version 2, index version 2).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use gix::ObjectId;
use gix::objs::Kind;

use super::GitError;
use super::objects::Objects;

/// Where an object stands in the pack.
struct Placed {
    id: ObjectId,
    crc: u32,
    offset: u32,
}

/// Writes what `objects` has made into the repository whose git folder is `repo`: nothing, if all of it is there already.
///
/// When it returns, pack, index and folder are on disk.
pub(super) fn write(objects: &Objects, repo: &Path) -> Result<(), GitError> {
    let (pack, mut index) = encode(objects)?;
    if index.is_empty() {
        return Ok(());
    }
    let failed = |source| GitError::Start {
        repo: repo.to_owned(),
        source,
    };
    let folder = repo.join("objects/pack");
    let trailer = &pack[pack.len() - 20..];
    let name = format!("pack-{}", data_encoding::HEXLOWER.encode(trailer));
    index.sort_by_key(|p| p.id);
    let index = encode_index(&index, trailer)?;
    let save = || {
        fs::create_dir_all(&folder)?;
        // The index comes last: a pack without one does not exist for git.
        save(&folder, &format!("{name}.pack"), &pack)?;
        save(&folder, &format!("{name}.idx"), &index)?;
        File::open(&folder)?.sync_all()
    };
    save().map_err(failed)
}

fn save(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut random = [0u8; 8];
    // Without random numbers the process id alone keeps names apart.
    let _name_only = getrandom::fill(&mut random);
    // git removes left-over files of this name when it prunes.
    let unfinished = format!(
        "tmp_{name}_{}_{}",
        std::process::id(),
        data_encoding::HEXLOWER.encode(&random)
    );
    let path = folder.join(unfinished);
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o444)
        .open(&path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let done = written.and_then(|()| fs::rename(&path, folder.join(name)));
    if done.is_err() {
        // The error that counts is the one above.
        let _left = fs::remove_file(&path);
    }
    done
}

fn hash(bytes: &[u8]) -> Result<ObjectId, GitError> {
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(bytes);
    hasher
        .try_finalize()
        .map_err(|e| GitError::Refused(e.to_string()))
}

fn encode(objects: &Objects) -> Result<(Vec<u8>, Vec<Placed>), GitError> {
    let mut pack = b"PACK\0\0\0\x02\0\0\0\0".to_vec();
    let mut index = Vec::new();
    for (id, kind, data) in objects.unpublished() {
        let start = pack.len();
        let offset = u32::try_from(start)
            .map_err(|_| GitError::Refused("a series may not fill 4 GiB".into()))?;
        write_head(&mut pack, kind, data.len());
        // Level 1: these objects are read a few times, and repacking makes them small.
        let mut zlib = flate2::write::ZlibEncoder::new(&mut pack, flate2::Compression::new(1));
        let done = zlib.write_all(data).and_then(|()| zlib.finish().map(drop));
        done.expect("a vector takes all bytes");
        let mut crc = flate2::Crc::new();
        crc.update(&pack[start..]);
        index.push(Placed {
            id,
            crc: crc.sum(),
            offset,
        });
    }
    let count = u32::try_from(index.len()).unwrap_or(u32::MAX);
    pack[8..12].copy_from_slice(&count.to_be_bytes());
    let trailer = hash(&pack)?;
    pack.extend_from_slice(trailer.as_bytes());
    Ok((pack, index))
}

/// Kind and size: four bits of size in the first byte, seven in each further one.
fn write_head(pack: &mut Vec<u8>, kind: Kind, size: usize) {
    let kind = match kind {
        Kind::Commit => 1u8,
        Kind::Tree => 2,
        Kind::Blob => 3,
        Kind::Tag => 4,
    };
    let low = |n: usize, mask: u8| n.to_le_bytes()[0] & mask;
    let mut byte = (kind << 4) | low(size, 0x0f);
    let mut rest = size >> 4;
    while rest > 0 {
        pack.push(byte | 0x80);
        byte = low(rest, 0x7f);
        rest >>= 7;
    }
    pack.push(byte);
}

fn encode_index(sorted: &[Placed], pack_trailer: &[u8]) -> Result<Vec<u8>, GitError> {
    let mut out = b"\xfftOc\0\0\0\x02".to_vec();
    for first in 0..=255u8 {
        let count = sorted.partition_point(|p| p.id.as_bytes()[0] <= first);
        out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
    }
    sorted
        .iter()
        .for_each(|p| out.extend_from_slice(p.id.as_bytes()));
    sorted
        .iter()
        .for_each(|p| out.extend_from_slice(&p.crc.to_be_bytes()));
    // Offsets below 2 GiB need no second table, and what a series may make is far less.
    if sorted.iter().any(|p| p.offset >> 31 != 0) {
        return Err(GitError::Refused("a series may not fill 2 GiB".into()));
    }
    sorted
        .iter()
        .for_each(|p| out.extend_from_slice(&p.offset.to_be_bytes()));
    out.extend_from_slice(pack_trailer);
    let own = hash(&out)?;
    out.extend_from_slice(own.as_bytes());
    Ok(out)
}
