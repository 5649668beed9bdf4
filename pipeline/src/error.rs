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

/// Whether a query failed for want of memory, also while its rows were read: there may be enough a moment later.
pub fn is_out_of_memory(error: &(dyn std::error::Error + 'static)) -> bool {
    let engines = error.downcast_ref::<DataFusionError>();
    engines.is_some_and(|error| matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)))
}

impl PipelineError {
    /// Whether the same query may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::BadParameter { .. } | Self::NoVersion | Self::VersionGone => false,
            Self::Lake(_) => true,
            Self::Engine(error) => is_out_of_memory(error.as_ref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_want_of_memory_may_pass() {
        let exhausted = || DataFusionError::ResourcesExhausted("pool".to_owned());
        let within = DataFusionError::Context("sorting".to_owned(), Box::new(exhausted()));
        for (error, expected) in [
            (exhausted(), true),
            (within, true),
            (DataFusionError::Internal("a bug".to_owned()), false),
            (DataFusionError::Plan("no such column".to_owned()), false),
        ] {
            assert_eq!(is_out_of_memory(&error), expected, "{error}");
            assert_eq!(PipelineError::from(error).is_retryable(), expected);
        }
        assert!(!is_out_of_memory(&std::io::Error::other("disk")));
    }
}
