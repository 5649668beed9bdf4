//! `[jobs]`: the schedule of the derived tables.

use serde::{Deserialize, Deserializer, Serialize};

use super::ConfigError;
use super::check::within;

/// The schedule of a job that runs only when somebody asks for it.
pub const NEVER: &str = "never";

/// One section for each job: its name, what it does, its default schedule.
macro_rules! jobs {
    ($($(#[$doc:meta])* $job:ident = $schedule:literal, as $from:literal;)*) => {
        /// The schedule of the derived tables.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct JobsConfig {
            /// Whether this process runs jobs by their schedule. Default true; a run that is asked for works either
            /// way.
            pub enabled: bool,
            /// Seconds between two looks at the schedules. Default 1.
            pub poll_interval_s: u64,
            /// Seconds after which a job that a dead process was running may be started by another. Default 60.
            pub lease_ttl_s: u64,
            /// Days for which runs stay in the history. Default 90; of each job the newest run and the newest that
            /// succeeded stay longer.
            pub history_days: u16,
            $($(#[$doc])* #[serde(deserialize_with = $from)] pub $job: JobConfig,)*
        }

        impl Default for JobsConfig {
            fn default() -> Self {
                Self {
                    enabled: true,
                    poll_interval_s: 1,
                    lease_ttl_s: 60,
                    history_days: 90,
                    $($job: JobConfig::every($schedule),)*
                }
            }
        }

        impl JobsConfig {
            /// The section of the job called `name`, if there is such a job.
            pub fn job(&self, name: &str) -> Option<&JobConfig> {
                match name {
                    $(stringify!($job) => Some(&self.$job),)*
                    _ => None,
                }
            }

            pub(super) fn validate(&self) -> Result<(), ConfigError> {
                within("jobs.poll_interval_s", self.poll_interval_s, 1..=3_600)?;
                within("jobs.lease_ttl_s", self.lease_ttl_s, 5..=86_400)?;
                within("jobs.history_days", self.history_days, 1..=3_650)?;
                $(self.$job.validate(concat!("jobs.", stringify!($job)))?;)*
                Ok(())
            }
        }

        /// What a section leaves out has the default of its own job, which one `Default` for the type could not give.
        mod section {
            use super::{Deserialize, Deserializer, JobConfig, JobsConfig, PartialJob};

            $(pub(super) fn $job<'de, D: Deserializer<'de>>(deserializer: D) -> Result<JobConfig, D::Error> {
                Ok(PartialJob::deserialize(deserializer)?.over(JobsConfig::default().$job))
            })*
        }
    };
}

jobs! {
    /// Events to identity edges and people.
    identities = "15 */5 * * * *", as "section::identities";
    /// Events to sessions.
    sessions = "0 */5 * * * *", as "section::sessions";
    /// Sessions and identities to visitors.
    visitors = "30 */5 * * * *", as "section::visitors";
    /// Conversions and sessions to touchpoints and credits.
    attribution = "45 */15 * * * *", as "section::attribution";
    /// Sessions to daily rollups.
    traffic = "45 */5 * * * *", as "section::traffic";
    /// Events of messages to deliveries and daily rollups.
    messages = "20 */5 * * * *", as "section::messages";
    /// Sequence events and identities to runs and their daily metrics.
    sequences = "30 1/5 * * * *", as "section::sequences";
    /// Browser, device, bot, country and path of stored events by the present lists.
    enrichment = "never", as "section::enrichment";
    /// Small files of `events` to large, sorted ones.
    compaction = "0 */10 * * * *", as "section::compaction";
    /// Events older than the account keeps them are removed.
    retention = "0 0 2 * * *", as "section::retention";
    /// Files that no version of the last days names are deleted.
    vacuum = "0 30 2 * * *", as "section::vacuum";
    /// A second engine computes the derived tables anew and compares.
    verify = "0 0 4 * * *", as "section::verify";
}

/// One job's schedule and limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobConfig {
    /// Cron expression of six fields: second, minute, hour, day of month, month, day of week; or `never`.
    pub schedule: String,
    /// IANA name of the time zone in which the schedule is read. Default `UTC`.
    pub time_zone: String,
    /// Seconds after which a run is given up. Default 3,600.
    pub timeout_s: u64,
    /// Further attempts after a failed scheduled run, 1, 4, 16, … seconds apart. Default 3.
    pub max_retries: u32,
    /// Seconds by which a run may be put off, so that jobs of one schedule do not start together. Default 0.
    pub jitter_s: u64,
}

impl JobConfig {
    /// The usual limits with this schedule, read in UTC.
    pub fn every(schedule: &str) -> Self {
        Self {
            schedule: schedule.to_owned(),
            time_zone: "UTC".to_owned(),
            timeout_s: 3_600,
            max_retries: 3,
            jitter_s: 0,
        }
    }

    /// The numbers only: `jobs`, which knows what a schedule is, checks the expression and the time zone when it
    /// starts.
    fn validate(&self, section: &str) -> Result<(), ConfigError> {
        within(&format!("{section}.timeout_s"), self.timeout_s, 1..=604_800)?;
        within(&format!("{section}.max_retries"), self.max_retries, 0..=20)?;
        within(&format!("{section}.jitter_s"), self.jitter_s, 0..=3_600)
    }
}

/// What a file says of a job.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartialJob {
    schedule: Option<String>,
    time_zone: Option<String>,
    timeout_s: Option<u64>,
    max_retries: Option<u32>,
    jitter_s: Option<u64>,
}

impl PartialJob {
    fn over(self, base: JobConfig) -> JobConfig {
        JobConfig {
            schedule: self.schedule.unwrap_or(base.schedule),
            time_zone: self.time_zone.unwrap_or(base.time_zone),
            timeout_s: self.timeout_s.unwrap_or(base.timeout_s),
            max_retries: self.max_retries.unwrap_or(base.max_retries),
            jitter_s: self.jitter_s.unwrap_or(base.jitter_s),
        }
    }
}
