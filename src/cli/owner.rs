//! Who a data folder belongs to: the user that runs the server, as whom commands are given.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Error, Result, anyhow, ensure};

use super::hint;

/// Users below it are programs', as whom nobody logs in (Debian's policy, 9.2.2): who gives commands for them is root.
const FIRST_PERSON: u32 = 1000;

/// The user and group that a folder belongs to.
#[derive(Debug, Clone, Copy)]
struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    fn of(data: &Path) -> Option<Owner> {
        let meta = std::fs::metadata(data).ok()?;
        Some(Owner {
            user: meta.uid(),
            group: meta.gid(),
        })
    }

    fn is_us(self) -> bool {
        self.user == rustix::process::geteuid().as_raw()
    }

    /// What root writes before a command so that it runs as this user, with a blank behind.
    fn prefix(self) -> String {
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        match name_of(&users, self.user) {
            Some(name) => format!("runuser --user={} -- ", hint::quoted(name)),
            None => format!(
                "setpriv --reuid={} --regid={} --clear-groups -- ",
                self.user, self.group
            ),
        }
    }
}

/// The name of a user in the text of `/etc/passwd`.
fn name_of(users: &str, id: u32) -> Option<&str> {
    let id = id.to_string();
    let mut lines = users.lines().map(|line| line.split(':'));
    lines.find_map(|mut words| {
        let name = words.next()?;
        (words.nth(1)? == id).then_some(name)
    })
}

/// What to write before a command on a folder so that its owner runs it; empty where who reads this is the owner.
pub fn prefix(data: &Path) -> String {
    // Nobody is root in a container that runs as another user, nor needs to be.
    let contained = ["/run/.containerenv", "/.dockerenv"];
    let contained = contained.iter().any(|file| Path::new(file).exists())
        || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let program = |owner: Owner| (1..FIRST_PERSON).contains(&owner.user) && !contained;
    match Owner::of(data) {
        Some(owner) if !owner.is_us() || program(owner) => owner.prefix(),
        _ => String::new(),
    }
}

/// What to write before a command in a script that root runs, or where the folder is not there yet.
pub fn prefix_for_root(data: &Path) -> String {
    let owner = Owner::of(data).filter(|owner| owner.user != 0);
    owner.map_or_else(|| "runuser --user=patchpost -- ".to_owned(), Owner::prefix)
}

/// The user that a folder belongs to, by name or number, unless it is not there or root's.
pub fn user(data: &Path) -> Option<String> {
    let owner = Owner::of(data).filter(|owner| owner.user != 0)?;
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = name_of(&users, owner.user).map(str::to_owned);
    Some(name.unwrap_or_else(|| owner.user.to_string()))
}

/// What a command makes must belong to the user that runs the server.
pub fn check_owner(data: &Path) -> Result<()> {
    let wrong = Owner::of(data).filter(|owner| !owner.is_us());
    ensure!(wrong.is_none(), "{}", as_owner(data));
    Ok(())
}

/// That the folder is another user's, and this very command as that user gives it.
pub fn as_owner(data: &Path) -> String {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let named = |word: &String| word == "--data" || word.starts_with("--data=");
    let mut words: Vec<String> = given.iter().map(|word| hint::quoted(word)).collect();
    if !given.iter().any(named) {
        words.push(format!("--data {}", hint::shell_word(data)));
    }
    format!(
        "{} belongs to another user, who runs the server: give the command as that user, such as by\n  {}patchpost {}",
        data.display(),
        prefix(data),
        words.join(" ")
    )
}

/// Where the system keeps something from who gave the command, and the folder is another user's: as whom to give it.
pub fn explained(data: &Path, error: Error) -> Error {
    let denied = is_denied(&error) && Owner::of(data).is_some_and(|owner| !owner.is_us());
    match denied {
        true => anyhow!("{error:#}\n{}", as_owner(data)),
        false => error,
    }
}

/// Whether the system kept something from us.
pub fn is_denied(error: &Error) -> bool {
    format!("{error:#}").contains("(os error 13)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_as_the_machine_names_it() {
        let users =
            "root:x:0:0:root:/root:/bin/bash\nlist:x:38:38:Lists:/var/list:/usr/sbin/nologin\n";
        assert_eq!(name_of(users, 38), Some("list"));
        assert_eq!(name_of(users, 0), Some("root"));
        assert_eq!(name_of(users, 3), None);
        let nobody = Owner {
            user: 4_000_000_001,
            group: 4_000_000_002,
        };
        let expected = "setpriv --reuid=4000000001 --regid=4000000002 --clear-groups -- ";
        assert_eq!(nobody.prefix(), expected);
    }

    #[test]
    fn what_is_kept_from_us_in_our_own_folder_is_left_as_it_was_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let denied = || anyhow!("cannot read x: Permission denied (os error 13)");
        let said = explained(folder.path(), denied()).to_string();
        assert_eq!(said, denied().to_string());
        check_owner(folder.path()).expect("it is ours");
        // Root may give a folder away; for others the first process is somebody else's.
        let foreign = match std::os::unix::fs::chown(folder.path(), Some(1), None) {
            Ok(()) => folder.path(),
            Err(_) => Path::new("/proc/1"),
        };
        let said = explained(foreign, denied()).to_string();
        assert!(said.starts_with(&denied().to_string()), "{said}");
        assert!(said.contains(" -- patchpost "), "{said}");
        let other = anyhow!("there is no list dev");
        assert_eq!(
            explained(foreign, other).to_string(),
            "there is no list dev"
        );
        check_owner(foreign).expect_err("it is another user's");
    }
}
