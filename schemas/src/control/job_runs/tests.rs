use super::*;
use crate::control::moment::tests::at;

fn succeeded() -> RunOutcome {
    RunOutcome::Succeeded {
        rows_read: 10,
        rows_written: 4,
        bytes_read: 1_000,
        bytes_written: 400,
        source_version: Some(7),
        watermark: Some(at(-5)),
        lag_ms: Some(8_000),
    }
}

fn failed() -> RunOutcome {
    RunOutcome::Failed { error: "disk on fire".to_owned() }
}

#[tokio::test]
async fn finished_runs_keep_their_figures() {
    let control = ControlDb::open_in_memory().await.unwrap();
    let new = NewRun { attempt: 2, ..NewRun::first("sessions", Trigger::Schedule, Some(at(0))) };
    let first = control.start_run(new, at(1)).await.unwrap();
    control.finish_run(first, succeeded(), Duration::from_millis(1_999), at(3)).await.unwrap();
    let request = Some(serde_json::json!({"full": true}));
    let new = NewRun { request: request.clone(), ..NewRun::first("sessions", Trigger::Manual, None) };
    let second = control.start_run(new, at(4)).await.unwrap();
    control.finish_run(second, failed(), Duration::from_secs(1), at(5)).await.unwrap();

    let blank = JobRun {
        id: second,
        job: "sessions".to_owned(),
        trigger: Trigger::Manual,
        status: RunStatus::Failed,
        scheduled_for: None,
        started_at: at(4),
        finished_at: Some(at(5)),
        attempt: 1,
        request,
        duration_ms: Some(1_000),
        rows_read: None,
        rows_written: None,
        bytes_read: None,
        bytes_written: None,
        source_version: None,
        watermark: None,
        lag_ms: None,
        error: Some("disk on fire".to_owned()),
    };
    let full = JobRun {
        id: first,
        trigger: Trigger::Schedule,
        status: RunStatus::Succeeded,
        scheduled_for: Some(at(0)),
        started_at: at(1),
        finished_at: Some(at(3)),
        attempt: 2,
        request: None,
        duration_ms: Some(1_999),
        rows_read: Some(10),
        rows_written: Some(4),
        bytes_read: Some(1_000),
        bytes_written: Some(400),
        source_version: Some(7),
        watermark: Some(at(-5)),
        lag_ms: Some(8_000),
        error: None,
        ..blank.clone()
    };
    assert_eq!(control.run(first).await.unwrap().as_ref(), Some(&full));
    assert_eq!(control.runs(Some("sessions"), 10).await.unwrap(), [blank, full.clone()]);
    assert_eq!(control.last_success("sessions").await.unwrap(), Some(full));
}

#[tokio::test]
async fn runs_are_of_one_job_or_of_all_and_limited() {
    let control = ControlDb::open_in_memory().await.unwrap();
    for (second, job) in ["sessions", "visitors", "sessions"].into_iter().enumerate() {
        let at = at(i64::try_from(second).unwrap());
        control.start_run(NewRun::first(job, Trigger::Schedule, Some(at)), at).await.unwrap();
    }
    let jobs = async |job: Option<&str>, limit: u64| -> Vec<String> {
        control.runs(job, limit).await.unwrap().into_iter().map(|run| run.job).collect()
    };
    assert_eq!(jobs(None, 10).await, ["sessions", "visitors", "sessions"]);
    assert_eq!(jobs(None, 2).await, ["sessions", "visitors"]);
    assert_eq!(jobs(Some("visitors"), 10).await, ["visitors"]);
    assert_eq!(jobs(Some("other"), 10).await, Vec::<String>::new());
}

#[tokio::test]
async fn last_scheduled_is_the_newest_time_whatever_the_outcome() {
    let control = ControlDb::open_in_memory().await.unwrap();
    assert_eq!(control.last_scheduled("sessions").await.unwrap(), None);
    for (scheduled_for, trigger) in
        [(Some(at(300)), Trigger::CatchUp), (Some(at(0)), Trigger::Schedule), (None, Trigger::Manual)]
    {
        let run = control.start_run(NewRun::first("sessions", trigger, scheduled_for), at(301)).await.unwrap();
        control.finish_run(run, failed(), Duration::ZERO, at(302)).await.unwrap();
    }
    assert_eq!(control.last_scheduled("sessions").await.unwrap(), Some(at(300)));
    assert_eq!(control.last_success("sessions").await.unwrap(), None);
}

#[tokio::test]
async fn attempts_at_one_time_of_the_schedule_are_found() {
    let control = ControlDb::open_in_memory().await.unwrap();
    let first = control.start_run(NewRun::first("sessions", Trigger::Schedule, Some(at(0))), at(0)).await.unwrap();
    control.start_run(NewRun::first("visitors", Trigger::Schedule, Some(at(0))), at(0)).await.unwrap();
    control.start_run(NewRun::first("sessions", Trigger::Schedule, Some(at(300))), at(300)).await.unwrap();
    let again = control.start_run(NewRun::first("sessions", Trigger::Schedule, Some(at(0))), at(301)).await.unwrap();
    let attempts = control.attempts("sessions", at(0)).await.unwrap();
    assert_eq!(attempts.into_iter().map(|run| run.id).collect::<Vec<_>>(), [first, again]);
}

#[tokio::test]
async fn runs_of_a_dead_process_are_abandoned_and_cannot_finish() {
    let control = ControlDb::open_in_memory().await.unwrap();
    let dead = control.start_run(NewRun::first("sessions", Trigger::Schedule, Some(at(0))), at(0)).await.unwrap();
    let other = control.start_run(NewRun::first("visitors", Trigger::Schedule, Some(at(0))), at(0)).await.unwrap();
    assert_eq!(control.abandon_unfinished("sessions", at(9)).await.unwrap(), 1);
    let finished = control.finish_run(dead, succeeded(), Duration::ZERO, at(10)).await;
    assert!(matches!(finished, Err(ControlError::NotRunning { run_id }) if run_id == dead));
    control.finish_run(other, succeeded(), Duration::ZERO, at(10)).await.unwrap();
    let run = control.runs(Some("sessions"), 1).await.unwrap().remove(0);
    assert_eq!((run.status, run.finished_at), (RunStatus::Abandoned, Some(at(9))));
}
