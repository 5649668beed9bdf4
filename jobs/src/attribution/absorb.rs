//! News: only the conversions that they touch are computed anew.

use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::{Days, NaiveDate};
use touchline_lake::DataFile;
use touchline_pipeline::attribution::{Changes, affected, conversions, starts, without};
use touchline_pipeline::scan::LakeScan;
use touchline_schemas::tables::{Table, sessions};

use super::part::{Part, Written, days_of, on_days};
use super::work::News;
use crate::{JobError, JobReport};

impl Part<'_> {
    /// Computes the conversions that came, and those whose journey may have changed.
    pub(super) async fn absorb(
        &self,
        news: &News,
        written: &mut Written,
        report: &mut JobReport,
    ) -> Result<(), JobError> {
        let found = self.touched_by(news, report).await?;
        let all_news = news.events.iter().chain(&news.sessions).chain(&news.identities);
        self.context.progress.advance(all_news.map(|file| file.rows).sum());
        let days = days_of(&found, sessions::STARTED_AT);
        if days.is_empty() {
            return Ok(());
        }
        for (table, stored, replacement) in [
            (Table::Touchpoints, &self.work.touchpoints, &mut written.touchpoints),
            (Table::Attribution, &self.work.attribution, &mut written.attribution),
        ] {
            for day in &days {
                self.context.check_cancelled()?;
                let files = on_days(stored, self.tenant, &(*day..=*day));
                if files.is_empty() {
                    continue;
                }
                let rows = self.scan(table, files.clone(), report);
                let kept = without(&self.engine.context(), rows, found.clone()).map_err(JobError::failed)?;
                self.write(table, kept.collect().await.map_err(JobError::failed)?, replacement).await?;
                replacement.remove.extend(files);
            }
        }
        self.compute(found, written, report).await
    }

    /// New conversions, and known ones whose journey may have changed.
    async fn touched_by(&self, news: &News, report: &mut JobReport) -> Result<Vec<RecordBatch>, JobError> {
        let context = self.engine.context();
        let events = self.scan(Table::Events, news.events.clone(), report);
        let came = conversions(&context, events, self.params).map_err(JobError::failed)?;
        let known = self.scan(Table::Touchpoints, self.within_reach(news).await?, report);
        let changes = Changes {
            sessions: self.scan_changes(Table::Sessions, &news.sessions, report),
            identities: self.scan_changes(Table::Identities, &news.identities, report),
        };
        let changed = affected(&context, known, changes, self.identities(), self.params).await;
        let found = came.union(changed.map_err(JobError::failed)?).map_err(JobError::failed)?;
        found.collect().await.map_err(JobError::failed)
    }

    /// The stored touchpoints that the news may touch. A change of identities may touch any, a session only those after
    /// it.
    async fn within_reach(&self, news: &News) -> Result<Vec<DataFile>, JobError> {
        let stored = &self.work.touchpoints;
        if !news.identities.is_empty() {
            return Ok(stored.files(self.tenant).to_vec());
        }
        if news.sessions.is_empty() {
            return Ok(Vec::new());
        }
        let context = self.engine.context();
        let changes = Arc::new(LakeScan::changes(Table::Sessions, news.sessions.clone()));
        let starts = starts(&context, changes).map_err(JobError::failed)?.collect().await.map_err(JobError::failed)?;
        let days = days_of(&starts, sessions::STARTED_AT);
        let (Some(first), Some(last)) = (days.first(), days.last()) else { return Ok(Vec::new()) };
        let last = last.checked_add_days(Days::new(self.params.lookback_days.into())).unwrap_or(NaiveDate::MAX);
        Ok(on_days(stored, self.tenant, &(*first..=last)))
    }
}
