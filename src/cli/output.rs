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
                        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
                        .collect()
                })
                .collect(),
        );
    }

    /// Prints it, or `empty` if there is no row.
    pub fn print(&self, empty: &str) {
        if self.rows.len() == 1 {
            println!("{empty}");
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
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
