//! Just enough Rust reading for the rules: code without comments, strings and tests; the strings; the
//! paths that code names; and where functions begin and end.

/// A source file taken apart. Offsets are the same in `code` as in the file.
pub struct Source {
    /// The file with comments, literals and test items blanked (line feeds stay).
    pub code: String,
    /// String literals outside tests: line from 1, text between the quotes.
    pub strings: Vec<(usize, String)>,
    /// Lines, from 1, that belong to test items.
    pub test_lines: Vec<usize>,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    /// First and last line, from 1.
    pub first: usize,
    pub last: usize,
}

impl Source {
    /// Takes a file apart.
    pub fn read(text: &str) -> Source {
        let (mut code, strings) = blank_literals(text);
        let tests = test_ranges(&code);
        let mut test_lines = Vec::new();
        for range in &tests {
            test_lines.extend(line_of(text, range.start)..=line_of(text, range.end - 1));
            code[range.clone()].iter_mut().for_each(blank);
        }
        let strings = strings
            .into_iter()
            .filter(|(at, _)| !tests.iter().any(|range| range.contains(at)))
            .map(|(at, string)| (line_of(text, at), string))
            .collect();
        Source {
            code: String::from_utf8(code).expect("only whole ASCII bytes were put in"),
            strings,
            test_lines,
        }
    }

    /// Every path of two or more segments, `use` trees written out: line and segments.
    pub fn paths(&self) -> Vec<(usize, Vec<String>)> {
        let mut found = Vec::new();
        let tokens = tokens(&self.code);
        let mut i = 0;
        while i < tokens.len() {
            let (at, word) = tokens[i];
            if word == "use" {
                i = read_tree(&tokens, i + 1, &mut Vec::new(), &mut |path| {
                    found.push((line_of(&self.code, at), path));
                });
            } else if is_word(word) {
                let mut path = vec![word.to_owned()];
                while i + 2 < tokens.len() && tokens[i + 1].1 == "::" && is_word(tokens[i + 2].1) {
                    path.push(tokens[i + 2].1.to_owned());
                    i += 2;
                }
                i += 1;
                if path.len() > 1 {
                    found.push((line_of(&self.code, at), path));
                }
            } else {
                i += 1;
            }
        }
        found
    }

    /// Every function with a body, inner ones too.
    pub fn functions(&self) -> Vec<Function> {
        let tokens = tokens(&self.code);
        let mut found = Vec::new();
        for (i, (at, word)) in tokens.iter().enumerate() {
            let name = tokens.get(i + 1).map_or("", |t| t.1);
            if *word != "fn" || !is_word(name) {
                continue;
            }
            let Some(open) = body_or_end(&tokens, i).filter(|n| tokens[*n].1 == "{") else {
                continue;
            };
            let end = closing(&tokens, open).unwrap_or(tokens.len() - 1);
            found.push(Function {
                name: name.to_owned(),
                first: line_of(&self.code, *at),
                last: line_of(&self.code, tokens[end].0),
            });
        }
        found
    }

    /// The lines on which the code has `text`, from 1.
    pub fn lines_with(&self, text: &str) -> Vec<usize> {
        let lines = self.code.lines().enumerate();
        lines
            .filter(|(_, line)| line.contains(text))
            .map(|(n, _)| n + 1)
            .collect()
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset]
        .iter()
        .filter(|&&b| b == b'\n')
        .count()
}

