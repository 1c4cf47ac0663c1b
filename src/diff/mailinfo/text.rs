//! Small rules of git about bytes that become part of a commit.

/// What git's own `isspace` takes for white space: no vertical tab, no form feed.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Both ends without white space.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    let start = text.iter().take_while(|b| is_space(**b)).count();
    trim_end(&text[start..])
}

/// The end without white space.
pub(super) fn trim_end(text: &[u8]) -> &[u8] {
    let tail = text.iter().rev().take_while(|b| is_space(**b)).count();
    &text[..text.len() - tail]
}

/// Every run of white space as one blank.
pub(super) fn single_blanks(text: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    let mut inside = false;
    for byte in text {
        if !is_space(*byte) {
            out.push(*byte);
        } else if !inside {
            out.push(b' ');
        }
        inside = is_space(*byte);
    }
    out
}

/// As git-stripspace(1): no blanks at line ends, no empty lines at both ends or in a row, a LF at the end.
pub(super) fn strip_space(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut blank = false;
    for line in text.split(|b| *b == b'\n').map(trim_end) {
        if line.is_empty() {
            blank = !out.is_empty();
            continue;
        }
        if blank {
            out.push(b'\n');
            blank = false;
        }
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out
}

/// A name or address as a commit keeps it (git-commit-tree(1), "COMMIT INFORMATION"): no `<`, `>` and LF anywhere, no
/// punctuation that disturbs readers of the line at both ends.
pub(super) fn without_crud(text: &[u8]) -> Vec<u8> {
    let crud = |b: &u8| *b <= 32 || b",:;<>\"\\'".contains(b);
    let start = text.iter().take_while(|b| crud(b)).count();
    let tail = text[start..].iter().rev().take_while(|b| crud(b)).count();
    text[start..text.len() - tail]
        .iter()
        .copied()
        .filter(|b| !matches!(b, b'\n' | b'<' | b'>'))
        .collect()
}

/// As git-commit(1) does with a message that is not UTF-8 ("DISCUSSION"): each byte that does not fit is taken for Latin-1.
///
/// Git counts noncharacters (U+FDD0 to U+FDEF, and the last two of each plane) as misfits.
pub(super) fn to_utf8(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let code = c as u32;
            if code & 0xfffe == 0xfffe || (0xfdd0..=0xfdef).contains(&code) {
                let mut buffer = [0; 4];
                let misfit = c.encode_utf8(&mut buffer).bytes();
                out.extend(misfit.map(char::from));
            } else {
                out.push(c);
            }
        }
        out.extend(chunk.invalid().iter().map(|b| char::from(*b)));
    }
    out
}
