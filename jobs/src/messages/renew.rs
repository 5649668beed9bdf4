//! Deliveries computed from all events: the first run, a full one, goals that changed, events that went.
//!
//! Which goals followed a delivery can only be said once all exposures are known, so that they are gathered first. Where
//! there are so many events that not all sets fit into memory, they are gathered and written part by part, and events
//! are read twice.

use std::convert::Infallible;
use std::sync::Arc;

use touchline_lake::{Change, DataFile};
use touchline_pipeline::event_sets::{Part as Keys, count, read};
use touchline_pipeline::identities::People;
use touchline_pipeline::messages::SOURCE;
use touchline_pipeline::messages::conversions::{Conversions, Journeys};
use touchline_pipeline::messages::goals::goal_events;
use touchline_pipeline::messages::rows::Attempts;
use touchline_pipeline::scan::LakeScan;
use touchline_schemas::tables::Table;

use super::work::{Part, blocking};
use crate::derived::{Replacement, day_of, write_days};
use crate::event_sets::{Replaced, scan_events};
use crate::{JobError, JobReport};

/// Events of messages whose sets are held in memory at once.
const EVENTS_PER_PART: u64 = 3_000_000;

impl Part<'_> {
    /// Computes all of the tenant's deliveries.
    pub(super) async fn renew(&self, report: &mut JobReport) -> Result<Replaced, JobError> {
        let people = self.sources.people(self.engine, self.tenant).await?;
        let of = self.message_events(report).await?.div_ceil(EVENTS_PER_PART).max(1);
        let mut journeys = Journeys::default();
        let mut kept = Vec::new();
        // Nothing can follow where there are no goals.
        for number in (0..of).filter(|_| !self.goals.is_empty()) {
            self.context.check_cancelled()?;
            kept.clear();
            let attempts = self.attempts(Keys { number, of }, &people, report).await?;
            (kept, journeys) = blocking(move || {
                let added = attempts.iter().try_for_each(|attempts| attempts.add_to(&mut journeys));
                added.map(|()| (attempts, journeys))
            })
            .await?;
        }
        let conversions = self.conversions(journeys, &people, report).await?;
        let mut replacement = Replacement::default();
        for number in 0..of {
            self.context.check_cancelled()?;
            let mut attempts = std::mem::take(&mut kept);
            if of > 1 || self.goals.is_empty() {
                attempts.clear();
                attempts = self.attempts(Keys { number, of }, &people, report).await?;
            }
            self.write(attempts, &conversions, &mut replacement).await?;
        }
        replacement.remove.extend_from_slice(self.sources.stored.files(self.tenant));
        Ok(Replaced { replacement, change: Change { tenant: self.tenant, files: None } })
    }

    /// How many events of messages there are.
    async fn message_events(&self, report: &mut JobReport) -> Result<u64, JobError> {
        let files = self.sources.events.files(self.tenant).to_vec();
        if files.iter().map(|file| file.rows).sum::<u64>() <= EVENTS_PER_PART {
            return Ok(0);
        }
        report.rows_read += files.iter().map(|file| file.rows).sum::<u64>();
        count(self.engine, LakeScan::new(Table::Events, files), &SOURCE).await.map_err(JobError::failed)
    }

    async fn attempts(
        &self,
        keys: Keys,
        people: &Arc<People>,
        report: &mut JobReport,
    ) -> Result<Vec<Attempts>, JobError> {
        let scan = scan_events(self.sources.events.files(self.tenant), report);
        let heaps = read(self.engine, scan, &SOURCE, keys).await.map_err(JobError::failed)?;
        let tasks = heaps.into_iter().map(|sets| {
            let people = Arc::clone(people);
            blocking(move || Ok::<_, Infallible>(Attempts::of(sets, &people)))
        });
        futures::future::try_join_all(tasks).await
    }

    /// Which goals followed which delivery; goal events are looked for on the days on which they can count.
    pub(super) async fn conversions(
        &self,
        mut journeys: Journeys,
        people: &People,
        report: &mut JobReport,
    ) -> Result<Arc<Conversions>, JobError> {
        let Some((first_us, last_us)) = journeys.span_us().filter(|_| !self.goals.is_empty()) else {
            return Ok(Arc::default());
        };
        let days = day_of(first_us)..=day_of(last_us.saturating_add(self.goals.longest_window_us()));
        let files = self.sources.events.files(self.tenant).iter().filter(|file| days.contains(&file.date));
        let files: Vec<DataFile> = files.cloned().collect();
        let scan = scan_events(&files, report);
        let found = goal_events(self.engine, scan, people, self.goals, |event| journeys.add_goal_event(&event)).await;
        found.map_err(JobError::failed)?;
        let goals = self.goals.clone();
        let conversions = tokio::task::spawn_blocking(move || journeys.conversions(&goals)).await;
        Ok(Arc::new(conversions.map_err(JobError::failed)?))
    }

    async fn write(
        &self,
        attempts: Vec<Attempts>,
        conversions: &Arc<Conversions>,
        replacement: &mut Replacement,
    ) -> Result<(), JobError> {
        let table = self.engine.lake().table(Table::MessageDeliveries);
        let tasks = attempts.into_iter().map(|attempts| {
            let conversions = Arc::clone(conversions);
            blocking(move || attempts.rows(&conversions))
        });
        let rows = futures::future::try_join_all(tasks).await?.into_iter().flatten().collect();
        let written = write_days(table, self.tenant, rows, self.context.clock.now()).await;
        replacement.add.extend(written.map_err(JobError::failed)?);
        Ok(())
    }
}
