//! `GET /api/v1/reports/ingest`: what came in, per hour.

use std::convert::Infallible;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use chrono::{DateTime, Utc};
use futures::stream;
use touchline_schemas::control::IngestHour;
use touchline_schemas::tables::instant_type;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{AnswerParams, Parameter, RangeParams};
use crate::report::{Asked, Meta, ReportRows};

/// Only what every report takes.
const TAKEN: [Parameter; 0] = [];
/// What the numbers mean; changes when their meaning does.
const DEFINITION: &str = "ingest/1";

/// Counts what came in, per hour
///
/// Needs the scope `can_view_reports`. Hours that begin in the range, by the time of arrival. In every row
/// `received` = `stored` + `duplicates` + `rejected`. `max_lag_ms` is the longest time from an event's arrival to its
/// place in the table, in milliseconds.
#[utoipa::path(
    get,
    path = "/api/v1/reports/ingest",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(RangeParams, AnswerParams),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_ingest(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let range = asked.query.range;
    let from = range.from.unwrap_or(DateTime::UNIX_EPOCH);
    let to = range.to.unwrap_or_else(|| after_every_hour(state.clock.now()));
    let hours = state.control.ingest_report(caller.tenant(), from, to).await?;
    let batch = batch(&hours)?;
    let meta = Meta::without_lake(DEFINITION, &asked.query).made_of(&hours);
    let schema = batch.schema();
    answer::all(&asked, &schema, stream::iter([Ok::<_, Infallible>(batch)]), &meta).await
}

/// An end for a range that has none. Hours are those of our own clock, so none can lie in the future.
fn after_every_hour(now: DateTime<Utc>) -> DateTime<Utc> {
    now + chrono::TimeDelta::hours(1)
}

fn batch(hours: &[IngestHour]) -> Result<RecordBatch, ApiError> {
    let begins = TimestampMicrosecondArray::from_iter_values(hours.iter().map(|hour| hour.hour.timestamp_micros()));
    let counts = |count: fn(&IngestHour) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(hours.iter().map(count)))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(begins.with_timezone("UTC")),
        counts(|hour| hour.received),
        counts(|hour| hour.stored),
        counts(|hour| hour.duplicates),
        counts(|hour| hour.rejected),
        counts(|hour| hour.max_lag_ms),
    ];
    RecordBatch::try_new(schema(), columns).map_err(|_| ApiError::Internal("the ingest report is malformed"))
}

fn schema() -> SchemaRef {
    let count = |name: &str| Field::new(name, DataType::UInt64, false);
    Arc::new(Schema::new(vec![
        Field::new("hour", instant_type(), false),
        count("received"),
        count("stored"),
        count("duplicates"),
        count("rejected"),
        count("max_lag_ms"),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::write;
    use crate::format::{CsvOptions, Format};

    #[test]
    fn hours_become_rows() {
        let hour = IngestHour {
            hour: DateTime::from_timestamp(1_767_225_600, 0).unwrap(),
            received: 10,
            stored: 7,
            duplicates: 2,
            rejected: 1,
            max_lag_ms: 2_150,
        };
        assert_eq!(
            write(Format::Csv, CsvOptions::default(), &batch(&[hour]).unwrap()),
            "hour,received,stored,duplicates,rejected,max_lag_ms\r\n2026-01-01T00:00:00.000000Z,10,7,2,1,2150\r\n"
        );
    }
}
