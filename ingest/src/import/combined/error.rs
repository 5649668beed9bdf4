//! What is wrong with a line.

use std::fmt;

/// A field of the combined format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogField {
    /// The client's address or name.
    RemoteHost,
    /// The identity by RFC 1413, which nobody sends.
    Identity,
    /// The name by which the client authenticated.
    User,
    /// When the request was answered or begun.
    Time,
    /// The first line of the request.
    Request,
    /// The answer's status.
    Status,
    /// The answer's size.
    Bytes,
    /// The referring address.
    Referrer,
    /// The client's software.
    UserAgent,
}

impl fmt::Display for LogField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RemoteHost => "remote host",
            Self::Identity => "identity",
            Self::User => "user",
            Self::Time => "time",
            Self::Request => "request",
            Self::Status => "status",
            Self::Bytes => "bytes",
            Self::Referrer => "referrer",
            Self::UserAgent => "user agent",
        })
    }
}

/// Why a line is not in the combined format. Columns are bytes of the line, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CombinedError {
    /// The line ends before the field.
    #[error("{field} is missing at column {column}")]
    Missing {
        /// The field.
        field: LogField,
        /// Where it should begin.
        column: usize,
    },
    /// The field does not begin with its quote or bracket.
    #[error("{field} does not begin with `{opening}` at column {column}")]
    NotOpened {
        /// The field.
        field: LogField,
        /// Where it begins.
        column: usize,
        /// What it should begin with.
        opening: char,
    },
    /// The field's closing quote or bracket does not come.
    #[error("{field}, which begins at column {column}, is not closed")]
    NotClosed {
        /// The field.
        field: LogField,
        /// Where it begins.
        column: usize,
    },
    /// The field has another form than it must have.
    #[error("{field} is invalid at column {column}")]
    Invalid {
        /// The field.
        field: LogField,
        /// Where it begins.
        column: usize,
    },
}
