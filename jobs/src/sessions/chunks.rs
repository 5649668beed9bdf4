//! Days in parts that hold few enough rows to be worked on at once.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use chrono::NaiveDate;
use touchline_lake::DataFile;

/// Rows of one part: some 400 MB while they are merged. A single day may hold more.
const MAX_ROWS: u64 = 1_000_000;

/// Some days' files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    /// First and last day.
    pub(super) days: RangeInclusive<NaiveDate>,
    /// The files of these days.
    pub(super) files: Vec<DataFile>,
}

/// Files in parts, oldest day first. `more_rows` says how many rows besides the files' own come with a day.
pub(super) fn chunks(files: Vec<DataFile>, more_rows: impl Fn(NaiveDate) -> u64) -> Vec<Chunk> {
    let mut days: BTreeMap<NaiveDate, Vec<DataFile>> = BTreeMap::new();
    for file in files {
        days.entry(file.date).or_default().push(file);
    }
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut rows = 0;
    for (day, files) in days {
        let of_day = files.iter().map(|file| file.rows).sum::<u64>() + more_rows(day);
        rows += of_day;
        match chunks.last_mut() {
            Some(chunk) if rows <= MAX_ROWS => {
                chunk.days = *chunk.days.start()..=day;
                chunk.files.extend(files);
            }
            _ => {
                rows = of_day;
                chunks.push(Chunk { days: day..=day, files });
            }
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use touchline_schemas::{AccountId, Environment, Tenant};
    use uuid::Uuid;

    use super::*;

    fn file(date: &str, rows: u64) -> DataFile {
        DataFile {
            path: format!("{date}/{rows}"),
            tenant: Tenant { account_id: AccountId(Uuid::nil()), environment: Environment::Test },
            date: date.parse().unwrap(),
            size_bytes: 1,
            rows,
            time_range: None,
            latest_end: None,
            earliest_begin: None,
        }
    }

    fn check(files: &[(&str, u64)], more_rows: u64, expected: &[(&str, &str)]) {
        let files = files.iter().map(|(date, rows)| file(date, *rows)).collect();
        let chunks = chunks(files, |_| more_rows);
        let found: Vec<_> =
            chunks.iter().map(|chunk| (chunk.days.start().to_string(), chunk.days.end().to_string())).collect();
        let expected: Vec<_> = expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn days_are_taken_together_while_they_are_small() {
        let files = [("2026-01-03", 300_000), ("2026-01-01", 400_000), ("2026-01-01", 200_000)];
        check(&files, 0, &[("2026-01-01", "2026-01-03")]);
        check(&files, 300_000, &[("2026-01-01", "2026-01-01"), ("2026-01-03", "2026-01-03")]);
        check(
            &[("2026-01-01", 9_000_000), ("2026-01-02", 1)],
            0,
            &[("2026-01-01", "2026-01-01"), ("2026-01-02", "2026-01-02")],
        );
    }
}
