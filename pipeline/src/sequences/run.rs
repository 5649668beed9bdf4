//! From the set of a run's events to what became of it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use touchline_schemas::event::messaging::{
    OUTCOME_EXECUTED, SEQUENCE_BRANCH, SEQUENCE_ENTERED, SEQUENCE_EXITED, SEQUENCE_STEP_DONE, SEQUENCE_STEP_DUE,
};
use touchline_schemas::tables::event_sets::Member;
use touchline_schemas::tables::sequence_runs::NEVER_US;

use crate::event_sets::{Event, SetRef};

const SECOND_US: i64 = 1_000_000;

/// One person's way through a sequence. Instants are microseconds since 1970, UTC. What the vocabulary requires is checked
/// when events come in; older events may lack any of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Run<'a> {
    /// The run.
    pub run_id: Cow<'a, str>,
    /// The sequence.
    pub sequence_id: Option<&'a str>,
    /// Its version.
    pub sequence_version: Option<i64>,
    /// The arm that was drawn when it was entered.
    pub arm: Option<&'a str>,
    /// With which probability.
    pub propensity: Option<f64>,
    /// Who runs, as the events name them.
    pub visitor_id: Option<&'a str>,
    /// Who runs, as the events name them.
    pub user_id: Option<&'a str>,
    /// When it was entered; of an orphan, its first event.
    pub began_at_us: i64,
    /// When it was last under way; [`NEVER_US`] while it goes on.
    pub under_way_until_us: i64,
    /// When it was entered; none for an orphan.
    pub entered_at_us: Option<i64>,
    /// When it ended.
    pub exited_at_us: Option<i64>,
    /// Why it ended.
    pub exit_reason: Option<&'a str>,
    /// The step in which it ended.
    pub exit_step_id: Option<&'a str>,
    /// The steps that it reached, in order of time and id.
    pub steps: Vec<Step<'a>>,
}

/// A step that a run reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Step<'a> {
    /// The step.
    pub step_id: &'a str,
    /// When it was reached.
    pub reached_at_us: i64,
    /// When it is to be carried out.
    pub due_at_us: Option<i64>,
    /// How many seconds later it is in time; without it, any time is.
    pub sla_s: Option<i64>,
    /// When the run was through with it.
    pub done_at_us: Option<i64>,
    /// How it ended.
    pub outcome: Option<&'a str>,
    /// Why it ended so.
    pub reason: Option<&'a str>,
    /// The way that was taken from it.
    pub branch_arm: Option<&'a str>,
    /// With which probability.
    pub branch_propensity: Option<f64>,
    /// The channel through which it speaks.
    pub channel: Option<&'a str>,
    /// Its message.
    pub message_id: Option<&'a str>,
    /// Its delivery.
    pub delivery_id: Option<&'a str>,
}

impl<'a> Run<'a> {
    /// The run whose events these are; none without any.
    ///
    /// Where events differ, those that say the run was entered are asked first, then the earliest; of several events of a
    /// type (and step) the earliest holds. Events of the same time are in the order of their ids.
    pub fn of(set: SetRef<'a>) -> Option<Self> {
        let events = || set.events();
        let first = |event_type: &str| events().find(|event| event.event_type() == event_type);
        let (entry, exit) = (first(SEQUENCE_ENTERED), first(SEQUENCE_EXITED));
        let in_order = || {
            let is_entry = |event: &Event<'a>| event.event_type() == SEQUENCE_ENTERED;
            events().filter(is_entry).chain(events().filter(move |event| !is_entry(event)))
        };
        let text = |member| in_order().find_map(|event| event.text(member));
        let (earliest_us, latest_us) = (events().next()?.occurred_at_us(), events().next_back()?.occurred_at_us());
        let entered_at_us = entry.map(|entry| entry.occurred_at_us());
        let goes_on = entry.is_some() && exit.is_none();
        Some(Self {
            run_id: set.key(),
            sequence_id: text(Member::SequenceId),
            sequence_version: in_order().find_map(|event| event.number(Member::SequenceVersion)),
            arm: entry.and_then(|entry| entry.text(Member::Arm)),
            propensity: entry.and_then(|entry| entry.fraction(Member::Propensity)),
            visitor_id: text(Member::VisitorId),
            user_id: text(Member::UserId),
            began_at_us: entered_at_us.unwrap_or(earliest_us),
            under_way_until_us: if goes_on { NEVER_US } else { latest_us },
            entered_at_us,
            exited_at_us: exit.map(|exit| exit.occurred_at_us()),
            exit_reason: exit.and_then(|exit| exit.text(Member::Reason)),
            exit_step_id: exit.and_then(|exit| exit.text(Member::StepId)),
            steps: steps(set, exit),
        })
    }
}

