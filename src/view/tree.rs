//! Changed files by folder: what a reader looks over before the diffs.
//!
//! Pure. Folders are not nested: a folder's whole path is one line, as most changes touch few folders that lie deep.

use super::diff::FileDiff;

/// Fewer files need no tree.
pub const FROM: usize = 3;

/// The files of one folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder<'a> {
    /// Its path with a slash at the end; empty for the top.
    pub path: &'a str,
    /// Its files: name, and the change.
    pub files: Vec<(&'a str, &'a FileDiff)>,
}

/// The folders of these files by path, each with its files by name; empty below [`FROM`] files.
pub fn folders(files: &[FileDiff]) -> Vec<Folder<'_>> {
    if files.len() < FROM {
        return Vec::new();
    }
    let mut sorted: Vec<(&str, &str, &FileDiff)> = Vec::with_capacity(files.len());
    for file in files {
        let at = file.path.rfind('/').map_or(0, |at| at + 1);
        sorted.push((&file.path[..at], &file.path[at..], file));
    }
    sorted.sort_by_key(|(folder, name, _)| (*folder, *name));
    let runs = sorted.chunk_by(|a, b| a.0 == b.0);
    runs.map(|run| Folder {
        path: run[0].0,
        files: run.iter().map(|(_, name, file)| (*name, *file)).collect(),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(paths: &[&str], expected: &str) {
        let file = |path: &&str| FileDiff {
            path: (*path).to_owned(),
            ..FileDiff::default()
        };
        let files: Vec<FileDiff> = paths.iter().map(file).collect();
        let line = |folder: &Folder| {
            let names: Vec<&str> = folder.files.iter().map(|f| f.0).collect();
            format!("{}: {}", folder.path, names.join(" "))
        };
        let lines: Vec<String> = folders(&files).iter().map(line).collect();
        assert_eq!(lines.join("\n"), expected, "{paths:?}");
    }

    #[test]
    fn two_files_need_no_tree() {
        check(&["a/x", "a/y"], "");
    }

    #[test]
    fn files_stand_with_their_folder_each_once() {
        check(
            &["lib/src/b.c", "README", "lib/src/a.c", "lib/a.h"],
            ": README\nlib/: a.h\nlib/src/: a.c b.c",
        );
    }

    #[test]
    fn odd_paths_are_shown_too() {
        check(&["", "/", "//x"], ": \n/: \n//: x");
        check(&["é/ü", "y", "y"], ": y y\né/: ü");
    }
}
