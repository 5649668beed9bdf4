//! Which small files are worth merging.
//!
//! A file is rewritten only together with smaller ones that together are at least as large. So its rows come into a file
//! that is at least twice as large each time, and are written again at most as often as a file can double before it is
//! left alone. Where events come fast that is twice: as many of ingest's files as may be sorted in memory at once, then
//! as many of those as make a file of the target size.

use touchline_lake::DataFile;

/// Small files of one day that are merged while the day goes on: fewer are not worth a commit.
const MIN_FILES_OPEN: usize = 8;
/// Small files of one day that are merged when the day is over.
const MIN_FILES_CLOSED: usize = 3;
/// Rows of a file that is worth putting in order although it stays alone, once its day is over.
const MIN_ROWS_ALONE: u64 = 1_000;
/// Rows of files that are not in order yet and are read at once. As Arrow arrays a row mostly takes half a kilobyte;
/// where it takes more, the merge itself stops sooner.
const MAX_UNSORTED_ROWS: u64 = 400_000;

/// Sizes that decide.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Files come near to this, and are read up to this at once.
    target_bytes: u64,
    /// From here on a file is left alone.
    large_bytes: u64,
}

impl Limits {
    /// Limits for files of about `target_bytes`.
    pub const fn of(target_bytes: u64) -> Self {
        Self { target_bytes, large_bytes: target_bytes / 2 }
    }
}

/// How much is worth merging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eagerness {
    /// The day goes on: more files will come.
    Open,
    /// The day is over: what comes now is late.
    Closed,
    /// Whatever is not large yet.
    All,
}

/// The files of one day that shall become one, group by group.
pub fn merges(files: &[DataFile], limits: &Limits, eagerness: Eagerness) -> Vec<Vec<DataFile>> {
    let mut small: Vec<&DataFile> = files.iter().filter(|file| file.size_bytes < limits.large_bytes).collect();
    small.sort_by(|a, b| (a.size_bytes, &a.path).cmp(&(b.size_bytes, &b.path)));
    if eagerness != Eagerness::All {
        small.truncate(worthwhile(&small));
    }
    let min_files = match eagerness {
        Eagerness::Open => MIN_FILES_OPEN,
        Eagerness::Closed => MIN_FILES_CLOSED,
        Eagerness::All => 2,
    };
    let bytes: u64 = small.iter().map(|file| file.size_bytes).sum();
    if small.len() < min_files && bytes < limits.large_bytes {
        small.clear();
    }
    let mut groups = grouped(&small, limits);
    if eagerness != Eagerness::Open {
        let is_in_group = |file: &DataFile| groups.iter().any(|group| group.contains(file));
        let alone = files.iter().filter(|file| {
            let is_small = file.size_bytes < limits.large_bytes;
            is_small && !file.is_sorted() && file.rows >= MIN_ROWS_ALONE && !is_in_group(file)
        });
        let alone: Vec<_> = alone.map(|file| vec![file.clone()]).collect();
        groups.extend(alone);
    }
    groups
}

