//! The HTTP API: receiving events, answering reports, and saying how the installation is.
//!
//! Handlers contain no decisions: they know who asks, hand the question on, and write the answer down. One route is
//! one file under `routes`; every error becomes HTTP in `error`; everything that goes around a request is in
//! `observe`.

mod administration;
mod auth;
mod body;
mod cors;
mod error;
pub mod exports;
mod format;
mod forwarded;
mod html;
mod http_metrics;
mod intake;
mod limits;
mod observe;
mod peer;
mod report;
mod request_id;
mod routes;
mod serve;
pub mod sql;
mod state;

#[cfg(test)]
mod test_support;

pub use auth::{Caller, KeyCache, Unauthenticated};
pub use error::{ApiError, Problem, ProblemDetails, ProblemItem};
pub use format::{CsvOptions, Format, FormatError, RowWriter};
pub use http_metrics::HttpMetrics;
pub use peer::Peer;
pub use request_id::RequestId;
pub use routes::router;
pub use serve::serve;
pub use state::{AppState, Services};

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
