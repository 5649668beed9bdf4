//! Scheduled work: which job runs when, in which process, and what came of it. No metric is defined here; a job is
//! thin, and calls what defines it.

pub mod alerts;
pub mod attribution;
pub mod compaction;
mod derived;
pub mod enrichment;
pub mod erase;
mod event_sets;
pub mod health;
pub mod identities;
pub mod job;
mod job_metrics;
pub mod lease;
pub mod ledger;
pub mod messages;
pub mod retention;
mod rewriting;
pub mod runner;
pub mod schedule;
pub mod sequences;
pub mod sessions;
pub mod standard_webhooks;
pub mod traffic;
pub mod vacuum;
pub mod verify;
pub mod visitors;
pub mod watcher;

pub use alerts::webhook::{AlertsError, Webhook};
pub use attribution::AttributionJob;
pub use compaction::CompactionJob;
pub use enrichment::EnrichmentJob;
pub use identities::IdentitiesJob;
pub use job::{Job, JobContext, JobError, JobPlan, JobReport, PlanPart, Progress, RunRequest};
pub use messages::MessagesJob;
pub use retention::RetentionJob;
pub use runner::{Ended, JobState, RunError, Runner, RunnerError};
pub use schedule::{Schedule, ScheduleError};
pub use sequences::SequencesJob;
pub use sessions::SessionsJob;
pub use traffic::TrafficJob;
pub use vacuum::VacuumJob;
pub use verify::{Verifier, VerifyJob};
pub use visitors::VisitorsJob;
pub use watcher::Watcher;
