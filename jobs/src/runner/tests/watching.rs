//! What the watcher makes of the runs: alerts and metrics.

use metrics_exporter_prometheus::PrometheusBuilder;

use super::*;
use crate::alerts::webhook::tests::Receiver;
use crate::alerts::{Alert, AlertKind};

impl Fixture {
    fn watcher(&self) -> Watcher {
        self.runner.watcher(&AlertsConfig::default()).unwrap()
    }

    /// Goes through these seconds, and returns the alerts and when they came.
    async fn alerts(&self, watcher: &mut Watcher, seconds: impl IntoIterator<Item = i64>) -> Vec<(i64, Alert)> {
        let mut alerts = Vec::new();
        for second in seconds {
            self.tick_at(second).await;
            alerts.extend(watcher.look().await.into_iter().map(|alert| (second, alert)));
        }
        alerts
    }
}

fn kinds(alerts: &[(i64, Alert)]) -> Vec<(i64, AlertKind)> {
    alerts.iter().map(|(second, alert)| (*second, alert.kind)).collect()
}

#[tokio::test]
async fn lasting_failure_alerts_once_when_no_retry_is_left_and_once_when_it_is_over() {
    let fixture = Fixture::new(&[Act::Fail; 8]).await;
    let mut watcher = fixture.watcher();
    // Two times of the schedule fail with all their retries, the third succeeds.
    let alerts = fixture.alerts(&mut watcher, (290..=930).chain([1_200])).await;
    assert_eq!(kinds(&alerts), [(321, AlertKind::Failed), (900, AlertKind::Recovered)]);
    let failed = &alerts[0].1;
    assert_eq!(failed.job.as_deref(), Some("sessions"));
    assert_eq!(failed.error.as_deref(), Some("the job `sessions` failed: disk on fire"));
    assert_eq!((failed.run, failed.attempt, failed.at), (Some(RunId(4)), Some(4), at(321)));
    assert_eq!((alerts[1].1.run, &alerts[1].1.error), (Some(RunId(9)), &None));
}

#[tokio::test]
async fn failure_that_a_retry_makes_good_is_not_told() {
    let fixture = Fixture::new(&[Act::Fail, Act::Panic, Act::Fail]).await;
    let alerts = fixture.alerts(&mut fixture.watcher(), 290..=330).await;
    assert_eq!(kinds(&alerts), []);
    assert_eq!(fixture.ledger().await.len(), 4);
}

#[tokio::test]
async fn restart_neither_repeats_an_alert_nor_forgets_the_recovery() {
    let fixture = Fixture::new(&[Act::Fail; 4]).await;
    let before = fixture.alerts(&mut fixture.watcher(), 290..=330).await;
    assert_eq!(kinds(&before), [(321, AlertKind::Failed)]);
    let mut after = fixture.other_process().watcher(&AlertsConfig::default()).unwrap();
    assert_eq!(kinds(&fixture.alerts(&mut after, [331, 599, 600, 601]).await), [(600, AlertKind::Recovered)]);
}

#[tokio::test]
async fn run_by_hand_that_fails_is_told_at_once() {
    let fixture = Fixture::new(&[Act::Fail]).await;
    let mut watcher = fixture.watcher();
    assert_eq!(watcher.look().await, []);
    fixture.run_now().await.unwrap_err();
    let told: Vec<AlertKind> = watcher.look().await.into_iter().map(|alert| alert.kind).collect();
    assert_eq!(told, [AlertKind::Failed]);
    assert_eq!(kinds(&fixture.alerts(&mut watcher, [2, 300, 301]).await), [(300, AlertKind::Recovered)]);
}

#[tokio::test]
async fn job_that_does_not_run_is_late_once() {
    let fixture = Fixture::new(&[]).await;
    let mut watcher = fixture.watcher();
    assert_eq!(kinds(&fixture.alerts(&mut watcher, [300]).await), []);
    // Nobody ticks: the scheduler is stuck.
    let mut late = Vec::new();
    for second in [600, 4_200, 4_201, 4_202, 9_999] {
        fixture.clock.advance(at(second) - fixture.clock.now());
        late.extend(watcher.look().await.into_iter().map(|alert| (second, alert)));
    }
    assert_eq!(kinds(&late), [(4_201, AlertKind::Late)]);
    let expected = "no run has succeeded since one was due at 2026-03-01T12:10:00Z";
    assert_eq!((late[0].1.run, late[0].1.error.as_deref()), (None, Some(expected)));
    assert_eq!(kinds(&fixture.alerts(&mut watcher, [10_000]).await), [(10_000, AlertKind::Recovered)]);
}

#[tokio::test]
async fn gauges_are_right_after_a_restart() {
    let fixture = Fixture::new(&[Act::Succeed, Act::Fail, Act::Fail]).await;
    fixture.alerts(&mut fixture.watcher(), [303, 600, 601]).await;

    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    fixture.clock.advance(at(4_300) - fixture.clock.now());
    fixture.other_process().watcher(&AlertsConfig::default()).unwrap().look().await;
    let text = recorder.handle().render();
    for line in [
        // 2026-03-01T12:05:03Z
        r#"touchline_job_last_success_timestamp_seconds{job="sessions"} 1772366703"#,
        r#"touchline_job_lag_seconds{job="sessions"} 4300"#,
        r#"touchline_job_failures_in_a_row{job="sessions"} 2"#,
        r#"touchline_job_late{job="sessions"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn runs_are_counted_with_their_rows_and_bytes() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let fixture = Fixture::new(&[Act::Succeed, Act::Succeed, Act::Fail]).await;
    fixture.alerts(&mut fixture.watcher(), [300, 600, 900]).await;
    let text = recorder.handle().render();
    for line in [
        r#"touchline_job_runs_total{job="sessions",outcome="succeeded"} 2"#,
        r#"touchline_job_runs_total{job="sessions",outcome="failed"} 1"#,
        r#"touchline_job_rows_read_total{job="sessions"} 20"#,
        r#"touchline_job_rows_written_total{job="sessions"} 8"#,
        r#"touchline_job_bytes_read_total{job="sessions"} 2000"#,
        r#"touchline_job_bytes_written_total{job="sessions"} 800"#,
        r#"touchline_job_duration_seconds_count{job="sessions"} 3"#,
        r#"touchline_job_late{job="sessions"} 0"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn alert_about_a_failed_run_arrives() {
    let receiver = Receiver::new(&[]).await;
    let fixture = Fixture::new(&[Act::Fail]).await;
    let mut watcher = fixture.runner.watcher(&receiver.config).unwrap();
    assert_eq!(watcher.look().await, []);
    fixture.run_now().await.unwrap_err();
    let shutdown = CancellationToken::new();
    let watching = tokio::spawn(watcher.serve(shutdown.clone()));
    while receiver.received().is_empty() {
        tokio::task::yield_now().await;
    }
    shutdown.cancel();
    watching.await.unwrap();
    let received = receiver.received();
    assert_eq!(received.len(), 1);
    let body: serde_json::Value = serde_json::from_str(&received[0].body).unwrap();
    assert_eq!((body["type"].as_str(), body["job"].as_str()), (Some("job.failed"), Some("sessions")));
    assert!(received[0].header("webhook-signature").unwrap().starts_with("v1,"));
}
