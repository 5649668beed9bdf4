//! Which counts of a rollup do not fit together.
//!
//! The counts are taken one by one from attempts and events, and none is computed from others. So they fit together only
//! if the events make sense: an attempt that was held back and sent all the same is counted as both, and its row fails.

use touchline_schemas::tables::message_rollups::*;

type Holds = fn(&dyn Fn(&str) -> i64) -> bool;

/// Whether a row's counts, by the names of their columns, fit together; in the order of the names.
const HOLD: [Holds; CHECKS.len()] = [
    |of| of(DECIDED) == of(SENT) + of(SUPPRESSED) + of(HOLDOUT) + of(FAILED) + of(PENDING),
    |of| of(DELIVERED) <= of(SENT),
    |of| of(UNIQUE_VIEWS) <= of(DELIVERED),
    |of| of(UNIQUE_CLICKS) <= of(UNIQUE_VIEWS) && of(UNIQUE_HUMAN_CLICKS) <= of(UNIQUE_HUMAN_VIEWS),
    |of| {
        of(UNIQUE_VIEWS) <= of(VIEWS) + of(IMPLIED_VIEWS)
            && of(UNIQUE_HUMAN_VIEWS) <= of(HUMAN_VIEWS) + of(IMPLIED_HUMAN_VIEWS)
    },
    |of| {
        of(UNIQUE_CLICKS) <= of(UNIQUE_ELEMENT_CLICKS)
            && of(UNIQUE_ELEMENT_CLICKS) <= of(CLICKS)
            && of(UNIQUE_HUMAN_CLICKS) <= of(HUMAN_CLICKS)
    },
    |of| {
        of(UNIQUE_VIEWERS) <= of(UNIQUE_VIEWS)
            && of(UNIQUE_HUMAN_VIEWERS) <= of(UNIQUE_HUMAN_VIEWS)
            && of(UNIQUE_CLICKERS) <= of(UNIQUE_CLICKS)
            && of(UNIQUE_HUMAN_CLICKERS) <= of(UNIQUE_HUMAN_CLICKS)
    },
    |of| of(CONVERSIONS_LAST_TOUCH) <= of(CONVERSIONS_TOTAL) && of(CONVERSIONS_ANY_TOUCH) <= of(CONVERSIONS_TOTAL),
    |of| of(HUMAN_VIEWS) <= of(VIEWS) && of(HUMAN_CLICKS) <= of(CLICKS),
];

/// The names of the checks that a row fails; `of` gives its counts by their columns.
pub fn failed(calendar: &str, of: &dyn Fn(&str) -> i64) -> Option<String> {
    let first = if calendar == CALENDAR_COHORT { 0 } else { CHECKS_OF_COHORTS };
    let checks = CHECKS.into_iter().zip(HOLD).skip(first);
    let names: Vec<&str> = checks.filter(|(_, holds)| !holds(of)).map(|(name, _)| name).collect();
    (!names.is_empty()).then(|| names.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(calendar: &str, counts: &[(&str, i64)], expected: Option<&str>) {
        let of = |name: &str| counts.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count);
        assert_eq!(failed(calendar, &of).as_deref(), expected);
    }

    #[test]
    fn a_row_fails_by_the_names_of_its_checks() {
        let whole = [(DECIDED, 9), (SENT, 4), (SUPPRESSED, 1), (HOLDOUT, 1), (FAILED, 1), (PENDING, 1), (DELIVERED, 4)];
        check(CALENDAR_COHORT, &whole, Some("decided = sent + suppressed + holdout + failed + pending"));
        check(CALENDAR_EVENT, &whole, None);
        check(CALENDAR_COHORT, &[&whole[..5], &[(PENDING, 2), (DELIVERED, 4)]].concat(), None);
        check(CALENDAR_EVENT, &[(UNIQUE_VIEWS, 2), (VIEWS, 1)], Some("unique_views <= views + implied_views"));
        check(CALENDAR_EVENT, &[(UNIQUE_VIEWS, 2), (VIEWS, 1), (IMPLIED_VIEWS, 1)], None);
        check(
            CALENDAR_COHORT,
            &[(DELIVERED, 1), (CLICKS, 1), (HUMAN_CLICKS, 2)],
            Some("delivered <= sent; human <= all"),
        );
    }
}
