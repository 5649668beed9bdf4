//! Scheduled work: which job runs when, in which process, and what came of it. No metric is defined here; a job is
//! thin, and calls what defines it.

pub mod compaction;
mod derived;
pub mod erase;
pub mod job;
pub mod lease;
pub mod ledger;
pub mod retention;
pub mod runner;
pub mod schedule;
pub mod sessions;
pub mod vacuum;
pub mod visitors;

pub use compaction::CompactionJob;
pub use job::{Job, JobContext, JobError, JobPlan, JobReport, PlanPart, Progress, RunRequest};
pub use retention::RetentionJob;
pub use runner::{RunError, Runner, RunnerError};
pub use schedule::{Schedule, ScheduleError};
pub use sessions::SessionsJob;
pub use vacuum::VacuumJob;
pub use visitors::VisitorsJob;