/// Files that are merged together, as far as they may be read at once; never one alone.
fn grouped(small: &[&DataFile], limits: &Limits) -> Vec<Vec<DataFile>> {
    let mut groups: Vec<Vec<DataFile>> = Vec::new();
    let (mut bytes, mut unsorted_rows) = (0, 0);
    for &file in small {
        let file_rows = if file.is_sorted() { 0 } else { file.rows };
        bytes += file.size_bytes;
        unsorted_rows += file_rows;
        match groups.last_mut() {
            Some(group) if bytes <= limits.target_bytes && unsorted_rows <= MAX_UNSORTED_ROWS => {
                group.push(file.clone());
            }
            _ => {
                (bytes, unsorted_rows) = (file.size_bytes, file_rows);
                groups.push(vec![file.clone()]);
            }
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

/// How many of the files, from the smallest on, are worth rewriting together: up to the largest that is no larger than
/// the ones before it together.
fn worthwhile(by_size: &[&DataFile]) -> usize {
    let (mut before, mut count) = (0, 0);
    for (place, file) in by_size.iter().enumerate() {
        if place > 0 && file.size_bytes <= before {
            count = place + 1;
        }
        before += file.size_bytes;
    }
    count
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;
    use touchline_schemas::{AccountId, Environment, Tenant};
    use uuid::Uuid;

    use super::*;

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;

    fn file(name: String, size_bytes: u64) -> DataFile {
        DataFile {
            path: name,
            tenant: Tenant { account_id: AccountId(Uuid::from_u128(1)), environment: Environment::Live },
            date: NaiveDate::MIN,
            size_bytes,
            rows: size_bytes / 45,
            time_range: None,
            latest_end: None,
            earliest_begin: None,
        }
    }

    /// How many files each merge takes, of unsorted ones of these sizes.
    #[track_caller]
    fn check(sizes: &[u64], eagerness: Eagerness, expected: &[usize]) {
        let files: Vec<_> = sizes.iter().enumerate().map(|(n, size)| file(format!("{n:04}"), *size)).collect();
        let groups = merges(&files, &Limits::of(128 * MIB), eagerness);
        let found: Vec<_> = groups.iter().map(Vec::len).collect();
        assert_eq!(found, expected, "{sizes:?}");
    }

    #[test]
    fn few_files_wait_for_more_while_the_day_goes_on() {
        check(&[KIB; 7], Eagerness::Open, &[]);
        check(&[KIB; 8], Eagerness::Open, &[8]);
        check(&[KIB; 3], Eagerness::Closed, &[3]);
        check(&[KIB; 2], Eagerness::Closed, &[]);
        check(&[KIB; 2], Eagerness::All, &[2]);
        check(&[KIB], Eagerness::All, &[]);
    }

    #[test]
    fn a_file_waits_until_the_smaller_ones_are_worth_it() {
        let mut sizes = vec![KIB; 8];
        sizes.push(9 * KIB);
        check(&sizes, Eagerness::Open, &[8]);
        sizes.push(KIB);
        check(&sizes, Eagerness::Open, &[10]);
        check(&[KIB, 100 * KIB, 3 * MIB], Eagerness::Open, &[]);
    }

    #[test]
    fn a_file_that_stays_alone_is_put_in_order_when_its_day_is_over() {
        check(&[100 * KIB], Eagerness::Open, &[]);
        check(&[100 * KIB], Eagerness::Closed, &[1]);
        check(&[KIB], Eagerness::Closed, &[]);
        let sorted = file("day/sorted-1".into(), 100 * KIB);
        assert!(merges(&[sorted], &Limits::of(128 * MIB), Eagerness::All).is_empty());
    }

    #[test]
    fn large_files_are_left_alone() {
        check(&[64 * MIB; 20], Eagerness::All, &[]);
    }

    #[test]
    fn what_is_read_at_once_is_bounded() {
        // 400,000 unsorted rows of 45 bytes are 17 MiB: three files of 5 MiB.
        check(&[5 * MIB; 20], Eagerness::Open, &[3, 3, 3, 3, 3, 3, 2]);
        let sorted: Vec<_> = (0..20).map(|n| file(format!("day/sorted-{n:04}"), 17 * MIB)).collect();
        let groups = merges(&sorted, &Limits::of(128 * MIB), Eagerness::Open);
        assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [7, 7, 6], "up to the target size");
    }

    #[test]
    fn rows_are_written_again_as_often_as_files_can_double() {
        let limits = Limits::of(8 * MIB);
        let (mut files, mut written): (Vec<DataFile>, u64) = (Vec::new(), 0);
        let (count, size) = (20_000, KIB);
        for number in 0..count {
            files.push(file(format!("{number:08}"), size));
            loop {
                let groups = merges(&files, &limits, Eagerness::Open);
                if groups.is_empty() {
                    break;
                }
                for group in groups {
                    let bytes = group.iter().map(|file| file.size_bytes).sum();
                    written += bytes;
                    files.retain(|file| !group.contains(file));
                    files.push(file(format!("sorted-{number:08}-{}", files.len()), bytes));
                }
            }
        }
        assert!(files.len() < 20, "{} files are left", files.len());
        // From 8 KiB, the first merge's, to 4 MiB, which is large, it doubles nine times.
        assert!(written <= 10 * count * size, "written {} times", written / (count * size));
    }
}
