//! Touchpoints: each conversion with the sessions that may have led to it.
//!
//! Only sessions of people who converted are held, in the order of person and time, so that the touches of a conversion
//! are a range of them. Rows are made of ranges some at a time: somebody with many sessions who converts often has far
//! more touchpoints than sessions.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{
    SortColumn, cast, concat_batches, filter_record_batch, lexsort_to_indices, take, take_record_batch,
};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::exec_datafusion_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::{DataFrame, SessionContext, col};
use datafusion::scalar::ScalarValue;
use serde_json::json;
use touchline_schemas::control::{AccountSettings, ConversionValue};
use touchline_schemas::event::{DEFAULT_CONVERSION_EVENT_TYPES, TextField};
use touchline_schemas::tables::{Table, sessions, touchpoints as column};

use super::DEFINITION;
use crate::PipelineError;
use crate::columns::{texts, times};
use crate::gather::{Gathered, blocking, gather};
use crate::identities::with_person;
use crate::lean::{own_batch, own_bytes};
use crate::scan::scan_schema;

/// Days before a conversion in which sessions are touches, unless the account chooses otherwise.
pub const DEFAULT_LOOKBACK_DAYS: u16 = 30;

/// Touches of a conversion that count; of more, the last do.
pub const MAX_TOUCHES: usize = 1_000;

const DAY_US: i64 = 24 * 3_600 * 1_000_000;

/// The earliest time at which a touch of the conversion may begin.
pub(super) const COUNTS_FROM: &str = "counts_from";

/// The account's choices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    /// Event types that are conversions, besides events posted as conversions.
    pub conversion_event_types: Vec<String>,
    /// What conversions are worth, by event type; without a rule, their revenue.
    pub values: BTreeMap<String, ConversionValue>,
    /// Days before a conversion in which sessions are touches.
    pub lookback_days: u16,
}

impl Params {
    /// What an account's settings say.
    pub fn of(settings: &AccountSettings) -> Self {
        let defaults = || DEFAULT_CONVERSION_EVENT_TYPES.map(str::to_owned).to_vec();
        let mut conversion_event_types = settings.conversion_event_types.clone().unwrap_or_else(defaults);
        conversion_event_types.sort();
        conversion_event_types.dedup();
        Self {
            conversion_event_types,
            values: settings.conversion_values.clone(),
            lookback_days: settings.attribution_lookback_days.unwrap_or(DEFAULT_LOOKBACK_DAYS),
        }
    }

    /// Text that differs when touchpoints and credits would.
    pub fn fingerprint(&self) -> String {
        let Self { conversion_event_types, values, lookback_days } = self;
        json!([DEFINITION, conversion_event_types, values, lookback_days]).to_string()
    }
}

/// Conversions and the sessions that may have led to them, of which touchpoints are made.
pub struct Touchpoints {
    /// In the order of time.
    conversions: RecordBatch,
    /// In the order of person and time.
    touches: RecordBatch,
    /// For each conversion the rows of its touches.
    reach: Vec<Range<usize>>,
    /// The conversion that comes next.
    next: usize,
    _memory: Gathered<Touches>,
}

/// The journeys of `conversions` (the columns of the table `touchpoints`).
///
/// `sessions` (the columns of the scan of that table, one tenant) are at least those within the look-back; `identities`
/// are all. It fails if the sessions of those who converted do not fit the memory of queries.
pub async fn touchpoints(
    context: &SessionContext,
    conversions: DataFrame,
    sessions: Arc<dyn TableProvider>,
    identities: Arc<dyn TableProvider>,
    params: &Params,
) -> Result<Touchpoints, PipelineError> {
    let conversions = with_person(&beside(context), conversions, Arc::clone(&identities)).await?;
    let schema = schema_of(&conversions);
    let order = [sessions::STARTED_AT, column::CONVERSION_ID].map(|name| col(name).sort(true, true));
    let conversions = conversions.sort(order.to_vec())?.collect().await?;
    let conversions = concat_batches(&schema, &conversions)?;
    let people: HashSet<String> = texts(&conversions, column::PERSON_ID)?.iter().flatten().map(str::to_owned).collect();

    let touches = with_person(&beside(context), touches(context, sessions)?, identities).await?;
    let schema = schema_of(&touches);
    let take = |touches: &mut Touches, batch: &RecordBatch| touches.take(batch, &people);
    let mut gathered = gather(context, touches, "touches", Touches::default(), take, |touches| touches.bytes).await?;
    let lookback_us = i64::from(params.lookback_days) * DAY_US;
    let touchpoints = blocking(move || {
        let touches = in_order(&schema, &std::mem::take(&mut gathered.found.batches))?;
        let reach = reach(&conversions, &touches, lookback_us)?;
        Ok::<_, DataFusionError>(Touchpoints { conversions, touches, reach, next: 0, _memory: gathered })
    });
    Ok(touchpoints.await??)
}

