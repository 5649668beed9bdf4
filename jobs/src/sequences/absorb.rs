//! Runs that take up new events, or whose person is another since ids changed hands.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringViewArray};
use arrow::error::ArrowError;
use touchline_lake::DataFile;
use touchline_pipeline::event_sets::read_together;
use touchline_pipeline::scan::LakeScan;
use touchline_pipeline::sequences::{SOURCE, runs_batch};
use touchline_schemas::tables::{Table, identities, identity_edges, sequence_runs as column};

use super::work::Part;
use crate::event_sets::{News, Replaced, find, replace, scan_events};
use crate::{JobError, JobReport};

/// Which stored runs are computed anew.
#[derive(Default)]
struct Wanted {
    run_ids: HashSet<String>,
    visitor_ids: HashSet<String>,
    user_ids: HashSet<String>,
}

impl Wanted {
    const COLUMNS: [&'static str; 3] = [column::RUN_ID, column::IDS[0], column::IDS[1]];

    fn among(&self, rows: &RecordBatch) -> Result<BooleanArray, ArrowError> {
        let [run_ids, visitors, users] = Self::COLUMNS.map(|name| texts(rows, name));
        let (run_ids, visitors, users) = (run_ids?, visitors?, users?);
        let is_in =
            |ids: &StringViewArray, row, wanted: &HashSet<String>| ids.is_valid(row) && wanted.contains(ids.value(row));
        let wants = |row| {
            is_in(run_ids, row, &self.run_ids)
                || is_in(visitors, row, &self.visitor_ids)
                || is_in(users, row, &self.user_ids)
        };
        Ok((0..rows.num_rows()).map(|row| Some(wants(row))).collect())
    }

    fn is_empty(&self) -> bool {
        self.run_ids.is_empty() && self.visitor_ids.is_empty() && self.user_ids.is_empty()
    }
}

fn texts<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a StringViewArray, ArrowError> {
    let texts = rows.column_by_name(name).and_then(|texts| texts.as_string_view_opt());
    texts.ok_or_else(|| ArrowError::SchemaError(format!("there are no texts `{name}`")))
}

impl Part<'_> {
    /// Brings the tenant's runs up to what is new.
    pub(super) async fn absorb(&self, news: &News, report: &mut JobReport) -> Result<Replaced, JobError> {
        let table = self.engine.lake().table(Table::SequenceRuns);
        let stored = self.sources.stored.files(self.tenant);
        let scan = scan_events(&news.events, report);
        let mut sets = read_together(self.engine, scan, &SOURCE).await.map_err(JobError::failed)?;
        let mut wanted = self.of_other_people(&news.identities).await?;
        wanted.run_ids.extend(sets.keys().map(|key| key.into_owned()));
        let found = if wanted.is_empty() {
            Vec::new()
        } else {
            find(self.engine, Table::SequenceRuns, stored, &Wanted::COLUMNS, |rows| wanted.among(rows), report).await?
        };
        for found in &found {
            sets.push_rows(&found.rows, column::RUN_ID, false).map_err(JobError::failed)?;
        }
        let people = self.sources.people(self.engine, self.tenant).await?;
        let came = tokio::task::spawn_blocking(move || runs_batch(&sets.finish(), &people)).await;
        let came = came.map_err(JobError::failed)?.map_err(JobError::failed)?;
        replace(table, self.tenant, stored, found, &came, column::RUN_ID, self.context).await
    }

    /// The ids of which `identities` say something else than before.
    async fn of_other_people(&self, changes: &[DataFile]) -> Result<Wanted, JobError> {
        let mut wanted = Wanted::default();
        if changes.is_empty() {
            return Ok(wanted);
        }
        let scan = Arc::new(LakeScan::changes(Table::Identities, changes.to_vec()));
        let rows = self.engine.context().read_table(scan).map_err(JobError::failed)?;
        for batch in rows.collect().await.map_err(JobError::failed)? {
            let types = texts(&batch, identities::ID_TYPE).map_err(JobError::failed)?;
            let ids = texts(&batch, identities::ID).map_err(JobError::failed)?;
            for (id_type, id) in types.iter().zip(ids).filter_map(|(id_type, id)| id_type.zip(id)) {
                let of_type =
                    if id_type == identity_edges::TYPE_USER { &mut wanted.user_ids } else { &mut wanted.visitor_ids };
                of_type.insert(id.to_owned());
            }
        }
        Ok(wanted)
    }
}
