//! One statement and its answer: what is said between the pool and a worker.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamDecoder;
use tokio::sync::mpsc::Sender;
use tokio::time::sleep;
use touchline_pipeline::sql::frames::Kind;
use touchline_pipeline::sql::{Limit, SqlError};

use super::failure::SqlFailure;
use super::process::Process;

/// A part of an answer. Only an answer that ends with [`Part::End`] is complete.
#[derive(Debug)]
pub(super) enum Part {
    /// The columns; first.
    Schema(SchemaRef),
    /// Some rows.
    Rows(RecordBatch),
    /// That was all.
    End,
}

/// Where the parts of an answer go.
pub(super) type Parts = Sender<Result<Part, SqlFailure>>;

/// How a conversation ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The answer is complete.
    Complete,
    /// The worker has said why there is none, and listens again.
    Told(SqlError),
    /// The worker speaks no more.
    Silent {
        /// Whether it had begun to answer.
        begun: bool,
    },
    /// The worker said what cannot be understood, or that its engine has failed.
    Confused(SqlFailure),
    /// The time is over.
    TooLate,
    /// Nobody waits for the answer any more.
    Abandoned,
}

/// Asks `request` and passes the answer on, for as long as `limit` and somebody listens.
pub(super) async fn hold(process: &mut Process, request: &[u8], parts: &Parts, limit: Duration) -> Ended {
    tokio::select! {
        ended = talk(process, request, parts) => ended,
        () = sleep(limit) => Ended::TooLate,
        () = parts.closed() => Ended::Abandoned,
    }
}

async fn talk(process: &mut Process, request: &[u8], parts: &Parts) -> Ended {
    if process.send(request).await.is_err() {
        return Ended::Silent { begun: false };
    }
    let mut decoder = StreamDecoder::new();
    let (mut begun, mut schema_told) = (false, false);
    loop {
        let Ok((kind, content)) = process.frame().await else { return Ended::Silent { begun } };
        begun = true;
        let mut content = match kind {
            Kind::Rows => Buffer::from_vec(content),
            Kind::End => return Ended::Complete,
            Kind::Failure => return told(&content),
            Kind::Ask => return Ended::Confused(SqlFailure::broken(&std::io::Error::other("a question"))),
        };
        loop {
            let rows = match decoder.decode(&mut content) {
                Ok(rows) => rows,
                Err(error) => return Ended::Confused(SqlFailure::broken(&error)),
            };
            if let Some(schema) = decoder.schema().filter(|_| !schema_told) {
                schema_told = true;
                if parts.send(Ok(Part::Schema(schema))).await.is_err() {
                    return Ended::Abandoned;
                }
            }
            let Some(rows) = rows else { break };
            if parts.send(Ok(Part::Rows(rows))).await.is_err() {
                return Ended::Abandoned;
            }
        }
    }
}

fn told(content: &[u8]) -> Ended {
    match serde_json::from_slice(content) {
        Ok(error @ SqlError::Internal { .. }) => Ended::Confused(error.into()),
        Ok(error) => Ended::Told(error),
        Err(error) => Ended::Confused(SqlFailure::broken(&error)),
    }
}

/// What somebody is told who waited too long.
pub(super) fn too_late(timeout_s: u64) -> SqlFailure {
    SqlError::Limit { limit: Limit::Time, allowed: timeout_s }.into()
}
