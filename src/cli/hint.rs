//! Commands that messages name can be pasted: they carry the folder and the file of settings in use, where these are not the usual ones,
//! and the user to give them as, where that is another one.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::args::Cli;
use super::owner;

/// What commands need besides; set once, when the program begins.
static IN_USE: OnceLock<Options> = OnceLock::new();

/// Options with a blank in front of each.
#[derive(Debug, Default)]
struct Options {
    /// For who gave this command: the folder and the file of settings, where these are not the usual ones.
    here: String,
    /// For anybody: the folder, and the file if one was named.
    anywhere: String,
    /// The file of settings, if one was named.
    config: String,
    /// What stands before a command so that the folder's owner runs it.
    prefix: String,
}

/// Remembers where this run works. What the environment names, another command in it finds too.
pub fn remember(cli: &Cli) {
    let usual = std::env::var_os("PATCHPOST_DATA").map_or("patchpost-data".into(), PathBuf::from);
    let usual = std::path::absolute(&usual).unwrap_or(usual);
    let file = std::env::var_os("PATCHPOST_CONFIG").map(PathBuf::from);
    let file = file.and_then(|f| std::path::absolute(f).ok());
    let folder = format!(" --data {}", shell_word(&cli.data));
    let given = cli.config.as_deref();
    let config = given.map_or_else(String::new, |f| format!(" --config {}", shell_word(f)));
    let mut here = String::new();
    if cli.data != usual {
        here.push_str(&folder);
    }
    if given != file.as_deref() {
        here.push_str(&config);
    }
    // Only the first run of a program counts, which is its only one.
    let _set = IN_USE.set(Options {
        here,
        anywhere: folder + &config,
        config,
        prefix: owner::prefix(&cli.data),
    });
}

/// A text in which who gave this command can paste each command in backticks.
pub fn pasteable(text: &str) -> String {
    complete_with(text, |options| &options.here)
}

/// A text in which anybody can, such as root: another user's environment does not name the folder.
pub fn pasteable_anywhere(text: &str) -> String {
    complete_with(text, |options| &options.anywhere)
}

/// A command that anybody can paste, for texts that have it on a line of its own.
pub fn command_anywhere(words: &str) -> String {
    pasteable_anywhere(&format!("`patchpost {words}`")).replace('`', "")
}

fn complete_with(text: &str, chosen: fn(&Options) -> &str) -> String {
    match IN_USE.get() {
        Some(options) => complete(text, &options.prefix, chosen(options)),
        None => text.to_owned(),
    }
}

/// `--config FILE` with a blank in front, if a file was named; for texts that name the folder in any case.
pub fn config_option() -> &'static str {
    IN_USE.get().map_or("", |options| &options.config)
}

fn complete(text: &str, prefix: &str, options: &str) -> String {
    let pieces: Vec<&str> = text.split('`').collect();
    let last = pieces.len() - 1;
    let mut out = String::new();
    for (n, piece) in pieces.into_iter().enumerate() {
        let code = n % 2 == 1 && n < last;
        let options = match piece.contains(" --data ") {
            true => "",
            false => options,
        };
        match piece.split_once(')') {
            _ if code && piece.starts_with("patchpost ") => {
                out.push_str(&format!("{prefix}{piece}{options}"))
            }
            // A script that a shell runs.
            Some((command, rest)) if code && command.contains("$(patchpost ") => {
                out.push_str(&format!("{command}{options}){rest}"));
            }
            _ => out.push_str(piece),
        }
        if n < last {
            out.push('`');
        }
    }
    out
}

/// A path as one word of a shell's line.
pub fn shell_word(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// A text as one word of a shell's line.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@=,".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_in_backticks_carry_what_they_need() {
        let check = |text: &str, expected: &str| {
            assert_eq!(complete(text, "", " --data /srv/x"), expected);
        };
        check(
            "there is no list; make one with `patchpost list create dev`",
            "there is no list; make one with `patchpost list create dev --data /srv/x`",
        );
        check(
            "`patchpost jobs` says why; `git am` and `patchpost jobs --retry`",
            "`patchpost jobs --data /srv/x` says why; `git am` and `patchpost jobs --retry --data /srv/x`",
        );
        check(
            "as root: `sh -c \"$(patchpost print setup)\"`",
            "as root: `sh -c \"$(patchpost print setup --data /srv/x)\"`",
        );
        for whole in [
            "`patchpost doctor --data /elsewhere`",
            "patchpost is not `patchpost doctor",
            "no command",
        ] {
            check(whole, whole);
        }
        assert_eq!(complete("`patchpost jobs`", "", ""), "`patchpost jobs`");
        let text = "`patchpost jobs`, or as root: `sh -c \"$(patchpost print setup)\"`";
        assert_eq!(
            complete(text, "runuser --user=list -- ", " --data /srv/x"),
            "`runuser --user=list -- patchpost jobs --data /srv/x`, or as root: `sh -c \"$(patchpost print setup --data /srv/x)\"`"
        );
    }

    #[test]
    fn a_path_is_one_word() {
        assert_eq!(shell_word(Path::new("/var/lib/x")), "/var/lib/x");
        assert_eq!(shell_word(Path::new("/a b/it's")), "'/a b/it'\\''s'");
    }
}
