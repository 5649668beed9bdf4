//! The configuration: one typed value, whose defaults run an installation without any file.
//!
//! Precedence is decided by the caller: it reads the file with [`Config::from_toml`], lays the environment over it
//! with [`Config::apply_env`], then its own flags.

mod alerts;
mod auth;
mod check;
mod env;
mod error;
mod exports;
mod ingest;
mod jobs;
mod lake;
mod limits;
mod log;
mod network;
mod query;
mod redact;
mod secret;
mod server;
mod sessions;
mod sql;

use serde::{Deserialize, Serialize};

pub use alerts::{AlertsConfig, is_this_machine};
pub use auth::AuthConfig;
pub use error::ConfigError;
pub use exports::{ExportsConfig, S3Config};
pub use ingest::IngestConfig;
pub use jobs::{JobConfig, JobsConfig, NEVER};
pub use lake::{LOG_KEPT_HOURS, LakeConfig};
pub use limits::LimitsConfig;
pub use log::LogConfig;
pub use network::Network;
pub use query::QueryConfig;
pub use secret::Secret;
pub use server::{ForwardedHeader, ServerConfig};
pub use sessions::SessionsConfig;
pub use sql::SqlConfig;

/// Everything that an operator can set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The HTTP listener.
    pub server: ServerConfig,
    /// What is accepted from clients.
    pub ingest: IngestConfig,
    /// The write-ahead log.
    pub log: LogConfig,
    /// The tables.
    pub lake: LakeConfig,
    /// Reading the tables.
    pub query: QueryConfig,
    /// Statements that analysts send.
    pub sql: SqlConfig,
    /// The schedule of the derived tables.
    pub jobs: JobsConfig,
    /// Who is told when a job is in trouble.
    pub alerts: AlertsConfig,
    /// What is written for others, and where.
    pub exports: ExportsConfig,
    /// The definition of a session.
    pub sessions: SessionsConfig,
    /// Keys.
    pub auth: AuthConfig,
    /// How much may be asked at a time.
    pub limits: LimitsConfig,
}

