//! What a scheduled export is: a question, the form of its answer, when it is asked, and where the answer goes.
//!
//! A definition comes as JSON, over HTTP and at the command line alike, and [`ExportDefinition::read`] is the one place
//! that judges it.

mod check;
mod destination;
mod path;
mod read;
mod source;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

pub use destination::{Destination, DestinationError};
pub use path::{PathError, PathTemplate, PathWords};
pub use read::{DefinitionField, InvalidExport};
pub use source::{ExportSource, RANGE_PARAMS, ReportSource, SourceError, SqlSource};

/// Most characters of a name.
pub const MAX_NAME_CHARS: usize = 63;
/// Most whole days that a snapshot may look back.
pub const MAX_LAST_DAYS: u16 = 3_660;

/// What an account wants to have exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportDefinition {
    /// Its name, which no other export of the account in this environment has: 1 to 63 lower-case letters, digits and
    /// hyphens, of which the first is no hyphen.
    pub name: String,
    /// The question.
    pub source: ExportSource,
    /// The form of the files.
    pub format: ExportFormat,
    /// Whether every run writes everything, or what has changed.
    #[serde(default)]
    pub mode: ExportMode,
    /// The answer is about so many whole days before the run's time, 1 to 3,660. For snapshots only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_days: Option<u16>,
    /// When it runs by itself. Without one it runs when somebody asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ExportSchedule>,
    /// Where the files go.
    pub destination: Destination,
    /// The folder of a run below the destination.
    #[serde(default)]
    pub path: PathTemplate,
    /// Who is told when a run has ended: an https address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// Whether its schedule rests.
    #[serde(default)]
    pub is_paused: bool,
}

impl ExportDefinition {
    /// The time zone of its days: that of its schedule, else UTC. The days of changes are days of UTC in either case.
    pub fn time_zone(&self) -> Tz {
        let named = self.schedule.as_ref().and_then(|schedule| schedule.time_zone.parse().ok());
        named.filter(|_| self.mode == ExportMode::Snapshot).unwrap_or(Tz::UTC)
    }

    /// Whether the runner says which days are asked about: then the source names no `from` and `to` of its own.
    pub fn is_given_a_range(&self) -> bool {
        self.mode == ExportMode::Changes || self.last_days.is_some()
    }
}

/// The form of an export's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExportFormat {
    /// Comma-separated values.
    #[serde(rename = "csv")]
    Csv,
    /// The same, compressed with gzip.
    #[serde(rename = "csv.gz")]
    CsvGz,
    /// One JSON object a line.
    #[serde(rename = "ndjson")]
    Ndjson,
    /// Parquet.
    #[serde(rename = "parquet")]
    Parquet,
}

impl ExportFormat {
    /// The word used in texts, which is also the ending of the files' names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::CsvGz => "csv.gz",
            Self::Ndjson => "ndjson",
            Self::Parquet => "parquet",
        }
    }
}

/// What a run writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportMode {
    /// The whole answer.
    #[default]
    Snapshot,
    /// The days whose rows have changed since the last run, and which days have no rows any more.
    Changes,
}

impl ExportMode {
    /// The word used in texts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Changes => "changes",
        }
    }
}

/// When an export runs by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportSchedule {
    /// Second, minute, hour, day of month, month, day of week.
    pub cron: String,
    /// IANA name of the time zone on whose clocks `cron` is read, and whose days `last_days` counts.
    #[serde(default = "ExportSchedule::utc")]
    pub time_zone: String,
}

impl ExportSchedule {
    fn utc() -> String {
        "UTC".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_definition_is_written_as_it_is_read() {
        let full = json!({
            "name": "sales",
            "source": {"sql": "SELECT 1 WHERE $from < $to", "params": {"x": 1}, "tables": ["sessions"]},
            "format": "csv.gz",
            "mode": "changes",
            "schedule": {"cron": "0 0 6 * * *", "time_zone": "Europe/Vienna"},
            "destination": "s3://bucket/prefix",
            "path": "{date}/{run_id}",
            "webhook": "https://hooks.example/x",
            "is_paused": true,
        });
        let definition: ExportDefinition = serde_json::from_value(full.clone()).unwrap();
        assert_eq!(serde_json::to_value(&definition).unwrap(), full);
    }

    #[test]
    fn days_are_those_of_the_schedules_time_zone_and_of_utc_for_changes() {
        let check = |mode: &str, schedule: serde_json::Value, expected: Tz| {
            let definition: ExportDefinition = serde_json::from_value(json!({
                "name": "a", "source": {"report": "traffic"}, "format": "csv", "destination": "file:a",
                "mode": mode, "schedule": schedule,
            }))
            .unwrap();
            assert_eq!(definition.time_zone(), expected, "{mode}");
        };
        let vienna = json!({"cron": "0 0 6 * * *", "time_zone": "Europe/Vienna"});
        check("snapshot", vienna.clone(), Tz::Europe__Vienna);
        check("changes", vienna, Tz::UTC);
        check("snapshot", json!({"cron": "0 0 6 * * *"}), Tz::UTC);
        check("snapshot", json!(null), Tz::UTC);
    }
}
