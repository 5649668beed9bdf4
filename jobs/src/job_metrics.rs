//! What `/metrics` says of jobs.

use std::sync::Once;
use std::time::Duration;

use chrono::{DateTime, Utc};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::health::Health;
use crate::job::JobReport;

const RUNS: &str = "touchline_job_runs_total";
const DURATION: &str = "touchline_job_duration_seconds";
const ROWS_READ: &str = "touchline_job_rows_read_total";
const ROWS_WRITTEN: &str = "touchline_job_rows_written_total";
const BYTES_READ: &str = "touchline_job_bytes_read_total";
const BYTES_WRITTEN: &str = "touchline_job_bytes_written_total";
const LAST_SUCCESS: &str = "touchline_job_last_success_timestamp_seconds";
const LAG: &str = "touchline_job_lag_seconds";
const FAILURES: &str = "touchline_job_failures_in_a_row";
const LATE: &str = "touchline_job_late";

/// Says once what the metrics mean.
pub(crate) fn describe() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        describe_counter!(RUNS, "Runs of jobs that ended in this process");
        describe_histogram!(DURATION, Unit::Seconds, "Time that runs took");
        describe_counter!(ROWS_READ, "Rows that jobs read");
        describe_counter!(ROWS_WRITTEN, "Rows that jobs wrote");
        describe_counter!(BYTES_READ, Unit::Bytes, "Bytes of files that jobs read");
        describe_counter!(BYTES_WRITTEN, Unit::Bytes, "Bytes of files that jobs wrote");
        describe_gauge!(LAST_SUCCESS, Unit::Seconds, "When the last run that succeeded ended");
        describe_gauge!(LAG, Unit::Seconds, "Age of the newest moment up to which the job's table is complete");
        describe_gauge!(FAILURES, "Runs that failed since the last that succeeded");
        describe_gauge!(LATE, "Whether no run has succeeded in time");
    });
}

/// A run has ended in this process.
pub(crate) fn ran(job: &'static str, outcome: &'static str, duration: Duration, report: Option<&JobReport>) {
    counter!(RUNS, "job" => job, "outcome" => outcome).increment(1);
    histogram!(DURATION, "job" => job).record(duration.as_secs_f64());
    let nothing = JobReport::default();
    let report = report.unwrap_or(&nothing);
    // Adding nothing makes the metric appear.
    counter!(ROWS_READ, "job" => job).increment(report.rows_read);
    counter!(ROWS_WRITTEN, "job" => job).increment(report.rows_written);
    counter!(BYTES_READ, "job" => job).increment(report.bytes_read);
    counter!(BYTES_WRITTEN, "job" => job).increment(report.bytes_written);
}

/// What the ledger says of a job at `now`, whichever process ran it.
pub(crate) fn seen(job: &'static str, health: &Health, late: bool, now: DateTime<Utc>) {
    gauge!(FAILURES, "job" => job).set(health.failures_in_a_row as f64);
    gauge!(LATE, "job" => job).set(if late { 1.0 } else { 0.0 });
    let Some(success) = &health.last_success else { return };
    let ended_at = success.finished_at.unwrap_or(success.started_at);
    gauge!(LAST_SUCCESS, "job" => job).set(ended_at.timestamp_millis() as f64 / 1e3);
    if let Some(watermark) = success.watermark {
        gauge!(LAG, "job" => job).set((now - watermark).num_milliseconds() as f64 / 1e3);
    }
}
