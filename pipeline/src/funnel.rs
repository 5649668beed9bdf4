//! Funnels: how many visitors do one thing after the other, and how long they take.
//!
//! Definition, version 1. A visitor is a device (`visitor_id`, else `user_id`); humans only. A *chain* is a series of
//! the visitor's events in the order of `(occurred_at, event_id)`, each of them another one, of which the first is the
//! first step, the second the second step, and so on. It begins in the range, and its last event comes at most the
//! window after its first. Other events may lie between. A visitor has reached the step with which their **longest**
//! chain ends, over all events with which one could begin. Times between steps are those of one chain: of the longest,
//! those that begin first; of these, each step at the first event that can be it. So neither the order in which rows
//! are read nor the visitor's later attempts change an answer.

use std::ops::Range;

use arrow::array::{Array, RecordBatch};
use chrono::Duration;
use datafusion::error::DataFusionError;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::events;

use crate::PipelineError;
use crate::columns::{texts, times};
use crate::intern::{Devices, TextList};

/// Names this definition in answers.
pub const DEFINITION: &str = "funnel/1";

/// Most steps of a funnel.
pub const MAX_STEPS: usize = 20;

/// Longest window.
const MAX_WINDOW_DAYS: i64 = 366;

/// Which events are a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// As it was written: `TYPE`, `TYPE:/path`, or `TYPE:/begin*`.
    pub text: String,
    /// The event's type.
    pub event_type: String,
    path: Option<PathRule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PathRule {
    Is(String),
    BeginsWith(String),
}

impl Step {
    /// Reads a step.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (event_type, path) = match text.find(":/") {
            Some(colon) => (&text[..colon], Some(&text[colon + 1..])),
            None => (text, None),
        };
        let path = path.map(|path| match path.strip_suffix('*') {
            Some(begin) => PathRule::BeginsWith(begin.to_owned()),
            None => PathRule::Is(path.to_owned()),
        });
        let step = Self { text: text.to_owned(), event_type: event_type.to_owned(), path };
        (!event_type.is_empty()).then_some(step)
    }

    /// Whether an event is this step.
    pub fn matches(&self, event_type: &str, path: Option<&str>) -> bool {
        event_type == self.event_type
            && match &self.path {
                None => true,
                Some(PathRule::Is(wanted)) => path == Some(wanted),
                Some(PathRule::BeginsWith(begin)) => path.is_some_and(|path| path.starts_with(begin)),
            }
    }
}

/// Reads steps separated by commas.
pub fn steps(text: &str) -> Result<Vec<Step>, PipelineError> {
    let bad = |detail: String| PipelineError::BadParameter { name: "steps", detail };
    let steps = text.split(',').map(|step| {
        Step::parse(step)
            .ok_or_else(|| bad(format!("`{step}` is no step: a step is `TYPE`, `TYPE:/path` or `TYPE:/begin*`")))
    });
    let steps = steps.collect::<Result<Vec<_>, _>>()?;
    if steps.len() > MAX_STEPS {
        return Err(bad(format!("{} steps are too many: at most {MAX_STEPS}", steps.len())));
    }
    Ok(steps)
}

/// Reads a window: a whole number and `s`, `m`, `h` or `d`.
pub fn window(text: &str) -> Result<Duration, PipelineError> {
    let read = || {
        let unit_s = match text.bytes().last()? {
            b's' => 1,
            b'm' => 60,
            b'h' => 3_600,
            b'd' => 86_400,
            _ => return None,
        };
        let count: i64 = text[..text.len() - 1].parse().ok()?;
        let seconds = count.checked_mul(unit_s).filter(|_| count > 0)?;
        (seconds <= MAX_WINDOW_DAYS * 86_400).then(|| Duration::seconds(seconds))
    };
    read().ok_or_else(|| PipelineError::BadParameter {
        name: "window",
        detail: format!("`{text}` is no window: a whole number and s, m, h or d, up to {MAX_WINDOW_DAYS}d"),
    })
}

