//! What whole-system tests and benchmarks share.

pub mod event_table;
pub mod installation;
pub mod logged;
pub mod memory;
pub mod naive_sessions;
pub mod rows;
pub mod runs;
pub mod shop;
