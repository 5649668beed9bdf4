//! People in arms, from the runs of a sequence.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, RecordBatch};
use datafusion::error::DataFusionError;
use futures::TryStreamExt;
use touchline_schemas::Tenant;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::{message_deliveries, sequence_metrics};

use super::super::counted::{Question, runs};
use super::super::grouping::Grouping;
use super::super::messages::deliveries;
use super::super::outcomes::{Outcome, Start};
use super::comparison::{ShareTests, Side};
use super::{CONTROL_ARMS, Params};
use crate::columns::{amounts, texts};
use crate::days::DAY_US;
use crate::gather::{Gathered, blocking, gather};
use crate::lift::moments::PairMoments;
use crate::lift::srm::{sequential_srm, srm_chi_squared};
use crate::reports::AnswerMeta;
use crate::sequences::StoredRuns;
use crate::{PipelineError, QueryEngine};

/// Propensities that differ by less are one and the same.
const SAME: f64 = 1e-6;
/// Bytes of a run that is held, with a few deliveries, about.
const RUN_BYTES: usize = 640;
/// Ten-thousandths.
const UNITS: f64 = 1e4;

/// A run that was entered.
struct Entry {
    run_id: String,
    person_id: Option<String>,
    sequence_version: Option<i64>,
    arm: String,
    propensity: Option<f64>,
    at_us: i64,
    deliveries: Vec<String>,
}

/// The people of one version of a sequence.
pub(super) struct Experiment {
    pub sequence_version: Option<i64>,
    /// Names, in the order of the alphabet.
    pub arms: Vec<String>,
    /// The first entry of each person.
    pub starts: Vec<Start>,
    /// The arm of each person, by its place.
    arm_of: Vec<usize>,
    /// Of each arm: the probability with which it was drawn, if that is known and always the same.
    propensities: Vec<Option<f64>>,
    /// Whose a delivery is.
    deliveries: HashMap<String, usize>,
}

impl Experiment {
    /// Reads the runs that are asked about.
    pub async fn read(
        engine: &QueryEngine,
        tenant: Tenant,
        params: &Params,
    ) -> Result<(Gathered<Self>, AnswerMeta), PipelineError> {
        let calendar = sequence_metrics::CALENDAR_COHORT;
        let question = Question {
            sequence_id: Some(params.sequence_id.clone()),
            range: params.range,
            calendar,
            grouping: Grouping::read("", &[], calendar)?,
        };
        let (context, frame, meta) = runs(engine, tenant, &question).await?;
        let read = |entries: &mut Vec<Entry>, batch: &RecordBatch| read(entries, batch);
        let size_bytes = |entries: &Vec<Entry>| entries.capacity() * RUN_BYTES;
        let gathered = gather(&context, frame, "lift", Vec::new(), read, size_bytes).await?;
        let asked = params.sequence_version;
        let experiment = move |mut entries: Vec<Entry>| {
            let sequence_version = asked.or_else(|| entries.iter().map(|entry| entry.sequence_version).max().flatten());
            entries.retain(|entry| entry.sequence_version == sequence_version);
            Ok::<_, PipelineError>(Self::of(sequence_version, entries))
        };
        Ok((blocking(move || gathered.try_map(experiment)).await??, meta))
    }

    fn of(sequence_version: Option<i64>, mut entries: Vec<Entry>) -> Self {
        entries.sort_by(|a, b| (a.at_us, &a.run_id).cmp(&(b.at_us, &b.run_id)));
        let mut drawn: BTreeMap<&str, Vec<Option<f64>>> = BTreeMap::new();
        for entry in &entries {
            drawn.entry(&entry.arm).or_default().push(entry.propensity);
        }
        let arms: Vec<String> = drawn.keys().map(|arm| (*arm).to_owned()).collect();
        let propensities = drawn.values().map(|drawn| always(drawn)).collect();
        let mut people: HashMap<&str, usize> = HashMap::new();
        let (mut starts, mut arm_of, mut deliveries) = (Vec::new(), Vec::new(), HashMap::new());
        for entry in &entries {
            // Who is not known is somebody else each time.
            let known = entry.person_id.as_deref().and_then(|person_id| people.get(person_id).copied());
            let person = known.unwrap_or(starts.len());
            if known.is_none() {
                starts.push(Start { person_id: entry.person_id.clone(), at_us: entry.at_us });
                arm_of.push(arms.partition_point(|arm| *arm < entry.arm));
                entry.person_id.as_deref().and_then(|person_id| people.insert(person_id, person));
            }
            for delivery in &entry.deliveries {
                deliveries.entry(delivery.clone()).or_insert(person);
            }
        }
        Self { sequence_version, arms, starts, arm_of, propensities, deliveries }
    }

