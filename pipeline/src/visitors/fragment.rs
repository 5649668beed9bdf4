//! A session as the smallest visitor.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringViewArray};
use arrow::compute::nullif;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use touchline_schemas::tables::{Table, sessions as session, visitors as column};

use crate::scan::scan_schema;

/// The touches that only some sessions can be.
const FIRST_UTM: &str = column::TOUCHES[1];
const LAST_NON_DIRECT: &str = column::TOUCHES[3];

/// The columns of `sessions` that [`fragments`] reads, by their place.
pub(super) fn session_columns(sessions: &SchemaRef) -> Result<Vec<usize>, ArrowError> {
    let mut names = vec![session::IS_BOT, session::ENDED_AT, session::UTM_AT, session::STARTED_AT];
    let visitors = scan_schema(Table::Visitors);
    names.extend(visitors.fields().iter().map(|field| source(field.name())));
    names.extend(session::UTM_FIELDS.iter().map(|field| field.column()));
    let mut places = names.into_iter().filter_map(|name| sessions.index_of(name).ok()).collect::<Vec<_>>();
    places.sort_unstable();
    places.dedup();
    Ok(places)
}

/// The column of a session that a visitor's column is taken from.
fn source(name: &str) -> &str {
    let touch = column::TOUCHES.iter().find_map(|touch| name.strip_prefix(touch)?.strip_prefix('_'));
    match touch.unwrap_or(name) {
        "at" | column::FIRST_SEEN_AT => session::STARTED_AT,
        "ended_at" | column::LAST_SEEN_AT => session::ENDED_AT,
        "landing_page" => session::ENTRY_PAGE,
        column::TOUCH_ANCHOR | column::USER_ANCHOR_RECEIVED_AT => session::ANCHOR_RECEIVED_AT,
        column::USER_SESSION_ID => session::SESSION_ID,
        other => other,
    }
}

/// A visitor for each session; `people` says whose it is.
pub(super) fn fragments(sessions: &RecordBatch, people: &StringViewArray) -> Result<RecordBatch, ArrowError> {
    let schema = scan_schema(Table::Visitors);
    let (no_utm, direct) = (without_utm(sessions)?, is_direct(sessions)?);
    let columns = schema.fields().iter().map(|field| {
        let name = field.name().as_str();
        if name == column::PERSON_ID {
            return Ok(Arc::new(people.clone()) as ArrayRef);
        }
        if name == column::SESSION_COUNT {
            return Ok(Arc::new(Int64Array::from_value(1, sessions.num_rows())) as ArrayRef);
        }
        let values = column_of(sessions, source(name))?;
        // A text is only looked at where its time is not null.
        Ok(if name == format!("{FIRST_UTM}_at") {
            nullif(values, &no_utm)?
        } else if name == format!("{LAST_NON_DIRECT}_at") || name == column::LAST_NON_DIRECT_ENDED_AT {
            nullif(values, &direct)?
        } else {
            Arc::clone(values)
        })
    });
    let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
    RecordBatch::try_new(schema, columns)
}

fn column_of<'a>(sessions: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    sessions.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("sessions have no column `{name}`")))
}

fn without_utm(sessions: &RecordBatch) -> Result<BooleanArray, ArrowError> {
    let at = column_of(sessions, session::UTM_AT)?;
    arrow::compute::is_null(at)
}

fn is_direct(sessions: &RecordBatch) -> Result<BooleanArray, ArrowError> {
    let channels = column_of(sessions, session::CHANNEL)?;
    let channels = channels.as_string_view_opt();
    let channels = channels.ok_or_else(|| ArrowError::SchemaError("channels are no text".to_owned()))?;
    Ok(channels
        .iter()
        .map(|channel| Some(channel.is_none_or(|channel| channel.eq_ignore_ascii_case("direct"))))
        .collect())
}
