//! Carrying out statements, one after the other, inside the process that may die of them.

use std::any::Any;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use arrow::array::{Array, RecordBatch};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt;
use tokio::runtime::{Builder, Runtime};

use super::flat::Flat;
use super::frames::{self, Kind, RowFrames};
use super::stores::TableStores;
use super::{Greeting, Limit, Limits, Request, SqlError, session};
use crate::PipelineError;

/// Stack of the engine's threads. A plan is as deep as its statement.
const THREAD_STACK_BYTES: usize = 16 << 20;
/// Rows are sent in pieces of at most so many bytes, if one row has not more.
const PIECE_BYTES: usize = 1 << 20;
/// How long the engine may take to let go of a statement that was answered.
const REST: Duration = Duration::from_millis(100);
/// Time between two looks at whether it has.
const REST_POLL: Duration = Duration::from_millis(1);

/// Carries out statements.
#[derive(Debug)]
pub struct Worker {
    runtime: Runtime,
    stores: Arc<TableStores>,
    threads: usize,
}

/// Whether a worker can take another statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fitness {
    /// It can.
    Fit,
    /// Its engine has failed, and nobody knows in which state that left it; or it is still at work on what was
    /// answered. Its process must exit: to drop it may wait for that work.
    Spoiled,
}

/// Why an answer ended early.
enum Broken {
    Sql(SqlError),
    /// Nobody listens any more.
    Output(io::Error),
}

impl From<SqlError> for Broken {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

impl Worker {
    /// A worker for the installation that the greeting tells of.
    pub fn new(greeting: &Greeting) -> Result<Self, PipelineError> {
        let threads = greeting.threads.max(1);
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .max_blocking_threads(threads)
            .thread_stack_size(THREAD_STACK_BYTES)
            .enable_time()
            .build()
            .map_err(DataFusionError::IoError)?;
        Ok(Self { runtime, stores: Arc::new(TableStores::open(&greeting.lake)?), threads })
    }

    /// Bytes of the stacks of all threads that it may have: the engine's, and as many that wait for files.
    pub const fn stack_bytes(&self) -> usize {
        self.threads * 2 * THREAD_STACK_BYTES
    }

    /// Answers a request. The caller's thread plans: it needs a large stack.
    pub fn answer(&self, request: Request, output: &mut impl Write) -> io::Result<Fitness> {
        let limits = request.limits;
        frames::write(output, Kind::Taken, b"")?;
        let answered = catch_unwind(AssertUnwindSafe(|| {
            self.runtime.block_on(async {
                let rows = session::start(request, &self.stores, self.threads).await?;
                send(rows, &limits, &mut *output).await
            })
        }));
        let failure = match answered {
            Ok(Ok(())) => {
                frames::write(output, Kind::End, b"")?;
                return Ok(self.fitness());
            }
            Ok(Err(Broken::Output(error))) => return Err(error),
            Ok(Err(Broken::Sql(error))) => error,
            Err(panic) => SqlError::Internal { detail: what_was_said(&*panic) },
        };
        frames::write(output, Kind::Failure, &serde_json::to_vec(&failure)?)?;
        Ok(match failure {
            SqlError::Internal { .. } => Fitness::Spoiled,
            SqlError::Syntax { .. }
            | SqlError::Refused { .. }
            | SqlError::Invalid { .. }
            | SqlError::Limit { .. }
            | SqlError::Unavailable { .. } => self.fitness(),
        })
    }

