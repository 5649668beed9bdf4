//! Runs as rows of `sequence_runs`, and back.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, StringViewArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use touchline_schemas::tables::Table;
use touchline_schemas::tables::sequence_runs as column;

use super::run::{Run, Step};
use crate::event_sets::{SortedSets, list_of};
use crate::identities::People;

/// The runs whose events these are, in the columns of the table's files.
pub fn runs_batch(sets: &SortedSets, people: &People) -> Result<RecordBatch> {
    let (mut numbers, mut runs) = (Vec::with_capacity(sets.len()), Vec::with_capacity(sets.len()));
    for (number, set) in sets.iter().enumerate() {
        if let Some(run) = Run::of(set) {
            numbers.push(number as u32);
            runs.push(run);
        }
    }
    let texts = |of: &dyn for<'a> Fn(&Run<'a>) -> Option<&'a str>| -> ArrayRef {
        Arc::new(runs.iter().map(of).collect::<StringArray>())
    };
    let instants = |of: fn(&Run<'_>) -> Option<i64>| -> ArrayRef {
        Arc::new(runs.iter().map(of).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    let (visitors, users) = (texts(&|run| run.visitor_id), texts(&|run| run.user_id));
    let began = instants(|run| Some(run.began_at_us));
    let person_ids = people.of_columns(&visitors, &users, &began)?;
    let mut columns = vec![
        Arc::new(StringArray::from_iter_values(runs.iter().map(|run| &run.run_id))) as ArrayRef,
        began,
        instants(|run| Some(run.under_way_until_us)),
        texts(&|run| run.sequence_id),
        Arc::new(runs.iter().map(|run| run.sequence_version).collect::<Int64Array>()),
        texts(&|run| run.arm),
        Arc::new(runs.iter().map(|run| run.propensity).collect::<Float64Array>()),
        cast(&person_ids, &DataType::Utf8)?,
        visitors,
        users,
        instants(|run| run.entered_at_us),
        instants(|run| run.exited_at_us),
        texts(&|run| run.exit_reason),
        texts(&|run| run.exit_step_id),
    ];
    columns.extend(step_lists(&runs)?);
    columns.extend(sets.lists(&numbers, &column::MEMBERS)?);
    Ok(RecordBatch::try_new(Table::SequenceRuns.file_schema(), columns)?)
}

fn step_lists(runs: &[Run<'_>]) -> Result<Vec<ArrayRef>> {
    let lengths: Vec<usize> = runs.iter().map(|run| run.steps.len()).collect();
    let steps = || runs.iter().flat_map(|run| &run.steps);
    let texts = |of: &dyn for<'a> Fn(&Step<'a>) -> Option<&'a str>| -> ArrayRef {
        Arc::new(steps().map(of).collect::<StringArray>())
    };
    let instants = |of: fn(&Step<'_>) -> Option<i64>| -> ArrayRef {
        Arc::new(steps().map(of).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    let values = [
        texts(&|step| Some(step.step_id)),
        instants(|step| Some(step.reached_at_us)),
        instants(|step| step.due_at_us),
        Arc::new(steps().map(|step| step.sla_s).collect::<Int64Array>()),
        instants(|step| step.done_at_us),
        texts(&|step| step.outcome),
        texts(&|step| step.reason),
        Arc::new(steps().map(Step::in_time).collect::<BooleanArray>()),
        texts(&|step| step.branch_arm),
        Arc::new(steps().map(|step| step.branch_propensity).collect::<Float64Array>()),
        texts(&|step| step.channel),
        texts(&|step| step.message_id),
        texts(&|step| step.delivery_id),
    ];
    values.into_iter().map(|values| list_of(values, &lengths)).collect()
}

/// Rows of the table, as far as metrics look at them: without the events.
#[derive(Debug)]
pub struct StoredRuns {
    texts: [StringViewArray; TEXTS.len()],
    instants: [TimestampMicrosecondArray; INSTANTS.len()],
    versions: Int64Array,
    propensities: Float64Array,
    step_offsets: OffsetBuffer<i32>,
    step_texts: [StringViewArray; STEP_TEXTS.len()],
    step_instants: [TimestampMicrosecondArray; STEP_INSTANTS.len()],
    step_slas: Int64Array,
    step_propensities: Float64Array,
}

const TEXTS: [&str; 8] = [
    column::RUN_ID,
    column::SEQUENCE_ID,
    column::ARM,
    column::IDS[0],
    column::IDS[1],
    column::EXIT_REASON,
    column::EXIT_STEP_ID,
    column::PERSON_ID,
];
const INSTANTS: [&str; 4] = [column::BEGAN_AT, column::UNDER_WAY_UNTIL, column::ENTERED_AT, column::EXITED_AT];
const STEP_TEXTS: [&str; 7] = [
    column::STEPS_ID,
    column::STEPS_OUTCOME,
    column::STEPS_REASON,
    column::STEPS_BRANCH_ARM,
    column::STEPS_CHANNEL,
    column::STEPS_MESSAGE_ID,
    column::STEPS_DELIVERY_ID,
];
const STEP_INSTANTS: [&str; 3] = [column::STEPS_REACHED_AT, column::STEPS_DUE_AT, column::STEPS_DONE_AT];

/// The columns that [`StoredRuns`] needs.
pub fn run_columns() -> Vec<&'static str> {
    let mut names = [TEXTS.as_slice(), &INSTANTS, &STEP_TEXTS, &STEP_INSTANTS].concat();
    names.extend([column::SEQUENCE_VERSION, column::PROPENSITY, column::STEPS_SLA_S, column::STEPS_BRANCH_PROPENSITY]);
    names
}

impl StoredRuns {
    /// The runs of a batch that has [`run_columns`].
    pub fn read(batch: &RecordBatch) -> Result<Self> {
        let flat = |name: &str| batch.column_by_name(name).cloned().ok_or_else(|| missing(name));
        let list = |name: &str| flat(name)?.as_list_opt::<i32>().cloned().ok_or_else(|| missing(name));
        let ids = list(column::STEPS_ID)?;
        let values = |name: &str| {
            let list = list(name)?;
            if list.value_offsets() == ids.value_offsets() { Ok(Arc::clone(list.values())) } else { Err(missing(name)) }
        };
        Ok(Self {
            texts: all(TEXTS, |name| texts(name, &flat(name)?))?,
            instants: all(INSTANTS, |name| instants(name, &flat(name)?))?,
            versions: whole(column::SEQUENCE_VERSION, &flat(column::SEQUENCE_VERSION)?)?,
            propensities: fractions(column::PROPENSITY, &flat(column::PROPENSITY)?)?,
            step_offsets: ids.offsets().clone(),
            step_texts: all(STEP_TEXTS, |name| texts(name, &values(name)?))?,
            step_instants: all(STEP_INSTANTS, |name| instants(name, &values(name)?))?,
            step_slas: whole(column::STEPS_SLA_S, &values(column::STEPS_SLA_S)?)?,
            step_propensities: fractions(column::STEPS_BRANCH_PROPENSITY, &values(column::STEPS_BRANCH_PROPENSITY)?)?,
        })
    }

    /// The runs, and the person of each.
    pub fn iter(&self) -> impl Iterator<Item = (Run<'_>, Option<&str>)> {
        (0..self.versions.len()).map(|row| self.get(row))
    }

    /// One of them.
    ///
    /// # Panics
    ///
    /// Without so many runs.
    pub fn get(&self, row: usize) -> (Run<'_>, Option<&str>) {
        let [run_id, sequence_id, arm, visitor_id, user_id, exit_reason, exit_step_id, person_id] =
            self.texts.each_ref().map(|texts| texts.is_valid(row).then(|| texts.value(row)));
        let [began_at_us, under_way_until_us, entered_at_us, exited_at_us] =
            self.instants.each_ref().map(|times| times.is_valid(row).then(|| times.value(row)));
        let (from, to) = (self.step_offsets[row] as usize, self.step_offsets[row + 1] as usize);
        let run = Run {
            run_id: Cow::Borrowed(run_id.unwrap_or_default()),
            sequence_id,
            sequence_version: self.versions.is_valid(row).then(|| self.versions.value(row)),
            arm,
            propensity: self.propensities.is_valid(row).then(|| self.propensities.value(row)),
            visitor_id,
            user_id,
            began_at_us: began_at_us.unwrap_or_default(),
            under_way_until_us: under_way_until_us.unwrap_or(column::NEVER_US),
            entered_at_us,
            exited_at_us,
            exit_reason,
            exit_step_id,
            steps: (from..to).map(|place| self.step(place)).collect(),
        };
        (run, person_id)
    }

    fn step(&self, place: usize) -> Step<'_> {
        let [step_id, outcome, reason, branch_arm, channel, message_id, delivery_id] =
            self.step_texts.each_ref().map(|texts| texts.is_valid(place).then(|| texts.value(place)));
        let [reached_at_us, due_at_us, done_at_us] =
            self.step_instants.each_ref().map(|times| times.is_valid(place).then(|| times.value(place)));
        Step {
            step_id: step_id.unwrap_or_default(),
            reached_at_us: reached_at_us.unwrap_or_default(),
            due_at_us,
            sla_s: self.step_slas.is_valid(place).then(|| self.step_slas.value(place)),
            done_at_us,
            outcome,
            reason,
            branch_arm,
            branch_propensity: self.step_propensities.is_valid(place).then(|| self.step_propensities.value(place)),
            channel,
            message_id,
            delivery_id,
        }
    }
}