    /// The place of the arm that others are compared with; none if there is nothing to compare.
    pub fn control(&self, named: Option<&str>) -> Result<Option<usize>, PipelineError> {
        let place = |name: &str| self.arms.iter().position(|arm| arm == name);
        let found = match named {
            Some(named) => place(named),
            None => CONTROL_ARMS.into_iter().find_map(place),
        };
        match found {
            _ if self.arms.len() < 2 => Ok(None),
            Some(found) => Ok(Some(found)),
            None => {
                let detail = format!("name one of the arms {}", self.arms.join(", "));
                Err(PipelineError::BadParameter { name: "control", detail })
            }
        }
    }

    /// What the messages of each arm cost, in ten-thousandths.
    pub async fn costs(&self, engine: &QueryEngine, tenant: Tenant) -> Result<Vec<i128>, PipelineError> {
        let mut costs = vec![0; self.arms.len()];
        if self.deliveries.is_empty() {
            return Ok(costs);
        }
        let delivery_id = TextField::DeliveryId.column();
        let ids = self.deliveries.keys().map(String::as_str);
        let (_, frame) = deliveries(engine, tenant, ids, &[delivery_id, message_deliveries::COST]).await?;
        let mut batches = frame.execute_stream().await?;
        while let Some(batch) = batches.try_next().await? {
            let (ids, amounts) = (texts(&batch, delivery_id)?, amounts(&batch, message_deliveries::COST)?);
            for row in (0..batch.num_rows()).filter(|row| ids.is_valid(*row) && amounts.is_valid(*row)) {
                if let Some(person) = self.deliveries.get(ids.value(row)) {
                    costs[self.arm_of[*person]] += amounts.value(row);
                }
            }
        }
        Ok(costs)
    }

    /// The arms with what their people did. Who entered after `settled_us` may yet do it.
    pub fn sides(&self, outcomes: &[Outcome], costs: &[i128], settled_us: i64) -> Vec<Side> {
        let side = |cost_e4: &i128| Side { cost: *cost_e4 as f64 / UNITS, ..Side::default() };
        let mut sides: Vec<Side> = costs.iter().map(side).collect();
        for ((start, arm), outcome) in self.starts.iter().zip(&self.arm_of).zip(outcomes) {
            let side = &mut sides[*arm];
            let converted = if outcome.conversions > 0 { 1.0 } else { 0.0 };
            let before = f64::from(outcome.conversions_before);
            let (value, value_before) = (outcome.value_e4 as f64 / UNITS, outcome.value_before_e4 as f64 / UNITS);
            side.people.n += 1;
            side.people.successes += u64::from(outcome.conversions > 0);
            side.conversions = side.conversions + PairMoments::of(before, converted);
            side.value = side.value + PairMoments::of(value_before, value);
            side.open_windows += u64::from(start.at_us > settled_us);
        }
        sides
    }

    /// Whether people came to the arms as they were drawn, day by day; none if it is not known how that was.
    pub fn share_tests(&self) -> ShareTests {
        let Some(shares) = self.shares() else { return ShareTests::default() };
        let mut people = vec![0; self.arms.len()];
        let mut looks: Vec<Vec<u64>> = Vec::new();
        let days = self.starts.iter().map(|start| start.at_us.div_euclid(DAY_US));
        let mut last_day = None;
        for (day, arm) in days.zip(&self.arm_of) {
            if last_day.is_some_and(|last| last != day) {
                looks.push(people.clone());
            }
            last_day = Some(day);
            people[*arm] += 1;
        }
        looks.push(people.clone());
        ShareTests { chi_squared: srm_chi_squared(&people, &shares), sequential: sequential_srm(&looks, &shares) }
    }

