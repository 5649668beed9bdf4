//! What whole-system tests and benchmarks share.

pub mod installation;
pub mod logged;
pub mod memory;
pub mod rows;
pub mod shop;
