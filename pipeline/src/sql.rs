//! Statements that analysts send: what is let through, and carrying it out over one tenant's rows.
//!
//! A statement is text of a stranger, and planning it can take the process down. So it is carried out by a process of
//! its own ([`Worker`]), which gets the files of one tenant with each [`Request`], opens nothing else, and says what
//! came of it in [frames]. Who starts and ends that process is not decided here.

mod check;
mod error;
mod files;
mod flat;
pub mod frames;
mod names;
mod params;
mod request;
mod session;
mod stores;
mod worker;

pub use error::{Limit, SqlError};
pub use files::{TableFiles, files_of};
pub use request::{Greeting, Limits, Request};
pub use worker::{Fitness, Worker};
