//! One worker: a process, the pipes to and from it, and what it says while it dies.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use touchline_pipeline::sql::Greeting;
use touchline_pipeline::sql::frames::{HEAD_BYTES, Kind, head, parse_head};

/// The subcommand under which this program is a worker.
const SUBCOMMAND: &str = "sql-worker";
/// This program, also when its file has been replaced by a newer one.
const THIS_PROGRAM: &str = "/proc/self/exe";
/// All that a worker's environment holds: it gets no secrets, and its allocator asks the system for no more memory than
/// it needs, so that a limit on it means something.
const ENVIRONMENT: [(&str, &str); 2] = [("MIMALLOC_ARENA_EAGER_COMMIT", "0"), ("MIMALLOC_ARENA_RESERVE", "65536")];
/// How long a worker may take to be gone.
const DEATH: Duration = Duration::from_secs(2);
/// Bytes of its last words that are kept.
const LAST_WORDS_BYTES: usize = 4_096;

/// The program that is started as a worker.
#[derive(Debug, Clone)]
pub struct WorkerProgram(PathBuf);

impl WorkerProgram {
    /// The program that this process runs.
    pub fn this() -> Self {
        let program = Path::new(THIS_PROGRAM);
        let program = program.exists().then(|| program.to_owned()).or_else(|| std::env::current_exe().ok());
        Self(program.unwrap_or_else(|| PathBuf::from("touchline")))
    }
}

/// A worker that runs. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    last_words: JoinHandle<String>,
}

impl Process {
    /// Starts a worker and greets it.
    pub(super) async fn start(program: &WorkerProgram, greeting: &Greeting) -> io::Result<Self> {
        let mut command = Command::new(&program.0);
        command.arg(SUBCOMMAND).env_clear().envs(ENVIRONMENT).kill_on_drop(true);
        #[cfg(unix)]
        command.arg0("touchline");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let mut process = Self { child, input, output, last_words: tokio::spawn(listen(errors)) };
        process.send(&serde_json::to_vec(greeting)?).await?;
        Ok(process)
    }

    /// Whether it can still be spoken to.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks something.
    pub(super) async fn send(&mut self, content: &[u8]) -> io::Result<()> {
        self.input.write_all(&head(Kind::Ask, content.len())?).await?;
        self.input.write_all(content).await?;
        self.input.flush().await
    }

    /// The next frame of its answer. What is none, or longer than `longest_bytes`, is an error of the kind
    /// `InvalidData`.
    pub(super) async fn frame(&mut self, longest_bytes: usize) -> io::Result<(Kind, Vec<u8>)> {
        let mut head = [0; HEAD_BYTES];
        self.output.read_exact(&mut head).await?;
        let (kind, size_bytes) = parse_head(head)?;
        if size_bytes > longest_bytes {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is longer than a row may be"));
        }
        let mut content = vec![0; size_bytes];
        self.output.read_exact(&mut content).await?;
        Ok((kind, content))
    }

    /// Ends it, if it has not ended, and tells how it went and what it said last.
    pub(super) async fn end(mut self) -> (Option<ExitStatus>, String) {
        // One that has closed its pipes is about to end by itself, and its own status says more.
        let status = match timeout(DEATH, self.child.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => {
                // It may have ended in this moment.
                let _ = self.child.start_kill();
                None
            }
        };
        let said = timeout(DEATH, self.last_words).await.ok().and_then(Result::ok);
        (status, said.unwrap_or_default())
    }
}

/// Everything to the end of a pipe, of which the last part is kept.
async fn listen(mut errors: ChildStderr) -> String {
    let (mut kept, mut buffer) = (Vec::new(), [0; 1_024]);
    while let Ok(read @ 1..) = errors.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..read]);
        let surplus = kept.len().saturating_sub(LAST_WORDS_BYTES);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}