    /// Waits until the engine has let go of the last statement. A task cannot be ended while it computes, and one that
    /// does not pause would take time and memory from the next statement.
    fn fitness(&self) -> Fitness {
        let began = Instant::now();
        while self.runtime.metrics().num_alive_tasks() > 0 {
            if began.elapsed() > REST {
                return Fitness::Spoiled;
            }
            thread::sleep(REST_POLL);
        }
        Fitness::Fit
    }
}

/// Writes rows as they come, as long as they stay within their limits.
async fn send(mut rows: SendableRecordBatchStream, limits: &Limits, output: impl Write) -> Result<(), Broken> {
    let flat = Flat::of(&rows.schema());
    let mut writer = StreamWriter::try_new(RowFrames::new(output), flat.schema()).map_err(of_writer)?;
    pass_on(writer.get_mut(), limits)?;
    let mut row_count = 0;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(|error| SqlError::of_engine(&error, limits.memory_bytes))?;
        row_count += batch.num_rows();
        if row_count > limits.rows {
            return Err(SqlError::over(Limit::Rows, limits.rows).into());
        }
        let batch = flat.batch(&batch).map_err(|error| SqlError::of_arrow(&error))?;
        for piece in pieces(batch) {
            writer.write(&piece).map_err(of_writer)?;
            pass_on(writer.get_mut(), limits)?;
        }
    }
    writer.finish().map_err(of_writer)?;
    writer.get_mut().send().map_err(Broken::Output)
}

/// Sends the message that was written, if it and the answer so far stay within their limits.
fn pass_on(message: &mut RowFrames<impl Write>, limits: &Limits) -> Result<(), Broken> {
    if message.pending_bytes() > limits.row_bytes {
        return Err(SqlError::over(Limit::RowBytes, limits.row_bytes).into());
    }
    if message.taken_bytes > limits.answer_bytes {
        return Err(SqlError::over(Limit::AnswerBytes, limits.answer_bytes).into());
    }
    message.send().map_err(Broken::Output)
}

fn of_writer(error: ArrowError) -> Broken {
    match error {
        ArrowError::IoError(_, error) => Broken::Output(error),
        error => SqlError::of_arrow(&error).into(),
    }
}

/// The rows in order, halved until a piece is small enough or one row: rows can differ much in size.
fn pieces(batch: RecordBatch) -> impl Iterator<Item = RecordBatch> {
    let mut rest = vec![batch];
    let next = move || {
        let mut piece = rest.pop()?;
        while piece.num_rows() > 1 && size_bytes(&piece) > PIECE_BYTES {
            let half = piece.num_rows() / 2;
            rest.push(piece.slice(half, piece.num_rows() - half));
            piece = piece.slice(0, half);
        }
        Some(piece)
    };
    std::iter::from_fn(next).filter(|piece| piece.num_rows() > 0)
}

/// Bytes of these rows alone, also where they share their memory with others.
fn size_bytes(rows: &RecordBatch) -> usize {
    let sizes = rows.columns().iter().map(|column| {
        let own = column.to_data().get_slice_memory_size();
        own.unwrap_or_else(|_| column.get_array_memory_size())
    });
    sizes.sum()
}

