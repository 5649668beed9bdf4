//! What of an attempt counts as what, and when.

use arrow::array::{Array, RecordBatch, StringArray, StringViewArray, TimestampMicrosecondArray};
use datafusion::error::Result;
use touchline_schemas::event::messaging::*;
use touchline_schemas::tables::message_deliveries as attempt;
use touchline_schemas::tables::message_rollups::DIMENSIONS;

use super::columns::Columns;
use super::counts::*;
use super::tally::{COHORT, EVENT, Group, Row, Tally, day_of};
use crate::columns::texts;

impl Tally {
    /// Counts the attempts of a batch.
    pub fn read(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = Columns::of(batch)?;
        let rows: Vec<u32> = (0..batch.num_rows() as u32).collect();
        let mut dimensions = Vec::with_capacity(DIMENSIONS.len());
        for name in DIMENSIONS {
            dimensions.push(self.values.numbers(texts(batch, name)?, &rows));
        }
        let people: &StringViewArray = texts(batch, attempt::PERSON_ID)?;
        for row in 0..batch.num_rows() {
            let mut of_row = [0; DIMENSIONS.len()];
            of_row.iter_mut().zip(&dimensions).for_each(|(number, numbers)| *number = numbers[row]);
            let cohort_day = day_of(columns.cohort_at.value(row));
            let cohort = self.group(Group { calendar: COHORT, day: cohort_day, dimensions: of_row });
            let last = self.group(Group { calendar: EVENT, day: cohort_day, dimensions: of_row });
            let person = self.values.number(people.is_valid(row).then(|| people.value(row)));
            let at = Row { dimensions: of_row, person, cohort, last: (cohort_day, last) };
            self.count_row(&columns, row, at);
        }
        Ok(())
    }

    fn count_row(&mut self, columns: &Columns<'_>, row: usize, mut at: Row) {
        let time = |times: &TimestampMicrosecondArray| times.is_valid(row).then(|| times.value(row));
        let is_sent = time(columns.outcomes[1].0).is_some();
        for (times, place) in columns.outcomes {
            if let Some(at_us) = time(times).filter(|_| is_sent || place != DELIVERED) {
                self.add(&mut at, at_us, place);
            }
        }
        let decided_at_us = time(columns.outcomes[0].0);
        if let Some(at_us) = decided_at_us.filter(|_| columns.is_pending.value(row)) {
            self.add(&mut at, at_us, PENDING);
        }
        if columns.is_orphan.value(row) {
            self.add(&mut at, columns.cohort_at.value(row), ORPHANS);
        }
        if is_sent {
            for ((times, (_, place, _)), number) in columns.uniques.iter().zip(UNIQUES).zip(0..) {
                if let Some(at_us) = time(times) {
                    self.add(&mut at, at_us, place);
                    self.add_person(&mut at, at_us, number);
                }
            }
        }
        self.count_events(columns, row, is_sent, &mut at);
        self.count_conversions(columns, row, &mut at);
    }

    fn count_events(&mut self, columns: &Columns<'_>, row: usize, is_sent: bool, at: &mut Row) {
        let events = columns.offsets[row] as usize..columns.offsets[row + 1] as usize;
        let mut first_views_us = [None; 2];
        let mut clicked: Vec<Option<&str>> = Vec::new();
        let mut is_suppressed = false;
        for place in events {
            let at_us = columns.times.value(place);
            let is_human = !columns.bots.value(place);
            if columns.event_costs.is_valid(place) {
                self.add_amount(at, at_us, COST, columns.event_costs.value(place));
            }
            let counted = match columns.types.value(place) {
                MESSAGE_FAILED => Some(FAILURES),
                MESSAGE_SUPPRESSED => None,
                DECISION => None,
                _ if !is_sent => continue,
                MESSAGE_VIEWED => {
                    first_views_us[0].get_or_insert(at_us);
                    if is_human {
                        first_views_us[1].get_or_insert(at_us);
                        self.add(at, at_us, HUMAN_VIEWS);
                    }
                    self.add(at, at_us, VIEWS);
                    continue;
                }
                MESSAGE_CLICKED => {
                    self.add(at, at_us, CLICKS);
                    if is_human {
                        self.add(at, at_us, HUMAN_CLICKS);
                    }
                    let element = text(columns.elements, place);
                    if !clicked.contains(&element) {
                        clicked.push(element);
                        self.add(at, at_us, UNIQUE_ELEMENT_CLICKS);
                    }
                    continue;
                }
                MESSAGE_DISMISSED => Some(DISMISSALS),
                MESSAGE_SUBMITTED => Some(SUBMISSIONS),
                MESSAGE_BOUNCED => Some(BOUNCES),
                MESSAGE_UNSUBSCRIBED => Some(UNSUBSCRIBES),
                MESSAGE_COMPLAINED => Some(COMPLAINTS),
                _ => continue,
            };
            let reason = text(columns.reasons, place);
            match counted {
                Some(counted) => {
                    self.add(at, at_us, counted);
                    self.add_reason(at, at_us, counted, reason);
                }
                // An attempt that is held back is that once, for the first reason that is given.
                None => {
                    let holds_back = columns.types.value(place) == MESSAGE_SUPPRESSED
                        || text(columns.event_outcomes, place) == Some(OUTCOME_SUPPRESS);
                    if holds_back && reason.is_some() && !is_suppressed {
                        is_suppressed = true;
                        self.add_reason(at, at_us, SUPPRESSED, reason);
                    }
                }
            }
        }
        if is_sent {
            // All views, and those of humans.
            for ((times, first_us), place) in columns.uniques.iter().zip(first_views_us).zip(IMPLIED_VIEWS) {
                let viewed_us = times.is_valid(row).then(|| times.value(row));
                if let Some(at_us) = viewed_us.filter(|at_us| first_us.is_none_or(|first_us| *at_us < first_us)) {
                    self.add(at, at_us, place);
                }
            }
        }
    }

    fn count_conversions(&mut self, columns: &Columns<'_>, row: usize, at: &mut Row) {
        let (mut any, mut last, mut credited): (Vec<&str>, Vec<&str>, Vec<&str>) = Default::default();
        for place in columns.reached[row] as usize..columns.reached[row + 1] as usize {
            let (goal, at_us) = (columns.goals.value(place), columns.reached_at.value(place));
            let worth = if columns.worth.is_valid(place) { columns.worth.value(place) } else { 0 };
            self.add(at, at_us, CONVERSIONS_TOTAL);
            for (counts, once, place, amount) in [
                (true, &mut any, CONVERSIONS_ANY_TOUCH, REVENUE_ANY_TOUCH),
                (columns.is_last_touch.value(place), &mut last, CONVERSIONS_LAST_TOUCH, REVENUE_LAST_TOUCH),
                (columns.is_credited.value(place), &mut credited, CONVERSIONS, REVENUE),
            ] {
                if !counts {
                    continue;
                }
                self.add_amount(at, at_us, amount, worth);
                if !once.contains(&goal) {
                    once.push(goal);
                    self.add(at, at_us, place);
                }
            }
            if columns.is_credited.value(place) {
                self.add_person(at, at_us, CONVERTERS);
            }
        }
    }
}

fn text(texts: &StringArray, place: usize) -> Option<&str> {
    texts.is_valid(place).then(|| texts.value(place))
}
