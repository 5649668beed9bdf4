//! Attribution: which sessions led to a conversion, and what credit each gets.
//!
//! Definition, version 2. A *conversion* is an event of one of the account's conversion types, or one that was posted
//! as a conversion; a bot's is none. Its *touches* are the sessions of the same person that began at or before it, and
//! not longer before it than the look-back; the session that it happened in is among them. Their order is that of
//! (`started_at`, `session_id`); of more than [`MAX_TOUCHES`] the last count. A conversion without touches (nobody is known to have done it, or all that is known of
//! them is too old) keeps its credit: in every model it goes to no channel.
//!
//! Each room does one thing: [`conversions`] finds conversions, [`touchpoints`] their journeys, [`models`] weighs the touches of one of them,
//! [`markov`] and [`shapley`] look at all of a range, [`credit`] sees to it that nothing is lost in sharing, [`value`]
//! says what a conversion is worth, and [`rows`] brings credits to and from tables.

pub mod conversions;
pub mod credit;
mod linear;
pub mod markov;
pub mod models;
pub mod rows;
pub mod shapley;
pub mod tally;
pub mod touchpoints;
pub mod value;

pub use conversions::{Changes, affected, conversions, starts, without};
pub use models::Model;
pub use rows::credits;
pub use touchpoints::{MAX_TOUCHES, Params, Touchpoints, touchpoints};

/// Names this definition in answers.
pub const DEFINITION: &str = "attribution/2";
