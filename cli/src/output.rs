//! The only way to stdout and, apart from logs and progress bars, to stderr: tables for people, JSON for programs.

use std::io::{self, Write};

use serde::Serialize;

/// The cell of a value that is not there.
pub const NOTHING: &str = "-";

/// One line of a table that is printed for people, and one object of the JSON array that is printed for programs.
pub trait Row: Serialize {
    /// The headings.
    const HEADINGS: &[&str];

    /// The cells, one for each heading.
    fn cells(&self) -> Vec<String>;
}

/// Prints as the command line asks.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
}

impl Output {
    /// Prints JSON or, when `json` is false, tables and sentences.
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether programs read along: then nothing is shown but data.
    pub const fn is_json(self) -> bool {
        self.json
    }

    /// A part of the answer that only people get at once; programs get all of it at the end.
    pub fn text(self, text: &str) -> anyhow::Result<()> {
        if self.json { Ok(()) } else { print(text) }
    }

    /// One answer: as JSON for programs, as `text` for people.
    pub fn answer(self, value: &impl Serialize, text: &str) -> anyhow::Result<()> {
        if self.json { print(&serde_json::to_string(value)?) } else { print(text) }
    }

    /// A line of an answer that has a form of its own.
    pub fn line(self, text: &str) -> anyhow::Result<()> {
        print(text)
    }

    /// A part of an answer that has a form of its own.
    pub fn bytes(self, bytes: &[u8]) -> anyhow::Result<()> {
        write(bytes)
    }

    /// A list: as a table, or as a JSON array.
    pub fn rows<R: Row>(self, rows: &[R]) -> anyhow::Result<()> {
        if self.json { print(&serde_json::to_string(rows)?) } else { print(&table(rows)) }
    }

    /// A remark for people, to stderr; programs do not need it.
    pub fn note(self, text: &str) {
        if !self.json {
            complain(text);
        }
    }

    /// Why the command failed, with all causes.
    pub fn error(self, error: &anyhow::Error) {
        complain(&format!("error: {}", explain(error)));
    }
}

/// The error and its causes, each said once: most of our errors already say what caused them.
fn explain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        let cause = cause.trim();
        if text.is_empty() {
            text.push_str(cause);
        } else if !text.contains(cause) {
            text.push_str(": ");
            text.push_str(cause);
        }
    }
    text
}

/// A table with columns as wide as their longest cell.
pub fn table<R: Row>(rows: &[R]) -> String {
    let mut lines = vec![R::HEADINGS.iter().map(|heading| heading.to_uppercase()).collect::<Vec<_>>()];
    lines.extend(rows.iter().map(|row| row.cells().into_iter().map(printable).collect()));
    let width_of = |column: usize| lines.iter().map(|cells| cells[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..R::HEADINGS.len()).map(width_of).collect();
    // Columns of numbers are aligned at their last digit.
    let is_number = |column: usize| {
        let mut cells = lines[1..].iter().map(|cells| cells[column].as_str());
        cells.clone().all(looks_like_number) && cells.any(|cell| cell != NOTHING)
    };
    let numeric: Vec<bool> = (0..R::HEADINGS.len()).map(is_number).collect();
    let text: Vec<String> = lines.iter().map(|cells| aligned(cells, &widths, &numeric)).collect();
    text.join("\n")
}

/// What was given as a name may hold what moves a terminal's cursor.
fn printable(cell: String) -> String {
    if !cell.contains(char::is_control) {
        return cell;
    }
    cell.chars()
        .flat_map(|character| {
            let escaped = character.is_control().then(|| character.escape_default());
            let plain = escaped.is_none().then_some(character);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

/// A count with its thousands apart: `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size: `17 B`, `1.5 kB`, `2.0 GB`; a thousand of one unit is one of the next.
pub fn bytes(size_bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if size_bytes < 1_000 {
        return format!("{size_bytes} B");
    }
    // In tenths of a unit, so that nothing is rounded up into the next unit.
    let (mut tenths, mut unit) = (size_bytes / 100, 0);
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1_000;
        unit += 1;
    }
    format!("{}.{} {}", count(tenths / 10), tenths % 10, UNITS[unit])
}

/// A time span, in the unit that suits it: `0.3 s`, `95 min`, `30 h`, `12 d`.
pub fn span(duration_ms: u64) -> String {
    const MINUTE_MS: u64 = 60_000;
    const HOUR_MS: u64 = 60 * MINUTE_MS;
    const DAY_MS: u64 = 24 * HOUR_MS;
    match duration_ms {
        ..120_000 => format!("{}.{} s", duration_ms / 1_000, duration_ms % 1_000 / 100),
        120_000..7_200_000 => format!("{} min", duration_ms / MINUTE_MS),
        7_200_000..172_800_000 => format!("{} h", duration_ms / HOUR_MS),
        _ => format!("{} d", duration_ms / DAY_MS),
    }
}

fn aligned(cells: &[String], widths: &[usize], numeric: &[bool]) -> String {
    let padded =
        cells.iter().zip(widths).zip(numeric).map(|((cell, width), numeric)| {
            if *numeric { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
    padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

fn looks_like_number(cell: &str) -> bool {
    cell == NOTHING || cell.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b',' | b'.'))
}

/// Writes a line to stdout.
fn print(text: &str) -> anyhow::Result<()> {
    write(format!("{text}\n").as_bytes())
}

/// Writes to stdout. Whoever reads it may have seen enough and gone, as `head` does: that is no failure.
fn write(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn complain(text: &str) {
    // There is nobody left to tell when stderr is gone.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Fruit {
        name: &'static str,
        pieces: u64,
    }

    impl Row for Fruit {
        const HEADINGS: &[&str] = &["name", "pieces"];

        fn cells(&self) -> Vec<String> {
            vec![self.name.to_owned(), count(self.pieces)]
        }
    }

    #[test]
    fn columns_are_as_wide_as_needed_and_numbers_end_below_each_other() {
        let rows = [Fruit { name: "äpfel", pieces: 5 }, Fruit { name: "plums", pieces: 12_345 }];
        assert_eq!(table(&rows), "NAME   PIECES\näpfel       5\nplums  12,345");
        assert_eq!(table::<Fruit>(&[]), "NAME  PIECES");
    }

    #[test]
    fn a_cause_that_the_error_names_is_not_said_again() {
        let cause = || anyhow::anyhow!("no space");
        let check = |error: anyhow::Error, expected: &str| assert_eq!(explain(&error), expected);
        check(cause(), "no space");
        check(cause().context("cannot write"), "cannot write: no space");
        check(cause().context("cannot write: no space"), "cannot write: no space");
        check(cause().context("cannot write: no space").context("x.log"), "x.log: cannot write: no space");
    }

    #[test]
    fn sizes_and_spans_have_units_that_suit_them() {
        for (size_bytes, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (999_999, "999.9 kB"),
            (1_000_000, "1.0 MB"),
            (1_550_000_000, "1.5 GB"),
            (u64::MAX, "18,446.7 PB"),
        ] {
            assert_eq!(bytes(size_bytes), expected);
        }
        for (duration_ms, expected) in [
            (0, "0.0 s"),
            (1_250, "1.2 s"),
            (119_999, "119.9 s"),
            (120_000, "2 min"),
            (7_200_000, "2 h"),
            (172_799_999, "47 h"),
            (172_800_000, "2 d"),
        ] {
            assert_eq!(span(duration_ms), expected);
        }
    }

    #[test]
    fn thousands_are_kept_apart() {
        for (number, expected) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), expected);
        }
    }
}
