//! Days computed from events: the first run, a full one, days that somebody asks for.

use touchline_lake::DataFile;
use touchline_pipeline::attribution::conversions;
use touchline_schemas::tables::Table;

use super::part::{Part, Written};
use crate::{JobError, JobReport, RunRequest};

/// Most events whose conversions are computed at once, unless a single day has more.
const MAX_EVENTS: u64 = 16_000_000;

impl Part<'_> {
    /// Computes the conversions of the days that `request` names, and replaces what is stored of these days.
    pub(super) async fn renew(
        &self,
        request: RunRequest,
        written: &mut Written,
        report: &mut JobReport,
    ) -> Result<(), JobError> {
        let named = |files: &[DataFile]| -> Vec<DataFile> {
            files.iter().filter(|file| request.names_day(file.date)).cloned().collect()
        };
        for files in chunks(named(self.work.events.files(self.tenant))) {
            self.context.check_cancelled()?;
            let rows_read = files.iter().map(|file| file.rows).sum();
            let context = self.engine.context();
            let events = self.scan(Table::Events, files, report);
            let found = conversions(&context, events, self.params).map_err(JobError::failed)?;
            let found = found.collect().await.map_err(JobError::failed)?;
            self.compute(found, written, report).await?;
            self.context.progress.advance(rows_read);
        }
        written.touchpoints.remove.extend(named(self.work.touchpoints.files(self.tenant)));
        written.attribution.remove.extend(named(self.work.attribution.files(self.tenant)));
        Ok(())
    }
}

/// Files, which are in the order of days, in groups of whole days.
fn chunks(files: Vec<DataFile>) -> Vec<Vec<DataFile>> {
    let mut chunks: Vec<Vec<DataFile>> = Vec::new();
    let mut rows = 0;
    for day in files.chunk_by(|a, b| a.date == b.date) {
        let of_day: u64 = day.iter().map(|file| file.rows).sum();
        rows += of_day;
        match chunks.last_mut() {
            Some(chunk) if rows <= MAX_EVENTS => chunk.extend_from_slice(day),
            _ => {
                rows = of_day;
                chunks.push(day.to_vec());
            }
        }
    }
    chunks
}
