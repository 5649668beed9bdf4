//! What whole-system tests and benchmarks share.

pub mod installation;
pub mod shop;
