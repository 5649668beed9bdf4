//! Lists of rows, newest first: a page of one, or all of it, day by day.

use std::collections::BTreeSet;

use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::DataFrame;
use futures::{StreamExt, TryStreamExt, stream};
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;

use super::rows::{ListKey, Page};
use super::{Answer, AnswerMeta, TimeRange, range_filters, run};
use crate::scan::LakeScan;
use crate::{PipelineError, QueryEngine};

/// Which rows of a table are listed, and how they are ordered.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub table: Table,
    /// By the time of the key, which is that of the table.
    pub range: TimeRange,
    pub key: ListKey,
    pub page: Page,
    pub definition: &'static str,
}

impl Listed {
    /// The rows that `choose` leaves of those of the range. If all are wanted they are sorted day by day, while they are
    /// read: that takes the memory of a day, however long the range is.
    pub async fn answer<F>(self, engine: &QueryEngine, tenant: Tenant, choose: F) -> Result<Answer, PipelineError>
    where
        F: Fn(DataFrame) -> Result<DataFrame, PipelineError> + Send + Sync + 'static,
    {
        let (scan, snapshot) = engine.scan(self.table, tenant).await?;
        let meta = AnswerMeta::new(&snapshot, self.definition);
        let whole = self.frame(engine, scan.clone(), self.range, &choose)?;
        let days = match self.page.limit {
            Some(_) => None,
            None => days(&scan, self.range),
        };
        let Some(days) = days else { return run(whole, meta).await };
        let schema = SchemaRef::clone(whole.schema().inner());
        // What is planned to be read is told in the answer's head, before the first day is read.
        whole.create_physical_plan().await?;
        let (engine, scan) = (engine.clone(), scan.uncounted());
        let batches = stream::iter(days.into_iter().rev()).then(move |day| {
            let frame = self.frame(&engine, scan.clone(), of_day(self.range, day), &choose);
            async move { frame.map_err(|error| DataFusionError::External(Box::new(error)))?.execute_stream().await }
        });
        let batches = RecordBatchStreamAdapter::new(SchemaRef::clone(&schema), batches.try_flatten().boxed());
        Ok(Answer { schema, batches: Box::pin(batches), meta })
    }

    fn frame(
        &self,
        engine: &QueryEngine,
        scan: LakeScan,
        range: TimeRange,
        choose: &impl Fn(DataFrame) -> Result<DataFrame, PipelineError>,
    ) -> Result<DataFrame, PipelineError> {
        let mut frame = scan.frame(&engine.context())?;
        for filter in range_filters(self.table, range) {
            frame = frame.filter(filter)?;
        }
        self.key.page(choose(frame)?, &self.page)
    }
}

/// The days of UTC of the range on which files have rows; `None` if a file does not say.
fn days(scan: &LakeScan, range: TimeRange) -> Option<BTreeSet<NaiveDate>> {
    let mut days = BTreeSet::new();
    for file in scan.files() {
        let (earliest, latest) = file.time_range?;
        let earliest = range.from.map_or(earliest, |from| from.max(earliest));
        let latest = range.to.map_or(latest, |to| to.min(latest));
        days.extend(earliest.date_naive().iter_days().take_while(|day| *day <= latest.date_naive()));
    }
    Some(days)
}

/// What of the range lies on a day.
fn of_day(range: TimeRange, day: NaiveDate) -> TimeRange {
    let begin = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    let end: Option<DateTime<Utc>> = day.checked_add_days(Days::new(1)).map(begin);
    TimeRange {
        from: Some(range.from.map_or(begin(day), |from| from.max(begin(day)))),
        to: range.to.into_iter().chain(end).min(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_cut_by_the_range() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let day: NaiveDate = "2026-03-02".parse().unwrap();
        for (from, to, expected) in [
            (None, None, ("2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z")),
            (Some("2026-03-01T10:00:00Z"), None, ("2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z")),
            (
                Some("2026-03-02T10:00:00Z"),
                Some("2026-03-02T11:00:00Z"),
                ("2026-03-02T10:00:00Z", "2026-03-02T11:00:00Z"),
            ),
            (None, Some("2026-03-09T00:00:00Z"), ("2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z")),
        ] {
            let range = TimeRange { from: from.map(at), to: to.map(at) };
            let (from, to) = expected;
            assert_eq!(of_day(range, day), TimeRange { from: Some(at(from)), to: Some(at(to)) });
        }
    }
}
