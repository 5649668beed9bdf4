//! The runner against a mock clock and a control database in memory.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;
use touchline_schemas::config::JobConfig;
use touchline_schemas::control::{JobRun, RunStatus};
use touchline_schemas::{AccountId, Clock, Environment, MockClock, Tenant};
use uuid::Uuid;

use super::*;
use crate::job::{JobError, JobPlan, PlanPart};

mod watching;

/// What a test job does when it is run.
#[derive(Debug, Clone, Copy)]
enum Act {
    Succeed,
    Fail,
    Panic,
    /// Succeed once the test says so.
    Wait,
    /// Wait for ever, and stop when asked to.
    Hang,
    /// Wait for ever, whatever is asked.
    Ignore,
}

/// Does what its script says, and succeeds when the script is over.
struct TestJob {
    name: &'static str,
    script: Mutex<VecDeque<Act>>,
    requests: Mutex<Vec<RunRequest>>,
    started: Notify,
    go_on: Notify,
}

#[async_trait]
impl Job for TestJob {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn plan(&self, request: RunRequest, _: &JobContext) -> Result<JobPlan, JobError> {
        Ok(plan_of(request))
    }

    async fn run(&self, request: RunRequest, context: &JobContext) -> Result<JobReport, JobError> {
        self.requests.lock().unwrap().push(request);
        context.progress.expect(10);
        context.progress.advance(4);
        self.started.notify_one();
        let act = self.script.lock().unwrap().pop_front().unwrap_or(Act::Succeed);
        match act {
            Act::Succeed => {}
            Act::Fail => return Err(JobError::failed(std::io::Error::other("disk on fire"))),
            Act::Panic => panic!("a bug"),
            Act::Wait => self.go_on.notified().await,
            Act::Hang => {
                context.cancellation.cancelled().await;
                context.check_cancelled()?;
            }
            Act::Ignore => std::future::pending().await,
        }
        Ok(report())
    }
}

fn report() -> JobReport {
    JobReport {
        rows_read: 10,
        rows_written: 4,
        bytes_read: 1_000,
        bytes_written: 400,
        source_version: Some(7),
        watermark: Some(at(0)),
        unchanged: false,
    }
}

/// Something to read if everything is asked for.
fn plan_of(request: RunRequest) -> JobPlan {
    let tenant = Tenant { account_id: AccountId(Uuid::nil()), environment: Environment::Live };
    let part = PlanPart { tenant, reason: "asked for", days: Vec::new(), rows: 10, bytes: 1_000 };
    JobPlan { source_version: Some(7), parts: if request.full { vec![part] } else { Vec::new() } }
}

/// 2026-03-01T12:00:00Z and `seconds`.
fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_772_366_400 + seconds, 0).unwrap()
}

struct Fixture {
    control: ControlDb,
    clock: Arc<MockClock>,
    job: Arc<TestJob>,
    runner: Runner,
}

impl Fixture {
    /// A job that is due every five minutes, at 12:00:01.
    async fn new(script: &[Act]) -> Self {
        Self::configured(script, |_| {}).await
    }

    async fn configured(script: &[Act], configure: impl FnOnce(&mut JobsConfig)) -> Self {
        let control = ControlDb::open_in_memory().await.unwrap();
        let clock = Arc::new(MockClock::at(at(1)));
        let job = Arc::new(TestJob {
            name: "sessions",
            script: Mutex::new(script.iter().copied().collect()),
            requests: Mutex::default(),
            started: Notify::new(),
            go_on: Notify::new(),
        });
        let mut config = JobsConfig { sessions: JobConfig::every("0 */5 * * * *"), ..JobsConfig::default() };
        configure(&mut config);
        let runner = Self::runner(&control, &clock, &job, &config, "node-1");
        Self { control, clock, job, runner }
    }

    fn runner(
        control: &ControlDb,
        clock: &Arc<MockClock>,
        job: &Arc<TestJob>,
        config: &JobsConfig,
        holder: &str,
    ) -> Runner {
        Runner::new(control.clone(), clock.clone(), vec![job.clone()], config, holder.to_owned()).unwrap()
    }

