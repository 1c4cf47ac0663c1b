//! Printing: tables for people, JSON for scripts.

use std::io::Write;

use anyhow::Result;

/// Columns as wide as what stands in them.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new<const N: usize>(head: [&str; N]) -> Table {
        Table {
            rows: vec![head.iter().map(|h| (*h).to_owned()).collect()],
        }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.rows.push(
            cells
                .iter()
                .map(|c| {
                    c.chars()
                        .map(|c| match c {
                            '\n' | '\t' => ' ',
                            c if c.is_control() => '\u{fffd}',
                            c => c,
                        })
                        .collect()
                })
                .collect(),
        );
    }

    /// Prints it, or `empty` if there is no row.
    pub fn print(&self, empty: &str) {
        if self.rows.len() == 1 {
            println!("{}", super::pasteable(empty));
            return;
        }
        let columns = self.rows[0].len();
        let width = |i: usize| {
            self.rows
                .iter()
                .map(|r| r[i].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = std::io::stdout().lock();
        for row in &self.rows {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(c, w)| format!("{c:w$}"))
                .collect();
            // A reader that closes early (`| head`) has seen enough.
            if writeln!(out, "{}", cells.join("  ").trim_end()).is_err() {
                return;
            }
        }
    }
}

/// Prints a value as one JSON document.
pub fn print_json<T: serde::Serialize>(value: &T) -> Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// Prints a text as it is.
pub fn print(text: &str) -> Result<()> {
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    unless_closed(written.map_err(Into::into))
}

/// Prints a line; what keeps it from being printed is said, unless it is a reader that has seen enough.
pub fn print_line(text: &str) {
    if let Err(error) = print(&format!("{text}\n")) {
        eprintln!("patchpost: could not print: {error}");
    }
}

/// The outcome of printing: a reader that closes early (`| head`) has seen enough, which is no error.
pub fn unless_closed(printed: Result<()>) -> Result<()> {
    let closed = |error: &anyhow::Error| {
        let cause = error.downcast_ref::<std::io::Error>();
        cause.is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    };
    match printed {
        Err(error) if closed(&error) => Ok(()),
        other => other,
    }
}

/// `1 mail`, `2 mails`
pub fn count(number: u64, one: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{number} {one}{end}")
}
