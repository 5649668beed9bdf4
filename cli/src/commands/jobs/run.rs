//! `touchline jobs run`: runs jobs now, or says what a run would read.

use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use touchline_jobs::{Progress, RunRequest};
use touchline_schemas::control::{JobRun, RunStatus};

use super::{RunRow, known, plan};
use crate::app::{App, JOB_NAMES};
use crate::commands::{Context, Outcome, Usage};
use crate::output::{NOTHING, Output, bytes, count, span};

/// The word for all jobs.
const ALL: &str = "all";
/// Time between two looks at how far a run has come.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// What `jobs run` takes.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The job's name, or `all`.
    job: String,
    /// Computes everything anew; with the options below, everything that they name.
    #[arg(long)]
    full: bool,
    /// Computes this account anew.
    #[arg(long, value_name = "SLUG")]
    account: Option<String>,
    /// Computes this day (UTC) and later ones anew.
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<NaiveDate>,
    /// Computes days before this one (UTC) anew.
    #[arg(long, value_name = "YYYY-MM-DD")]
    to: Option<NaiveDate>,
    /// Only says what would be read: accounts, days, rows, bytes. Runs nothing and waits for nobody.
    #[arg(long)]
    plan: bool,
}

/// Runs the jobs one after the other, or plans them.
pub async fn run(args: RunArgs, context: &Context) -> anyhow::Result<Outcome> {
    let jobs = if args.job == ALL { JOB_NAMES.to_vec() } else { vec![known(&args.job)?] };
    let app = context.app().await?;
    let request = request(&args, &app).await?;
    if args.plan {
        return plan::print(&jobs, request, context.output, &app).await;
    }
    let mut runs = Vec::new();
    for job in jobs {
        let run = run_watched(job, request, context.output, &app).await?;
        context.output.text(&summary(&run))?;
        runs.push(RunRow(run));
        // What comes next reads what this one should have written.
        if runs.last().is_some_and(|run| run.0.status != RunStatus::Succeeded) {
            break;
        }
    }
    let succeeded = runs.iter().all(|run| run.0.status == RunStatus::Succeeded);
    if context.output.is_json() {
        context.output.rows(&runs)?;
    }
    Ok(if succeeded { Outcome::Done } else { Outcome::Failed })
}

async fn request(args: &RunArgs, app: &App) -> anyhow::Result<RunRequest> {
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from >= to
    {
        return Err(Usage(format!("--from {from} must be before --to {to}, which is not included")).into());
    }
    let account = match &args.account {
        Some(slug) => Some(app.account(slug).await?.id),
        None => None,
    };
    Ok(RunRequest::of(args.full, account, args.from, args.to))
}

/// Runs a job under a progress bar.
async fn run_watched(job: &'static str, request: RunRequest, output: Output, app: &App) -> anyhow::Result<JobRun> {
    let progress = Arc::<Progress>::default();
    let bar = Bar::new(job, output)?;
    let run = app.run_job(job, request, Arc::clone(&progress));
    tokio::pin!(run);
    loop {
        tokio::select! {
            ended = &mut run => {
                bar.bar.finish_and_clear();
                return ended;
            }
            () = tokio::time::sleep(REDRAW_INTERVAL) => bar.show(progress.rows()),
        }
    }
}

/// A bar on stderr, if that is a terminal and people look at it.
struct Bar {
    bar: ProgressBar,
    counting: ProgressStyle,
}

impl Bar {
    fn new(job: &'static str, output: Output) -> anyhow::Result<Self> {
        let waiting = ProgressStyle::with_template("{prefix:12} {spinner} {elapsed}")?;
        let counting = ProgressStyle::with_template(
            "{prefix:12} {bar:30} {human_pos}/{human_len} rows, {per_sec}, {elapsed}, {eta} left",
        )?;
        let bar = if output.is_json() { ProgressBar::hidden() } else { ProgressBar::new(0) };
        Ok(Self { bar: bar.with_style(waiting).with_prefix(job), counting })
    }

    /// Rows that were read, of those that are known to be needed: more may become known.
    fn show(&self, (done, total): (u64, u64)) {
        if total > 0 && self.bar.length() != Some(total) {
            self.bar.set_style(self.counting.clone());
            self.bar.set_length(total);
        }
        self.bar.set_position(done.min(total));
        self.bar.tick();
    }
}

/// One line on what a run came to.
fn summary(run: &JobRun) -> String {
    let job = &run.job;
    let took = span(run.duration_ms.unwrap_or_default());
    if run.status != RunStatus::Succeeded {
        let error = run.error.as_deref().unwrap_or("no error is known");
        return format!("{job}: {} after {took}: {error}", run.status.as_str());
    }
    let [rows_read, rows_written] = [run.rows_read, run.rows_written].map(|rows| count(rows.unwrap_or_default()));
    let [read, written] = [run.bytes_read, run.bytes_written].map(|size| bytes(size.unwrap_or_default()));
    let lag = run.lag_ms.map_or_else(|| NOTHING.to_owned(), span);
    let version = run.source_version.map_or_else(|| NOTHING.to_owned(), |version| version.to_string());
    format!(
        "{job}: {rows_read} rows read ({read}), {rows_written} written ({written}) in {took}; lag {lag}; source version \
         {version}"
    )
}

#[cfg(test)]
mod tests {
    use touchline_schemas::AccountId;
    use touchline_schemas::control::{RunId, Trigger};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn full_gives_way_to_what_is_named() {
        let day = NaiveDate::from_ymd_opt(2026, 3, 1);
        let account = Some(AccountId(Uuid::from_u128(7)));
        let check = |full: bool, account: Option<AccountId>, from: Option<NaiveDate>, expected: RunRequest| {
            assert_eq!(RunRequest::of(full, account, from, None), expected);
        };
        check(false, None, None, RunRequest::default());
        check(true, None, None, RunRequest::FULL);
        check(true, account, None, RunRequest { account, ..RunRequest::default() });
        check(true, account, day, RunRequest { account, from: day, ..RunRequest::default() });
    }

    fn run(status: RunStatus) -> JobRun {
        let at = chrono::DateTime::from_timestamp(1_772_366_400, 0).unwrap();
        JobRun {
            id: RunId(1),
            job: "sessions".to_owned(),
            trigger: Trigger::Manual,
            status,
            scheduled_for: None,
            started_at: at,
            finished_at: Some(at),
            attempt: 1,
            request: None,
            duration_ms: Some(2_345),
            rows_read: Some(1_234),
            rows_written: Some(56),
            bytes_read: Some(78_900),
            bytes_written: Some(1_200),
            source_version: Some(17),
            watermark: Some(at),
            lag_ms: Some(4_100),
            error: Some("disk on fire".to_owned()),
        }
    }

    #[test]
    fn a_run_is_summed_up_in_a_line() {
        let check = |run: JobRun, expected: &str| assert_eq!(summary(&run), expected);
        check(
            run(RunStatus::Succeeded),
            "sessions: 1,234 rows read (78.9 kB), 56 written (1.2 kB) in 2.3 s; lag 4.1 s; source version 17",
        );
        check(
            JobRun { lag_ms: None, source_version: None, ..run(RunStatus::Succeeded) },
            "sessions: 1,234 rows read (78.9 kB), 56 written (1.2 kB) in 2.3 s; lag -; source version -",
        );
        check(run(RunStatus::Failed), "sessions: failed after 2.3 s: disk on fire");
    }
}