fn what_was_said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("panic").to_owned()
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, StringArray};
    use arrow::buffer::Buffer;
    use arrow::ipc::reader::StreamDecoder;
    use arrow::util::pretty::pretty_format_batches;
    use serde_json::{Value, json};
    use touchline_lake::{Lake, LakeOptions};
    use touchline_schemas::{AccountId, Environment, Tenant};

    use super::*;

    const LIMITS: Limits = Limits {
        statement_bytes: 10_000,
        tokens: 500,
        depth: 50,
        memory_bytes: 8 << 20,
        rows: 1_000,
        row_bytes: 300_000,
        answer_bytes: 100_000,
    };

    /// A worker over an empty lake.
    fn worker() -> (tempfile::TempDir, Worker) {
        let folder = tempfile::tempdir().unwrap();
        let opening = Lake::open(folder.path(), LakeOptions { checkpoint_interval: 20 });
        Runtime::new().unwrap().block_on(opening).unwrap();
        let greeting = Greeting { lake: folder.path().to_owned(), threads: 1, process_memory_bytes: 0 };
        (folder, Worker::new(&greeting).unwrap())
    }

    fn request(sql: &str, params: Value) -> Request {
        let tenant = Tenant { account_id: AccountId(uuid::Uuid::nil()), environment: Environment::Live };
        Request { tenant, sql: sql.to_owned(), params, tables: Vec::new(), limits: LIMITS }
    }

    /// The rows as a table, or why there are none.
    fn ask(worker: &Worker, sql: &str, params: Value) -> Result<String, SqlError> {
        let mut bytes = Vec::new();
        worker.answer(request(sql, params), &mut bytes).unwrap();
        let (mut input, mut decoder, mut rows) = (&bytes[..], StreamDecoder::new(), Vec::new());
        assert_eq!(frames::read(&mut input).unwrap().0, Kind::Taken);
        loop {
            match frames::read(&mut input).unwrap() {
                (Kind::Rows, content) => rows.extend(decoder.decode(&mut Buffer::from_vec(content)).unwrap()),
                (Kind::Failure, content) => return Err(serde_json::from_slice(&content).unwrap()),
                (Kind::End, _) => return Ok(pretty_format_batches(&rows).unwrap().to_string()),
                (Kind::Ask | Kind::Taken, _) => panic!("a question"),
            }
        }
    }

    #[test]
    fn one_worker_answers_statement_after_statement() {
        let (_folder, worker) = worker();
        let sum = "SELECT sum(value) AS n FROM generate_series(1, 9) WHERE value <= $1";
        assert!(ask(&worker, sum, json!([4])).unwrap().contains("| 10 |"));
        assert!(ask(&worker, "SELECT $a AS a", json!({"a": "x"})).unwrap().contains("| x |"));
        assert!(ask(&worker, "SELECT round(2.5), regexp_like('ab', 'b')", Value::Null).is_ok());
        for (sql, expected) in [
            ("SELEKT", "syntax"),
            ("SELECT version()", "invalid"),
            ("SELECT input_file_name()", "invalid"),
            ("SELECT 1 / 0", "invalid"),
            ("SELECT $1", "invalid"),
            ("SELECT nothing", "invalid"),
            ("SELECT * FROM events", "invalid"),
            ("SELECT * FROM generate_series(1, 2000)", "sql.max_rows"),
            ("SELECT repeat('x', 200000)", "sql.max_answer_bytes"),
            ("SELECT repeat(chr(value + 64), 400000) AS x FROM generate_series(1, 1)", "sql.max_row_bytes"),
            ("SELECT array_agg(value) FROM generate_series(1, 10000000)", "sql.memory_limit_bytes"),
            ("SELECT * FROM generate_series(1, 10000000) ORDER BY value DESC", "sql.memory_limit_bytes"),
        ] {
            let told = match ask(&worker, sql, Value::Null) {
                Err(SqlError::Limit { limit, .. }) => limit.setting().to_owned(),
                Err(SqlError::Invalid { .. }) => "invalid".to_owned(),
                Err(SqlError::Syntax { .. }) => "syntax".to_owned(),
                other => format!("{other:?}"),
            };
            assert_eq!(told, expected, "{sql}");
        }
        assert!(ask(&worker, "SELECT 1 AS n WHERE $1 = 'x'", json!(["y"])).is_ok());
    }

    #[test]
    fn a_worker_is_fit_when_nothing_of_the_last_statement_goes_on() {
        let (_folder, worker) = worker();
        let sum = request("SELECT sum(value) AS n FROM generate_series(1, 9)", Value::Null);
        assert_eq!(worker.answer(sum, &mut Vec::new()).unwrap(), Fitness::Fit);
        // A task that does not pause.
        let (end, ended) = std::sync::mpsc::channel::<()>();
        worker.runtime.spawn(async move { ended.recv() });
        assert_eq!(worker.fitness(), Fitness::Spoiled);
        drop(end);
        assert_eq!(worker.fitness(), Fitness::Fit);
    }

    #[test]
    fn pieces_are_small_or_one_row() {
        let long = PIECE_BYTES / 2 + 1;
        for (lengths, expected) in [
            (&[1_usize, 1, 1][..], &[3_usize][..]),
            (&[], &[]),
            (&[2 * PIECE_BYTES], &[1]),
            (&[1, 1, 1, 2 * PIECE_BYTES], &[2, 1, 1]),
            (&[long, long, 1, 1], &[1, 1, 2]),
        ] {
            let texts: StringArray = lengths.iter().map(|length| Some("x".repeat(*length))).collect();
            let batch = RecordBatch::try_from_iter([("x", Arc::new(texts) as ArrayRef)]).unwrap();
            let rows: Vec<_> = pieces(batch).map(|piece| piece.num_rows()).collect();
            assert_eq!(rows, expected, "{lengths:?}");
        }
    }
}
