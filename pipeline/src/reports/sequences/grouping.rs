//! What rows of a report on sequences are grouped by.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::exec_datafusion_err;
use datafusion::error::{DataFusionError, Result};
use touchline_schemas::tables::sequence_metrics as column;

use crate::PipelineError;
use crate::reports::dimension;
use crate::sequences::{Run, Step};

const DAY: &str = "day";

/// What runs can be grouped by: the day (UTC), or a column.
pub const DIMENSIONS: [&str; 4] = [DAY, column::SEQUENCE_ID, column::SEQUENCE_VERSION, column::ARM];
/// What the steps of one sequence can be grouped by, besides the step.
pub(super) const DIMENSIONS_OF_STEPS: [&str; 4] = [DAY, column::SEQUENCE_VERSION, column::ARM, column::CHANNEL];

/// A choice of dimensions, in the order in which they were named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grouping(Vec<&'static str>);

/// A column of an answer: its name, its values, whether they may be null.
pub(super) type Column = (String, ArrayRef, bool);

impl Grouping {
    /// Reads names that are separated by commas; none at all is a choice too. The calendar of events is always by day.
    pub fn read(
        by: &str,
        allowed: &[&'static str],
        calendar: &'static str,
    ) -> std::result::Result<Self, PipelineError> {
        let mut names = Vec::new();
        for name in by.split(',').filter(|_| !by.is_empty()) {
            let name = dimension("by", name, allowed)?;
            if names.contains(&name) {
                return Err(PipelineError::BadParameter { name: "by", detail: format!("`{name}` is named twice") });
            }
            names.push(name);
        }
        if calendar == column::CALENDAR_EVENT && !names.contains(&DAY) {
            names.insert(0, DAY);
        }
        Ok(Self(names))
    }

    /// The same, with another name in front.
    pub fn behind(mut self, name: &'static str) -> Self {
        self.0.insert(0, name);
        self
    }

    /// Whether rows are grouped by this.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(&name)
    }

    /// Whether rows are grouped by day.
    pub fn has_day(&self) -> bool {
        self.has(DAY)
    }

    /// Makes runs alike that fall into one group.
    pub fn apply(&self, run: &mut Run<'_>) {
        if !self.has(column::SEQUENCE_ID) {
            run.sequence_id = None;
        }
        if !self.has(column::SEQUENCE_VERSION) {
            run.sequence_version = None;
        }
        if !self.has(column::ARM) {
            run.arm = None;
        }
        if !self.has(column::STEP_ID) {
            run.steps.clear();
        }
        if !self.has(column::CHANNEL) {
            run.steps.iter_mut().for_each(|step: &mut Step<'_>| step.channel = None);
        }
    }

    /// The dimensions of rows that have the columns of the table.
    pub fn columns(&self, rows: &RecordBatch) -> Result<Vec<Column>> {
        let column = |name: &&'static str| match *name {
            DAY => Ok((DAY.to_owned(), cast(&column_of(rows, column::DAY_AT)?, &DataType::Date32)?, false)),
            name => Ok((name.to_owned(), column_of(rows, name)?, true)),
        };
        self.0.iter().map(column).collect()
    }
}

/// Columns of `rows` by their names.
pub(super) fn with_columns<'a>(rows: &RecordBatch, names: impl Iterator<Item = &'a str>) -> Result<Vec<Column>> {
    names.map(|name| Ok((name.to_owned(), column_of(rows, name)?, true))).collect()
}

pub(super) fn column_of(rows: &RecordBatch, name: &str) -> Result<ArrayRef> {
    let found = rows.column_by_name(name).map(Arc::clone);
    found.ok_or_else(|| exec_datafusion_err!("there is no column `{name}`"))
}

/// Columns side by side.
pub(super) fn batch(columns: Vec<Column>) -> Result<RecordBatch, DataFusionError> {
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}
