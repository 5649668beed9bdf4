//! The lake's tables: names, partition columns and visible field lists. No other crate spells a column.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

pub mod attribution;
mod describe;
pub mod event_sets;
pub mod events;
pub mod identities;
pub mod identity_edges;
pub mod message_deliveries;
pub mod message_rollups;
pub mod rejected_events;
pub mod sequence_metrics;
pub mod sequence_runs;
pub mod session_revisions;
pub mod sessions;
pub mod touchpoints;
pub mod traffic_rollups;
pub mod visitors;

/// The account that owns the row; first partition column of every table.
pub const ACCOUNT_ID: &str = "account_id";
/// `live` or `test`; second partition column of every table.
pub const ENVIRONMENT: &str = "environment";

/// A Delta table of the lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// One row per accepted event.
    Events,
    /// One row per refused event.
    RejectedEvents,
    /// One row per session.
    Sessions,
    /// One row per person.
    Visitors,
    /// One row per pair of ids and day on which events named both.
    IdentityEdges,
    /// One row per id (and span of time, if people share it) and the person behind it.
    Identities,
    /// One row per session that became part of another.
    SessionRevisions,
    /// One row per conversion and session that may have led to it.
    Touchpoints,
    /// One row per conversion, touch and model.
    Attribution,
    /// One row per day, dimension and value.
    TrafficRollups,
    /// One row per attempt to bring a message to a person.
    MessageDeliveries,
    /// One row per message, variant, channel and day.
    MessageRollups,
    /// One row per person's way through a sequence.
    SequenceRuns,
    /// One row per sequence, step, arm, channel and day.
    SequenceMetrics,
}

impl Table {
    /// Every table.
    pub const ALL: [Table; 14] = [
        Table::Events,
        Table::RejectedEvents,
        Table::Sessions,
        Table::Visitors,
        Table::IdentityEdges,
        Table::Identities,
        Table::SessionRevisions,
        Table::Touchpoints,
        Table::Attribution,
        Table::TrafficRollups,
        Table::MessageDeliveries,
        Table::MessageRollups,
        Table::SequenceRuns,
        Table::SequenceMetrics,
    ];

    /// The table's name, which is also its folder under the lake's root.
    pub const fn name(self) -> &'static str {
        match self {
            Table::Events => "events",
            Table::RejectedEvents => "rejected_events",
            Table::Sessions => "sessions",
            Table::Visitors => "visitors",
            Table::IdentityEdges => "identity_edges",
            Table::Identities => "identities",
            Table::SessionRevisions => "session_revisions",
            Table::Touchpoints => "touchpoints",
            Table::Attribution => "attribution",
            Table::TrafficRollups => "traffic_rollups",
            Table::MessageDeliveries => "message_deliveries",
            Table::MessageRollups => "message_rollups",
            Table::SequenceRuns => "sequence_runs",
            Table::SequenceMetrics => "sequence_metrics",
        }
    }

    /// Account, environment and the table's date column, in the order of the folders.
    pub const fn partition_columns(self) -> [&'static str; 3] {
        let date = match self {
            Table::Events => events::EVENT_DATE,
            Table::RejectedEvents => rejected_events::RECEIVED_DATE,
            Table::Sessions => sessions::SESSION_DATE,
            Table::Visitors => visitors::FIRST_SEEN_DATE,
            Table::IdentityEdges => identity_edges::EDGE_DATE,
            Table::Identities => identities::LINKED_DATE,
            Table::SessionRevisions => session_revisions::REVISED_DATE,
            Table::Touchpoints => touchpoints::CONVERSION_DATE,
            Table::Attribution => attribution::CONVERSION_DATE,
            Table::TrafficRollups => traffic_rollups::ROLLUP_DATE,
            Table::MessageDeliveries => message_deliveries::COHORT_DATE,
            Table::MessageRollups => message_rollups::ROLLUP_DATE,
            Table::SequenceRuns => sequence_runs::BEGAN_DATE,
            Table::SequenceMetrics => sequence_metrics::METRIC_DATE,
        };
        [ACCOUNT_ID, ENVIRONMENT, date]
    }

    /// The columns inside the data files, without the partition columns.
    pub fn file_schema(self) -> SchemaRef {
        Arc::new(Schema::new(match self {
            Table::Events => events::fields(),
            Table::RejectedEvents => rejected_events::fields(),
            Table::Sessions => sessions::fields(),
            Table::Visitors => visitors::fields(),
            Table::IdentityEdges => identity_edges::fields(),
            Table::Identities => identities::fields(),
            Table::SessionRevisions => session_revisions::fields(),
            Table::Touchpoints => touchpoints::fields(),
            Table::Attribution => attribution::fields(),
            Table::TrafficRollups => traffic_rollups::fields(),
            Table::MessageDeliveries => message_deliveries::fields(),
            Table::MessageRollups => message_rollups::fields(),
            Table::SequenceRuns => sequence_runs::fields(),
            Table::SequenceMetrics => sequence_metrics::fields(),
        }))
    }

    /// Partition columns first, then the columns of the files.
    pub fn schema(self) -> SchemaRef {
        let [account, environment, date] = self.partition_columns();
        let mut fields = vec![text(account), text(environment), Field::new(date, DataType::Date32, true)];
        fields.extend(self.file_schema().fields().iter().map(|field| field.as_ref().clone()));
        Arc::new(Schema::new(fields))
    }

    /// The column whose range the statistics of each file give, for pruning by time.
    pub const fn time_column(self) -> &'static str {
        match self {
            Table::Events => events::OCCURRED_AT,
            Table::RejectedEvents => rejected_events::RECEIVED_AT,
            Table::Sessions => sessions::STARTED_AT,
            Table::Visitors => visitors::FIRST_SEEN_AT,
            Table::IdentityEdges => identity_edges::FIRST_AT,
            Table::Identities => identities::LINKED_AT,
            Table::SessionRevisions => session_revisions::REVISED_AT,
            Table::Touchpoints => touchpoints::CONVERTED_AT,
            Table::Attribution => attribution::CONVERTED_AT,
            Table::TrafficRollups => traffic_rollups::DAY_AT,
            Table::MessageDeliveries => message_deliveries::COHORT_AT,
            Table::MessageRollups => message_rollups::DAY_AT,
            Table::SequenceRuns => sequence_runs::BEGAN_AT,
            Table::SequenceMetrics => sequence_metrics::DAY_AT,
        }
    }
}

