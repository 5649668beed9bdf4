//! What can go wrong in a query: the caller's parameters, the lake, or the engine.

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use touchline_lake::LakeError;

/// A query that gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The caller asked for something that does not exist.
    #[error("parameter `{name}`: {detail}")]
    BadParameter {
        /// The parameter.
        name: &'static str,
        /// What is allowed.
        detail: String,
    },
    /// The lake has no such version, or had none yet at that time.
    #[error("the lake has no such version")]
    NoVersion,
    /// The version that was asked for cannot be read any more.
    #[error("the version is gone")]
    VersionGone,
    /// The lake could not be read.
    #[error(transparent)]
    Lake(LakeError),
    /// The engine failed: out of its memory limit, or a defect.
    #[error("query engine: {0}")]
    Engine(#[from] Box<DataFusionError>),
}

impl From<LakeError> for PipelineError {
    fn from(error: LakeError) -> Self {
        match error {
            LakeError::NoVersion { .. } => Self::NoVersion,
            LakeError::VersionGone { .. } => Self::VersionGone,
            LakeError::Conflict { .. }
            | LakeError::Delta { .. }
            | LakeError::File { .. }
            | LakeError::Root { .. }
            | LakeError::Malformed { .. } => Self::Lake(error),
        }
    }
}

impl From<DataFusionError> for PipelineError {
    fn from(error: DataFusionError) -> Self {
        Self::Engine(Box::new(error))
    }
}

impl From<ArrowError> for PipelineError {
    fn from(error: ArrowError) -> Self {
        DataFusionError::from(error).into()
    }
}

impl PipelineError {
    /// Whether the same query may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::BadParameter { .. } | Self::NoVersion | Self::VersionGone => false,
            Self::Lake(_) => true,
            Self::Engine(error) => matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)),
        }
    }
}
