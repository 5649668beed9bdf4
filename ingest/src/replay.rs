//! Refused events once more: changed, through the receiver by which they came, and into the same dedup.
//!
//! A replayed event is sent anew, by the time of the replay: what is stored of it, or is there already, is counted as
//! received. What is refused again is neither counted nor kept: its first refusal is, and stays.

mod again;
pub mod changes;
mod replayer;

pub use again::{Replay, ReplayStatus, ReplayedEvent, Terms};
pub use changes::{ChangeError, Changes, Path, PathError};
pub use replayer::Replayer;
