//! The demo's project: a bare repository and a work tree to send patches from.

use std::path::Path;

use super::{GitError, run};

/// One commit with two files, the same on every machine.
const STREAM: &str = "commit refs/heads/main\nauthor Ana Lima <ana@example.org> 1774000000 +0000\ncommitter Ana Lima <ana@example.org> 1774000000 +0000\n\
data 6\nBegin\n\
M 100644 inline README\ndata 29\ndemo\n====\n\nIt says good day.\n\n\
M 100644 inline greeting.txt\ndata 22\nGood morning\nGood day\n\ndone\n";

/// Makes both, if they are not there yet.
pub fn write_demo(bare: &Path, work: &Path) -> Result<(), GitError> {
    if !bare.exists() {
        super::write_epoch(bare, |out| out.write_all(STREAM.as_bytes()))?;
        run::run(bare, &["symbolic-ref", "HEAD", "refs/heads/main"], None)?;
    }
    if !work.exists() {
        let (from, to) = (
            bare.to_string_lossy().into_owned(),
            work.to_string_lossy().into_owned(),
        );
        run::run(bare, &["clone", "--quiet", "--", &from, &to], None)?;
        for (key, value) in [("user.name", "You"), ("user.email", "you@example.org")] {
            run::run(work, &["config", key, value], None)?;
        }
    }
    Ok(())
}
