//! `touchline doctor`: whether this machine and this installation are fit to run.

use clap::Args;
use serde::Serialize;

use super::{Context, Outcome};
use crate::checks::{self, Finding, Verdict};
use crate::output::Row;

/// What `doctor` takes: nothing of its own.
#[derive(Debug, Args)]
pub struct DoctorArgs {}

impl Row for Finding {
    const HEADINGS: &[&str] = &["check", "verdict", "finding"];

    fn cells(&self) -> Vec<String> {
        vec![self.check.to_owned(), self.verdict.as_str().to_owned(), self.detail.clone()]
    }
}

/// All findings, and what they come to.
#[derive(Debug, Serialize)]
struct Report {
    healthy: bool,
    checks: Vec<Finding>,
}

/// Checks everything, even after a check has failed.
pub async fn run(_args: DoctorArgs, context: &Context) -> anyhow::Result<Outcome> {
    let settings = context.settings()?;
    let checks = checks::all(&settings, &context.clock).await;
    let healthy = checks.iter().all(|finding| finding.verdict != Verdict::Failed);
    let text = crate::output::table(&checks);
    context.output.answer(&Report { healthy, checks }, &text)?;
    Ok(if healthy { Outcome::Done } else { Outcome::Failed })
}
