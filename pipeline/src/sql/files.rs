//! Which files a statement may read: those of one tenant, of the tables that its text mentions.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use touchline_lake::{DataFile, Snapshot};
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;

use crate::{PipelineError, QueryEngine};

/// The files of one tenant in one version of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFiles {
    /// The table's name.
    pub table: String,
    /// The version.
    pub version: i64,
    files: Vec<File>,
}

/// A data file: the part of [`DataFile`] that a scan needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct File {
    path: String,
    size_bytes: u64,
    rows: u64,
    date: NaiveDate,
    time_range: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

impl TableFiles {
    fn of(table: Table, snapshot: &Snapshot, tenant: Tenant) -> Self {
        let files = snapshot.files(tenant).iter().map(|file| File {
            path: file.path.clone(),
            size_bytes: file.size_bytes,
            rows: file.rows,
            date: file.date,
            time_range: file.time_range,
        });
        Self { table: table.name().to_owned(), version: snapshot.version, files: files.collect() }
    }

    pub(super) fn into_data_files(self, tenant: Tenant) -> Vec<DataFile> {
        let files = self.files.into_iter().map(|file| DataFile {
            path: file.path,
            tenant,
            date: file.date,
            size_bytes: file.size_bytes,
            rows: file.rows,
            time_range: file.time_range,
            latest_end: None,
            earliest_begin: None,
        });
        files.collect()
    }
}

/// The tenant's files of every table that `sql` mentions, in the newest versions.
///
/// The text is searched and not parsed: that is left to a process that may die of it. A table too many costs nothing,
/// and one that the text does not hold cannot be named by it.
pub async fn files_of(engine: &QueryEngine, tenant: Tenant, sql: &str) -> Result<Vec<TableFiles>, PipelineError> {
    let mut found = Vec::new();
    for table in mentioned(sql) {
        let snapshot = engine.lake().table(table).snapshot().await?;
        found.push(TableFiles::of(table, &snapshot, tenant));
    }
    Ok(found)
}

fn mentioned(sql: &str) -> impl Iterator<Item = Table> {
    let sql = sql.to_ascii_lowercase();
    Table::ALL.into_iter().filter(move |table| sql.contains(table.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_found_however_they_are_written() {
        for (sql, expected) in [
            ("SELECT 1", &[][..]),
            ("SELECT * FROM Events", &[Table::Events][..]),
            ("SELECT * FROM \"visitors\" v JOIN(sessions)", &[Table::Sessions, Table::Visitors]),
            ("SELECT * FROM rejected_events", &[Table::Events, Table::RejectedEvents]),
        ] {
            assert_eq!(mentioned(sql).collect::<Vec<_>>(), expected, "{sql}");
        }
    }
}
