//! The counts of rollups, by their places among the columns.

use touchline_schemas::tables::message_deliveries as attempt;
use touchline_schemas::tables::message_rollups::{self as column, COUNTS};

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut place = 0;
    while place < one.len() && place < other.len() && one[place] == other[place] {
        place += 1;
    }
    place == one.len() && place == other.len()
}

/// The place of a count; one that there is not is an error when this is compiled.
const fn count(name: &str) -> usize {
    let mut place = 0;
    while !is_same(COUNTS[place], name) {
        place += 1;
    }
    place
}

pub(super) const DECIDED: usize = count(column::DECIDED);
pub(super) const SENT: usize = count(column::SENT);
pub(super) const SUPPRESSED: usize = count(column::SUPPRESSED);
pub(super) const HOLDOUT: usize = count(column::HOLDOUT);
pub(super) const FAILED: usize = count(column::FAILED);
pub(super) const PENDING: usize = count(column::PENDING);
pub(super) const ORPHANS: usize = count(column::ORPHANS);
pub(super) const DELIVERED: usize = count(column::DELIVERED);
pub(super) const VIEWS: usize = count(column::VIEWS);
pub(super) const HUMAN_VIEWS: usize = count(column::HUMAN_VIEWS);
pub(super) const IMPLIED_VIEWS: [usize; 2] = [count(column::IMPLIED_VIEWS), count(column::IMPLIED_HUMAN_VIEWS)];
pub(super) const CLICKS: usize = count(column::CLICKS);
pub(super) const HUMAN_CLICKS: usize = count(column::HUMAN_CLICKS);
pub(super) const UNIQUE_ELEMENT_CLICKS: usize = count(column::UNIQUE_ELEMENT_CLICKS);
pub(super) const FAILURES: usize = count(column::FAILURES);
pub(super) const DISMISSALS: usize = count(column::DISMISSALS);
pub(super) const SUBMISSIONS: usize = count(column::SUBMISSIONS);
pub(super) const BOUNCES: usize = count(column::BOUNCES);
pub(super) const UNSUBSCRIBES: usize = count(column::UNSUBSCRIBES);
pub(super) const COMPLAINTS: usize = count(column::COMPLAINTS);
pub(super) const CONVERSIONS: usize = count(column::CONVERSIONS);
pub(super) const CONVERSIONS_ANY_TOUCH: usize = count(column::CONVERSIONS_ANY_TOUCH);
pub(super) const CONVERSIONS_LAST_TOUCH: usize = count(column::CONVERSIONS_LAST_TOUCH);
pub(super) const CONVERSIONS_TOTAL: usize = count(column::CONVERSIONS_TOTAL);

/// Of attempts: which time counts, as what, and as whose count of people.
pub(super) const UNIQUES: [(&str, usize, usize); 4] = [
    (attempt::FIRST_VIEWED_AT, count(column::UNIQUE_VIEWS), count(column::UNIQUE_VIEWERS)),
    (attempt::FIRST_HUMAN_VIEWED_AT, count(column::UNIQUE_HUMAN_VIEWS), count(column::UNIQUE_HUMAN_VIEWERS)),
    (attempt::FIRST_CLICKED_AT, count(column::UNIQUE_CLICKS), count(column::UNIQUE_CLICKERS)),
    (attempt::FIRST_HUMAN_CLICKED_AT, count(column::UNIQUE_HUMAN_CLICKS), count(column::UNIQUE_HUMAN_CLICKERS)),
];
/// The counts of people, by the number that they have in a pair of group and person.
pub(super) const PEOPLE: [usize; 5] =
    [UNIQUES[0].2, UNIQUES[1].2, UNIQUES[2].2, UNIQUES[3].2, count(column::CONVERTERS)];
pub(super) const CONVERTERS: usize = 4;

pub(super) const REVENUE: usize = 0;
pub(super) const REVENUE_ANY_TOUCH: usize = 1;
pub(super) const REVENUE_LAST_TOUCH: usize = 2;
pub(super) const COST: usize = 3;