/// A funnel to be counted.
#[derive(Debug, Clone)]
pub struct Funnel {
    /// Its steps, at least one.
    pub steps: Vec<Step>,
    /// Microseconds from a chain's first to its last event, at most.
    pub window_us: i64,
    /// When chains may begin, in microseconds since 1970.
    pub begins_us: Range<i64>,
}

/// What came of a step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reached {
    /// Visitors who reached it.
    pub visitors: u64,
    /// How long each of them took since the step before, in microseconds, in order; empty for the first step.
    pub times_us: Vec<i64>,
}

/// Events that are a step, from batches in any order.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    devices: Devices,
    moments: Vec<Moment>,
    ids: TextList,
}

/// An event of somebody that is at least one step.
#[derive(Debug, Clone, Copy)]
struct Moment {
    device: u32,
    at_us: i64,
    id: u32,
    /// A bit for each step that it is.
    steps: u32,
}

impl Collected {
    /// Takes the events of a batch that are a step.
    pub fn read(&mut self, batch: &RecordBatch, funnel: &Funnel) -> Result<(), DataFusionError> {
        let at = times(batch, events::OCCURRED_AT)?;
        let [ids, types, paths, visitors, users] =
            [TextField::EventId, TextField::EventType, TextField::Path, TextField::VisitorId, TextField::UserId]
                .map(|field| texts(batch, field.column()));
        let (ids, types, paths, visitors, users) = (ids?, types?, paths?, visitors?, users?);
        for row in 0..batch.num_rows() {
            if at.is_null(row) || types.is_null(row) || ids.is_null(row) {
                continue;
            }
            let path = paths.is_valid(row).then(|| paths.value(row));
            let is = |step: &Step| step.matches(types.value(row), path);
            let bits = funnel.steps.iter().enumerate().map(|(place, step)| u32::from(is(step)) << place);
            let steps = bits.fold(0, |all, bit| all | bit);
            if steps == 0 {
                continue;
            }
            let device = self.devices.number(visitors, users, row);
            if device != Devices::NOBODY {
                self.push(device, at.value(row), ids.value(row), steps);
            }
        }
        Ok(())
    }

    fn push(&mut self, device: u32, at_us: i64, id: &str, steps: u32) {
        self.moments.push(Moment { device, at_us, id: self.ids.push(id.as_bytes()), steps });
    }

    /// Bytes of memory that it takes.
    pub fn size_bytes(&self) -> usize {
        self.devices.size_bytes() + self.moments.capacity() * size_of::<Moment>() + self.ids.size_bytes()
    }

    /// Counts the funnel.
    pub fn count(mut self, funnel: &Funnel) -> Vec<Reached> {
        let ids = &self.ids;
        self.moments.sort_unstable_by(|a, b| {
            (a.device, a.at_us).cmp(&(b.device, b.at_us)).then_with(|| ids.get(a.id).cmp(ids.get(b.id)))
        });
        let mut reached = vec![Reached::default(); funnel.steps.len()];
        let mut events = Vec::new();
        for of_device in self.moments.chunk_by(|a, b| a.device == b.device) {
            events.clear();
            events.extend(of_device.iter().map(|moment| (moment.at_us, moment.steps)));
            let chain = longest_chain(&events, funnel);
            for (place, at_us) in chain.iter().enumerate() {
                reached[place].visitors += 1;
                if let Some(before) = place.checked_sub(1) {
                    reached[place].times_us.push(at_us - chain[before]);
                }
            }
        }
        reached.iter_mut().for_each(|step| step.times_us.sort_unstable());
        reached
    }
}

