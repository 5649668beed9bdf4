//! The auditor: computes the derived tables a second time, from raw Parquet, with another engine (Polars) and in
//! another formulation, and compares cell by cell.
//!
//! It shares the contract with what it audits (`schemas`: columns, settings; `touchline-lake`: which files a version
//! has) and nothing else. Where the pipeline merges fragments, here everything is sorted, numbered and grouped, the way
//! a textbook would do it; it is slower and needs more memory, and a mistake in one is unlikely to be one in the other.
//!
//! A derived table is compared with the versions of its sources that its own newest commit names. So it does not matter
//! what arrives meanwhile, and verifying beside a running server never reports what the jobs have not seen yet.
//!
//! Not verified: the rules that name a session's channel. There is no second set of rules here; the channel is taken
//! from the stored session, and what follows from it (touches of visitors, rollups, credits) is verified with it.

mod attribution;
mod audit;
mod compare;
mod edges;
mod error;
mod events;
mod frame;
mod hosts;
mod identities;
mod messages;
mod report;
mod request;
mod rules;
mod said;
mod sequence_metrics;
mod sequences;
mod sessions;
mod sources;
mod traffic;
mod verify;
mod visitors;

pub use error::VerifyError;
pub use report::{Check, Difference, Report, Skipped, TableReport};
pub use request::VerifyRequest;
pub use verify::verify;
