//! What became of what was received, per tenant and hour. It becomes durable inside the commit that it counts.

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use touchline_schemas::Tenant;
use touchline_schemas::control::{IngestCounts, LateEvents};

/// The counts of one segment, as they stand in its commit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SegmentCounts {
    /// The node that wrote the segment.
    pub node: String,
    /// The segment.
    pub segment: i64,
    /// Its counts.
    pub hours: Vec<HourCounts>,
    /// Its stored events that came when their day was over. Commits of before it was counted say nothing of them.
    #[serde(default)]
    pub late: Vec<LateCounts>,
}

/// Events of one tenant and day of UTC that were received when the day was over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LateCounts {
    /// Whose they are.
    #[serde(flatten)]
    pub tenant: Tenant,
    /// The day on which they happened.
    pub day: NaiveDate,
    /// How many.
    pub events: u64,
}

/// Counts of one tenant's events that arrived in one hour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HourCounts {
    #[serde(flatten)]
    tenant: Tenant,
    hour: DateTime<Utc>,
    #[serde(flatten)]
    tally: Tally,
}

/// received = stored + duplicates + rejected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Everything that came.
    pub received: u64,
    /// New events.
    pub stored: u64,
    /// Events that were there.
    pub duplicates: u64,
    /// Refused events.
    pub rejected: u64,
    /// Longest time from arrival to commit.
    pub max_lag_ms: u64,
}

/// Collects counts.
#[derive(Debug, Default)]
pub struct Counter(BTreeMap<(Tenant, DateTime<Utc>), Tally>);

impl Counter {
    /// The tally that an arrival at `received_at` belongs to.
    pub fn tally(&mut self, tenant: Tenant, received_at_us: i64) -> &mut Tally {
        let received_at = DateTime::from_timestamp_micros(received_at_us).unwrap_or_default();
        let hour = received_at.duration_trunc(TimeDelta::hours(1)).unwrap_or(received_at);
        self.0.entry((tenant, hour)).or_default()
    }

    /// Everything together.
    pub fn total(&self) -> Tally {
        self.0.values().fold(Tally::default(), |sum, tally| Tally {
            received: sum.received + tally.received,
            stored: sum.stored + tally.stored,
            duplicates: sum.duplicates + tally.duplicates,
            rejected: sum.rejected + tally.rejected,
            max_lag_ms: sum.max_lag_ms.max(tally.max_lag_ms),
        })
    }

    /// The counts as they go into the commit.
    pub fn counts(&self, node: &str, segment: i64, late: Vec<LateCounts>) -> SegmentCounts {
        let hours = self.0.iter().map(|(&(tenant, hour), &tally)| HourCounts { tenant, hour, tally });
        SegmentCounts { node: node.to_owned(), segment, hours: hours.collect(), late }
    }
}

impl SegmentCounts {
    /// The counts as the control database keeps them.
    pub fn ledger_rows(&self) -> Vec<IngestCounts> {
        self.hours
            .iter()
            .map(|HourCounts { tenant, hour, tally }| IngestCounts {
                tenant: *tenant,
                hour: *hour,
                received: tally.received,
                stored: tally.stored,
                duplicates: tally.duplicates,
                rejected: tally.rejected,
                max_lag_ms: tally.max_lag_ms,
            })
            .collect()
    }

    /// The late events as the control database keeps them.
    pub fn late_rows(&self) -> Vec<LateEvents> {
        let row = |LateCounts { tenant, day, events }: &LateCounts| LateEvents {
            tenant: *tenant,
            day: *day,
            events: *events,
        };
        self.late.iter().map(row).collect()
    }
}