/// The times of the chain that counts, of events in order with the bits of the steps that each is.
fn longest_chain(events: &[(i64, u32)], funnel: &Funnel) -> Vec<i64> {
    let step_count = funnel.steps.len();
    let places: Vec<Vec<usize>> = (0..step_count)
        .map(|step| (0..events.len()).filter(|place| events[*place].1 >> step & 1 == 1).collect())
        .collect();
    let mut longest = Vec::new();
    let mut chain = Vec::with_capacity(step_count);
    for &begin in places.first().into_iter().flatten() {
        let begin_us = events[begin].0;
        if !funnel.begins_us.contains(&begin_us) {
            continue;
        }
        chain.clear();
        chain.push(begin_us);
        let mut last = begin;
        for places in &places[1..] {
            // The first event that can be the step leaves the most to those that follow.
            let next = places.partition_point(|place| *place <= last);
            let Some(&place) = places.get(next) else { break };
            if events[place].0 - begin_us > funnel.window_us {
                break;
            }
            chain.push(events[place].0);
            last = place;
        }
        if chain.len() > longest.len() {
            longest.clone_from(&chain);
        }
        if longest.len() == step_count {
            break;
        }
    }
    longest
}

/// A quantile of sorted values by linear interpolation between the two that it lies between (as `quantile_cont` in
/// SQL, type 7 of Hyndman and Fan); none without values.
pub fn quantile(sorted: &[i64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = share * last as f64;
    let (below, above) = (sorted[place.floor() as usize] as f64, sorted[place.ceil() as usize] as f64);
    Some(below + (above - below) * place.fract())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND_US: i64 = 1_000_000;

    fn funnel(text: &str, window_s: i64) -> Funnel {
        Funnel { steps: steps(text).unwrap(), window_us: window_s * SECOND_US, begins_us: 0..1_000 * SECOND_US }
    }

    /// Events as `TYPE@SECOND`, whose ids are in the order in which they are written.
    fn chain(text: &str, window_s: i64, events: &str) -> Vec<i64> {
        let funnel = funnel(text, window_s);
        let events = events.split_whitespace().map(|event| {
            let (kind, at_s) = event.split_once('@').unwrap();
            let bit = |(place, step): (usize, &Step)| u32::from(step.matches(kind, None)) << place;
            let steps = funnel.steps.iter().enumerate().map(bit).sum();
            (at_s.parse::<i64>().unwrap() * SECOND_US, steps)
        });
        let chain = longest_chain(&events.collect::<Vec<_>>(), &funnel);
        chain.into_iter().map(|at_us| at_us / SECOND_US).collect()
    }

    #[test]
    fn the_longest_chain_within_the_window_counts() {
        for (steps, window_s, events, expected) in [
            ("a,b,c", 100, "a@1 b@2 c@3", &[1, 2, 3][..]),
            ("a,b,c", 100, "a@1 x@2 c@3", &[1]),
            ("a,b,c", 100, "c@1 b@2 a@3", &[3]),
            ("a,b,c", 100, "b@1 c@2", &[]),
            // The window is from the first to the last event, and its end counts.
            ("a,b,c", 10, "a@0 b@5 c@10", &[0, 5, 10]),
            ("a,b,c", 9, "a@0 b@5 c@10", &[0, 5]),
            // A later start gets further than an earlier one.
            ("a,b,c", 10, "a@0 b@2 a@8 b@9 c@15", &[8, 9, 15]),
            // Of chains as long, the one that began first.
            ("a,b", 100, "a@0 a@5 b@6 b@9", &[0, 6]),
            // One event is one step only.
            ("a,a", 100, "a@4", &[4]),
            ("a,a", 100, "a@4 a@4", &[4, 4]),
            ("a,a,b", 100, "a@1 b@2 a@3 b@4", &[1, 3, 4]),
            // A chain begins in the range and may end after it.
            ("a,b", 100, "a@999 b@1050", &[999, 1050]),
            ("a,b", 100, "a@1000 b@1050", &[]),
        ] {
            assert_eq!(chain(steps, window_s, events), expected, "{steps} in {window_s} s of {events}");
        }
    }

    #[test]
    fn steps_are_types_with_or_without_a_path() {
        for (step, event_type, path, expected) in [
            ("purchase", "purchase", None, true),
            ("purchase", "purchase", Some("/cart"), true),
            ("purchase", "page_view", None, false),
            ("page_view:/cart", "page_view", Some("/cart"), true),
            ("page_view:/cart", "page_view", Some("/cart/"), false),
            ("page_view:/cart", "page_view", None, false),
            ("page_view:/blog/*", "page_view", Some("/blog/oak"), true),
            ("page_view:/blog/*", "page_view", Some("/blogs"), false),
            (" app:opened ", "app:opened", None, true),
        ] {
            assert_eq!(Step::parse(step).unwrap().matches(event_type, path), expected, "{step} {event_type} {path:?}");
        }
        for text in ["", "a,,b", ":/cart", &"a,".repeat(MAX_STEPS)] {
            assert!(steps(text).is_err(), "{text}");
        }
    }

    #[test]
    fn windows_have_a_unit() {
        for (text, expected_s) in
            [("90s", Some(90)), ("30m", Some(1_800)), ("24h", Some(86_400)), ("7d", Some(604_800))].into_iter().chain(
                ["", "d", "7", "0d", "-1d", "367d", "1.5h", "7w", "9999999999999999999d", "7€"].map(|bad| (bad, None)),
            )
        {
            assert_eq!(window(text).ok().map(|window| window.num_seconds()), expected_s, "{text}");
        }
    }

    #[test]
    fn quantiles_lie_between_values() {
        for (values, share, expected) in [
            (&[][..], 0.5, None),
            (&[7], 0.9, Some(7.0)),
            (&[1, 2], 0.5, Some(1.5)),
            (&[1, 2, 3], 0.5, Some(2.0)),
            (&[0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100], 0.9, Some(90.0)),
            (&[0, 10], 0.9, Some(9.0)),
        ] {
            assert_eq!(quantile(values, share), expected, "{values:?} {share}");
        }
    }

    /// The definition, word by word: every series of different events in order, tried one after the other.
    fn every_chain(events: &[(i64, u32)], funnel: &Funnel, chain: &mut Vec<usize>, best: &mut Vec<usize>) {
        // Chains are tried in the order of their events, so of chains as long the first found is the one that counts.
        if chain.len() > best.len() {
            best.clone_from(chain);
        }
        if chain.len() == funnel.steps.len() {
            return;
        }
        for place in chain.last().map_or(0, |last| last + 1)..events.len() {
            let (at_us, steps) = events[place];
            let fits = match chain.first() {
                Some(first) => at_us - events[*first].0 <= funnel.window_us,
                None => funnel.begins_us.contains(&at_us),
            };
            if fits && steps >> chain.len() & 1 == 1 {
                chain.push(place);
                every_chain(events, funnel, chain, best);
                chain.pop();
            }
        }
    }

    proptest! {
        #[test]
        fn rows_in_any_order_give_what_the_definition_says(
            events in proptest::collection::vec((0..3_u32, 0..30_i64, 1..16_u32), 0..24).prop_map(|events| {
                events.into_iter().enumerate().collect::<Vec<_>>()
            }).prop_shuffle(),
            window_s in 1..12_i64,
        ) {
            let mut funnel = funnel("a,b,c,d", window_s);
            funnel.begins_us = 3 * SECOND_US..25 * SECOND_US;
            let mut collected = Collected::default();
            for (number, (device, at_s, steps)) in &events {
                collected.push(device + 1, at_s * SECOND_US, &format!("id-{number:03}"), *steps);
            }
            let mut expected = vec![Reached::default(); 4];
            for wanted in 0..3 {
                let mut own: Vec<_> = events.iter().filter(|(_, (device, _, _))| *device == wanted).collect();
                own.sort_by_key(|(number, (_, at_s, _))| (*at_s, *number));
                let own: Vec<_> = own.iter().map(|(_, (_, at_s, steps))| (at_s * SECOND_US, *steps)).collect();
                let mut best = Vec::new();
                every_chain(&own, &funnel, &mut Vec::new(), &mut best);
                for (place, event) in best.iter().enumerate() {
                    expected[place].visitors += 1;
                    if place > 0 {
                        expected[place].times_us.push(own[*event].0 - own[best[place - 1]].0);
                    }
                }
            }
            expected.iter_mut().for_each(|step| step.times_us.sort_unstable());
            prop_assert_eq!(collected.count(&funnel), expected);
        }
    }
}
