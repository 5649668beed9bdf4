//! Job `verify`: lets another program compute the derived tables a second time, and fails if anything differs.
//!
//! The program is `touchline-verify`, which shares no computation with this one and need not be installed.

use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use serde::Deserialize;
use tokio::task::{JoinError, spawn_blocking};
use touchline_lake::Lake;
use touchline_schemas::tables::Table;

use crate::{Job, JobContext, JobError, JobPlan, JobReport, PlanPart, RunRequest};

const NAME: &str = "verify";
/// Differing rows that the error of a run quotes.
const QUOTED_ROWS: usize = 5;

/// The program, and what every run of it is told.
#[derive(Debug, Clone)]
pub struct Verifier {
    /// Its path, or its name to be looked for where programs are.
    pub program: PathBuf,
    /// Where the installation is, and its defaults.
    pub arguments: Vec<String>,
    /// Threads that it may use; 0: one for each core.
    pub threads: usize,
}

impl Verifier {
    /// The program, ready to be started with more arguments.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null());
        if self.threads > 0 {
            command.env("POLARS_MAX_THREADS", self.threads.to_string());
        }
        command
    }
}

/// The job.
#[derive(Debug)]
pub struct VerifyJob {
    lake: Lake,
    verifier: Verifier,
    complained: AtomicBool,
}

/// Why a verification failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{program} cannot be started: {source}")]
    NotStarted { program: String, source: io::Error },
    #[error("the verification was interrupted: {0}")]
    Interrupted(#[from] JoinError),
    #[error("the verification cannot be followed: {0}")]
    Io(#[from] io::Error),
    #[error("the verification ended with {status}: {complaint}")]
    Died { status: ExitStatus, complaint: String },
    #[error("the verification gave an answer that is none: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error("{differences} differences between derived tables and raw data; {quoted}")]
    Differences { differences: u64, quoted: String },
}

impl VerifyJob {
    /// A job over `lake` that starts `verifier`.
    pub fn new(lake: Lake, verifier: Verifier) -> Self {
        Self { lake, verifier, complained: AtomicBool::new(false) }
    }

    /// What no run can do without its program: said in the log once, and in a metric all the time.
    fn missing(&self) -> JobReport {
        metrics::gauge!("touchline_verifier_missing").set(1.0);
        if !self.complained.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                program = %self.verifier.program.display(),
                "derived tables are not verified, because the verifier is not installed: \
                 `cargo build --release -p touchline-verify`, and put it beside `touchline`"
            );
        }
        JobReport { unchanged: true, ..JobReport::default() }
    }
}

#[async_trait]
impl Job for VerifyJob {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn plan(&self, request: RunRequest, _: &JobContext) -> Result<JobPlan, JobError> {
        let events = self.lake.table(Table::Events).snapshot().await.map_err(JobError::failed)?;
        let tenants =
            events.tenants().filter(|tenant| request.account.is_none_or(|account| account == tenant.account_id));
        let mut parts: Vec<_> = tenants
            .map(|tenant| {
                let files = || events.files(tenant).iter().filter(|file| request.names_day(file.date));
                let mut days: Vec<_> = files().map(|file| file.date).collect();
                days.dedup();
                PlanPart {
                    tenant,
                    reason: "verification",
                    days,
                    rows: files().map(|file| file.rows).sum(),
                    bytes: files().map(|file| file.size_bytes).sum(),
                }
            })
            .collect();
        parts.sort_by_key(|part| part.tenant);
        Ok(JobPlan { source_version: Some(events.version), parts })
    }

    async fn run(&self, request: RunRequest, context: &JobContext) -> Result<JobReport, JobError> {
        let mut command = self.verifier.command();
        command.arg("--json");
        let chosen = [
            ("--account", request.account.map(|account| account.to_string())),
            ("--from", request.from.map(|day| day.to_string())),
            ("--to", request.to.map(|day| day.to_string())),
        ];
        for (flag, value) in chosen.iter().filter_map(|(flag, value)| Some((flag, value.as_ref()?))) {
            command.args([flag, value.as_str()]);
        }
        let running = match Running::start(command) {
            Ok(running) => running,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(self.missing()),
            Err(source) => {
                let program = self.verifier.program.display().to_string();
                return Err(JobError::failed(Failure::NotStarted { program, source }));
            }
        };
        metrics::gauge!("touchline_verifier_missing").set(0.0);
        let ended = tokio::select! {
            ended = running.ended() => ended.map_err(JobError::failed)?,
            // Dropping what runs ends it.
            () = context.cancellation.cancelled() => return Err(JobError::Cancelled),
        };
        let answer = ended.answer().map_err(JobError::failed)?;
        metrics::gauge!("touchline_verify_differences").set(answer.differences as f64);
        let rows_read = answer.tables.iter().map(|table| table.rows).sum();
        answer.verdict().map_err(JobError::failed)?;
        Ok(JobReport { rows_read, ..JobReport::default() })
    }
}

