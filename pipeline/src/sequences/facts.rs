//! What one run adds to the metrics: counts by day and group, in both calendars.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

use touchline_schemas::event::messaging::{
    EXIT_REASONS, OUTCOME_EXECUTED, OUTCOME_SUPPRESSED, STEP_OUTCOMES, SUPPRESSION_REASONS,
};

use super::run::{Run, Step};
use crate::days::DayNumber;

pub(super) const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;

/// What rows are counted by, besides day and calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Group<'a> {
    pub sequence_id: Option<&'a str>,
    pub sequence_version: Option<i64>,
    /// None in the rows of whole runs.
    pub step_id: Option<&'a str>,
    pub arm: Option<&'a str>,
    pub channel: Option<&'a str>,
}

/// The counts of a row, in the order of the table's columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub entries: i64,
    pub orphans: i64,
    /// In the calendar of events: how many more go on from this day on than before it.
    pub active: i64,
    pub exits: i64,
    pub exits_by_reason: [i64; EXIT_REASONS.len()],
    pub reached: i64,
    pub advanced: i64,
    pub by_outcome: [i64; STEP_OUTCOMES.len()],
    /// Last all other reasons.
    pub suppressed_by_reason: [i64; SUPPRESSION_REASONS.len() + 1],
    pub due: i64,
    pub in_time: i64,
    pub overdue: i64,
}

impl AddAssign<&Counts> for Counts {
    fn add_assign(&mut self, other: &Counts) {
        let add = |to: &mut [i64], from: &[i64]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        self.entries += other.entries;
        self.orphans += other.orphans;
        self.active += other.active;
        self.exits += other.exits;
        add(&mut self.exits_by_reason, &other.exits_by_reason);
        self.reached += other.reached;
        self.advanced += other.advanced;
        add(&mut self.by_outcome, &other.by_outcome);
        add(&mut self.suppressed_by_reason, &other.suppressed_by_reason);
        self.due += other.due;
        self.in_time += other.in_time;
        self.overdue += other.overdue;
    }
}

/// What a run adds to one row of a calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fact<'a> {
    pub day: DayNumber,
    pub group: Group<'a>,
    pub counts: Counts,
}

/// The UTC day of an instant.
pub(super) fn day_of(at_us: i64) -> DayNumber {
    DayNumber::try_from(at_us.div_euclid(DAY_US)).unwrap_or(DayNumber::MAX)
}

impl<'a> Run<'a> {
    /// The rows of whole runs that this one counts in.
    pub(super) fn group(&self) -> Group<'a> {
        Group {
            sequence_id: self.sequence_id,
            sequence_version: self.sequence_version,
            step_id: None,
            // Of an orphan nobody knows what was drawn.
            arm: self.arm,
            channel: None,
        }
    }

    /// The rows of steps that one of its steps counts in.
    pub(super) fn step_group(&self, step: &Step<'a>) -> Group<'a> {
        Group { step_id: Some(step.step_id), channel: step.channel, ..self.group() }
    }

    /// The day by which the run is found in the table, and on which its cohort is counted.
    pub(super) fn cohort_day(&self) -> DayNumber {
        day_of(self.began_at_us)
    }

    /// When it ended, but not before `at_us`: what a run does, it does before it ends.
    fn ended_after_us(&self, at_us: i64) -> Option<i64> {
        self.exited_at_us.map(|exited_at_us| exited_at_us.max(at_us))
    }

    fn exit_counts(&self) -> Counts {
        let place = EXIT_REASONS.into_iter().position(|known| Some(known) == self.exit_reason);
        let mut counts = Counts { exits: 1, ..Counts::default() };
        if let Some(place) = place {
            counts.exits_by_reason[place] = 1;
        }
        counts
    }

    /// What it adds to the day on which it was entered.
    pub(super) fn cohort_facts(&self, as_of_us: i64) -> Vec<Fact<'a>> {
        let day = self.cohort_day();
        if self.entered_at_us.is_none() {
            return vec![Fact { day, group: self.group(), counts: Counts { orphans: 1, ..Counts::default() } }];
        }
        let mut whole = Counts { entries: 1, ..Counts::default() };
        match self.exited_at_us {
            Some(_) => whole += &self.exit_counts(),
            None => whole.active = 1,
        }
        let mut facts = vec![Fact { day, group: self.group(), counts: whole }];
        for step in &self.steps {
            let mut counts = Counts { reached: 1, ..Counts::default() };
            match (step.done_at_us, self.exited_at_us) {
                (Some(_), _) => counts += &step.done_counts(),
                (None, Some(_)) => counts += &self.exit_counts(),
                (None, None) => counts.active = 1,
            }
            if let Some((_, settled)) = step.settled(self.exited_at_us, as_of_us) {
                counts += &settled;
            }
            facts.push(Fact { day, group: self.step_group(step), counts });
        }
        facts
    }

    /// What it adds to the days on which things happened.
    pub(super) fn event_facts(&self, as_of_us: i64) -> Vec<Fact<'a>> {
        let Some(entered_at_us) = self.entered_at_us else { return self.cohort_facts(as_of_us) };
        let mut facts = Vec::with_capacity(2 + 4 * self.steps.len());
        let mut add = |at_us: i64, group, counts| facts.push(Fact { day: day_of(at_us), group, counts });
        let began = |counts: Counts| Counts { active: 1, ..counts };
        let ended = |counts: Counts| Counts { active: -1, ..counts };
        add(entered_at_us, self.group(), began(Counts { entries: 1, ..Counts::default() }));
        if let Some(ended_at_us) = self.ended_after_us(entered_at_us) {
            add(ended_at_us, self.group(), ended(self.exit_counts()));
        }
        for step in &self.steps {
            let group = self.step_group(step);
            add(step.reached_at_us, group, began(Counts { reached: 1, ..Counts::default() }));
            if let Some(left_at_us) = step.left_at_us(self.exited_at_us) {
                add(left_at_us.max(step.reached_at_us), group, ended(Counts::default()));
            }
            match (step.done_at_us, self.ended_after_us(step.reached_at_us)) {
                (Some(done_at_us), _) => add(done_at_us, group, step.done_counts()),
                (None, Some(ended_at_us)) => add(ended_at_us, group, self.exit_counts()),
                (None, None) => {}
            }
            if let Some((settled_at_us, counts)) = step.settled(self.exited_at_us, as_of_us) {
                add(settled_at_us, group, counts);
            }
        }
        facts
    }
}

