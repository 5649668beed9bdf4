//! Sequences: what became of each person's run, and what the runs of a sequence say together.
//!
//! Definition, version 1. A *run* is the set of the `$sequence_*` events with one `run_id`. Everything that is said of it
//! is chosen from that set by time and id ([`Run::of`]), so that neither order, lateness, duplication nor batching of the
//! events can matter.
//!
//! One thing implies another where its own event is missing: what is done was reached, a branch is the doing of its step,
//! and a run that ended in a step had reached it. A run of which no event says that it was entered is an orphan: what was
//! drawn for it is not known, and it counts apart.
//!
//! The rows of the metrics are sums over runs, but for people and quartiles ([`Metrics`]). Runs that go on are looked at
//! as of an instant that the caller gives.

mod facts;
mod metrics;
mod rows;
mod run;
#[cfg(test)]
mod tests;

use touchline_schemas::event::messaging::{
    SEQUENCE_BRANCH, SEQUENCE_ENTERED, SEQUENCE_EXITED, SEQUENCE_STEP_DONE, SEQUENCE_STEP_DUE,
};

pub use facts::{Changed, Seen, changed};
pub use metrics::{MetricRow, Metrics, Scope, metric_rows, metrics_batch};
pub use rows::{StoredRuns, run_columns, runs_batch};
pub use run::{Run, Step};

use crate::event_sets::{Key, Source};

/// Names this definition in answers.
pub const DEFINITION: &str = "sequences/1";

/// The events of runs.
pub const SOURCE: Source = Source {
    event_types: &[SEQUENCE_ENTERED, SEQUENCE_STEP_DUE, SEQUENCE_STEP_DONE, SEQUENCE_BRANCH, SEQUENCE_EXITED],
    key: |event| Some(Key::of(0, event.properties().run_id?)),
};