/// The events of a step that say something of it, each the first of its type.
struct Said<'a> {
    reached_at_us: i64,
    due: Option<Event<'a>>,
    done: Option<Event<'a>>,
    branch: Option<Event<'a>>,
}

fn steps<'a>(set: SetRef<'a>, exit: Option<Event<'a>>) -> Vec<Step<'a>> {
    let mut found: BTreeMap<&str, Said<'_>> = BTreeMap::new();
    for event in set.events() {
        let Some(step_id) = event.text(Member::StepId) else { continue };
        let event_type = event.event_type();
        // Only the exit that ended the run tells where it stood, and being entered is no step.
        let ends_elsewhere = event_type == SEQUENCE_EXITED && exit.is_some_and(|exit| exit.id() != event.id());
        if event_type == SEQUENCE_ENTERED || ends_elsewhere {
            continue;
        }
        // Events are in order, so that whichever is first here is the first of all.
        let reached_at_us = event.occurred_at_us();
        let step = found.entry(step_id).or_insert(Said { reached_at_us, due: None, done: None, branch: None });
        let said = match event_type {
            SEQUENCE_STEP_DUE => &mut step.due,
            SEQUENCE_STEP_DONE => &mut step.done,
            SEQUENCE_BRANCH => &mut step.branch,
            _ => continue,
        };
        said.get_or_insert(event);
    }
    let mut steps: Vec<_> = found.into_iter().map(|(step_id, said)| said.step(step_id)).collect();
    steps.sort_by_key(|step| step.reached_at_us);
    steps
}

impl<'a> Said<'a> {
    fn step(&self, step_id: &'a str) -> Step<'a> {
        let Self { reached_at_us, due, done, branch } = *self;
        // A branch is the doing of its step, where nothing else says how that ended.
        let outcome = match done {
            Some(done) => done.text(Member::Outcome),
            None => branch.map(|_| OUTCOME_EXECUTED),
        };
        let of_done = |member| done.and_then(|done| done.text(member));
        Step {
            step_id,
            reached_at_us,
            due_at_us: due.and_then(|due| due.number(Member::DueAt)),
            sla_s: due.and_then(|due| due.number(Member::SlaS)),
            done_at_us: done.or(branch).map(|event| event.occurred_at_us()),
            outcome,
            reason: of_done(Member::Reason),
            branch_arm: branch.and_then(|branch| branch.text(Member::Arm)),
            branch_propensity: branch.and_then(|branch| branch.fraction(Member::Propensity)),
            channel: of_done(Member::Channel).or_else(|| due.and_then(|due| due.text(Member::Channel))),
            message_id: of_done(Member::MessageId),
            delivery_id: of_done(Member::DeliveryId),
        }
    }
}

impl Step<'_> {
    /// The last instant at which it is in time; none if any is, or if it is not known when it is to be carried out.
    pub fn deadline_us(&self) -> Option<i64> {
        Some(self.due_at_us?.saturating_add(self.sla_s?.saturating_mul(SECOND_US)))
    }

    /// Whether it was done in time; none if it was not done, or if it is not known when it was to be.
    pub fn in_time(&self) -> Option<bool> {
        let (done_at_us, _) = (self.done_at_us?, self.due_at_us?);
        Some(self.deadline_us().is_none_or(|deadline_us| done_at_us <= deadline_us))
    }

    /// When the run left it: it got through, or it ended.
    pub fn left_at_us(&self, exited_at_us: Option<i64>) -> Option<i64> {
        match (self.done_at_us, exited_at_us) {
            (Some(done_at_us), Some(exited_at_us)) => Some(done_at_us.min(exited_at_us)),
            (done_at_us, exited_at_us) => done_at_us.or(exited_at_us),
        }
    }
}
