//! Which session ids went out of use, and which session holds their events now.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use datafusion::error::Result;
use datafusion::logical_expr::lit;
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::scalar::ScalarValue;
use touchline_schemas::tables::session_revisions as column;

use super::rules::Identity;

/// The ids that `changes` (the change rows of one commit to `sessions`) took out of use, found out `at`.
///
/// The events of a session that went lie in the session of the same device that spans its beginning: by `identity`, of
/// the same session id of the client.
pub async fn revisions(
    context: &SessionContext,
    changes: Arc<dyn TableProvider>,
    identity: Identity,
    at: DateTime<Utc>,
) -> Result<DataFrame> {
    context.register_table("changes", changes)?;
    let client_decides = match identity {
        Identity::ClientSession { .. } => true,
        Identity::Device => false,
    };
    let values = vec![("client_decides", ScalarValue::from(client_decides))];
    let found = context.sql(include_str!("revisions.sql")).await?.with_param_values(values)?;
    found.with_column(
        column::REVISED_AT,
        lit(ScalarValue::TimestampMicrosecond(Some(at.timestamp_micros()), Some("UTC".into()))),
    )
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array,
    };
    use chrono::Duration;
    use datafusion::datasource::MemTable;
    use touchline_lake::{CHANGE_TYPE, change_schema};
    use touchline_schemas::event::TextField;
    use touchline_schemas::tables::{Table, sessions};

    use super::*;

    /// A row of a change file: what became of it, its id, the client's, from and to when in minutes.
    type Row = (&'static str, &'static str, Option<&'static str>, i64, i64);

    fn changes(rows: &[Row]) -> Arc<dyn TableProvider> {
        let schema = change_schema(Table::Sessions);
        let texts = |text: fn(&Row) -> Option<&'static str>| -> ArrayRef {
            Arc::new(rows.iter().map(text).collect::<StringArray>())
        };
        let times = |minutes: fn(&Row) -> i64| -> ArrayRef {
            let times = rows.iter().map(|row| minutes(row) * 60_000_000);
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
        };
        let columns = schema.fields().iter().map(|field| match field.name().as_str() {
            CHANGE_TYPE => texts(|row| Some(row.0)),
            sessions::SESSION_ID => texts(|row| Some(row.1)),
            sessions::CLIENT_SESSION_ID => texts(|row| row.2),
            sessions::STARTED_AT => times(|row| row.3),
            sessions::ENDED_AT => times(|row| row.4),
            sessions::IS_BOT => Arc::new(BooleanArray::from(vec![false; rows.len()])),
            name if name == TextField::VisitorId.column() => texts(|_| Some("a")),
            _ => new_null_array(field.data_type(), rows.len()),
        });
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap();
        Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap())
    }

    async fn check(identity: Identity, rows: &[Row], expected: &[(&str, Option<&str>)]) {
        let found = revisions(&SessionContext::new(), changes(rows), identity, DateTime::UNIX_EPOCH).await.unwrap();
        let found = found.collect().await.unwrap();
        let texts = |rows: &RecordBatch, name: &str| {
            let texts = rows.column_by_name(name).unwrap().as_string::<i32>().clone();
            (0..texts.len()).map(|row| texts.is_valid(row).then(|| texts.value(row).to_owned())).collect::<Vec<_>>()
        };
        let of_batch = |rows| texts(rows, column::SESSION_ID).into_iter().zip(texts(rows, column::REPLACED_BY));
        let mut found: Vec<_> = found.iter().flat_map(of_batch).collect();
        found.sort();
        let expected: Vec<_> =
            expected.iter().map(|(id, by)| (Some((*id).to_owned()), by.map(str::to_owned))).collect();
        assert_eq!(found, expected, "{identity:?}");
    }

    #[tokio::test]
    async fn a_session_is_replaced_by_the_one_that_spans_its_beginning() {
        let rows = [
            ("delete", "morning", Some("x"), 10, 20),
            ("delete", "noon", Some("y"), 40, 50),
            ("insert", "whole", Some("x"), 5, 50),
            ("delete", "kept", None, 90, 91),
            ("insert", "kept", None, 90, 95),
        ];
        check(Identity::Device, &rows, &[("morning", Some("whole")), ("noon", Some("whole"))]).await;
    }

    #[tokio::test]
    async fn where_the_clients_id_decides_it_is_one_of_the_same_id() {
        let rows = [
            ("delete", "first", Some("x"), 10, 20),
            ("delete", "unnamed", None, 12, 13),
            ("insert", "other", Some("y"), 1, 60),
            ("insert", "same", Some("x"), 5, 20),
            ("insert", "unnamed-too", None, 2, 13),
        ];
        let identity = Identity::ClientSession { timeout: Duration::hours(24) };
        check(identity, &rows, &[("first", Some("same")), ("unnamed", Some("unnamed-too"))]).await;
    }
}
