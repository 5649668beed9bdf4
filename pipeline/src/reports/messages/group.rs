//! What rows of a report on messages are grouped by.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Date32Array, RecordBatch, StringArray, StringViewArray};
use datafusion::error::Result;
use datafusion::logical_expr::lit;
use datafusion::prelude::{DataFrame, col};
use touchline_schemas::tables::message_rollups as column;

use crate::PipelineError;
use crate::columns::texts;
use crate::days::DayNumber;
use crate::reports::dimension;

const DAY: &str = "day";

/// What messages can be grouped by: the day (UTC), or a column.
pub const DIMENSIONS: [&str; 5] =
    [DAY, column::DIMENSIONS[0], column::DIMENSIONS[1], column::DIMENSIONS[2], column::DIMENSIONS[3]];

/// A choice of [`DIMENSIONS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grouping(Vec<&'static str>);

/// A day and values, where rows are grouped by them.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Group {
    pub day: Option<DayNumber>,
    pub values: [Option<String>; column::DIMENSIONS.len()],
}

impl Grouping {
    /// Reads names that are separated by commas.
    pub fn read(by: &str) -> std::result::Result<Self, PipelineError> {
        let mut names = Vec::new();
        for name in by.split(',') {
            let name = dimension("by", name, &DIMENSIONS)?;
            if names.contains(&name) {
                return Err(PipelineError::BadParameter { name: "by", detail: format!("`{name}` is named twice") });
            }
            names.push(name);
        }
        Ok(Self(names))
    }

    /// Whether rows are grouped by everything.
    pub fn is_finest(&self) -> bool {
        self.0.len() == DIMENSIONS.len()
    }

    /// Whether rows are grouped by day.
    pub fn by_day(&self) -> bool {
        self.0.contains(&DAY)
    }

    /// The columns of a batch that hold the values; none of a column that rows are not grouped by.
    pub fn values<'a>(
        &self,
        batch: &'a RecordBatch,
    ) -> Result<[Option<&'a StringViewArray>; column::DIMENSIONS.len()]> {
        let mut columns = [None; column::DIMENSIONS.len()];
        for (values, name) in columns.iter_mut().zip(column::DIMENSIONS) {
            if self.0.contains(&name) {
                *values = Some(texts(batch, name)?);
            }
        }
        Ok(columns)
    }

    /// The groups as columns of an answer, in the order in which they were asked for.
    pub fn columns<'a>(&self, groups: impl Iterator<Item = &'a Group> + Clone) -> Vec<(&'static str, ArrayRef, bool)> {
        let column = |name: &&'static str| {
            let place = column::DIMENSIONS.iter().position(|known| known == name);
            let values: ArrayRef = match place {
                Some(place) => {
                    Arc::new(groups.clone().map(|group| group.values[place].as_deref()).collect::<StringArray>())
                }
                None => Arc::new(groups.clone().map(|group| group.day).collect::<Date32Array>()),
            };
            (*name, values, place.is_some())
        };
        self.0.iter().map(column).collect()
    }
}

impl Group {
    /// The group of a row.
    pub fn of(
        day: Option<DayNumber>,
        columns: &[Option<&StringViewArray>; column::DIMENSIONS.len()],
        row: usize,
    ) -> Self {
        let value = |values: &StringViewArray| values.is_valid(row).then(|| values.value(row).to_owned());
        Self { day, values: columns.map(|values| values.and_then(value)) }
    }
}

/// Checks filters by column and value.
pub(super) fn filters(given: &[(String, String)]) -> std::result::Result<Vec<(&'static str, String)>, PipelineError> {
    let checked =
        given.iter().map(|(name, value)| Ok((dimension("filter", name, &column::DIMENSIONS)?, value.clone())));
    checked.collect()
}

/// The rows for which all filters hold.
pub(super) fn filtered(frame: DataFrame, filters: &[(&'static str, String)]) -> Result<DataFrame> {
    let filter =
        |frame: DataFrame, (name, value): &(&'static str, String)| frame.filter(col(*name).eq(lit(value.as_str())));
    filters.iter().try_fold(frame, filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groupings_are_read_in_their_order() {
        for (by, expected) in [
            ("message_id,variant", Ok(vec!["message_id", "variant"])),
            ("day", Ok(vec!["day"])),
            ("channel,day,system", Ok(vec!["channel", "day", "system"])),
            ("", Err("`` is none of day, system, message_id, variant, channel")),
            ("day,", Err("`` is none of day, system, message_id, variant, channel")),
            ("day,person_id", Err("`person_id` is none of day, system, message_id, variant, channel")),
            ("day,channel,day", Err("`day` is named twice")),
        ] {
            match (Grouping::read(by), expected) {
                (Ok(Grouping(names)), Ok(expected)) => assert_eq!(names, expected, "{by}"),
                (Err(PipelineError::BadParameter { detail, .. }), Err(expected)) => assert_eq!(detail, expected),
                (found, expected) => panic!("{by}: {found:?}, not {expected:?}"),
            }
        }
    }
}
