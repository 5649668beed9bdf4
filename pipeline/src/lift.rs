//! The statistics of messages and sequences: pure, no clock, nothing but numbers.

pub mod kaplan_meier;
