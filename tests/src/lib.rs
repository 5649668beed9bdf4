//! What whole-system tests and benchmarks share.

pub mod installation;
pub mod logged;
pub mod rows;
pub mod shop;
