//! The contract of Touchline: identities, the event model, the lake's tables and paths, the control database and
//! the configuration.
//!
//! Nothing here knows HTTP, DataFusion or a schedule; everything else depends on this crate and agrees through it.

pub mod clock;
pub mod config;
pub mod control;
pub mod event;
pub mod export;
pub mod money;
pub mod paths;
pub mod person;
pub mod tables;
pub mod tenant;
pub mod timestamp;

pub use clock::{Clock, MockClock, SystemClock};
pub use person::{IdType, TypedId};
pub use tenant::{AccountId, Environment, Tenant};
