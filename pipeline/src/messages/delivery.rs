//! What became of one attempt, as its events tell.

use touchline_schemas::event::messaging::*;
use touchline_schemas::tables::event_sets::Member;
use touchline_schemas::tables::message_deliveries::PICKED;

use crate::event_sets::{Event, SetRef, SortedSets};

/// What an event is to its attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sent,
    Failed,
    Suppressed,
    Decision,
    Delivered,
    Viewed,
    Clicked,
    Reaction,
}

/// What the events of some sets are, by the numbers of their types: there are few types and many events.
#[derive(Debug)]
pub struct Kinds(Vec<Kind>);

impl Kinds {
    /// Those of these sets.
    pub fn of(sets: &SortedSets) -> Self {
        let kind = |event_type: &str| match event_type {
            MESSAGE_SENT => Kind::Sent,
            MESSAGE_FAILED => Kind::Failed,
            MESSAGE_SUPPRESSED => Kind::Suppressed,
            DECISION => Kind::Decision,
            MESSAGE_DELIVERED => Kind::Delivered,
            MESSAGE_VIEWED => Kind::Viewed,
            MESSAGE_CLICKED => Kind::Clicked,
            _ => Kind::Reaction,
        };
        Self(sets.types().map(kind).collect())
    }

    fn get(&self, event: Event<'_>) -> Kind {
        self.0.get(event.type_number() as usize).copied().unwrap_or(Kind::Reaction)
    }
}

/// An attempt; times in µs since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The numbers of the texts of [`PICKED`] among those of all sets, without the system.
    pub picked: [u32; PICKED.len()],
    /// The visitor id and the user id of the event that says who the person is, as such numbers.
    pub ids: [u32; 2],
    /// The time of that event.
    pub identified_at_us: Option<i64>,
    /// What sends it: one of [`SYSTEMS`].
    pub system: &'static str,
    /// See the columns of the same names.
    pub cohort_at_us: i64,
    pub first_at_us: i64,
    pub last_at_us: i64,
    pub decided_at_us: Option<i64>,
    pub sent_at_us: Option<i64>,
    pub suppressed_at_us: Option<i64>,
    pub holdout_at_us: Option<i64>,
    pub failed_at_us: Option<i64>,
    pub is_pending: bool,
    pub is_orphan: bool,
    pub delivered_at_us: Option<i64>,
    /// The first view, all and without bots.
    pub viewed_at_us: [Option<i64>; 2],
    /// The first click, likewise.
    pub clicked_at_us: [Option<i64>; 2],
    pub exposed_at_us: Option<i64>,
    /// Views, all and without bots.
    pub views: [i64; 2],
    /// Clicks, likewise.
    pub clicks: [i64; 2],
    /// Ten-thousandths.
    pub cost_e4: i64,
}

impl Delivery {
    /// What a set of events tells; it has at least one.
    pub fn of(set: SetRef<'_>, kinds: &Kinds) -> Self {
        let mut delivery = Self { first_at_us: i64::MAX, last_at_us: i64::MIN, ..Self::default() };
        let mut is_allowed = false;
        let mut came_at_us = None;
        let mut reacted = false;
        for event in set.events() {
            let at_us = event.occurred_at_us();
            delivery.last_at_us = delivery.last_at_us.max(at_us);
            delivery.first_at_us = delivery.first_at_us.min(at_us);
            delivery.cost_e4 = delivery.cost_e4.saturating_add(event.number(Member::Cost).unwrap_or_default());
            let mut decided = false;
            match kinds.get(event) {
                Kind::Sent => {
                    first(&mut delivery.sent_at_us, at_us);
                    decided = true;
                }
                Kind::Failed => {
                    first(&mut delivery.failed_at_us, at_us);
                    decided = true;
                }
                Kind::Suppressed => {
                    first(&mut delivery.suppressed_at_us, at_us);
                    decided = true;
                }
                Kind::Decision => {
                    decided = true;
                    match event.text(Member::Outcome) {
                        Some(OUTCOME_SUPPRESS) => first(&mut delivery.suppressed_at_us, at_us),
                        Some(OUTCOME_HOLDOUT) => first(&mut delivery.holdout_at_us, at_us),
                        Some(_) | None => is_allowed = true,
                    }
                }
                Kind::Delivered => first(&mut came_at_us, at_us),
                Kind::Viewed => count(event, &mut delivery.views, &mut delivery.viewed_at_us),
                Kind::Clicked => count(event, &mut delivery.clicks, &mut delivery.clicked_at_us),
                Kind::Reaction => reacted = true,
            }
            if decided {
                first(&mut delivery.decided_at_us, at_us);
            }
        }
        for (viewed, clicked) in delivery.viewed_at_us.iter_mut().zip(delivery.clicked_at_us) {
            *viewed = earlier(*viewed, clicked);
        }
        delivery.delivered_at_us = earlier(came_at_us, delivery.viewed_at_us[0]);
        delivery.pick(set, kinds);
        delivery.judge(is_allowed, reacted);
        delivery
    }

