//! Why a statement has no answer, whoever is to blame.

use std::io;
use std::process::ExitStatus;

use touchline_pipeline::PipelineError;
use touchline_pipeline::sql::{Limit, SqlError};
use touchline_schemas::config::SqlConfig;

/// A statement without an answer.
#[derive(Debug, thiserror::Error)]
pub enum SqlFailure {
    /// The statement, or a limit that it exceeded.
    #[error(transparent)]
    Statement(#[from] SqlError),
    /// All workers are busy, and too many wait already or it took too long.
    #[error("all workers are busy; the operator sets `sql.workers`, `sql.max_queued` and `sql.queue_timeout_s`")]
    Busy,
    /// The files of the tables are not known.
    #[error(transparent)]
    Files(#[from] PipelineError),
    /// There is no worker.
    #[error("a worker cannot be started: {0}")]
    NotStarted(#[source] io::Error),
    /// Whoever asked is gone.
    #[error("nobody waits for the answer any more")]
    Abandoned,
    /// A worker has died, and nobody knows of what.
    #[error("a worker has ended with {status}: {said}")]
    Died {
        /// What the system says.
        status: String,
        /// What it said itself.
        said: String,
    },
}

/// What a process says when the system gives it no more memory.
const OUT_OF_MEMORY: [&str; 2] = ["memory allocation of", "Cannot allocate memory"];
/// What it says when a plan is deeper than its stack.
const OUT_OF_STACK: &str = "has overflowed its stack";

impl SqlFailure {
    /// What took a worker down that ended like this.
    pub(super) fn of_death(status: Option<ExitStatus>, said: &str, config: &SqlConfig) -> Self {
        if OUT_OF_MEMORY.iter().any(|words| said.contains(words)) {
            return SqlError::over(Limit::ProcessMemory, config.process_memory_bytes).into();
        }
        if said.contains(OUT_OF_STACK) {
            return SqlError::over(Limit::Depth, config.max_depth).into();
        }
        let status = status.map_or_else(|| "no status".to_owned(), |status| status.to_string());
        Self::Died { status, said: said.to_owned() }
    }

    /// A worker that says what it should not.
    pub(super) fn broken(error: &dyn std::error::Error) -> Self {
        Self::Died { status: "an answer that cannot be read".to_owned(), said: error.to_string() }
    }

    /// A word for metrics.
    pub(super) const fn outcome(&self) -> &'static str {
        match self {
            Self::Statement(SqlError::Limit { .. }) => "limit",
            Self::Statement(SqlError::Syntax { .. } | SqlError::Refused { .. } | SqlError::Invalid { .. }) => "refused",
            Self::Statement(SqlError::Unavailable { .. } | SqlError::Internal { .. })
            | Self::Files(_)
            | Self::NotStarted(_) => "failed",
            Self::Busy => "busy",
            Self::Abandoned => "abandoned",
            Self::Died { .. } => "died",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_tell_what_a_worker_died_of() {
        let of = |said: &str| SqlFailure::of_death(None, said, &SqlConfig::default());
        let limit = |said: &str| match of(said) {
            SqlFailure::Statement(SqlError::Limit { limit, .. }) => Some(limit),
            _ => None,
        };
        assert_eq!(limit("memory allocation of 99 bytes failed"), Some(Limit::ProcessMemory));
        assert_eq!(limit("\nthread 'sql' has overflowed its stack\nfatal"), Some(Limit::Depth));
        assert!(matches!(of("something else"), SqlFailure::Died { .. }));
    }
}