    /// The share of people that each arm was to have. An arm that nobody drew is missing in the sum.
    fn shares(&self) -> Option<Vec<f64>> {
        let shares: Vec<f64> = self.propensities.iter().copied().collect::<Option<_>>()?;
        let sum: f64 = shares.iter().sum();
        ((sum - 1.0).abs() < SAME).then(|| shares.iter().map(|share| share / sum).collect())
    }
}

/// The one value of all, if there is one.
fn always(drawn: &[Option<f64>]) -> Option<f64> {
    let first = (*drawn.first()?)?;
    let is_same = |drawn: &Option<f64>| drawn.is_some_and(|drawn| (drawn - first).abs() < SAME);
    drawn.iter().all(is_same).then_some(first)
}

fn read(entries: &mut Vec<Entry>, batch: &RecordBatch) -> Result<(), DataFusionError> {
    for (run, person_id) in StoredRuns::read(batch)?.iter() {
        let (Some(at_us), Some(arm)) = (run.entered_at_us, run.arm) else { continue };
        entries.push(Entry {
            run_id: run.run_id.to_string(),
            person_id: person_id.map(str::to_owned),
            sequence_version: run.sequence_version,
            arm: arm.to_owned(),
            propensity: run.propensity,
            at_us,
            deliveries: run.steps.iter().filter_map(|step| step.delivery_id).map(str::to_owned).collect(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(run: u32, person: Option<&str>, arm: &str, propensity: Option<f64>, day: i64) -> Entry {
        Entry {
            run_id: format!("run-{run}"),
            person_id: person.map(str::to_owned),
            sequence_version: None,
            arm: arm.to_owned(),
            propensity,
            at_us: day * DAY_US,
            deliveries: vec![format!("delivery-{run}")],
        }
    }

    #[test]
    fn a_person_counts_once_in_the_arm_of_the_first_entry() {
        let entries = vec![
            entry(3, Some("ann"), "offer", None, 5),
            entry(1, Some("ann"), "holdout", None, 2),
            entry(2, Some("bob"), "offer", None, 2),
            entry(4, None, "offer", None, 3),
            entry(5, None, "offer", None, 3),
        ];
        let experiment = Experiment::of(None, entries);
        assert_eq!(experiment.arms, ["holdout", "offer"]);
        let people: Vec<_> = experiment.starts.iter().map(|start| start.person_id.as_deref()).collect();
        assert_eq!(people, [Some("ann"), Some("bob"), None, None]);
        assert_eq!(experiment.arm_of, [0, 1, 1, 1]);
        // The messages of a later run belong to the same person, and so to the arm of the first.
        assert_eq!(experiment.deliveries["delivery-3"], 0);
        assert_eq!(experiment.control(None).unwrap(), Some(0));
        assert_eq!(experiment.control(Some("offer")).unwrap(), Some(1));
        assert!(experiment.control(Some("placebo")).is_err());
    }

    #[test]
    fn shares_are_those_that_were_drawn_with_if_they_are_known() {
        let shares = |entries: Vec<Entry>| Experiment::of(None, entries).shares();
        let both = |a, b| vec![entry(1, None, "a", a, 1), entry(2, None, "b", b, 1)];
        assert_eq!(shares(both(Some(0.2), Some(0.8))), Some(vec![0.2, 0.8]));
        assert_eq!(shares(both(Some(0.2), None)), None);
        assert_eq!(shares(both(Some(0.2), Some(0.5))), None);
        let mut changed = both(Some(0.5), Some(0.5));
        changed.push(entry(3, None, "a", Some(0.4), 2));
        assert_eq!(shares(changed), None);
    }

    #[test]
    fn one_arm_is_no_comparison() {
        let experiment = Experiment::of(None, vec![entry(1, None, "offer", Some(1.0), 1)]);
        assert_eq!(experiment.control(None).unwrap(), None);
        assert_eq!(Experiment::of(None, Vec::new()).control(Some("x")).unwrap(), None);
    }
}
