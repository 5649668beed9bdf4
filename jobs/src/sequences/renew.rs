//! Runs computed from all events: the first time, in full, when events went or the definition changed.

use std::sync::Arc;

use touchline_lake::Change;
use touchline_pipeline::event_sets::{Part as Keys, count, read};
use touchline_pipeline::sequences::{SOURCE, runs_batch};
use touchline_schemas::tables::Table;

use super::work::Part;
use crate::derived::{Replacement, write_days};
use crate::event_sets::{Replaced, scan_events};
use crate::{JobError, JobReport};

/// Events of runs that are held in memory at once. Where there are more, they are read part by part.
const EVENTS_PER_PART: u64 = 3_000_000;

impl Part<'_> {
    /// Computes all of the tenant's runs, and replaces what is stored.
    pub(super) async fn renew(&self, report: &mut JobReport) -> Result<Replaced, JobError> {
        let people = self.sources.people(self.engine, self.tenant).await?;
        let files = self.sources.events.files(self.tenant);
        let table = self.engine.lake().table(Table::SequenceRuns);
        let mut replacement = Replacement::default();
        let of = self.parts(report).await?;
        for number in 0..of {
            self.context.check_cancelled()?;
            let scan = scan_events(files, report);
            let heaps = read(self.engine, scan, &SOURCE, Keys { number, of }).await.map_err(JobError::failed)?;
            let mut rows = Vec::with_capacity(heaps.len());
            for sets in heaps {
                let people = Arc::clone(&people);
                let batch = tokio::task::spawn_blocking(move || runs_batch(&sets.finish(), &people)).await;
                rows.push(batch.map_err(JobError::failed)?.map_err(JobError::failed)?);
            }
            let written = write_days(table, self.tenant, rows, self.context.clock.now()).await;
            replacement.add.extend(written.map_err(JobError::failed)?);
        }
        replacement.remove.extend_from_slice(self.sources.stored.files(self.tenant));
        Ok(Replaced { replacement, change: Change { tenant: self.tenant, files: None } })
    }

    /// In how many parts the events are read.
    async fn parts(&self, report: &mut JobReport) -> Result<u64, JobError> {
        let files = self.sources.events.files(self.tenant);
        if files.iter().map(|file| file.rows).sum::<u64>() <= EVENTS_PER_PART {
            return Ok(1);
        }
        let scan = scan_events(files, report);
        let events = count(self.engine, scan, &SOURCE).await.map_err(JobError::failed)?;
        Ok(events.div_ceil(EVENTS_PER_PART).max(1))
    }
}