fn schema_of(frame: &DataFrame) -> SchemaRef {
    Arc::clone(frame.schema().inner())
}

/// Sessions of those who converted.
#[derive(Default)]
struct Touches {
    batches: Vec<RecordBatch>,
    bytes: usize,
}

impl Touches {
    fn take(&mut self, sessions: &RecordBatch, people: &HashSet<String>) -> Result<()> {
        let owners = texts(sessions, column::PERSON_ID)?;
        let converted: BooleanArray =
            owners.iter().map(|owner| Some(owner.is_some_and(|owner| people.contains(owner)))).collect();
        if converted.true_count() > 0 {
            let theirs = own_batch(&filter_record_batch(sessions, &converted)?)?;
            self.bytes += own_bytes(&theirs);
            self.batches.push(theirs);
        }
        Ok(())
    }
}

/// Touches in the order of person, time and session id.
fn in_order(schema: &SchemaRef, touches: &[RecordBatch]) -> Result<RecordBatch> {
    let touches = concat_batches(schema, touches)?;
    let order = [column::PERSON_ID, sessions::STARTED_AT, sessions::SESSION_ID].map(|name| {
        let values = touches.column_by_name(name).cloned();
        let values = values.ok_or_else(|| exec_datafusion_err!("touches have no column `{name}`"))?;
        Ok(SortColumn { values, options: None })
    });
    let order = order.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(take_record_batch(&touches, &lexsort_to_indices(&order, None)?)?)
}

/// For each conversion the rows of its touches: those of its person within the look-back, the last [`MAX_TOUCHES`].
fn reach(conversions: &RecordBatch, touches: &RecordBatch, lookback_us: i64) -> Result<Vec<Range<usize>>> {
    let starts = times(touches, sessions::STARTED_AT)?.values();
    let mut of_people: HashMap<&str, Range<usize>> = HashMap::new();
    for (row, person) in texts(touches, column::PERSON_ID)?.iter().enumerate() {
        if let Some(person) = person {
            of_people.entry(person).or_insert(row..row).end = row + 1;
        }
    }
    let converted_at = times(conversions, sessions::STARTED_AT)?.values();
    let reach = texts(conversions, column::PERSON_ID)?.iter().zip(converted_at).map(|(person, at_us)| {
        let Some(theirs) = person.and_then(|person| of_people.get(person)) else { return 0..0 };
        let times = &starts[theirs.clone()];
        let end = times.partition_point(|time| time <= at_us);
        let first = times.partition_point(|time| *time < at_us.saturating_sub(lookback_us));
        theirs.start + first.max(end.saturating_sub(MAX_TOUCHES))..theirs.start + end
    });
    Ok(reach.collect())
}

