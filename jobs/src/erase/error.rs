//! Why an erasure could not go on. It can be run again from the start at any time.

use std::path::PathBuf;

use touchline_lake::LakeError;
use touchline_schemas::control::ControlError;

use super::PersonError;
use crate::RunError;
use crate::lease::{LeaseLost, LeasesError};

/// Why a part of an erasure failed.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// The lake failed.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// A file could not be read or deleted.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// Why an erasure was not done.
#[derive(Debug, thiserror::Error)]
pub enum ErasureError {
    /// It is not known who is meant.
    #[error(transparent)]
    Person(#[from] PersonError),
    /// There is no such account any more.
    #[error("there is no such account")]
    NoAccount,
    /// A crash came after everything was taken out and who was meant was forgotten, and before the last look.
    #[error("everything was taken out, and then it was cut off before the last look; ask again to have it certified")]
    NotCertified,
    /// Rows or files could not be taken out.
    #[error(transparent)]
    Part(#[from] EraseError),
    /// What was received before the ids were refused is not in the lake yet.
    #[error("the lake has not taken what is in the log; the ids are refused from now on, run the erasure again later")]
    Drain(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A table could not be computed anew.
    #[error("the job `{job}` must compute its table anew: {source}")]
    Job {
        /// The job.
        job: &'static str,
        /// Why it did not.
        source: Box<RunError>,
    },
    /// Another process has started to erase, or a job.
    #[error("another process has started a job or an erasure; run the erasure again")]
    LeaseLost(#[from] LeaseLost),
    /// The process is stopping.
    #[error("the erasure was stopped because the process is shutting down")]
    ShuttingDown,
    /// The control database failed.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// What is written down of an erasure could not be read or written.
    #[error("what is written down of an erasure is not readable: {0}")]
    Text(#[source] serde_json::Error),
}

impl From<LeasesError> for ErasureError {
    fn from(error: LeasesError) -> Self {
        match error {
            LeasesError::Control(error) => Self::Control(error),
            LeasesError::Lost(error) => Self::LeaseLost(error),
        }
    }
}

/// What becomes of an erasure that was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// It is tried again.
    Again,
    /// It cannot be done as it was asked for.
    Never,
    /// It is done, and cannot be certified.
    Done,
}

impl ErasureError {
    /// What becomes of it.
    pub const fn outlook(&self) -> Outlook {
        match self {
            Self::Person(PersonError::Shared) | Self::NoAccount => Outlook::Never,
            Self::NotCertified => Outlook::Done,
            Self::Person(PersonError::Lake(_))
            | Self::Part(_)
            | Self::Drain(_)
            | Self::Job { .. }
            | Self::LeaseLost(_)
            | Self::ShuttingDown
            | Self::Control(_)
            | Self::Text(_) => Outlook::Again,
        }
    }

    /// What whoever asked may know: it holds no id, no path, and nothing that another library says.
    pub fn told(&self) -> String {
        match self {
            Self::Person(PersonError::Shared)
            | Self::NoAccount
            | Self::NotCertified
            | Self::LeaseLost(_)
            | Self::ShuttingDown => self.to_string(),
            Self::Person(PersonError::Lake(_)) | Self::Part(_) => "the lake failed".to_owned(),
            Self::Drain(_) => "the lake has not taken what is in the log".to_owned(),
            Self::Job { job, .. } => format!("the job `{job}` must compute its table anew, and failed"),
            Self::Control(_) | Self::Text(_) => "the control database failed".to_owned(),
        }
    }
}
