//! Why a statement gave no answer, in words for whoever sent it.

use std::error::Error;
use std::{fmt, io, iter};

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use serde::{Deserialize, Serialize};

/// The longest message that is passed on, in characters: the engine lists every column when one is unknown.
const MESSAGE_CHARS: usize = 600;
/// What the engine puts before the names of tables.
const DEFAULT_NAMESPACE: &str = "datafusion.public.";
/// What only paths hold.
const MARKS_OF_PATHS: [&str; 4] = ["account_id=", ".parquet", "touchline://", "file://"];

/// A statement that gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SqlError {
    /// It is no SQL.
    #[error("{detail}")]
    Syntax {
        /// Where, and what was expected.
        detail: String,
    },
    /// It is SQL that may not be asked for here.
    #[error("{detail}")]
    Refused {
        /// What, and what may be.
        detail: String,
    },
    /// It names what does not exist, or computes what cannot be.
    #[error("{detail}")]
    Invalid {
        /// What.
        detail: String,
    },
    /// It needs more than the operator allows.
    #[error("{}", limit.describe(*allowed))]
    Limit {
        /// Of what.
        limit: Limit,
        /// How much is allowed.
        allowed: u64,
    },
    /// The tables cannot be read at this moment. Not told to strangers.
    #[error("the tables cannot be read: {detail}")]
    Unavailable {
        /// What is wrong.
        detail: String,
    },
    /// The engine has failed. Not told to strangers.
    #[error("the engine has failed: {detail}")]
    Internal {
        /// What it said.
        detail: String,
    },
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Length of the statement.
    StatementBytes,
    /// Words and signs of the statement.
    Tokens,
    /// Nesting of the statement.
    Depth,
    /// Seconds.
    Time,
    /// Memory of the statement's operators.
    Memory,
    /// Memory of the whole process.
    ProcessMemory,
    /// Rows of the answer.
    Rows,
    /// Bytes of one row of the answer.
    RowBytes,
    /// Bytes of the answer.
    AnswerBytes,
}

impl Limit {
    /// The setting by which the operator chooses it.
    pub const fn setting(self) -> &'static str {
        match self {
            Self::StatementBytes => "sql.max_statement_bytes",
            Self::Tokens => "sql.max_tokens",
            Self::Depth => "sql.max_depth",
            Self::Time => "sql.timeout_s",
            Self::Memory => "sql.memory_limit_bytes",
            Self::ProcessMemory => "sql.process_memory_bytes",
            Self::Rows => "sql.max_rows",
            Self::RowBytes => "sql.max_row_bytes",
            Self::AnswerBytes => "sql.max_answer_bytes",
        }
    }

    fn describe(self, allowed: u64) -> String {
        let what = match self {
            Self::StatementBytes => format!("the statement is longer than {allowed} bytes"),
            Self::Tokens => format!("the statement has more than {allowed} words and signs"),
            Self::Depth => format!("the statement is nested more than {allowed} levels deep"),
            Self::Time => format!("the statement was not done within {allowed} s"),
            Self::Memory | Self::ProcessMemory => format!("the statement needs more than {allowed} bytes of memory"),
            Self::Rows => format!("the answer has more than {allowed} rows"),
            Self::RowBytes => format!("a row or the head of the answer has more than {allowed} bytes"),
            Self::AnswerBytes => format!("the answer has more than {allowed} bytes"),
        };
        format!("{what}; the operator sets `{}`", self.setting())
    }
}

impl SqlError {
    /// A limit was exceeded.
    pub const fn over(limit: Limit, allowed: usize) -> Self {
        Self::Limit { limit, allowed: allowed as u64 }
    }

    pub(super) fn refused(detail: impl fmt::Display) -> Self {
        Self::Refused { detail: detail.to_string() }
    }

    pub(super) fn invalid(detail: impl fmt::Display) -> Self {
        Self::Invalid { detail: shortened(&detail.to_string()) }
    }

