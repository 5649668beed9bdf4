//! Statements that analysts send, and the processes that carry them out.
//!
//! A statement may take the process down that plans it, so it never comes near the one that receives events. The
//! [`SqlPool`] keeps a few workers, which are this same program under another subcommand, gives each one statement at a
//! time, and ends it when the statement takes too long or nobody waits for its answer any more.

mod answer;
mod conversation;
mod failure;
mod pool;
mod process;

pub use answer::SqlAnswer;
pub use failure::SqlFailure;
pub use pool::{SqlPool, SqlQuery};
pub use process::WorkerProgram;
