//! The analytics: reading the lake with DataFusion, transforms (one file each) and reports (one file each).
//!
//! No HTTP and no clock: what depends on the time takes it as an argument. Every read names its tenant, and only that
//! tenant's files are ever given to a plan.

pub mod attribution;
pub mod channels;
mod columns;
pub mod days;
pub mod engine;
pub mod error;
pub mod event_sets;
mod explain;
pub mod funnel;
mod gather;
pub mod identities;
mod intern;
mod lean;
pub mod lift;
pub mod messages;
mod paged;
pub mod paths;
pub mod reports;
pub mod retention;
pub mod scan;
pub mod sequences;
pub mod sessions;
pub mod sql;
pub mod traffic;
pub mod view;
pub mod visitors;

pub use engine::{QueryEngine, QueryOptions};
pub use error::{PipelineError, is_out_of_memory};
pub use explain::Statement;
pub use reports::{Answer, AnswerMeta};
pub use view::{AsOf, View};
