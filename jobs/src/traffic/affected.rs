//! Which days of which tenants are to be computed anew, and why.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use touchline_lake::DataFile;
use touchline_pipeline::days::{Days, date_of, number_of};
use touchline_pipeline::traffic::days_of_rows;
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;

use super::settings::TrafficSettings;
use super::{TrafficJob, Versions};
use crate::{JobError, RunRequest};

/// What is to be done for a tenant.
#[derive(Debug)]
pub(super) struct Affected {
    /// Why, as the plan says it.
    pub reason: &'static str,
    /// Days of either calendar; none if nothing is to be done.
    pub days: BTreeSet<NaiveDate>,
    pub settings: TrafficSettings,
}

/// The days of UTC on which a source's rows came or went; `None` if that may be any.
type Changed = Option<BTreeMap<Tenant, BTreeSet<NaiveDate>>>;

impl TrafficJob {
    /// Every tenant that has or had rows, with what is to be done for it.
    pub(super) async fn affected(
        &self,
        versions: &Versions,
        request: RunRequest,
    ) -> Result<BTreeMap<Tenant, Affected>, JobError> {
        let sessions = self.sessions_changed(versions).await?;
        let events = self.events_changed(versions).await?;
        let snapshots = [&versions.sessions, &versions.events, &versions.existing];
        let tenants: BTreeSet<Tenant> = snapshots.iter().flat_map(|snapshot| snapshot.tenants()).collect();
        let known = versions.existing.info.as_ref().map(|info| &info.settings);
        let mut affected = BTreeMap::new();
        for tenant in tenants {
            let settings = TrafficSettings::read(&self.control, tenant).await?;
            let is_known = known.and_then(|known| known.get(&tenant.to_string())) == Some(&settings.fingerprint());
            let mut during = DaysDuring(Days::new(settings.time_zone));
            let renewed = request.renews(tenant);
            let (reason, days) = match (&sessions, &events) {
                (Some(sessions), Some(events)) if is_known && !(renewed && request.all_days()) => {
                    let changed = [sessions, events].into_iter().filter_map(|source| source.get(&tenant)).flatten();
                    let mut days = during.all(changed.copied());
                    let reason = if renewed { "asked for" } else { "new rows" };
                    if renewed {
                        days.extend(
                            every_day(versions, tenant, &mut during).into_iter().filter(|day| request.names_day(*day)),
                        );
                    }
                    (reason, days)
                }
                (Some(_), Some(_)) if renewed => ("asked for", every_day(versions, tenant, &mut during)),
                (Some(_), Some(_)) => ("settings changed", every_day(versions, tenant, &mut during)),
                (None, _) | (_, None) => ("first run", every_day(versions, tenant, &mut during)),
            };
            affected.insert(tenant, Affected { reason, days, settings });
        }
        Ok(affected)
    }

    async fn events_changed(&self, versions: &Versions) -> Result<Changed, JobError> {
        let Some(done) = versions.done(Table::Events) else { return Ok(None) };
        let table = self.engine.lake().table(Table::Events);
        table.days_changed(done, versions.events.version).await.map_err(JobError::failed)
    }

    /// The days of the sessions that came or went, where the job `sessions` has left word of them; else those whose
    /// files were replaced, of which many may be as before.
    async fn sessions_changed(&self, versions: &Versions) -> Result<Changed, JobError> {
        let Some(done) = versions.done(Table::Sessions) else { return Ok(None) };
        let table = self.engine.lake().table(Table::Sessions);
        let through = versions.sessions.version;
        let Some(changes) = table.changes(done, through).await.map_err(JobError::failed)? else { return Ok(None) };
        let Some(replaced) = table.days_changed(done, through).await.map_err(JobError::failed)? else {
            return Ok(None);
        };
        let mut changed = BTreeMap::new();
        for (tenant, files) in changes.by_tenant {
            let days = match files {
                Some(files) => self.days_in(files).await?,
                None => replaced.get(&tenant).cloned().unwrap_or_default(),
            };
            changed.insert(tenant, days);
        }
        Ok(Some(changed))
    }

    async fn days_in(&self, change_files: Vec<DataFile>) -> Result<BTreeSet<NaiveDate>, JobError> {
        days_of_rows(&self.engine, Table::Sessions, change_files).await.map_err(JobError::failed)
    }
}

/// From days of UTC to the days of both calendars.
struct DaysDuring(Days);

impl DaysDuring {
    fn all(&mut self, utc_days: impl Iterator<Item = NaiveDate>) -> BTreeSet<NaiveDate> {
        let mut days = BTreeSet::new();
        for utc_day in utc_days {
            days.extend(self.0.during_utc_day(number_of(utc_day)).into_iter().map(date_of));
            days.insert(utc_day);
        }
        days
    }
}

/// All days on which a tenant has sessions, events or rollups.
fn every_day(versions: &Versions, tenant: Tenant, during: &mut DaysDuring) -> BTreeSet<NaiveDate> {
    let sources = [&versions.sessions, &versions.events].into_iter().flat_map(|source| source.files(tenant));
    let mut days = during.all(sources.map(|file| file.date));
    days.extend(versions.existing.files(tenant).iter().map(|file| file.date));
    days
}