    /// What counts of it, once all events are known.
    fn judge(&mut self, is_allowed: bool, reacted: bool) {
        self.is_orphan = self.sent_at_us.is_none() && (reacted || self.delivered_at_us.is_some());
        self.cohort_at_us = self.sent_at_us.unwrap_or(self.first_at_us);
        if self.sent_at_us.is_some() {
            self.failed_at_us = None;
        }
        let ends = [self.sent_at_us, self.failed_at_us, self.suppressed_at_us, self.holdout_at_us];
        self.is_pending = is_allowed && ends.iter().all(Option::is_none);
        self.exposed_at_us = match self.sent_at_us {
            Some(_) if self.system == SYSTEM_SITE_MESSAGE => self.viewed_at_us[1],
            sent => sent,
        };
    }

    /// What each event says of the attempt itself: the first in rank that says a thing holds.
    fn pick(&mut self, set: SetRef<'_>, kinds: &Kinds) {
        let rank = |event: &Event<'_>| match kinds.get(*event) {
            Kind::Sent => 0,
            Kind::Decision => 1,
            Kind::Failed | Kind::Suppressed | Kind::Delivered | Kind::Viewed | Kind::Clicked | Kind::Reaction => 2,
        };
        for wanted in 0..3 {
            for event in set.events().filter(|event| rank(event) == wanted) {
                for (number, (_, member)) in self.picked.iter_mut().zip(PICKED) {
                    if *number == 0 {
                        *number = event.text_number(member);
                    }
                }
                if self.identified_at_us.is_none() {
                    let ids = [Member::VisitorId, Member::UserId].map(|member| event.text_number(member));
                    if ids.iter().any(|id| *id != 0) {
                        self.ids = ids;
                        self.identified_at_us = Some(event.occurred_at_us());
                    }
                }
            }
        }
        let said = |member: Member| {
            PICKED.iter().position(|(_, known)| *known == member).map_or(0, |place| self.picked[place])
        };
        let system = set.value(said(Member::System));
        let system = system.and_then(|text| SYSTEMS.into_iter().find(|system| *system == text));
        self.system = match system {
            Some(system) => system,
            None if said(Member::SequenceId) != 0 => SYSTEM_SEQUENCE,
            None if said(Member::RuleName) != 0 => SYSTEM_RULE,
            None => SYSTEM_SITE_MESSAGE,
        };
    }
}

fn first(known: &mut Option<i64>, at_us: i64) {
    // Events come in order of time.
    known.get_or_insert(at_us);
}

fn earlier(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    one.into_iter().chain(other).min()
}

/// Counts an event, and if it is no bot's once more.
fn count(event: Event<'_>, counts: &mut [i64; 2], times: &mut [Option<i64>; 2]) {
    let places = if event.is_bot() { 0..1 } else { 0..2 };
    for place in places {
        counts[place] += 1;
        first(&mut times[place], event.occurred_at_us());
    }
}
