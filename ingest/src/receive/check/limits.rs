//! How large items and requests may be.

use chrono::{DateTime, Utc};
use touchline_schemas::config::IngestConfig;

/// Limits of items and requests; each is named in the configuration under `ingest`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// `max_body_bytes`: a body, after decompression.
    pub max_body_bytes: usize,
    /// `max_events_per_request`
    pub max_events_per_request: usize,
    /// `max_event_bytes`: one event as sent.
    pub max_event_bytes: usize,
    /// `max_properties_bytes`: the properties of an event as sent.
    pub max_properties_bytes: usize,
    /// `max_depth`: objects and arrays nested in an event.
    pub max_depth: usize,
    /// `max_id_chars`: each id.
    pub max_id_chars: usize,
    /// `max_url_chars`: what a column of an address takes; longer ones stay in the properties.
    pub max_url_chars: usize,
    /// `max_future_s`: how far ahead of the server's clock an event may be.
    pub max_future_s: i64,
    /// `min_timestamp`: the earliest time of an event.
    pub min_timestamp: DateTime<Utc>,
}

impl From<&IngestConfig> for Limits {
    fn from(config: &IngestConfig) -> Self {
        Self {
            max_body_bytes: config.max_body_bytes,
            max_events_per_request: config.max_events_per_request,
            max_event_bytes: config.max_event_bytes,
            max_properties_bytes: config.max_properties_bytes,
            max_depth: config.max_depth,
            max_id_chars: config.max_id_chars,
            max_url_chars: config.max_url_chars,
            max_future_s: i64::try_from(config.max_future_s).unwrap_or(i64::MAX),
            min_timestamp: config.min_timestamp,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::from(&IngestConfig::default())
    }
}
