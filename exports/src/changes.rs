//! Which days a run of changes asks about.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use touchline_lake::LakeError;
use touchline_schemas::Tenant;
use touchline_schemas::control::{ExportDay, TableVersions};
use touchline_schemas::tables::Table;

use crate::tables::Tables;

/// What is asked about.
#[derive(Debug)]
pub struct Changed {
    /// The versions for which a reader will then have every row. They are chosen before anything is read: what is newer
    /// in an answer comes again with the next run.
    pub versions: TableVersions,
    /// Up to when what was received is in them.
    pub watermark: Option<DateTime<Utc>>,
    /// The days, in order.
    pub days: BTreeSet<NaiveDate>,
    /// Whether a day is written although the reader has the same bytes of it.
    pub is_everything: bool,
}

/// Finds the days on which `tables` differ from the versions `done`, or all days if nobody knows; `known` are those that a
/// reader has.
///
/// # Errors
///
/// The lake cannot be read.
pub async fn changed(
    lake: &dyn Tables,
    tenant: Tenant,
    tables: &[Table],
    done: Option<&TableVersions>,
    known: &[ExportDay],
) -> Result<Changed, LakeError> {
    let (mut versions, mut watermarks) = (TableVersions::new(), Vec::new());
    for table in tables {
        let newest = lake.newest(*table).await?;
        versions.insert(table.name().to_owned(), newest.version);
        watermarks.push(newest.watermark);
    }
    // Nothing is promised where one table promises nothing.
    let watermark = watermarks.into_iter().min().flatten();
    if let Some(done) = done
        && let Some(days) = since(lake, tenant, tables, done, &versions).await?
    {
        return Ok(Changed { versions, watermark, days, is_everything: false });
    }
    // A day that only the reader has is one that has gone.
    let mut days: BTreeSet<NaiveDate> = known.iter().map(|day| day.day).collect();
    for table in tables {
        days.extend(lake.days(*table, tenant).await?);
    }
    Ok(Changed { versions, watermark, days, is_everything: true })
}

/// The days that changed between two versions of each table; `None` if it may be any.
async fn since(
    lake: &dyn Tables,
    tenant: Tenant,
    tables: &[Table],
    done: &TableVersions,
    now: &TableVersions,
) -> Result<Option<BTreeSet<NaiveDate>>, LakeError> {
    let by_name: BTreeMap<&str, Table> = tables.iter().map(|table| (table.name(), *table)).collect();
    if !done.keys().map(String::as_str).eq(by_name.keys().copied()) {
        return Ok(None);
    }
    let mut days = BTreeSet::new();
    for (name, table) in by_name {
        let (Some(done), Some(now)) = (done.get(name), now.get(name)) else { return Ok(None) };
        if done.id != now.id || done.version > now.version {
            return Ok(None);
        }
        match lake.days_changed(table, tenant, done.version, now.version).await? {
            Some(changed) => days.extend(changed),
            None => return Ok(None),
        }
    }
    Ok(Some(days))
}