    /// A second process with the same job.
    fn other_process(&self) -> Runner {
        Self::runner(&self.control, &self.clock, &self.job, &JobsConfig::default(), "node-2")
    }

    async fn tick_at(&self, second: i64) -> usize {
        self.clock.advance(at(second) - self.clock.now());
        self.runner.tick().await
    }

    async fn run_now(&self) -> Result<JobReport, RunError> {
        self.runner.run_now("sessions", RunRequest::FULL, Trigger::Manual).await
    }

    /// Starts a run that was scripted to wait, and returns when it has begun.
    async fn begin(&self) -> tokio::task::JoinHandle<Result<JobReport, RunError>> {
        let runner = self.runner.clone();
        let run = tokio::spawn(async move { runner.run_now("sessions", RunRequest::default(), Trigger::Manual).await });
        self.job.started.notified().await;
        run
    }

    /// The ledger, oldest first.
    async fn runs(&self) -> Vec<JobRun> {
        let mut runs = self.control.runs(None, 100).await.unwrap();
        runs.reverse();
        runs
    }

    /// The ledger as seconds of the schedule, reasons and outcomes.
    async fn ledger(&self) -> Vec<(Option<i64>, Trigger, RunStatus)> {
        let line = |run: JobRun| (run.scheduled_for.map(|time| (time - at(0)).num_seconds()), run.trigger, run.status);
        self.runs().await.into_iter().map(line).collect()
    }
}

#[tokio::test]
async fn job_runs_once_at_each_time_of_its_schedule() {
    let fixture = Fixture::new(&[]).await;
    let mut started = Vec::new();
    for second in [2, 299, 300, 301, 599, 600, 601] {
        started.push(fixture.tick_at(second).await);
    }
    assert_eq!(started, [0, 0, 1, 0, 0, 1, 0]);
    let expected = [300, 600].map(|second| (Some(second), Trigger::Schedule, RunStatus::Succeeded));
    assert_eq!(fixture.ledger().await, expected);
}

#[tokio::test]
async fn ledger_keeps_what_a_run_did() {
    let fixture = Fixture::new(&[]).await;
    fixture.tick_at(303).await;
    let run = fixture.runs().await.remove(0);
    assert_eq!((run.started_at, run.finished_at), (at(303), Some(at(303))));
    assert_eq!((run.rows_read, run.rows_written, run.source_version), (Some(10), Some(4), Some(7)));
    assert_eq!((run.bytes_read, run.bytes_written), (Some(1_000), Some(400)));
    assert_eq!((run.watermark, run.lag_ms), (Some(at(0)), Some(303_000)));
    assert_eq!((run.attempt, run.request), (1, None));
    assert!(run.duration_ms.is_some());
}

#[tokio::test]
async fn ledger_keeps_what_was_asked_for() {
    let fixture = Fixture::new(&[]).await;
    fixture.run_now().await.unwrap();
    let request = fixture.runs().await.remove(0).request.unwrap();
    assert_eq!(serde_json::from_value::<RunRequest>(request).unwrap(), RunRequest::FULL);
}

#[tokio::test]
async fn plan_leaves_no_trace_and_waits_for_nobody() {
    let fixture = Fixture::new(&[Act::Wait]).await;
    let run = fixture.begin().await;
    assert_eq!(fixture.runner.plan("sessions", RunRequest::FULL).await.unwrap(), plan_of(RunRequest::FULL));
    assert!(fixture.runner.plan("sessions", RunRequest::default()).await.unwrap().parts.is_empty());
    assert!(matches!(
        fixture.runner.plan("sesions", RunRequest::FULL).await,
        Err(RunError::UnknownJob { job }) if job == "sesions"
    ));
    fixture.job.go_on.notify_one();
    run.await.unwrap().unwrap();
    assert_eq!(fixture.ledger().await, [(None, Trigger::Manual, RunStatus::Succeeded)]);
}

