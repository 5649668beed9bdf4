//! A report as a body that is written while it is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use axum::body::Body;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};

use super::{FormatError, RowWriter, pieces};

/// What comes after all that the writer writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ending(pub Vec<u8>);

/// The body: head, rows, ending.
///
/// An error on the way ends the body without its last chunk, so that the caller sees a broken answer and never a
/// complete-looking short one. `rows` counts what has been written.
pub fn body<S, E>(mut writer: RowWriter, schema: &SchemaRef, batches: S, ending: Ending, rows: Arc<AtomicU64>) -> Body
where
    S: Stream<Item = Result<RecordBatch, E>> + Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    let head = Bytes::from(writer.head(schema));
    let counted = rows;
    let rows = batches
        .map_err(|source| FormatError::Query(Box::new(source)))
        .map_ok(|batch| stream::iter(pieces(batch).map(Ok::<_, FormatError>)))
        .try_flatten()
        .map_ok(Some)
        .chain(stream::once(std::future::ready(Ok(None))))
        .map(move |piece| match piece? {
            Some(piece) => {
                let written = writer.rows(&piece).map(Bytes::from)?;
                counted.fetch_add(piece.num_rows() as u64, Ordering::Release);
                Ok(written)
            }
            None => writer.end().map(Bytes::from),
        })
        .inspect_err(|error| tracing::error!(error = error as &dyn std::error::Error, "report broke off"));
    let chunks = stream::once(async move { Ok(head) })
        .chain(rows)
        .chain(stream::once(async move { Ok(Bytes::from(ending.0)) }))
        .try_filter(|chunk| std::future::ready(!chunk.is_empty()));
    Body::from_stream(until_error(chunks))
}

/// Ends a stream with its first error: nothing that comes after it may be sent.
fn until_error<S, T, E>(chunks: S) -> impl Stream<Item = Result<T, E>>
where
    S: Stream<Item = Result<T, E>>,
{
    chunks.scan(false, |failed, chunk| {
        let item = (!*failed).then_some(chunk);
        *failed |= item.as_ref().is_some_and(Result::is_err);
        std::future::ready(item)
    })
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;
    use crate::format::tests::every_kind;
    use crate::format::{CsvOptions, Format};

    fn writer(format: Format) -> (RowWriter, SchemaRef) {
        let schema = every_kind().schema();
        (RowWriter::new(format, CsvOptions::default(), &schema).unwrap(), schema)
    }

    #[tokio::test]
    async fn batches_are_joined_into_one_document() {
        let (writer, schema) = writer(Format::Json);
        let batches = stream::iter([Ok::<_, std::io::Error>(every_kind()), Ok(every_kind())]);
        let rows = Arc::<AtomicU64>::default();
        let body = body(writer, &schema, batches, Ending(b"]}".to_vec()), Arc::clone(&rows));
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        assert_eq!(rows.load(Ordering::Acquire), 4);
        let document: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(document["data"].as_array().map(Vec::len), Some(4));
    }

    #[tokio::test]
    async fn an_error_on_the_way_breaks_the_body_off() {
        let (writer, schema) = writer(Format::Csv);
        let batches = stream::iter([Ok(every_kind()), Err(std::io::Error::other("disk gone")), Ok(every_kind())]);
        let mut chunks = body(writer, &schema, batches, Ending::default(), Arc::default()).into_data_stream();
        let mut seen = Vec::new();
        while let Some(chunk) = chunks.next().await {
            seen.push(chunk.is_ok());
        }
        assert_eq!(seen, [true, true, false]);
    }
}
