//! What `doctor` looks at. A check creates nothing that is not there, and never stops the next one.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use touchline_ingest::log::{Segment, list_segments};
use touchline_lake::Lake;
use touchline_schemas::clock::SharedClock;
use touchline_schemas::control::ControlDb;
use touchline_schemas::tables::Table;

use crate::app::{lake_options, open_enricher};
use crate::settings::Settings;

/// No clock shows an earlier time than the first release: 2025-01-01T00:00:00Z, in Unix seconds.
const EARLIEST_CLOCK_S: i64 = 1_735_689_600;
const PROBE_BYTES: usize = 4_096;
const PROBE_ROUNDS: u32 = 5;
/// An fsync that takes longer than this makes every acknowledgement slow.
const SLOW_FSYNC: Duration = Duration::from_millis(100);

/// Files that should have been deleted so long ago mean that nobody runs `vacuum`.
const VACUUM_LATE_HOURS: u64 = 48;

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It will run, but somebody should look at this.
    Warning,
    /// It will not run, or not as promised.
    Failed,
}

impl Verdict {
    /// The word that is printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One check and what it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked.
    pub check: &'static str,
    /// What it came to.
    pub verdict: Verdict,
    /// What was found.
    pub detail: String,
}

/// A check's answer before it has a name.
type Found = anyhow::Result<(Verdict, String)>;

/// Runs all checks in order.
pub async fn all(settings: &Settings, clock: &SharedClock) -> Vec<Finding> {
    let place = existing_ancestor(settings.data_dir.root());
    vec![
        finding("clock", clock_is_sane(clock.now())),
        finding("data directory", writable(settings.data_dir.root(), &place)),
        finding("fsync", fsync_time(&place)),
        finding("disk", disk_space(&place, settings.config.log.quota_bytes)),
        finding("control database", control_database(settings).await),
        finding("lake", lake_tables(settings).await),
        finding("store", store_creates_once(settings).await),
        finding("enrichment", enrichment(settings)),
        finding("leftovers", leftovers(settings, clock.now()).await),
        finding("log folder", log_folder(&settings.data_dir.log())),
        finding("log", log_segments(&settings.data_dir.log())),
    ]
}

fn finding(check: &'static str, found: Found) -> Finding {
    match found {
        Ok((verdict, detail)) => Finding { check, verdict, detail },
        Err(error) => Finding { check, verdict: Verdict::Failed, detail: format!("{error:#}") },
    }
}