#[tokio::test]
async fn each_run_has_a_progress_of_its_own() {
    let fixture = Fixture::new(&[]).await;
    for _ in 0..2 {
        let progress = Arc::<Progress>::default();
        let request = RunRequest::default();
        let run = fixture.runner.run_now_watched("sessions", request, Trigger::Manual, progress.clone()).await;
        let Ended { run_id, result } = run.unwrap();
        assert_eq!(result.unwrap(), report());
        assert_eq!(progress.rows(), (4, 10));
        assert_eq!(fixture.runs().await.last().unwrap().id, run_id);
    }
}

#[tokio::test]
async fn history_is_pruned_once_a_day() {
    let fixture = Fixture::configured(&[], |config| config.history_days = 1).await;
    for second in [300, 600, 900] {
        assert_eq!(fixture.tick_at(second).await, 1);
    }
    assert_eq!(fixture.runs().await.len(), 3);
    let two_days = 2 * 86_400;
    assert_eq!(fixture.tick_at(two_days).await, 1);
    assert_eq!(fixture.ledger().await, [(Some(two_days), Trigger::CatchUp, RunStatus::Succeeded)]);
}

#[tokio::test]
async fn long_pause_is_caught_up_once() {
    let fixture = Fixture::new(&[]).await;
    fixture.tick_at(300).await;
    assert_eq!(fixture.tick_at(86_400 + 7).await, 1);
    assert_eq!(fixture.tick_at(86_400 + 8).await, 0);
    assert_eq!(fixture.tick_at(86_400 + 300).await, 1);
    let expected = [
        (Some(300), Trigger::Schedule, RunStatus::Succeeded),
        (Some(86_400), Trigger::CatchUp, RunStatus::Succeeded),
        (Some(86_400 + 300), Trigger::Schedule, RunStatus::Succeeded),
    ];
    assert_eq!(fixture.ledger().await, expected);
}

#[tokio::test]
async fn new_process_catches_up_what_was_missed_while_none_ran() {
    let fixture = Fixture::new(&[]).await;
    fixture.tick_at(300).await;
    fixture.clock.advance(TimeDelta::seconds(301));
    assert_eq!(fixture.other_process().tick().await, 1);
    assert_eq!(fixture.ledger().await[1], (Some(600), Trigger::CatchUp, RunStatus::Succeeded));
}

#[tokio::test]
async fn two_processes_run_a_time_of_the_schedule_once() {
    let fixture = Fixture::new(&[]).await;
    let other = fixture.other_process();
    fixture.clock.advance(TimeDelta::seconds(300));
    let (one, two) = tokio::join!(fixture.runner.tick(), other.tick());
    assert_eq!(one + two, 1);
    assert_eq!(fixture.ledger().await.len(), 1);
}

#[tokio::test]
async fn run_is_refused_while_the_job_runs() {
    let fixture = Fixture::new(&[Act::Wait]).await;
    let first = fixture.begin().await;
    assert!(matches!(fixture.run_now().await, Err(RunError::AlreadyRunning { job: "sessions" })));
    assert!(matches!(
        fixture.other_process().run_now("sessions", RunRequest::default(), Trigger::Manual).await,
        Err(RunError::AlreadyRunning { .. })
    ));
    assert_eq!(fixture.tick_at(300).await, 0);
    fixture.job.go_on.notify_one();
    assert_eq!(first.await.unwrap().unwrap(), report());
    assert_eq!(fixture.tick_at(301).await, 1);
}

#[tokio::test]
async fn run_goes_on_when_nobody_waits_for_it() {
    let fixture = Fixture::new(&[Act::Wait]).await;
    let caller = fixture.begin().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    assert!(matches!(fixture.run_now().await, Err(RunError::AlreadyRunning { .. })));
    fixture.job.go_on.notify_one();
    let _ended = fixture.runner.inner.running.write().await;
    assert_eq!(fixture.ledger().await, [(None, Trigger::Manual, RunStatus::Succeeded)]);
}

