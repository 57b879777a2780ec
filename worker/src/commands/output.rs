//! What the commands print.

use std::{io::Write, time::Duration};

use anyhow::Context;

pub(super) fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("standard output")
}

pub(super) fn say_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    say(&serde_json::to_string(value)?)
}

/// In columns as wide as their widest cell; the first row names them.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let lines = rows.iter().map(|row| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

pub(super) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// As people say it: `350 ms`, `12.3 s`, `4 min`, `3 h`.
pub(super) fn duration(milliseconds: u64) -> String {
    let duration = Duration::from_millis(milliseconds);
    match duration.as_secs() {
        0 => format!("{milliseconds} ms"),
        1..120 => format!("{:.1} s", duration.as_secs_f64()),
        120..7_200 => format!("{} min", duration.as_secs() / 60),
        _ => format!("{} h", duration.as_secs() / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(table(&[row(["A", "B"]), row(["long", "x"])]), "A     B\nlong  x");
    }

    #[test]
    fn durations_are_short() {
        for (milliseconds, text) in
            [(0, "0 ms"), (999, "999 ms"), (12_345, "12.3 s"), (240_000, "4 min"), (7_200_000, "2 h")]
        {
            assert_eq!(duration(milliseconds), text);
        }
    }
}
