//! Carrying out statements, one after the other, inside the process that may die of them.

use std::any::Any;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
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
/// Rows are sent in pieces of about so many bytes.
const PIECE_BYTES: usize = 1 << 20;

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
    /// Its engine has failed, and nobody knows in which state that left it.
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
            .max_blocking_threads(threads * 2)
            .thread_stack_size(THREAD_STACK_BYTES)
            .enable_time()
            .build()
            .map_err(DataFusionError::IoError)?;
        Ok(Self { runtime, stores: Arc::new(TableStores::open(&greeting.lake)?), threads })
    }

    /// Answers a request. The caller's thread plans: it needs a large stack.
    pub fn answer(&self, request: Request, output: &mut impl Write) -> io::Result<Fitness> {
        let limits = request.limits;
        let answered = catch_unwind(AssertUnwindSafe(|| {
            self.runtime.block_on(async {
                let rows = session::start(request, &self.stores, self.threads).await?;
                send(rows, &limits, &mut *output).await
            })
        }));
        let failure = match answered {
            Ok(Ok(())) => {
                frames::write(output, Kind::End, b"")?;
                return Ok(Fitness::Fit);
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
            | SqlError::Unavailable { .. } => Fitness::Fit,
        })
    }
}

/// Writes rows as they come, as long as they stay within their limits.
async fn send(mut rows: SendableRecordBatchStream, limits: &Limits, output: impl Write) -> Result<(), Broken> {
    let flat = Flat::of(&rows.schema());
    let mut writer = StreamWriter::try_new(RowFrames::new(output), flat.schema()).map_err(of_writer)?;
    writer.get_mut().send().map_err(Broken::Output)?;
    let mut row_count = 0;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(|error| SqlError::of_engine(&error, limits.memory_bytes))?;
        row_count += batch.num_rows();
        if row_count > limits.rows {
            return Err(SqlError::over(Limit::Rows, limits.rows).into());
        }
        let batch = flat.batch(&batch).map_err(|error| SqlError::of_arrow(&error))?;
        for piece in pieces(&batch) {
            writer.write(&piece).map_err(of_writer)?;
            if writer.get_ref().taken_bytes > limits.answer_bytes {
                return Err(SqlError::over(Limit::AnswerBytes, limits.answer_bytes).into());
            }
            writer.get_mut().send().map_err(Broken::Output)?;
        }
    }
    writer.finish().map_err(of_writer)?;
    writer.get_mut().send().map_err(Broken::Output)
}

fn of_writer(error: ArrowError) -> Broken {
    match error {
        ArrowError::IoError(_, error) => Broken::Output(error),
        error => SqlError::of_arrow(&error).into(),
    }
}

fn pieces(batch: &RecordBatch) -> impl Iterator<Item = RecordBatch> {
    let row_count = batch.num_rows();
    let row_bytes = batch.get_array_memory_size() / row_count.max(1);
    let step = (PIECE_BYTES / row_bytes.max(1)).max(1);
    (0..row_count).step_by(step).map(move |from| batch.slice(from, step.min(row_count - from)))
}

fn what_was_said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("panic").to_owned()
}

#[cfg(test)]
mod tests {
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

    /// The rows as a table, or why there are none.
    fn ask(worker: &Worker, sql: &str, params: Value) -> Result<String, SqlError> {
        let tenant = Tenant { account_id: AccountId(uuid::Uuid::nil()), environment: Environment::Live };
        let request = Request { tenant, sql: sql.to_owned(), params, tables: Vec::new(), limits: LIMITS };
        let mut bytes = Vec::new();
        worker.answer(request, &mut bytes).unwrap();
        let (mut input, mut decoder, mut rows) = (&bytes[..], StreamDecoder::new(), Vec::new());
        loop {
            match frames::read(&mut input).unwrap() {
                (Kind::Rows, content) => rows.extend(decoder.decode(&mut Buffer::from_vec(content)).unwrap()),
                (Kind::Failure, content) => return Err(serde_json::from_slice(&content).unwrap()),
                (Kind::End, _) => return Ok(pretty_format_batches(&rows).unwrap().to_string()),
                (Kind::Ask, _) => panic!("a question"),
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
}
