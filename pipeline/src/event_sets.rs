//! Rows that are sets of events: what is known of a delivery, or of a run, is the set of its events, and everything
//! else in its row follows from that set.
//!
//! The union of sets is commutative, associative and idempotent. So it cannot matter in which order events arrive, how
//! often, and in how many runs; and as a stored row keeps its set (`touchline_schemas::tables::event_sets`), it takes up
//! new events without reading the old ones.
//!
//! [`read`] brings events together by their key, on several threads, each of which has the sets of its own keys;
//! [`EventSets::push_rows`] adds those of stored rows; [`EventSets::finish`] gives the sets in order. Whoever defines a
//! table over sets says which types of events it is about and what their key is ([`Source`]), and computes the rest of
//! the row from [`SortedSets`].

mod events;
mod read;
mod sets;
mod stored;

pub use events::{EventRow, Key};
pub use read::{Part, Source, count, read, read_together};
pub use sets::{Event, EventSets, SetRef, SortedSets};
pub(crate) use stored::{Chosen, list_of};
