//! `[ingest]`: what is accepted from clients.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::check::within;

/// 2000-01-01T00:00:00Z in seconds since 1970.
const YEAR_2000_S: i64 = 946_684_800;

/// What is accepted from clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngestConfig {
    /// Largest request body in bytes, after decompression. Default 5,000,000.
    pub max_body_bytes: usize,
    /// Most events in one request. Default 2,000.
    pub max_events_per_request: usize,
    /// Largest event in bytes of JSON; so much is kept of one that is refused. Default 65,536.
    pub max_event_bytes: usize,
    /// Largest `properties` of an event in bytes of JSON. Default 51,200.
    pub max_properties_bytes: usize,
    /// Deepest nesting of an event's JSON, in levels. Default 20.
    pub max_depth: usize,
    /// Longest id, in characters. Default 200.
    pub max_id_chars: usize,
    /// Longest URL, in characters. Default 2,048.
    pub max_url_chars: usize,
    /// Seconds that an event's time may lie ahead of the server's clock. Default 86,400.
    pub max_future_s: u64,
    /// Events before this time are refused. RFC 3339, default `2000-01-01T00:00:00Z`.
    pub min_timestamp: DateTime<Utc>,
    /// Whether IP addresses are cut to /24 (IPv4) or /48 (IPv6) before they are stored. Default true; an account may
    /// choose otherwise for itself.
    pub mask_ip: bool,
    /// A file in MaxMind's format that knows the countries of addresses, such as `GeoLite2-Country.mmdb`. Default none:
    /// events have no country. It is read again within a minute when it is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country_database: Option<String>,
    /// Event ids that are remembered in memory to answer `duplicate` at once. Default 1,000,000. A duplicate that is
    /// older than this window is still never counted.
    pub hot_window_events: usize,
    /// Memory for the filters in front of the index of all event ids, in bytes. Default 268,435,456 (256 MiB), enough
    /// for 130 million ids; ids beyond that cost a read each.
    pub id_filter_bytes: u64,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: 5_000_000,
            max_events_per_request: 2_000,
            max_event_bytes: 65_536,
            max_properties_bytes: 51_200,
            max_depth: 20,
            max_id_chars: 200,
            max_url_chars: 2_048,
            max_future_s: 86_400,
            min_timestamp: DateTime::from_timestamp(YEAR_2000_S, 0).unwrap_or_default(),
            mask_ip: true,
            country_database: None,
            hot_window_events: 1_000_000,
            id_filter_bytes: 268_435_456,
        }
    }
}

impl IngestConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within("ingest.max_body_bytes", self.max_body_bytes, 1_024..=1_073_741_824)?;
        within("ingest.max_events_per_request", self.max_events_per_request, 1..=1_000_000)?;
        within("ingest.max_event_bytes", self.max_event_bytes, 256..=self.max_body_bytes)?;
        within("ingest.max_properties_bytes", self.max_properties_bytes, 2..=self.max_event_bytes)?;
        within("ingest.max_depth", self.max_depth, 2..=100)?;
        within("ingest.max_id_chars", self.max_id_chars, 36..=1_000)?;
        within("ingest.max_url_chars", self.max_url_chars, 64..=32_768)?;
        within("ingest.max_future_s", self.max_future_s, 0..=31_536_000)?;
        within("ingest.hot_window_events", self.hot_window_events, 0..=1_000_000_000)?;
        within("ingest.id_filter_bytes", self.id_filter_bytes, 0..=1_099_511_627_776)
    }
}