fn blank(byte: &mut u8) {
    if *byte != b'\n' {
        *byte = b' ';
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// The file with comments and literals blanked, and the string literals with their offsets.
fn blank_literals(text: &str) -> (Vec<u8>, Vec<(usize, String)>) {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut strings = Vec::new();
    let mut i = 0;
    while i < bytes.len() {
        let rest = &bytes[i..];
        let end = if rest.starts_with(b"//") {
            i + rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            i + comment_length(rest)
        } else if let Some((start, length, after)) = string_literal(bytes, i) {
            strings.push((i, text[start..start + length].to_owned()));
            after
        } else if let Some(length) = char_literal(rest) {
            i + length
        } else {
            // Other text outside literals may only be skipped in whole characters.
            i += text[i..].chars().next().map_or(1, char::len_utf8);
            continue;
        };
        code[i..end].iter_mut().for_each(blank);
        i = end;
    }
    (
        code.iter()
            .map(|&b| if b.is_ascii() { b } else { b' ' })
            .collect(),
        strings,
    )
}

/// Block comments nest.
fn comment_length(bytes: &[u8]) -> usize {
    let (mut depth, mut i) = (0, 0);
    while i < bytes.len() {
        if bytes[i..].starts_with(b"/*") {
            (depth, i) = (depth + 1, i + 2);
        } else if bytes[i..].starts_with(b"*/") {
            (depth, i) = (depth - 1, i + 2);
            if depth == 0 {
                return i;
            }
        } else {
            i += 1;
        }
    }
    bytes.len()
}

/// A string literal that begins at `i`, plain or raw, with any prefix: start and length of what is
/// between the quotes, and where code goes on.
fn string_literal(bytes: &[u8], i: usize) -> Option<(usize, usize, usize)> {
    let inside_word = i > 0 && (bytes[i - 1].is_ascii_alphanumeric() || bytes[i - 1] == b'_');
    let prefix = bytes[i..]
        .iter()
        .take(2)
        .take_while(|b| matches!(b, b'b' | b'r' | b'c'))
        .count();
    if prefix > 0 && inside_word {
        return None;
    }
    let raw = bytes[i..i + prefix].contains(&b'r');
    let hashes = bytes[i + prefix..]
        .iter()
        .take_while(|&&b| b == b'#')
        .count();
    let start = i + prefix + hashes + 1;
    if bytes.get(start - 1) != Some(&b'"') || (hashes > 0 && !raw) {
        return None;
    }
    let mut end = start;
    while end < bytes.len() {
        let closes = bytes[end] == b'"';
        if raw && closes && bytes[end + 1..].iter().take_while(|&&b| b == b'#').count() >= hashes {
            break;
        }
        if !raw && closes {
            break;
        }
        end += if !raw && bytes[end] == b'\\' { 2 } else { 1 };
    }
    let end = end.min(bytes.len());
    Some((start, end - start, (end + 1 + hashes).min(bytes.len())))
}

/// `'x'`, `'\n'`, `b'x'` (its `b` stays): the length, or nothing for a lifetime.
fn char_literal(bytes: &[u8]) -> Option<usize> {
    if bytes[0] != b'\'' {
        return None;
    }
    if bytes.get(1) == Some(&b'\\') {
        let end = bytes[3..].iter().position(|&b| b == b'\'')?;
        return Some(end + 4);
    }
    // A character has one to four bytes.
    (2..=5)
        .find(|&n| bytes.get(n) == Some(&b'\''))
        .filter(|&n| {
            let one = std::str::from_utf8(&bytes[1..n]).is_ok_and(|t| t.chars().count() == 1);
            one && bytes[1] != b'\''
        })
        .map(|n| n + 1)
}

/// Words, `::`, and single other characters, with their offsets.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    let mut i = 0;
    while i < bytes.len() {
        let wordy = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
        let length = match bytes[i] {
            b' ' | b'\n' | b'\t' | b'\r' => {
                i += 1;
                continue;
            }
            b':' if bytes.get(i + 1) == Some(&b':') => 2,
            b if wordy(&b) => bytes[i..].iter().take_while(|b| wordy(b)).count(),
            _ => 1,
        };
        found.push((i, &code[i..i + length]));
        i += length;
    }
    found
}

/// Reads a `use` tree that begins at token `i`; returns the token after it.
fn read_tree(
    tokens: &[(usize, &str)],
    mut i: usize,
    prefix: &mut Vec<String>,
    found: &mut impl FnMut(Vec<String>),
) -> usize {
    let depth = prefix.len();
    let mut grouped = false;
    while let Some((_, token)) = tokens.get(i) {
        match *token {
            "::" => i += 1,
            "{" => {
                grouped = true;
                i += 1;
                while tokens.get(i).is_some_and(|(_, t)| *t != "}") {
                    i = read_tree(tokens, i, prefix, &mut *found);
                    if tokens.get(i).is_some_and(|(_, t)| *t == ",") {
                        i += 1;
                    }
                }
                i += 1;
            }
            "as" => i += 2,
            // `x::*` imports from x, whatever it is.
            "*" => i += 1,
            "," | "}" | ";" => break,
            word => {
                prefix.push(word.to_owned());
                i += 1;
            }
        }
    }
    if !grouped && prefix.len() > depth {
        found(prefix.clone());
    }
    prefix.truncate(depth);
    // A tree that makes no progress would be read for ever.
    if tokens.get(i).is_some_and(|(_, t)| *t == ";") {
        i + 1
    } else {
        i
    }
}

/// The `{` or `;` that ends the head of the item at token `from`; a `;` in `[u8; 2]` is not one.
fn body_or_end(tokens: &[(usize, &str)], from: usize) -> Option<usize> {
    let mut depth = 0;
    for (n, (_, token)) in tokens.iter().enumerate().skip(from) {
        match *token {
            "(" | "[" => depth += 1,
            ")" | "]" => depth -= 1,
            "{" | ";" if depth <= 0 => return Some(n),
            _ => {}
        }
    }
    None
}

/// The token that closes the brace at token `open`.
fn closing(tokens: &[(usize, &str)], open: usize) -> Option<usize> {
    let mut depth = 0;
    for (n, (_, token)) in tokens.iter().enumerate().skip(open) {
        match *token {
            "{" => depth += 1,
            "}" if depth == 1 => return Some(n),
            "}" => depth -= 1,
            _ => {}
        }
    }
    None
}

/// What stands under `#[cfg(test)]` or `#[test]`: up to the item's closing brace or semicolon.
fn test_ranges(code: &[u8]) -> Vec<std::ops::Range<usize>> {
    let code = std::str::from_utf8(code).expect("only ASCII is left");
    let tokens = tokens(code);
    let texts: Vec<&str> = tokens.iter().map(|t| t.1).collect();
    let mut found: Vec<std::ops::Range<usize>> = Vec::new();
    for i in 0..texts.len() {
        let marked = texts[i..].starts_with(&["#", "[", "cfg", "(", "test", ")", "]"])
            || texts[i..].starts_with(&["#", "[", "test", "]"]);
        if !marked
            || found
                .last()
                .is_some_and(|range| range.contains(&tokens[i].0))
        {
            continue;
        }
        let end = match body_or_end(&tokens, i) {
            Some(n) if texts[n] == "{" => closing(&tokens, n),
            other => other,
        };
        let end = end.unwrap_or(texts.len() - 1);
        found.push(tokens[i].0..tokens[end].0 + 1);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_paths(code: &str, expected: &str) {
        let paths = Source::read(code).paths();
        let shown: Vec<String> = paths
            .iter()
            .map(|(n, p)| format!("{n} {}", p.join("::")))
            .collect();
        assert_eq!(shown.join(", "), expected, "code: {code}");
    }

    #[test]
    fn paths_are_found_wherever_they_hide() {
        check_paths("use crate::a::B;", "1 crate::a::B");
        check_paths(
            "use crate::{a, b::{C, d as e}};\nuse x::*;",
            "1 crate::a, 1 crate::b::C, 1 crate::b::d, 2 x",
        );
        check_paths(
            "pub use std::{fs,\nio::{self}};",
            "1 std::fs, 1 std::io::self",
        );
        check_paths("fn f() { crate::a::b(1); }", "1 crate::a::b");
        check_paths(
            "let x: Vec<tokio::net::TcpStream> = y;",
            "1 tokio::net::TcpStream",
        );
        check_paths(
            "// crate::a::b\n/* x::y /* z::w */ v::u */ \"a::b\" 'c' r#\"d::e\"# f::g",
            "2 f::g",
        );
        check_paths(
            "let q = '\"'; a::b; let s = \"\\\" c::d\"; e::f",
            "1 a::b, 1 e::f",
        );
        check_paths(
            "fn g<'a>(x: &'a str) -> k::L<'a> {} let u = 'ü'; m::n",
            "1 k::L, 1 m::n",
        );
        check_paths(
            "#[cfg(test)]\nmod tests { use a::b; fn x() { c::d } }\nuse e::f;",
            "3 e::f",
        );
        check_paths(
            "#[cfg(test)]\nuse a::b;\nuse c::d;\n#[test] fn x() { e::f }",
            "3 c::d",
        );
    }

    #[test]
    fn strings_are_kept_apart_from_code() {
        let source = Source::read(
            "let a = \"one\";\nlet b = br\"two\";\n#[cfg(test)] mod t { const C: &str = \"three\"; }",
        );
        assert_eq!(
            source.strings,
            [(1, "one".to_owned()), (2, "two".to_owned())]
        );
        assert_eq!(source.test_lines, [3]);
        assert!(!source.code.contains("one"));
    }

    #[test]
    fn functions_have_a_first_and_a_last_line() {
        let source =
            Source::read("trait T { fn a(); }\nfn b(x: [u8; 2])\n{\n  if x { \"}\" }\n}\n");
        // The type [u8; 2] holds a semicolon that ends nothing.
        assert_eq!(
            source.functions(),
            [Function {
                name: "b".to_owned(),
                first: 2,
                last: 5
            }]
        );
    }
}
