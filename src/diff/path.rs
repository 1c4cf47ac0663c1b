//! Which paths a patch may name. The rules are those of git's `verify_path()` with `core.protectHFS` and `core.protectNTFS`, and stricter
//! in one point: `\` counts as a separator, too, so that no checkout anywhere leaves its folder.

use super::{SYMLINK, file_type};

/// Longest path, in bytes: what Linux can open.
const MAX_BYTES: usize = 4_095;
/// Most folders below each other: deeper trees are nothing but an attack on those who read them.
const MAX_DEPTH: usize = 256;

/// Why a path is refused, in words; `Ok` if a tree may hold it. Takes the path as bytes, and the mode of what it names.
pub fn check(path: &[u8], mode: u32) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("it is empty");
    }
    if path.len() > MAX_BYTES {
        return Err("it is too long");
    }
    if path.contains(&0) {
        return Err("it holds a NUL");
    }
    let components: Vec<&[u8]> = path.split(|b| matches!(b, b'/' | b'\\')).collect();
    if components.len() > MAX_DEPTH {
        return Err("it is too deep");
    }
    for (at, component) in components.iter().enumerate() {
        match *component {
            b"" if at == 0 => return Err("it is absolute"),
            b"" => return Err("a part of it is empty"),
            b"." | b".." => return Err("a part of it is . or .."),
            _ => {}
        }
        if is_dot_git(component) {
            return Err("a part of it means .git");
        }
        if file_type(mode) == SYMLINK && is_dot_gitmodules(component) {
            return Err("it makes .gitmodules a symbolic link");
        }
    }
    Ok(())
}

/// One slash where several stand in a row, as git's diff reader has it.
pub(super) fn squash_slashes(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    for byte in name {
        if *byte != b'/' || out.last() != Some(&b'/') {
            out.push(*byte);
        }
    }
    out
}

/// Whether a component means `.git` to Linux, to HFS+ (ignored code points) or to NTFS (short names, trailing dots, streams).
fn is_dot_git(component: &[u8]) -> bool {
    let visible = without_ignored(component);
    let name = without_ntfs_tail(&visible);
    [&b".git"[..], b"git~1"]
        .iter()
        .any(|other| name.eq_ignore_ascii_case(other))
}

fn is_dot_gitmodules(component: &[u8]) -> bool {
    let visible = without_ignored(component);
    let name = without_ntfs_tail(&visible).to_ascii_lowercase();
    let short = |stem: &[u8]| {
        let number = name.strip_prefix(stem);
        number.is_some_and(|n| !n.is_empty() && n.iter().all(u8::is_ascii_digit))
    };
    name == b".gitmodules" || short(b"gitmod~") || short(b"gi7eba~")
}

/// A name without the code points that HFS+ leaves out when it compares.
fn without_ignored(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(byte) = rest.first() {
        let ignored = matches!(
            rest,
            [0xe2, 0x80, 0x8c..=0x8f | 0xaa..=0xae, ..] | [0xe2, 0x81, 0xaa..=0xaf, ..] | [0xef, 0xbb, 0xbf, ..]
        );
        if !ignored {
            out.push(*byte);
        }
        rest = &rest[if ignored { 3 } else { 1 }..];
    }
    out
}

/// A name as NTFS sees it: no stream after `:`, no dots and blanks at the end.
fn without_ntfs_tail(name: &[u8]) -> &[u8] {
    let stream = name.iter().position(|b| *b == b':');
    let name = &name[..stream.unwrap_or(name.len())];
    let tail = name.iter().rev().take_while(|b| matches!(b, b'.' | b' '));
    &name[..name.len() - tail.count()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::FILE;

    #[track_caller]
    fn refused(path: &str) {
        assert!(check(path.as_bytes(), FILE).is_err(), "path: {path:?}");
    }

    #[track_caller]
    fn allowed(path: &str) {
        assert_eq!(check(path.as_bytes(), FILE), Ok(()), "path: {path:?}");
    }

    #[test]
    fn nothing_leaves_its_folder() {
        for path in [
            "",
            "/",
            "/abs",
            "../x",
            "a/../../b",
            "a/..",
            ".",
            "./a",
            "a/./b",
            "a//b",
            "a/",
            "\\abs",
            "..\\x",
            "a\\..\\b",
            "a\\",
            "a\0b",
        ] {
            refused(path);
        }
    }

    #[test]
    fn git_has_many_names() {
        for path in [
            ".git",
            ".git/config",
            "a/.git/hooks/x",
            ".GIT/x",
            ".Git",
            ".git.",
            ".git ",
            ".git . /x",
            "git~1",
            "GIT~1/x",
            ".git::$INDEX_ALLOCATION/x",
            ".git:x",
            "git~1 .",
            ".g\u{200c}it/config",
            "\u{feff}.git",
            ".git\u{206f}",
            ".\u{202a}GiT",
            "a\\.git\\config",
            ".git\\x",
        ] {
            refused(path);
        }
    }

    #[test]
    fn names_that_only_look_odd_are_fine() {
        for path in [
            "a",
            "a/b.c",
            ".gitignore",
            ".gitattributes",
            ".github/x",
            "git",
            "git~2",
            "x.git",
            "a b/c\td",
            "ä/ö",
            "-x",
            "--exec=x",
            "CON",
            "aux.c",
            "a\\x2db.slice",
            "...",
            "..a",
        ] {
            allowed(path);
        }
        assert_eq!(check(b"latin\xe9", FILE), Ok(()));
    }

    #[test]
    fn gitmodules_is_never_a_symbolic_link() {
        for name in [
            ".gitmodules",
            ".GITMODULES ",
            "gitmod~1",
            "gi7eba~1",
            ".gitmod\u{200d}ules",
        ] {
            assert_eq!(check(name.as_bytes(), FILE), Ok(()), "{name}");
            assert!(check(name.as_bytes(), SYMLINK).is_err(), "{name}");
        }
    }

    #[test]
    fn length_and_depth_have_an_end() {
        assert!(check(&vec![b'a'; 4_095], FILE).is_ok());
        assert!(check(&vec![b'a'; 4_096], FILE).is_err());
        assert!(check("a/".repeat(255).as_bytes(), FILE).is_err());
        assert!(check(format!("{}a", "a/".repeat(255)).as_bytes(), FILE).is_ok());
        assert!(check(format!("{}a", "a/".repeat(256)).as_bytes(), FILE).is_err());
    }
}
