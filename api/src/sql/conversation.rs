//! One statement and its answer: what is said between the pool and a worker.

use std::io;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamDecoder;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep_until};
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
    Rows {
        /// The rows. Their columns share one piece of memory.
        rows: RecordBatch,
        /// Bytes of the message in which they came.
        size_bytes: usize,
    },
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
        /// Whether it had taken up the request.
        begun: bool,
    },
    /// The worker said what cannot be understood, or that its engine has failed.
    Confused(SqlFailure),
    /// The time is over.
    TooLate,
    /// Nobody waits for the answer any more.
    Abandoned,
}

/// Asks `request` and passes the answer on, until `deadline` and as long as somebody listens. No message of the answer
/// may be longer than `longest_bytes`.
pub(super) async fn hold(
    process: &mut Process,
    request: &[u8],
    parts: &Parts,
    longest_bytes: usize,
    deadline: Instant,
) -> Ended {
    tokio::select! {
        ended = talk(process, request, parts, longest_bytes) => ended,
        () = sleep_until(deadline) => Ended::TooLate,
        () = parts.closed() => Ended::Abandoned,
    }
}

async fn talk(process: &mut Process, request: &[u8], parts: &Parts, longest_bytes: usize) -> Ended {
    if process.send(request).await.is_err() {
        return Ended::Silent { begun: false };
    }
    let mut messages = Messages::new(longest_bytes);
    let (mut begun, mut schema_told) = (false, false);
    loop {
        let (kind, content) = match process.frame(longest_bytes).await {
            Ok(frame) => frame,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Ended::Confused(SqlFailure::broken(&error));
            }
            Err(_) => return Ended::Silent { begun },
        };
        begun = true;
        let mut content = match kind {
            Kind::Taken => continue,
            Kind::Rows => Buffer::from_vec(content),
            Kind::End => return Ended::Complete,
            Kind::Failure => return told(&content),
            Kind::Ask => return Ended::Confused(SqlFailure::broken(&io::Error::other("a question"))),
        };
        loop {
            let rows = match messages.next(&mut content) {
                Ok(rows) => rows,
                Err(failure) => return Ended::Confused(failure),
            };
            if let Some(schema) = messages.schema().filter(|_| !schema_told) {
                schema_told = true;
                if parts.send(Ok(Part::Schema(schema))).await.is_err() {
                    return Ended::Abandoned;
                }
            }
            let Some((rows, size_bytes)) = rows else { break };
            if parts.send(Ok(Part::Rows { rows, size_bytes })).await.is_err() {
                return Ended::Abandoned;
            }
        }
    }
}

/// The messages of an answer, put together from frames.
struct Messages {
    decoder: StreamDecoder,
    longest_bytes: usize,
    /// Bytes of the message that has begun to come.
    begun_bytes: usize,
}

impl Messages {
    fn new(longest_bytes: usize) -> Self {
        Self { decoder: StreamDecoder::new(), longest_bytes, begun_bytes: 0 }
    }

    /// The columns, once something came after them.
    fn schema(&self) -> Option<SchemaRef> {
        self.decoder.schema()
    }

    /// The next rows and the bytes of their message, if they end in `content`, which then holds what follows them.
    fn next(&mut self, content: &mut Buffer) -> Result<Option<(RecordBatch, usize)>, SqlFailure> {
        let (had_schema, given_bytes) = (self.schema().is_some(), content.len());
        let rows = self.decoder.decode(content).map_err(|error| SqlFailure::broken(&error))?;
        if !had_schema && self.schema().is_some() {
            self.begun_bytes = 0;
        }
        self.begun_bytes += given_bytes - content.len();
        if self.begun_bytes > self.longest_bytes {
            return Err(SqlFailure::broken(&io::Error::other("a message is longer than a row may be")));
        }
        Ok(rows.map(|rows| (rows, std::mem::take(&mut self.begun_bytes))))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, StringArray};
    use arrow::ipc::writer::StreamWriter;

    use super::*;

    /// The messages of an answer whose rows hold texts of these lengths: the columns, then one for each row.
    fn written(lengths: &[usize]) -> Vec<Vec<u8>> {
        let row = |length: &usize| {
            let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(*length)]));
            RecordBatch::try_from_iter([("x", text)]).unwrap()
        };
        let mut writer = StreamWriter::try_new(Vec::new(), &row(&0).schema()).unwrap();
        let mut messages = vec![std::mem::take(writer.get_mut())];
        for length in lengths {
            writer.write(&row(length)).unwrap();
            messages.push(std::mem::take(writer.get_mut()));
        }
        messages
    }

    /// The bytes of each row's message, or `None` if it is refused.
    fn read(messages: &[Vec<u8>], frame_bytes: usize, longest_bytes: usize) -> Option<Vec<usize>> {
        let (mut reading, mut sizes) = (Messages::new(longest_bytes), Vec::new());
        for frame in messages.iter().flat_map(|message| message.chunks(frame_bytes)) {
            let mut content = Buffer::from_vec(frame.to_vec());
            while let Some((_, size_bytes)) = reading.next(&mut content).ok()? {
                sizes.push(size_bytes);
            }
        }
        Some(sizes)
    }

    #[test]
    fn messages_are_measured_one_by_one_and_long_ones_refused() {
        let messages = written(&[10, 5_000, 10]);
        let sizes: Vec<usize> = messages.iter().map(Vec::len).collect();
        let longest = sizes[2];
        for frame_bytes in [64, 1_000, 100_000] {
            assert_eq!(read(&messages, frame_bytes, longest).as_deref(), Some(&sizes[1..]), "{frame_bytes}");
            assert_eq!(read(&messages, frame_bytes, longest - 1), None, "{frame_bytes}");
        }
    }
}