#[tokio::test]
async fn a_run_that_is_started_is_in_the_ledger_before_it_ends() {
    let fixture = Fixture::new(&[Act::Wait]).await;
    let start = async || fixture.runner.start("sessions", RunRequest::FULL, Trigger::Manual).await;
    let run_id = start().await.unwrap();
    let run = fixture.control.run(run_id).await.unwrap().unwrap();
    assert_eq!((run.status, run.trigger), (RunStatus::Running, Trigger::Manual));
    assert!(matches!(start().await, Err(RunError::AlreadyRunning { .. })));
    assert!(matches!(
        fixture.runner.start("sesions", RunRequest::FULL, Trigger::Manual).await,
        Err(RunError::UnknownJob { .. })
    ));
    fixture.job.go_on.notify_one();
    let _ended = fixture.runner.inner.running.write().await;
    assert_eq!(fixture.ledger().await, [(None, Trigger::Manual, RunStatus::Succeeded)]);
}

#[tokio::test]
async fn the_state_of_a_job_is_that_of_its_ledger() {
    let fixture = Fixture::configured(&[Act::Fail], |config| config.sessions.max_retries = 0).await;
    let state = async || {
        let state = fixture.runner.states(&AlertsConfig::default()).await.unwrap().remove(0);
        (state.condition.as_str(), state.health.failures_in_a_row, state.next_run_at)
    };
    assert_eq!(state().await, ("well", 0, Some(at(300))));
    fixture.tick_at(300).await;
    assert_eq!(state().await, ("failed", 1, Some(at(600))));
    fixture.tick_at(600).await;
    assert_eq!(state().await, ("well", 0, Some(at(900))));
}

#[tokio::test]
async fn manual_run_passes_its_request_on_and_leaves_the_schedule_alone() {
    let fixture = Fixture::new(&[]).await;
    assert_eq!(fixture.run_now().await.unwrap(), report());
    assert_eq!(fixture.tick_at(300).await, 1);
    assert_eq!(*fixture.job.requests.lock().unwrap(), [RunRequest::FULL, RunRequest::default()]);
    let expected =
        [(None, Trigger::Manual, RunStatus::Succeeded), (Some(300), Trigger::Schedule, RunStatus::Succeeded)];
    assert_eq!(fixture.ledger().await, expected);
}

#[tokio::test]
async fn run_of_a_dead_process_is_taken_over_when_its_lease_expires() {
    let fixture = Fixture::new(&[]).await;
    let ttl = Duration::from_secs(60);
    fixture.control.acquire_lease("job:sessions", "dead#0", ttl, at(300)).await.unwrap();
    let run = NewRun::first("sessions", Trigger::Schedule, Some(at(300)));
    fixture.control.start_run(run, at(300)).await.unwrap();
    assert_eq!(fixture.tick_at(359).await, 0);
    // The lease is free: the run is found dead, and like any failed run is tried again after a second.
    assert_eq!(fixture.tick_at(360).await, 0);
    assert_eq!(fixture.tick_at(361).await, 1);
    let expected =
        [(Some(300), Trigger::Schedule, RunStatus::Abandoned), (Some(300), Trigger::Schedule, RunStatus::Succeeded)];
    assert_eq!(fixture.ledger().await, expected);
}

