//! Scheduled exports: what a report or a statement answers, as files in a folder or a bucket, with a signed manifest.
//!
//! It asks through a trait that the API implements, so that an exported file has the bytes of the answer over HTTP.

mod announcement;
mod changes;
pub mod destination;
pub mod manifest;
pub mod question;
mod range;
pub mod run;
pub mod scheduler;
pub mod tables;
#[cfg(test)]
mod testing;
pub mod verify;
pub mod webhook;

pub use manifest::Range;
pub use question::{AskError, Question, Questions, Rows};
pub use scheduler::{Exporter, Pace, Parts};
pub use tables::{Newest, Tables};
