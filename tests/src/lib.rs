//! What whole-system tests and benchmarks share.

pub mod bench;
pub mod event_table;
pub mod installation;
pub mod logged;
pub mod memory;
pub mod messages;
pub mod naive_sessions;
pub mod rows;
pub mod runs;
pub mod shop;

/// What the binary `touchline` uses, so that benchmarks measure what users get.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