impl Table {
    /// The column with the end of what a row of this table spans, if it spans time. Files give its latest value.
    pub const fn end_column(self) -> Option<&'static str> {
        match self {
            Table::Sessions => Some(sessions::ENDED_AT),
            Table::MessageDeliveries => Some(message_deliveries::LAST_AT),
            Table::SequenceRuns => Some(sequence_runs::UNDER_WAY_UNTIL),
            Table::Events
            | Table::RejectedEvents
            | Table::Visitors
            | Table::IdentityEdges
            | Table::Identities
            | Table::SessionRevisions
            | Table::Touchpoints
            | Table::Attribution
            | Table::TrafficRollups
            | Table::MessageRollups
            | Table::SequenceMetrics => None,
        }
    }
}

impl Table {
    /// The column with the begin of what a row of this table spans, where that may lie before the table's time. Files
    /// give its earliest value.
    pub const fn begin_column(self) -> Option<&'static str> {
        match self {
            Table::MessageDeliveries => Some(message_deliveries::FIRST_AT),
            Table::Events
            | Table::RejectedEvents
            | Table::Sessions
            | Table::Visitors
            | Table::IdentityEdges
            | Table::Identities
            | Table::SessionRevisions
            | Table::Touchpoints
            | Table::Attribution
            | Table::TrafficRollups
            | Table::MessageRollups
            | Table::SequenceRuns
            | Table::SequenceMetrics => None,
        }
    }
}

impl Table {
    /// The order of the rows in merged files, first by the first column; empty for tables whose files are not merged,
    /// because the job that writes them replaces them whole.
    pub const fn sort_columns(self) -> &'static [&'static str] {
        match self {
            Table::Events => &events::SORT_COLUMNS,
            Table::RejectedEvents => &[rejected_events::RECEIVED_AT, rejected_events::REJECTED_ID],
            Table::SessionRevisions => &[session_revisions::REVISED_AT, session_revisions::SESSION_ID],
            Table::Sessions
            | Table::Visitors
            | Table::IdentityEdges
            | Table::Identities
            | Table::Touchpoints
            | Table::Attribution
            | Table::TrafficRollups
            | Table::MessageDeliveries
            | Table::MessageRollups
            | Table::SequenceRuns
            | Table::SequenceMetrics => &[],
        }
    }
}

/// An instant, UTC, microseconds.
pub fn instant_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A list. Its values go by the name that Delta's readers expect.
pub fn list_type(of: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("element", of, true)))
}

/// Money: 18 digits, 4 of them after the point.
pub const fn money_type() -> DataType {
    DataType::Decimal128(MONEY_PRECISION, MONEY_SCALE)
}

/// Digits of an amount of money.
pub const MONEY_PRECISION: u8 = 18;
/// Digits of an amount of money after the point.
pub const MONEY_SCALE: i8 = 4;

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn instant(name: &str) -> Field {
    Field::new(name, instant_type(), true)
}

fn list(name: &str, of: DataType) -> Field {
    Field::new(name, list_type(of), true)
}

fn count(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

fn flag(name: &str) -> Field {
    Field::new(name, DataType::Boolean, true)
}

fn money(name: &str) -> Field {
    Field::new(name, money_type(), true)
}