impl Touchpoints {
    /// The touchpoints of the next conversions, with the columns of a scan of `touchpoints`, in the order of conversion
    /// and position; none if there are no more. Journeys are whole, so that one alone may have more than `max_rows`.
    pub fn next_part(&mut self, max_rows: usize) -> Result<Option<RecordBatch>> {
        let begin = self.next;
        let (mut of_conversions, mut of_touches) = (Vec::new(), Vec::new());
        let (mut positions, mut counts) = (Vec::new(), Vec::new());
        while let Some(touches) = self.reach.get(self.next) {
            // A conversion without touches has a row of its own.
            let rows = touches.len().max(1);
            if self.next > begin && positions.len() + rows > max_rows {
                break;
            }
            of_conversions.extend(std::iter::repeat_n(self.next as u32, rows));
            counts.extend(std::iter::repeat_n(touches.len() as i64, rows));
            if touches.is_empty() {
                of_touches.push(None);
                positions.push(0);
            } else {
                of_touches.extend(touches.clone().map(|row| Some(row as u32)));
                positions.extend(1..=rows as i64);
            }
            self.next += 1;
        }
        if self.next == begin {
            return Ok(None);
        }
        let (of_conversions, of_touches) = (UInt32Array::from(of_conversions), UInt32Array::from(of_touches));
        let (positions, counts) = (Int64Array::from(positions), Int64Array::from(counts));
        let schema = scan_schema(Table::Touchpoints);
        let columns = schema.fields().iter().map(|field| {
            let values: ArrayRef = match field.name().as_str() {
                column::POSITION => Arc::new(positions.clone()),
                column::TOUCH_COUNT => Arc::new(counts.clone()),
                column::CONVERTED_AT => taken(&self.conversions, sessions::STARTED_AT, &of_conversions)?,
                column::TOUCHED_AT => taken(&self.touches, sessions::STARTED_AT, &of_touches)?,
                name if self.conversions.column_by_name(name).is_some() => {
                    taken(&self.conversions, name, &of_conversions)?
                }
                name => taken(&self.touches, name, &of_touches)?,
            };
            Ok(cast(&values, field.data_type())?)
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(Some(RecordBatch::try_new(schema, columns)?))
    }
}

fn taken(rows: &RecordBatch, name: &str, places: &UInt32Array) -> Result<ArrayRef> {
    let values = rows.column_by_name(name).ok_or_else(|| exec_datafusion_err!("there is no column `{name}`"))?;
    Ok(take(values, places, None)?)
}

fn touches(context: &SessionContext, sessions: Arc<dyn TableProvider>) -> Result<DataFrame> {
    let mut columns = vec![
        col(sessions::SESSION_ID),
        col(TextField::VisitorId.column()),
        col(TextField::UserId.column()),
        col(sessions::STARTED_AT),
        col(sessions::CHANNEL),
    ];
    columns.extend(column::UTM.map(col));
    columns.extend([col(column::REFERRER_HOST), col(sessions::ENTRY_PAGE).alias(column::LANDING_PAGE)]);
    context.read_table(sessions)?.filter(col(sessions::IS_BOT).is_not_true())?.select(columns)
}

/// Another context of the same engine, for a transform that names tables of its own.
pub(super) fn beside(context: &SessionContext) -> SessionContext {
    SessionContext::new_with_config_rt(context.copied_config(), context.runtime_env())
}

pub(super) fn days(days: u16) -> Expr {
    lit(ScalarValue::new_interval_dt(i32::from(days), 0))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, StringViewArray, TimestampMicrosecondArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    /// Rows of some texts and a time.
    fn batch(names: &[&str], rows: &[(&[Option<&str>], i64)]) -> RecordBatch {
        let mut columns: Vec<(Field, ArrayRef)> = Vec::new();
        for (place, name) in names.iter().enumerate() {
            let texts: StringViewArray = rows.iter().map(|(texts, _)| texts[place]).collect();
            columns.push((Field::new(*name, DataType::Utf8View, true), Arc::new(texts)));
        }
        let times: TimestampMicrosecondArray = rows.iter().map(|(_, at_us)| *at_us).collect::<Vec<_>>().into();
        let times = times.with_timezone("UTC");
        columns.push((Field::new(sessions::STARTED_AT, times.data_type().clone(), false), Arc::new(times)));
        let (fields, columns): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    #[test]
    fn touches_are_the_last_of_the_person_within_the_look_back() {
        let touches: Vec<(String, i64)> = (0..1_500).map(|touch| (format!("s{touch:04}"), touch)).collect();
        let mut rows: Vec<([Option<&str>; 2], i64)> =
            touches.iter().map(|(id, at_us)| ([Some("u:guest"), Some(id.as_str())], *at_us)).collect();
        rows.extend([([Some("v:b"), Some("late")], 9), ([Some("v:b"), Some("early")], 7), ([None, Some("no")], 8)]);
        let rows: Vec<(&[Option<&str>], i64)> = rows.iter().map(|(texts, at_us)| (&texts[..], *at_us)).collect();
        let touches = batch(&[column::PERSON_ID, sessions::SESSION_ID], &rows);
        let touches = in_order(&touches.schema(), &[touches]).unwrap();
        let ids = texts(&touches, sessions::SESSION_ID).unwrap();
        let check = |person: Option<&str>, at_us: i64, lookback_us: i64, expected: (usize, Option<(&str, &str)>)| {
            let conversions = batch(&[column::PERSON_ID], &[(&[person], at_us)]);
            let found = reach(&conversions, &touches, lookback_us).unwrap()[0].clone();
            let ends = (!found.is_empty()).then(|| (ids.value(found.start), ids.value(found.end - 1)));
            assert_eq!((found.len(), ends), expected, "{person:?} at {at_us}");
        };
        check(Some("u:guest"), 1_200, 5_000, (1_000, Some(("s0201", "s1200"))));
        check(Some("u:guest"), 1_200, 10, (11, Some(("s1190", "s1200"))));
        check(Some("u:guest"), 999, 5_000, (1_000, Some(("s0000", "s0999"))));
        check(Some("v:b"), 9, 5, (2, Some(("early", "late"))));
        check(Some("v:b"), 8, 0, (0, None));
        check(Some("v:nobody"), 9, 5, (0, None));
        check(None, 9, 5, (0, None));
    }
}