fn all<T, const N: usize>(names: [&'static str; N], read: impl Fn(&str) -> Result<T>) -> Result<[T; N]> {
    let columns = names.into_iter().map(read).collect::<Result<Vec<_>>>()?;
    columns.try_into().map_err(|_| exec_datafusion_err!("there are not as many columns as names"))
}

fn missing(name: &str) -> datafusion::error::DataFusionError {
    exec_datafusion_err!("runs have no `{name}`, or not of the type and length that is expected")
}

fn texts(name: &str, values: &ArrayRef) -> Result<StringViewArray> {
    cast(values, &DataType::Utf8View)?.as_string_view_opt().cloned().ok_or_else(|| missing(name))
}

fn instants(name: &str, values: &ArrayRef) -> Result<TimestampMicrosecondArray> {
    values.as_primitive_opt::<TimestampMicrosecondType>().cloned().ok_or_else(|| missing(name))
}

fn whole(name: &str, values: &ArrayRef) -> Result<Int64Array> {
    values.as_primitive_opt::<Int64Type>().cloned().ok_or_else(|| missing(name))
}

fn fractions(name: &str, values: &ArrayRef) -> Result<Float64Array> {
    values.as_primitive_opt::<Float64Type>().cloned().ok_or_else(|| missing(name))
}