impl Step<'_> {
    fn done_counts(&self) -> Counts {
        let mut counts = Counts { advanced: 1, ..Counts::default() };
        if let Some(place) = STEP_OUTCOMES.into_iter().position(|known| Some(known) == self.outcome) {
            counts.by_outcome[place] = 1;
        }
        if self.outcome == Some(OUTCOME_SUPPRESSED) {
            let place = SUPPRESSION_REASONS.into_iter().position(|known| Some(known) == self.reason);
            counts.suppressed_by_reason[place.unwrap_or(SUPPRESSION_REASONS.len())] = 1;
        }
        counts
    }

    /// When it was settled whether the step was executed in time, and how; none while it is not, or if nobody said when it
    /// was to be. It is settled when it is done, or when its time is over while the run is still in it.
    fn settled(&self, exited_at_us: Option<i64>, as_of_us: i64) -> Option<(i64, Counts)> {
        if let Some(in_time) = self.in_time() {
            let in_time = in_time && self.outcome == Some(OUTCOME_EXECUTED);
            let counts = Counts { due: 1, in_time: i64::from(in_time), ..Counts::default() };
            return self.done_at_us.map(|done_at_us| (done_at_us, counts));
        }
        let deadline_us = self.deadline_us().filter(|_| self.done_at_us.is_none())?;
        let is_over = deadline_us < exited_at_us.unwrap_or(as_of_us);
        is_over.then(|| (deadline_us, Counts { due: 1, overdue: 1, ..Counts::default() }))
    }
}

/// A run as it counts: what is known of it, who runs, and as of when.
pub type Seen<'a> = (&'a Run<'a>, Option<&'a str>, i64);

/// Which rows of the metrics are others since a run changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changed {
    /// Days of the calendar of cohorts.
    pub cohorts: BTreeSet<DayNumber>,
    /// The first day of the calendar of events.
    pub events_from: Option<DayNumber>,
}

impl Changed {
    /// Both.
    pub fn extend(&mut self, other: Self) {
        self.cohorts.extend(other.cohorts);
        self.events_from = match (self.events_from, other.events_from) {
            (Some(day), Some(other)) => Some(day.min(other)),
            (day, other) => day.or(other),
        };
    }
}

/// The rows that change when the run `old` becomes `new`; either may be missing.
pub fn changed(old: Option<Seen<'_>>, new: Option<Seen<'_>>) -> Changed {
    if old == new {
        return Changed::default();
    }
    let [before, after] = [old, new].map(|seen| seen.map(by_row).unwrap_or_default());
    let differs = |row: &&Row<'_>| before.get(*row) != after.get(*row);
    let events_from = before.keys().chain(after.keys()).filter(differs).map(|(day, _)| *day).min();
    let cohorts = [old, new].into_iter().flatten().map(|(run, ..)| run.cohort_day()).collect();
    Changed { cohorts, events_from }
}

type Row<'a> = (DayNumber, Group<'a>);

fn by_row<'a>((run, person, as_of_us): Seen<'a>) -> BTreeMap<Row<'a>, (Counts, Option<&'a str>)> {
    let mut rows: BTreeMap<Row<'a>, (Counts, Option<&str>)> = BTreeMap::new();
    for Fact { day, group, counts } in run.event_facts(as_of_us) {
        let row = rows.entry((day, group)).or_default();
        if counts.entries > 0 {
            row.1 = person;
        }
        row.0 += &counts;
    }
    rows
}
