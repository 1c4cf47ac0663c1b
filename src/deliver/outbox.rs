//! Copies as files, for a machine from which nothing may leave.
//!
//! A copy is two files: `<list>-<number>-<member>.eml` (`letter-<id>.eml` for a mail of our own), the very bytes that SMTP would carry (CRLF line ends, dots
//! not doubled), and before it `<…>.json` with the envelope: `{"sender": "…", "recipient": "…"}`. Both appear whole or not at all, under
//! their names, and survive a power cut once [`sync`] returned. A copy that is written again replaces the first.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// One mail.
pub struct File<'a> {
    /// File name without an ending.
    pub name: &'a str,
    /// Envelope sender.
    pub sender: &'a str,
    /// Envelope recipient.
    pub recipient: &'a str,
    /// The mail.
    pub parts: [&'a [u8]; 3],
}

/// Writes a copy into `folder`, which is made if it is missing.
pub fn write(folder: &Path, file: &File<'_>) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let envelope = serde_json::json!({"sender": file.sender, "recipient": file.recipient});
    let envelope = format!("{envelope}\n");
    // First the envelope: whoever sees the mail finds it.
    write_file(
        folder,
        &format!("{}.json", file.name),
        &[envelope.as_bytes()],
    )?;
    write_file(folder, &format!("{}.eml", file.name), &file.parts)
}

/// Makes the names of what was written safe from a power cut: a rename alone is not.
pub fn sync(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

fn write_file(folder: &Path, name: &str, parts: &[&[u8]]) -> io::Result<()> {
    let draft = folder.join(format!(".{name}.draft"));
    let mut file = fs::File::create(&draft)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()?;
    fs::rename(&draft, folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_two_files_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let outbox = folder.path().join("new/outbox");
        let file = File {
            name: "dev-1-2",
            sender: "dev+b-x@x.org",
            recipient: "\"a b\"@y.org",
            parts: [b"A: b\r\n", b"List-Id: <x>\r\n", b"\r\n.\xff"],
        };
        for _ in 0..2 {
            write(&outbox, &file).expect("written");
            sync(&outbox).expect("flushed");
        }
        let read = |name: &str| fs::read(outbox.join(name)).expect(name);
        assert_eq!(read("dev-1-2.eml"), b"A: b\r\nList-Id: <x>\r\n\r\n.\xff");
        let envelope: serde_json::Value =
            serde_json::from_slice(&read("dev-1-2.json")).expect("JSON");
        assert_eq!(envelope["sender"], "dev+b-x@x.org");
        assert_eq!(envelope["recipient"], "\"a b\"@y.org");
        assert_eq!(fs::read_dir(&outbox).expect("a folder").count(), 2);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let taken = folder.path().join("file");
        fs::write(&taken, b"x").expect("written");
        let file = File {
            name: "n",
            sender: "s",
            recipient: "r",
            parts: [b"", b"", b""],
        };
        assert!(write(&taken, &file).is_err());
    }
}