/// A process that does not outlive the run that started it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(mut command: Command) -> io::Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map(Self)
    }

    async fn ended(mut self) -> Result<Ended, Failure> {
        let (stdout, stderr) = (self.0.stdout.take(), self.0.stderr.take());
        // Both at once: a process whose complaints nobody reads would wait for ever.
        let (said, complaint) = (spawn_blocking(|| read_all(stdout)), spawn_blocking(|| read_all(stderr)));
        let (said, complaint) = (said.await??, complaint.await??);
        let status = spawn_blocking(move || self.0.wait()).await??;
        Ok(Ended { status, said, complaint })
    }
}

fn read_all(pipe: Option<impl Read>) -> io::Result<String> {
    let mut bytes = Vec::new();
    pipe.map(|mut pipe| pipe.read_to_end(&mut bytes)).transpose()?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A process that has ended.
struct Ended {
    status: ExitStatus,
    said: String,
    complaint: String,
}

impl Ended {
    fn answer(self) -> Result<Answer, Failure> {
        // 1 is both "something differs", with an answer, and "it did not work", without one.
        if matches!(self.status.code(), Some(0 | 1)) && !self.said.trim().is_empty() {
            Ok(serde_json::from_str(&self.said)?)
        } else {
            Err(Failure::Died { status: self.status, complaint: self.complaint.trim().to_owned() })
        }
    }
}

/// The program's answer, as far as it is of interest here.
#[derive(Deserialize)]
struct Answer {
    tables: Vec<TableAnswer>,
    differences: u64,
    summary: Vec<String>,
}

#[derive(Deserialize)]
struct TableAnswer {
    rows: u64,
}

impl Answer {
    fn verdict(&self) -> Result<(), Failure> {
        if self.differences == 0 {
            return Ok(());
        }
        let quoted = self.summary.iter().take(QUOTED_ROWS).map(String::as_str).collect::<Vec<_>>().join("; ");
        Err(Failure::Differences { differences: self.differences, quoted })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio_util::sync::CancellationToken;
    use touchline_lake::LakeOptions;
    use touchline_schemas::MockClock;

    use super::*;

    /// Runs the job with a shell script as its verifier.
    async fn run(program: &str, script: &str, cancellation: CancellationToken) -> Result<JobReport, JobError> {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::open(folder.path(), LakeOptions { checkpoint_interval: 20 }).await.unwrap();
        let arguments = ["-c", script].map(str::to_owned).to_vec();
        let job = VerifyJob::new(lake, Verifier { program: program.into(), arguments, threads: 0 });
        let clock = Arc::new(MockClock::at("2026-03-05T00:00:00Z".parse().unwrap()));
        let context = JobContext { clock, cancellation, progress: Arc::default() };
        job.run(RunRequest::default(), &context).await
    }

    async fn failure(script: &str) -> String {
        run("/bin/sh", script, CancellationToken::new()).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn rows_of_a_clean_answer_are_reported() {
        let script = r#"echo '{"tables":[{"rows":3},{"rows":4}],"differences":0,"summary":[]}'"#;
        let report = run("/bin/sh", script, CancellationToken::new()).await.unwrap();
        assert_eq!(report, JobReport { rows_read: 7, ..JobReport::default() });
    }

    #[tokio::test]
    async fn differences_are_the_error_of_the_run() {
        let script = r#"echo '{"tables":[{"rows":3}],"differences":2,"summary":["sessions session_id=a"]}'; exit 1"#;
        let expected = "2 differences between derived tables and raw data; sessions session_id=a";
        assert_eq!(failure(script).await, expected);
    }

    #[tokio::test]
    async fn a_verifier_that_fails_is_quoted() {
        let message = failure("echo 'error: no disk' >&2; exit 1").await;
        assert!(message.ends_with("error: no disk"), "{message}");
        assert!(failure("echo nonsense").await.contains("answer that is none"));
        assert!(failure("kill -9 $$").await.contains("signal"));
    }

    #[tokio::test]
    async fn without_a_verifier_nothing_is_verified_and_no_run_fails() {
        let report = run("/nowhere/touchline-verify", "", CancellationToken::new()).await.unwrap();
        assert!(report.unchanged);
    }

    #[tokio::test]
    async fn a_cancelled_run_ends_its_process() {
        let stop = CancellationToken::new();
        stop.cancel();
        let ended = run("/bin/sh", "exec sleep 600", stop).await;
        assert!(matches!(ended, Err(JobError::Cancelled)));
    }
}
