//! `messages`: what became of messages, by what they are and when.

pub mod frequency;
pub mod overlap;
mod received;