#[tokio::test]
async fn failed_run_is_retried_with_growing_pauses_and_given_up() {
    let fixture = Fixture::new(&[Act::Fail; 4]).await;
    let mut started = Vec::new();
    for second in 300..=330 {
        if fixture.tick_at(second).await == 1 {
            started.push(second);
        }
    }
    assert_eq!(started, [300, 301, 305, 321]);
    assert_eq!(fixture.ledger().await, [(Some(300), Trigger::Schedule, RunStatus::Failed); 4]);
    assert_eq!(fixture.runs().await.into_iter().map(|run| run.attempt).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let error = fixture.runs().await[0].error.clone();
    assert_eq!(error.as_deref(), Some("the job `sessions` failed: disk on fire"));
    // The next time of the schedule begins anew.
    assert_eq!(fixture.tick_at(600).await, 1);
    assert_eq!(fixture.ledger().await[4], (Some(600), Trigger::Schedule, RunStatus::Succeeded));
}

#[tokio::test]
async fn retry_that_succeeds_ends_the_retries() {
    let fixture = Fixture::new(&[Act::Fail]).await;
    let mut started = 0;
    for second in 300..=330 {
        started += fixture.tick_at(second).await;
    }
    assert_eq!(started, 2);
}

#[tokio::test]
async fn panic_in_a_job_is_a_failed_run() {
    let fixture = Fixture::new(&[Act::Panic]).await;
    assert!(matches!(fixture.run_now().await, Err(RunError::Panicked { message, .. }) if message == "a bug"));
    assert_eq!(fixture.ledger().await, [(None, Trigger::Manual, RunStatus::Failed)]);
    assert!(fixture.run_now().await.is_ok());
}

#[tokio::test]
async fn run_that_takes_too_long_is_stopped() {
    let fixture = Fixture::configured(&[Act::Hang], |config| config.sessions.timeout_s = 0).await;
    assert!(matches!(fixture.run_now().await, Err(RunError::TimedOut { timeout_s: 0, .. })));
    assert_eq!(fixture.ledger().await, [(None, Trigger::Manual, RunStatus::Failed)]);
    assert_eq!(fixture.control.lease("job:sessions").await.unwrap(), None);
}

#[tokio::test]
async fn run_that_does_not_listen_is_aborted() {
    let fixture = Fixture::configured(&[Act::Ignore], |config| config.sessions.timeout_s = 0).await;
    assert!(matches!(fixture.run_now().await, Err(RunError::TimedOut { .. })));
    assert_eq!(fixture.control.lease("job:sessions").await.unwrap(), None);
}

#[tokio::test]
async fn run_whose_lease_was_taken_is_stopped() {
    let fixture = Fixture::configured(&[Act::Hang], |config| config.lease_ttl_s = 0).await;
    let run = fixture.begin().await;
    // With a life of zero the lease is free for anybody at once; the next renewal finds that out.
    let ttl = Duration::from_secs(60);
    assert!(fixture.control.acquire_lease("job:sessions", "thief", ttl, at(2)).await.unwrap());
    assert!(matches!(run.await.unwrap(), Err(RunError::LeaseLost { .. })));
    assert_eq!(fixture.control.lease("job:sessions").await.unwrap().unwrap().holder, "thief");
}

#[tokio::test]
async fn shutdown_stops_runs_and_gives_their_leases_back() {
    let fixture = Fixture::new(&[Act::Hang]).await;
    fixture.clock.advance(TimeDelta::seconds(300));
    let shutdown = CancellationToken::new();
    let server = tokio::spawn({
        let (runner, shutdown) = (fixture.runner.clone(), shutdown.clone());
        async move { runner.serve(shutdown).await }
    });
    fixture.job.started.notified().await;
    shutdown.cancel();
    server.await.unwrap();
    assert_eq!(fixture.ledger().await, [(Some(300), Trigger::Schedule, RunStatus::Failed)]);
    assert_eq!(fixture.control.lease("job:sessions").await.unwrap(), None);
    assert!(matches!(fixture.run_now().await, Err(RunError::ShuttingDown { .. })));
}

#[tokio::test]
async fn disabled_schedule_runs_only_what_is_asked_for() {
    let fixture = Fixture::configured(&[], |config| config.enabled = false).await;
    fixture.clock.advance(TimeDelta::seconds(300));
    fixture.run_now().await.unwrap();
    // An enabled schedule would go on until it is stopped.
    fixture.runner.inner.serve(&fixture.runner.inner.jobs[0]).await;
    assert_eq!(fixture.ledger().await, [(None, Trigger::Manual, RunStatus::Succeeded)]);
}

#[tokio::test]
async fn job_that_does_not_exist_is_refused() {
    let fixture = Fixture::new(&[]).await;
    let run = fixture.runner.run_now("sesions", RunRequest::default(), Trigger::Manual).await;
    assert!(matches!(run, Err(RunError::UnknownJob { job }) if job == "sesions"));
}

#[tokio::test]
async fn unusable_schedule_is_refused_at_the_start() {
    let fixture = Fixture::new(&[]).await;
    let config = JobsConfig { sessions: JobConfig::every("often"), ..JobsConfig::default() };
    let clock: SharedClock = fixture.clock.clone();
    let refused = Runner::new(fixture.control.clone(), clock, vec![fixture.job.clone()], &config, "node".to_owned());
    let message = refused.unwrap_err().to_string();
    assert!(message.starts_with("jobs.sessions: `often` is not a cron expression"), "{message}");
}
