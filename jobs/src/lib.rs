//! Scheduled work: which job runs when, in which process, and what came of it. No metric is defined here; a job is
//! thin, and calls what defines it.

pub mod alerts;
mod derived;
pub mod health;
pub mod identities;
pub mod job;
mod job_metrics;
pub mod lease;
pub mod ledger;
pub mod runner;
pub mod schedule;
pub mod sessions;
pub mod visitors;
pub mod watcher;

pub use alerts::webhook::{AlertsError, Webhook};
pub use identities::IdentitiesJob;
pub use job::{Job, JobContext, JobError, JobPlan, JobReport, PlanPart, Progress, RunRequest};
pub use runner::{Ended, RunError, Runner, RunnerError};
pub use schedule::{Schedule, ScheduleError};
pub use sessions::SessionsJob;
pub use visitors::VisitorsJob;
pub use watcher::Watcher;