/// The directory itself or, before the first start, the nearest one above it.
fn existing_ancestor(directory: &Path) -> PathBuf {
    let above = directory.ancestors().find(|path| path.is_dir());
    // The ancestors of a relative path end in an empty one, which stands for the current directory.
    above.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

fn clock_is_sane(now: DateTime<Utc>) -> Found {
    let shown = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    if now.timestamp() < EARLIEST_CLOCK_S {
        anyhow::bail!("the machine's clock shows {shown}: events would be stored under wrong dates");
    }
    Ok((Verdict::Ok, shown))
}

fn writable(data_dir: &Path, place: &Path) -> Found {
    drop(tempfile::NamedTempFile::new_in(place).map_err(|error| anyhow::anyhow!("{}: {error}", place.display()))?);
    if data_dir.is_dir() {
        Ok((Verdict::Ok, format!("{} can be written", data_dir.display())))
    } else {
        Ok((Verdict::Warning, format!("{} does not exist yet; `touchline serve` creates it", data_dir.display())))
    }
}

/// The slowest of a few small durable writes.
fn fsync_time(place: &Path) -> Found {
    let mut probe = tempfile::NamedTempFile::new_in(place)?;
    let mut slowest = Duration::ZERO;
    for _ in 0..PROBE_ROUNDS {
        slowest = slowest.max(durable_write(probe.as_file_mut())?);
    }
    let verdict = if slowest > SLOW_FSYNC { Verdict::Warning } else { Verdict::Ok };
    Ok((verdict, format!("{:.2} ms at worst for {PROBE_BYTES} bytes", slowest.as_secs_f64() * 1_000.0)))
}

fn durable_write(file: &mut File) -> io::Result<Duration> {
    let begun = Instant::now();
    file.write_all(&[0x5a; PROBE_BYTES])?;
    file.sync_data()?;
    Ok(begun.elapsed())
}

fn disk_space(place: &Path, quota_bytes: u64) -> Found {
    let Some(free_bytes) = free_bytes(place) else {
        return Ok((Verdict::Warning, "free space cannot be told here".to_owned()));
    };
    let detail = format!("{} MiB free, the log may take {} MiB", free_bytes >> 20, quota_bytes >> 20);
    // The log is the last thing that must not run out of space, so a disk that cannot hold its quota is a trap.
    let verdict = if free_bytes < quota_bytes { Verdict::Warning } else { Verdict::Ok };
    Ok((verdict, detail))
}

/// Free space for this user, by POSIX `df`: the standard library cannot tell.
fn free_bytes(place: &Path) -> Option<u64> {
    let answer = Command::new("df").arg("-Pk").arg(place).env("LC_ALL", "C").output().ok()?;
    parse_df(std::str::from_utf8(&answer.stdout).ok()?)
}

/// The fourth field of the second line: kibibytes that are available.
fn parse_df(answer: &str) -> Option<u64> {
    let available_kib: u64 = answer.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    available_kib.checked_mul(1_024)
}

/// Opens the database, which brings its tables up to date; one that does not exist is not created.
async fn control_database(settings: &Settings) -> Found {
    let path = settings.data_dir.control_database();
    if !path.exists() {
        return Ok((Verdict::Warning, "does not exist yet".to_owned()));
    }
    let control = ControlDb::open(&path).await?;
    let accounts = control.accounts().await?.len();
    let version = control.schema_version().await?;
    Ok((Verdict::Ok, format!("opens, migrations are current ({version}), accounts: {accounts}")))
}

/// The lake, if it is there with all its tables; otherwise what is missing.
async fn open_lake(settings: &Settings) -> anyhow::Result<Result<Lake, (Verdict, String)>> {
    let root = settings.config.lake.root(&settings.data_dir);
    if !Table::ALL.iter().all(|table| root.join(table.name()).is_dir()) {
        return Ok(Err((Verdict::Warning, format!("{} does not hold all tables yet", root.display()))));
    }
    Ok(Ok(Lake::open(&root, lake_options(&settings.config)).await?))
}

/// By which lists and which database events are judged.
fn enrichment(settings: &Settings) -> Found {
    Ok((Verdict::Ok, open_enricher(&settings.config)?.versions().to_string()))
}

/// Two writers that create one name: the second must be refused, or commits overwrite each other.
async fn store_creates_once(settings: &Settings) -> Found {
    let lake = match open_lake(settings).await? {
        Ok(lake) => lake,
        Err(missing) => return Ok(missing),
    };
    if !lake.table(Table::Events).creates_once().await? {
        anyhow::bail!("the lake's store lets two writers create the same name: commits would be lost without a word");
    }
    Ok((Verdict::Ok, "a name is created once, also by two at the same time".to_owned()))
}

/// Files that no version names. Some are always there: `vacuum` keeps them for a while.
async fn leftovers(settings: &Settings, now: DateTime<Utc>) -> Found {
    let lake = match open_lake(settings).await? {
        Ok(lake) => lake,
        Err(missing) => return Ok(missing),
    };
    let (mut files, mut size_bytes, mut overdue) = (0_u64, 0_u64, 0_u64);
    let kept_hours = settings.config.lake.vacuum_after_hours.saturating_add(VACUUM_LATE_HOURS);
    let due = i64::try_from(kept_hours).ok().and_then(chrono::Duration::try_hours);
    let due = due.and_then(|kept| now.checked_sub_signed(kept)).unwrap_or(DateTime::<Utc>::MIN_UTC);
    for table in Table::ALL {
        let table = lake.table(table);
        let stored = table.stored_files().await?;
        let named = table.named_files().await?;
        let strays = table.strays().await?;
        for file in stored.into_iter().filter(|file| !named.contains(&file.path)) {
            files += 1;
            size_bytes += file.size_bytes;
            overdue += u64::from(strays.since.get(&file.path).is_some_and(|since| *since < due));
        }
    }
    let detail = format!("{files} files with {} MiB that no version names, {overdue} overdue", size_bytes >> 20);
    // The job has not run for a day at least.
    let verdict = if overdue > 0 { Verdict::Warning } else { Verdict::Ok };
    Ok((verdict, detail))
}

/// Opens every table and lists its files.
async fn lake_tables(settings: &Settings) -> Found {
    let lake = match open_lake(settings).await? {
        Ok(lake) => lake,
        Err(missing) => return Ok(missing),
    };
    let mut found = Vec::with_capacity(Table::ALL.len());
    for table in Table::ALL {
        let snapshot = lake.table(table).snapshot().await?;
        let files: usize = snapshot.tenants().map(|tenant| snapshot.files(tenant).len()).sum();
        found.push(format!("{} at version {} with {files} files", table.name(), snapshot.version));
    }
    Ok((Verdict::Ok, found.join(", ")))
}

/// Whether a segment could be created, written and synced where the log is, which may be a disk of its own.
fn log_folder(folder: &Path) -> Found {
    if !folder.is_dir() {
        return Ok((Verdict::Warning, format!("{} does not exist yet", folder.display())));
    }
    let failed = |error: io::Error| anyhow::anyhow!("{}: {error}", folder.display());
    let mut probe = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    let took = durable_write(probe.as_file_mut()).map_err(failed)?;
    drop(probe);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    let verdict = if took > SLOW_FSYNC { Verdict::Warning } else { Verdict::Ok };
    Ok((verdict, format!("can be written and synced, in {:.2} ms", took.as_secs_f64() * 1_000.0)))
}

/// Reads every segment of the log. The end of one that is being written, or was when its process died, is no damage.
fn log_segments(folder: &Path) -> Found {
    if !folder.is_dir() {
        return Ok((Verdict::Warning, format!("{} does not exist yet", folder.display())));
    }
    let (mut segments, mut size_bytes, mut records) = (0_u64, 0_u64, 0_usize);
    for file in list_segments(folder)? {
        let segment = match Segment::read(&file) {
            Ok(segment) => segment,
            // The lake took it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => anyhow::bail!("{}: {error}", file.path.display()),
        };
        if let Some(damage) = segment.damage.iter().find(|damage| !damage.is_torn_tail) {
            anyhow::bail!("{}: bytes {} to {} are damaged", file.path.display(), damage.bytes.start, damage.bytes.end);
        }
        segments += 1;
        size_bytes += file.size_bytes;
        records += segment.payloads().count();
    }
    let detail = format!("{segments} segments with {records} requests, {} KiB, wait for the lake", size_bytes >> 10);
    Ok((Verdict::Ok, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_never_set_fails() {
        let check = |now: &str, expected: bool| {
            let now = now.parse().expect("valid");
            assert_eq!(clock_is_sane(now).is_ok(), expected, "{now}");
        };
        check("1970-01-01T00:01:00Z", false);
        check("2024-12-31T23:59:59Z", false);
        check("2025-01-01T00:00:00Z", true);
    }

    #[test]
    fn free_space_is_read_from_the_fourth_column() {
        let check = |answer: &str, expected: Option<u64>| assert_eq!(parse_df(answer), expected, "{answer}");
        let header = "Filesystem     1024-blocks     Used Available Capacity Mounted on\n";
        check(&format!("{header}/dev/vda1        51290592 13434824  35217656      28% /\n"), Some(35_217_656 * 1_024));
        check(header, None);
        check("", None);
    }

    #[test]
    fn a_directory_that_is_not_there_yet_is_checked_through_the_one_above() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let missing = directory.path().join("a").join("b");
        assert_eq!(existing_ancestor(&missing), directory.path());
        assert_eq!(writable(&missing, directory.path()).expect("writable").0, Verdict::Warning);
        assert_eq!(writable(directory.path(), directory.path()).expect("writable").0, Verdict::Ok);
        assert_eq!(existing_ancestor(Path::new("no-such-directory")), Path::new("."));
    }

    #[test]
    fn probing_leaves_nothing_behind() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fsync_time(directory.path()).expect("durable");
        writable(directory.path(), directory.path()).expect("writable");
        assert_eq!(std::fs::read_dir(directory.path()).expect("readable").count(), 0);
    }
}
