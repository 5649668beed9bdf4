//! Bringing stored visitors up to date with sessions that went and came.
//!
//! Counts can be taken back; a touch cannot: if the session that a touch was taken from went, the next best is not in
//! the stored row. It need not be, if one that came is at least as good, because everything else was worse than the one
//! that went. For the rest, the caller computes the person from all sessions.
//!
//! New events alone hardly ever leave such a rest. The session that holds the events of one that went begins no later
//! and ends no earlier; it has a campaign and a user if that one had, and from no later event; and where several became
//! one, the oldest anchor stayed, which decides between equal times. It is not as good only
//!
//! - if it is another person's, because its first user is another, or it begins before a device changed hands;
//! - for the last touch that is not direct, if it has become direct, because what is now the first in it says nothing to
//!   the channel rules: a campaign of `utm_content` alone or of another tool's `(direct)`, or, beside such a campaign, a
//!   site of no kind.
//!
//! Revenue is null also where a sum had too many digits: from that nothing can be taken back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Int64Array, RecordBatch, new_null_array};
use arrow::compute::{concat_batches, filter_record_batch, nullif};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use arrow::error::ArrowError;
use touchline_schemas::tables::visitors as column;

use super::merge::{PICKS, REVENUE, Rank, Ranks, SUMS, finish, merge, people};

/// Visitors after an update.
#[derive(Debug)]
pub struct Updated {
    /// Their rows. People without a session left have none.
    pub rows: RecordBatch,
    /// People who must be computed from all of their sessions, and have no row here.
    pub unknown: HashSet<String>,
}

/// Brings the rows `stored` up to date. `went` and `came` are single sessions as visitors; all have the columns of a
/// scan of `visitors`.
pub fn update(stored: &RecordBatch, went: &RecordBatch, came: &RecordBatch) -> Result<Updated, ArrowError> {
    let gone = Ranks::of(went, &PICKS[0])?;
    let gone: HashSet<&str> = (0..went.num_rows()).filter_map(|row| gone.get(row)).map(|(.., id)| id).collect();
    let mut lost: HashMap<(&str, usize), Rank<'_>> = HashMap::new();
    let mut kept = stored.columns().to_vec();
    for (number, pick) in PICKS.iter().enumerate() {
        let (ranks, owners) = (Ranks::of(stored, pick)?, people(stored)?);
        let is_lost: BooleanArray = (0..stored.num_rows())
            .map(|row| {
                let rank = ranks.get(row).filter(|(.., id)| gone.contains(id));
                if let Some(rank) = rank {
                    lost.insert((owners.value(row), number), rank);
                }
                Some(rank.is_some())
            })
            .collect();
        for (field, values) in stored.schema().fields().iter().zip(&mut kept) {
            if pick.gives(field.name()) {
                *values = nullif(values, &is_lost)?;
            }
        }
    }
    let kept = RecordBatch::try_new(stored.schema(), kept)?;
    let rows = merge(&concat_batches(&stored.schema(), [&kept, came, &taken_back(went)?])?)?;

    let mut unknown: HashSet<String> = HashSet::new();
    let owners = people(&rows)?;
    for (number, pick) in PICKS.iter().enumerate() {
        let ranks = Ranks::of(&rows, pick)?;
        for row in 0..rows.num_rows() {
            let Some(old) = lost.get(&(owners.value(row), number)) else { continue };
            if ranks.get(row).is_none_or(|new| new > *old) {
                unknown.insert(owners.value(row).to_owned());
            }
        }
    }
    let sessions = counts(&rows, column::SESSION_COUNT)?;
    unknown.extend(without_revenue(went, came, &rows)?);
    unknown.extend(beyond_money(stored, went)?);
    // Whoever has no session left is known to have no row.
    for row in (0..rows.num_rows()).filter(|row| sessions.value(*row) <= 0) {
        unknown.remove(owners.value(row));
    }
    let remaining: BooleanArray =
        (0..rows.num_rows()).map(|row| Some(sessions.value(row) > 0 && !unknown.contains(owners.value(row)))).collect();
    Ok(Updated { rows: finish(&filter_record_batch(&rows, &remaining)?)?, unknown })
}

/// People whose revenue is 0 after some was taken back and none came: whether they have none or several that cancel out
/// cannot be told.
fn without_revenue(went: &RecordBatch, came: &RecordBatch, rows: &RecordBatch) -> Result<Vec<String>, ArrowError> {
    let (had, have) = (with_revenue(went)?, with_revenue(came)?);
    if had.is_subset(&have) {
        return Ok(Vec::new());
    }
    let (owners, revenue) = (people(rows)?, amounts(rows)?);
    let none = (0..rows.num_rows()).filter(|row| revenue.is_valid(*row) && revenue.value(*row) == 0);
    let owners = none.map(|row| owners.value(row));
    Ok(owners.filter(|owner| had.contains(owner) && !have.contains(owner)).map(str::to_owned).collect())
}

/// The people of rows that have an amount, be it 0.
fn with_revenue(visitors: &RecordBatch) -> Result<HashSet<&str>, ArrowError> {
    let (owners, revenue) = (people(visitors)?, amounts(visitors)?);
    Ok((0..visitors.num_rows()).filter(|row| revenue.is_valid(*row)).map(|row| owners.value(row)).collect())
}

fn amounts(visitors: &RecordBatch) -> Result<&Decimal128Array, ArrowError> {
    let revenue = visitors.column_by_name(REVENUE).and_then(|values| values.as_primitive_opt::<Decimal128Type>());
    revenue.ok_or_else(|| ArrowError::SchemaError(format!("visitors have no money `{REVENUE}`")))
}

/// People of whose revenue some went although none is stored: it had more digits than money has.
fn beyond_money(stored: &RecordBatch, went: &RecordBatch) -> Result<Vec<String>, ArrowError> {
    let (owners, revenue) = (people(went)?, amounts(went)?);
    let gone: HashSet<&str> =
        (0..went.num_rows()).filter(|row| revenue.is_valid(*row)).map(|row| owners.value(row)).collect();
    let (owners, revenue) = (people(stored)?, amounts(stored)?);
    let beyond = (0..stored.num_rows()).filter(|row| revenue.is_null(*row) && gone.contains(owners.value(*row)));
    Ok(beyond.map(|row| owners.value(row).to_owned()).collect())
}

/// Visitors that take their counts back and give no touch.
fn taken_back(went: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = went.schema();
    let columns = schema.fields().iter().zip(went.columns()).map(|(field, values)| {
        let name = field.name().as_str();
        if SUMS.contains(&name) {
            return negated(values);
        }
        let is_picked = PICKS.iter().any(|pick| pick.gives(name));
        Ok(if is_picked { new_null_array(field.data_type(), went.num_rows()) } else { Arc::clone(values) })
    });
    let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
    RecordBatch::try_new(schema, columns)
}

fn negated(values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match values.data_type() {
        DataType::Int64 => {
            let negated: Int64Array = values.as_primitive::<Int64Type>().unary(|value| -value);
            Ok(Arc::new(negated))
        }
        DataType::Decimal128(precision, scale) => {
            let negated: Decimal128Array = values.as_primitive::<Decimal128Type>().unary(|value| -value);
            Ok(Arc::new(negated.with_precision_and_scale(*precision, *scale)?))
        }
        other => Err(ArrowError::SchemaError(format!("{other} cannot be taken back"))),
    }
}

fn counts<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a Int64Array, ArrowError> {
    let counts = rows.column_by_name(name).and_then(|values| values.as_primitive_opt::<Int64Type>());
    counts.ok_or_else(|| ArrowError::SchemaError(format!("visitors have no count `{name}`")))
}