    /// What the engine's error means for the sender of a statement whose operators may hold `memory_bytes`.
    pub(super) fn of_engine(error: &DataFusionError, memory_bytes: usize) -> Self {
        if is_of_files(error) {
            return Self::Unavailable { detail: error.to_string() };
        }
        let root = error.find_root();
        let message = root.message();
        match root {
            DataFusionError::ResourcesExhausted(_) => Self::over(Limit::Memory, memory_bytes),
            DataFusionError::SQL(..) => Self::Syntax { detail: shortened(&message) },
            DataFusionError::Plan(_)
            | DataFusionError::SchemaError(..)
            | DataFusionError::NotImplemented(_)
            | DataFusionError::Configuration(_)
            | DataFusionError::Execution(_) => Self::told(&message),
            DataFusionError::ArrowError(error, _) => Self::of_arrow(error),
            DataFusionError::Collection(errors) => match errors.first() {
                Some(first) => Self::of_engine(first, memory_bytes),
                None => Self::Internal { detail: message.into_owned() },
            },
            // Of all others the engine itself says that they should not happen.
            _ => Self::Internal { detail: message.into_owned() },
        }
    }

    /// What the error of a computation means.
    pub(super) fn of_arrow(error: &ArrowError) -> Self {
        if is_of_files(error) {
            return Self::Unavailable { detail: error.to_string() };
        }
        match error {
            ArrowError::ExternalError(_) | ArrowError::ParquetError(_) => Self::Internal { detail: error.to_string() },
            _ => Self::told(&error.to_string()),
        }
    }

    /// A message of the engine that is the sender's to read, unless it speaks of files.
    fn told(message: &str) -> Self {
        if MARKS_OF_PATHS.iter().any(|mark| message.contains(mark)) {
            return Self::Internal { detail: message.to_owned() };
        }
        Self::Invalid { detail: shortened(&message.replace(DEFAULT_NAMESPACE, "")) }
    }
}

/// Whether a file could not be read, through however many hands that went: statements do not name files.
fn is_of_files(error: &(dyn Error + 'static)) -> bool {
    iter::successors(Some(error), |cause| (*cause).source())
        .any(|cause| cause.is::<object_store::Error>() || cause.is::<io::Error>())
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_CHARS) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use parquet::errors::ParquetError;

    use super::*;

    #[test]
    fn what_the_engine_says_is_sorted_by_whose_mistake_it_is() {
        let plan = |text: &str| DataFusionError::Plan(text.to_owned());
        let of = |error: DataFusionError| SqlError::of_engine(&error, 7);
        let invalid = |detail: &str| SqlError::Invalid { detail: detail.to_owned() };
        assert_eq!(of(plan("table 'datafusion.public.x' not found")), invalid("table 'x' not found"));
        assert_eq!(of(plan("x").context("while planning")), invalid("x"));
        assert_eq!(of(ArrowError::DivideByZero.into()), invalid("Divide by zero error"));
        assert_eq!(of(DataFusionError::ResourcesExhausted("pool".into())), SqlError::over(Limit::Memory, 7));
        assert!(matches!(of(plan("cannot read a/account_id=1/x")), SqlError::Internal { .. }));
        assert!(matches!(of(DataFusionError::Internal("bug".into())), SqlError::Internal { .. }));
        let broken = ParquetError::General("bad page".to_owned());
        assert!(matches!(of(broken.into()), SqlError::Internal { .. }));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_the_senders_mistake() {
        let disk = || io::Error::other("/var/lib/x");
        let store = || object_store::Error::NotFound { path: "/var/lib/x".to_owned(), source: Box::new(disk()) };
        let parquet = || DataFusionError::ParquetError(Box::new(ParquetError::External(Box::new(store()))));
        for error in [
            DataFusionError::IoError(disk()),
            DataFusionError::ObjectStore(Box::new(store())),
            parquet(),
            parquet().context("while reading"),
            ArrowError::ExternalError(Box::new(parquet())).into(),
            ArrowError::IoError("x".to_owned(), disk()).into(),
        ] {
            let said = error.to_string();
            assert!(matches!(SqlError::of_engine(&error, 7), SqlError::Unavailable { .. }), "{said}");
        }
        let arrow = ArrowError::ExternalError(Box::new(store()));
        assert!(matches!(SqlError::of_arrow(&arrow), SqlError::Unavailable { .. }));
    }

    #[test]
    fn a_limit_names_its_setting() {
        let text = SqlError::over(Limit::Rows, 10).to_string();
        assert_eq!(text, "the answer has more than 10 rows; the operator sets `sql.max_rows`");
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let text = shortened(&"ä".repeat(700));
        assert_eq!(text.chars().count(), MESSAGE_CHARS + 2);
    }
}
