//! From what a client sent to the fields of an event. Pure functions, one file per concern.

pub mod address;
pub mod campaign;
pub mod enrich;
pub mod privacy;
pub mod properties;
pub mod url;
