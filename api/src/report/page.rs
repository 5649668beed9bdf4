//! One page of a list: at most so many rows, and whether others follow.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use chrono::DateTime;
use futures::{Stream, TryStreamExt};
use touchline_pipeline::reports::rows::ListKey;

use super::cursor::Cursor;
use crate::error::ApiError;
use crate::format::FormatError;

/// The rows of one page.
#[derive(Debug)]
pub struct Page {
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// Where the next page begins; none when this is the last.
    pub next: Option<Cursor>,
}

impl Page {
    /// The query's limit for a page of `limit` rows: one row more tells whether another page follows.
    pub const fn query_limit(limit: usize) -> usize {
        limit.saturating_add(1)
    }

    /// Holds the first `limit` rows. A page is bounded by the operator's `query.max_limit`, and must be held because
    /// the link to the next one stands in the answer's head.
    pub async fn collect<S, E>(mut batches: S, limit: usize, key: ListKey) -> Result<Self, ApiError>
    where
        S: Stream<Item = Result<RecordBatch, E>> + Unpin,
        E: std::error::Error + Send + Sync + 'static,
    {
        let mut held = Vec::new();
        let mut missing = limit;
        while let Some(batch) = batches.try_next().await.map_err(|source| FormatError::Query(Box::new(source)))? {
            let kept = batch.num_rows().min(missing);
            missing -= kept;
            if kept > 0 {
                held.push(batch.slice(0, kept));
            }
            if batch.num_rows() > kept {
                let next = held.last().and_then(|batch| last_row(batch, key));
                return Ok(Self { batches: held, next });
            }
        }
        Ok(Self { batches: held, next: None })
    }
}

/// The sort key of the last row.
fn last_row(batch: &RecordBatch, key: ListKey) -> Option<Cursor> {
    let row = batch.num_rows().checked_sub(1)?;
    let at = batch.column_by_name(key.at)?;
    let micros = match at.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => at.as_primitive::<TimestampMicrosecondType>().value(row),
        _ => return None,
    };
    let ids = arrow::compute::cast(batch.column_by_name(key.id)?, &DataType::Utf8).ok()?;
    let id = ids.as_string::<i32>();
    id.is_valid(row)
        .then(|| Some(Cursor { at: DateTime::from_timestamp_micros(micros)?, id: id.value(row).to_owned() }))?
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, StringArray, TimestampMicrosecondArray};
    use futures::stream;

    use super::*;

    const KEY: ListKey = ListKey { at: "began_at", id: "id" };

    fn batch(micros: std::ops::Range<i64>) -> RecordBatch {
        let ids = StringArray::from_iter_values(micros.clone().map(|number| format!("s{number}")));
        let times = TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC");
        let columns: [(&str, ArrayRef); 2] = [(KEY.at, Arc::new(times)), (KEY.id, Arc::new(ids))];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[tokio::test]
    async fn a_page_ends_at_its_limit_and_names_its_last_row() {
        for (limit, row_count, next) in
            [(1, 1, Some("s0")), (3, 3, Some("s2")), (4, 4, Some("s3")), (6, 6, None), (9, 6, None)]
        {
            let batches = stream::iter([Ok::<_, std::io::Error>(batch(0..3)), Ok(batch(3..3)), Ok(batch(3..6))]);
            let page = Page::collect(batches, limit, KEY).await.unwrap();
            assert_eq!(page.batches.iter().map(RecordBatch::num_rows).sum::<usize>(), row_count, "{limit}");
            assert_eq!(page.next.map(|cursor| cursor.id).as_deref(), next, "{limit}");
        }
    }
}
