//! The answer to a statement, as it comes.

use std::collections::{BTreeMap, VecDeque};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc::Receiver;

use super::conversation::Part;
use super::failure::SqlFailure;

/// Bytes of rows that are waited for before an answer begins: what fails until then can be told as a problem. A longer
/// answer that fails is broken off.
const HELD_BYTES: usize = 4 << 20;

/// Rows and what they were read from.
pub struct SqlAnswer {
    /// The columns.
    pub schema: SchemaRef,
    /// The versions of the tables that the statement may have read, by name.
    pub versions: BTreeMap<String, i64>,
    /// The rows. A stream that ends without an error is complete, and may be asked again.
    pub batches: BoxStream<'static, Result<RecordBatch, SqlFailure>>,
}

type Coming = Receiver<Result<Part, SqlFailure>>;

impl SqlAnswer {
    /// Waits for the begin of an answer, or all of it when it is short.
    pub(super) async fn begin(mut parts: Coming, versions: BTreeMap<String, i64>) -> Result<Self, SqlFailure> {
        let Some(Part::Schema(schema)) = next(&mut parts).await? else { return Err(cut_off()) };
        let (mut held, mut held_bytes, mut rest) = (VecDeque::new(), 0, Some(parts));
        while let Some(parts) = rest.as_mut().filter(|_| held_bytes < HELD_BYTES) {
            match next(parts).await? {
                Some(Part::Rows { rows, size_bytes }) => {
                    held_bytes += size_bytes;
                    held.push_back(rows);
                }
                Some(Part::Schema(_)) => return Err(cut_off()),
                Some(Part::End) | None => rest = None,
            }
        }
        let batches = stream::iter(held.into_iter().map(Ok)).chain(stream::unfold(rest, following)).fuse();
        Ok(Self { schema, versions, batches: batches.boxed() })
    }
}

async fn following(rest: Option<Coming>) -> Option<(Result<RecordBatch, SqlFailure>, Option<Coming>)> {
    let mut parts = rest?;
    match next(&mut parts).await {
        Ok(Some(Part::Rows { rows, .. })) => Some((Ok(rows), Some(parts))),
        Ok(Some(Part::End)) => None,
        Ok(Some(Part::Schema(_)) | None) => Some((Err(cut_off()), None)),
        Err(failure) => Some((Err(failure), None)),
    }
}

/// The next part. A channel that closes without an end belonged to a task that is gone.
async fn next(parts: &mut Coming) -> Result<Option<Part>, SqlFailure> {
    parts.recv().await.ok_or_else(cut_off)?.map(Some)
}

fn cut_off() -> SqlFailure {
    SqlFailure::Died { status: "its answer".to_owned(), said: "no end".to_owned() }
}