impl Config {
    /// Reads a configuration file's text. What it does not mention keeps its default; what it mentions must exist
    /// and be within its limits.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError::in_file(text, &error))?;
        config.validate()?;
        Ok(config)
    }

    /// Lays variables of the form `TOUCHLINE_SECTION__FIELD=value` over this configuration
    /// (`TOUCHLINE_JOBS__SESSIONS__TIMEOUT_S=60` for a nested section).
    ///
    /// A variable of that form that names no setting is refused, as is one that differs from a setting's name only
    /// by a missing underscore. Other variables are not ours: `TOUCHLINE_CONFIG` belongs to the command line, and
    /// container platforms invent `TOUCHLINE_PORT_8000_TCP` for a service of our name.
    pub fn apply_env(self, variables: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let config = env::apply(self, variables)?;
        config.validate()?;
        Ok(config)
    }

    /// The configuration as TOML, for people to read: passwords inside addresses, and settings whose name says that
    /// they are secret, are replaced.
    pub fn to_redacted_toml(&self) -> Result<String, ConfigError> {
        redact::to_toml(self)
    }

    /// Checks every limit. The readers above have already done so; a caller that changes a field does it again.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.server.validate()?;
        self.ingest.validate()?;
        self.log.validate()?;
        self.lake.validate()?;
        self.query.validate()?;
        self.sql.validate()?;
        self.jobs.validate()?;
        self.alerts.validate()?;
        self.exports.validate()?;
        self.sessions.validate()?;
        self.auth.validate()?;
        self.limits.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../../touchline.sample.toml");

    #[test]
    fn sample_file_is_the_default() {
        assert_eq!(Config::from_toml(SAMPLE).unwrap(), Config::default());
    }

    #[test]
    fn sample_file_mentions_every_setting() {
        let sample: toml::Table = toml::from_str(SAMPLE).unwrap();
        assert_eq!(sample, toml::Table::try_from(Config::default()).unwrap());
        // The settings whose default is to be absent.
        for setting in [
            "# uri = ",
            "# country_database = ",
            "# webhook_url = ",
            "# secret = ",
            "# root = ",
            "# webhook_ca_file = ",
            "# endpoint = ",
            "# region = ",
            "# access_key_id = ",
            "# secret_access_key = ",
            "# session_token = ",
        ] {
            assert!(SAMPLE.lines().any(|line| line.starts_with(setting)), "{setting}");
        }
    }

    #[test]
    fn sample_file_explains_every_setting() {
        let lines: Vec<&str> = SAMPLE.lines().collect();
        // All jobs have the same settings, which are explained at the first.
        let mut explained = std::collections::BTreeSet::new();
        let mut section = "";
        for pair in lines.windows(2) {
            if pair[1].starts_with('[') {
                section = if pair[1].starts_with("[jobs.") { "[jobs.*]" } else { pair[1] };
            }
            let Some((setting, _)) = pair[1].split_once(" = ").filter(|_| !pair[1].starts_with('#')) else { continue };
            let is_new = explained.insert((section, setting));
            assert!(pair[0].starts_with('#') || !is_new, "no comment above `{}` of {section}", pair[1]);
        }
    }

    #[test]
    fn empty_file_is_the_default() {
        assert_eq!(Config::from_toml("").unwrap(), Config::default());
    }

    #[test]
    fn default_is_within_its_own_limits() {
        Config::default().validate().unwrap();
    }

    #[test]
    fn printed_configuration_can_be_read_back() {
        let printed = Config::default().to_redacted_toml().unwrap();
        assert_eq!(Config::from_toml(&printed).unwrap(), Config::default());
    }

    #[test]
    fn partial_job_keeps_that_jobs_own_defaults() {
        let config = Config::from_toml("[jobs.visitors]\ntimeout_s = 60").unwrap();
        assert_eq!(config.jobs.visitors, JobConfig { timeout_s: 60, ..JobsConfig::default().visitors });
    }

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        let message = Config::from_toml(text).unwrap_err().to_string();
        assert!(message.contains(expected), "`{message}` does not contain `{expected}`");
    }

    #[test]
    fn unknown_settings_are_refused_in_every_section() {
        check_refused("colour = 1", "unknown field `colour`");
        for section in [
            "server",
            "ingest",
            "log",
            "lake",
            "query",
            "sql",
            "jobs",
            "jobs.sessions",
            "jobs.visitors",
            "alerts",
            "exports",
            "exports.s3",
            "sessions",
            "auth",
            "limits",
        ] {
            check_refused(&format!("[{section}]\ncolour = 1"), "unknown field `colour`");
        }
    }

    #[test]
    fn error_in_a_file_names_its_line() {
        check_refused("[server]\n\nlisten = 8000", "line 3");
    }

    #[test]
    fn value_outside_its_limits_is_refused_with_field_limit_and_value() {
        check_refused("[sessions]\ntimeout_minutes = 0", "sessions.timeout_minutes must be between 1 and 475, not 0");
        check_refused(
            "[sessions]\ntimeout_minutes = 476",
            "sessions.timeout_minutes must be between 1 and 475, not 476",
        );
        check_refused("[query]\ndefault_limit = 0", "query.default_limit must be between 1 and 100000, not 0");
        check_refused(
            "[jobs.visitors]\nmax_retries = 99",
            "jobs.visitors.max_retries must be between 0 and 20, not 99",
        );
        check_refused("[lake]\nuri = \"s3://bucket\"", "lake.uri must be a directory");
        check_refused("[lake]\nvacuum_after_hours = 71", "lake.vacuum_after_hours must be between 72 and 8760, not 71");
    }

    #[test]
    fn limits_that_depend_on_another_setting_are_checked() {
        check_refused("[query]\nmax_limit = 10", "query.default_limit must be between 1 and 10, not 1000");
        check_refused("[ingest]\nmax_event_bytes = 60000\nmax_body_bytes = 50000", "ingest.max_event_bytes");
        check_refused("[ingest]\nmax_properties_bytes = 65537", "ingest.max_properties_bytes");
        check_refused("[sql]\nmemory_limit_bytes = 2147483648", "sql.memory_limit_bytes");
        check_refused("[log]\nquota_bytes = 33554432\nsegment_bytes = 33554433", "log.segment_bytes");
    }
}
