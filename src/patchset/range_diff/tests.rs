use super::*;
use expect_test::expect;

fn commit(title: &str, file: &str, lines: &[&str]) -> Commit {
    let body: String = lines.iter().map(|l| format!("+{l}\n")).collect();
    Commit {
        id: None,
        author: "Ana <a@x.org>".to_owned(),
        message: format!("{title}\n\nWhy.\n"),
        patch: format!(
            "---\n x | 1 +\n\ndiff --git a/{file} b/{file}\nnew file mode 100644\nindex 0..1\n--- /dev/null\n+++ b/{file}\n@@ -0,0 +1,{} @@\n{body}-- \n2.47\n",
            lines.len()
        )
        .into_bytes(),
    }
}

fn fates(old: &[Commit], new: &[Commit]) -> String {
    let pairs = range_diff(old, new).expect("small");
    let side = |n: Option<usize>| n.map_or("-".to_owned(), |n| n.to_string());
    let all = pairs.iter();
    all.map(|p| format!("{}{}{}", side(p.old), p.fate.sign(), side(p.new)))
        .collect::<Vec<_>>()
        .join(" ")
}

const LONG: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

#[test]
fn patches_are_paired_by_content() {
    let (one, two) = (commit("one", "x", &LONG), commit("two", "y", &LONG[..5]));
    let three = commit("three", "z", &["q", "r", "s", "t", "u", "v"]);
    assert_eq!(
        fates(&[one.clone(), two.clone()], &[two.clone(), one.clone()]),
        "2=1 1=2"
    );
    assert_eq!(
        fates(std::slice::from_ref(&one), &[three.clone(), one.clone()]),
        "->1 1=2"
    );
    assert_eq!(
        fates(&[three.clone(), one.clone()], std::slice::from_ref(&one)),
        "1<- 2=1"
    );
    assert_eq!(
        fates(&[one.clone(), one.clone()], std::slice::from_ref(&one)),
        "1<- 2=1"
    );
    assert_eq!(fates(&[], &[one]), "->1");
    assert_eq!(fates(&[], &[]), "");
}

/// Each patch puts a line at the end of a file, in the second version with another sign: as a pair the first ones cost
/// just as much as alone, and git pairs them.
#[test]
fn short_patches_are_paired_as_git_pairs_them() {
    let version = |sign: &str| -> Vec<Commit> {
        let mut lines = vec!["one".to_owned(), "two".to_owned(), "three".to_owned()];
        let mut patches = Vec::new();
        for word in ["noon", "evening", "night"] {
            let context: String = lines[lines.len() - 3..]
                .iter()
                .map(|l| format!(" {l}\n"))
                .collect();
            let mut patch = commit(word, "x", &[]);
            patch.patch = format!(
                "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,3 +1,4 @@\n{context}+{word}{sign}\n"
            )
            .into_bytes();
            patches.push(patch);
            lines.push(format!("{word}{sign}"));
        }
        patches
    };
    assert_eq!(fates(&version(""), &version("!")), "1!1 2<- 3<- ->2 ->3");
}

#[test]
fn a_change_is_shown_as_git_shows_it() {
    let old = commit("one", "src/x.c", &LONG);
    let mut new = commit("one", "src/x.c", &["a", "b", "c", "d", "e", "F", "g", "h"]);
    new.message = "one\n\nWhy not.\n".to_owned();
    let text = render(&range_diff(&[old], &[new]).expect("small"));
    expect![[r#"
        1:  ------- ! 1:  ------- one
            @@ Metadata
              ## Commit message ##
                 one
             
            -    Why.
            +    Why not.
             
              ## src/x.c (new) ##
             @@
            @@ src/x.c (new)
             +c
             +d
             +e
            -+f
            ++F
             +g
             +h
    "#]]
    .assert_eq(&text);
}

#[test]
fn what_is_too_large_is_refused() {
    let many = vec![commit("one", "x", &["a"]); MAX_PATCHES + 1];
    assert_eq!(range_diff(&many, &[]), Err(TooLarge::Patches));
    let mut large = commit("one", "x", &["a"]);
    large.patch = format!(
        "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,9999999 +1,9999999 @@\n{}",
        " line\n".repeat(3_000_000)
    )
    .into_bytes();
    let other = |n: usize| commit("two", &format!("f{n}"), &[&n.to_string()]);
    let others: Vec<Commit> = (0..40).map(other).collect();
    assert_eq!(range_diff(&[large], &others), Err(TooLarge::Text));
}

#[test]
fn what_was_rewritten_has_the_title_or_changes_the_same_file() {
    let first = commit("one", "x", &LONG);
    let old = commit("two", "y", &LONG[..5]);
    let other = ["q", "r", "s", "t", "u", "v"];
    let rewritten = |new: Commit| -> Vec<usize> {
        let (old, new) = ([first.clone(), old.clone()], [first.clone(), new]);
        let pairs = range_diff(&old, &new).expect("small");
        pairs
            .iter()
            .filter_map(|p| Some(p.rewritten.as_ref()?.0))
            .collect()
    };
    assert_eq!(rewritten(commit("three", "z", &other)), Vec::<usize>::new());
    assert_eq!(rewritten(commit("three", "y", &other)), [2]);
    assert_eq!(rewritten(commit("two", "z", &other)), [2]);
}
