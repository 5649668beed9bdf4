//! The demo: a shop's traffic, the client that posts it, and the proof that it all arrived.

pub mod client;
pub mod installation;
pub mod proof;
pub mod traffic;

mod catalog;
mod chance;
mod malformed;
mod messages;
mod people;
mod rhythm;
mod sequence;
mod sources;
mod truth;
mod visit;
