//! Sessions: a visitor's events without a pause of more than 30 minutes.
//!
//! # The formulation
//!
//! A *fragment* is part of a session: an interval of time with sums and with the values of its first, last, … events.
//! One event is the smallest fragment. Two fragments of a visitor belong to one session exactly if the pause between
//! their intervals is not longer than the timeout, and merging them is commutative and associative. So sessions are
//! `merge(fragments)`, and any part of the events can be merged first, in any order, by anyone: each scan partition
//! merges its own rows in bounded memory, then what is left, a small part, is shuffled by visitor and merged to the
//! end. No event is ever sorted against all others, and the plan is an ordinary two-phase aggregation that runs on one
//! machine or many.
//!
//! Definition, version 2 (profile `touchline`): per `visitor_id`, else `user_id`, bots apart; a new session begins when
//! more than the timeout has passed since the previous event; event types that begin with `$` do not count, except
//! `$session_start`; ties in time are ordered by event id.
//!
//! Other definitions are data (`profiles`), which come to `rules`. Some rules keep events apart by a key (`keys`) and
//! stay a merge. Those whose cuts depend on the order of events are cut in one pass over a visitor's events
//! (`ordered`), after a shuffle of all of them; the sessions that come of it are merged from the same fragments.

pub mod compare;
mod exec;
mod finish;
mod fragment;
mod keys;
pub(crate) mod merge;
mod ordered;
pub mod profiles;
mod provider;
pub mod revisions;
pub mod rules;
pub mod stored;

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::error::Result;
use datafusion::prelude::{DataFrame, SessionContext};

pub use provider::SessionsTable;
pub use rules::SessionRules;

use crate::channels::RuleSet;

/// Names the default definition in answers.
pub const DEFINITION: &str = "sessions/touchline/2";

/// The account's choices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionParams {
    /// What ends a session.
    pub rules: SessionRules,
    /// Event types that are conversions, besides events posted as conversions.
    pub conversion_event_types: Vec<String>,
    /// What names a session's channel.
    pub channel_rules: RuleSet,
    /// Domains whose referrals are internal, besides the page's own registrable domain.
    pub own_domains: Vec<String>,
}

impl Default for SessionParams {
    fn default() -> Self {
        Self {
            rules: SessionRules::default(),
            conversion_event_types: touchline_schemas::event::DEFAULT_CONVERSION_EVENT_TYPES
                .map(str::to_owned)
                .to_vec(),
            channel_rules: RuleSet::default(),
            own_domains: Vec::new(),
        }
    }
}

impl SessionParams {
    /// Whether new events can be merged into stored sessions. Otherwise sessions are cut from events alone.
    pub fn is_mergeable(&self) -> bool {
        self.rules.is_mergeable()
    }

    /// Equal for equal choices: a stored session is good as long as the choices behind it are the same.
    pub fn fingerprint(&self) -> String {
        format!("{} {self:?}", self.rules.definition())
    }
}

/// Cuts `events` (the columns of `events`, one tenant) into sessions (the columns of `sessions`).
///
/// Columns that the caller does not select are neither read nor computed.
pub fn sessions(context: &SessionContext, events: Arc<dyn TableProvider>, params: SessionParams) -> Result<DataFrame> {
    context.read_table(Arc::new(SessionsTable::new(events, params)))
}
