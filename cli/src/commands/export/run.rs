//! `touchline export run`: a run now, and what became of it.

use super::rows::RunRow;
use super::{Context, Named, Outcome};

/// Runs an export, and waits for the end.
pub async fn run(context: &Context, named: &Named) -> anyhow::Result<Outcome> {
    let app = context.app().await?;
    let export = named.find(&app).await?;
    let run = app.run_export(&export).await?;
    let outcome = if run.sequence.is_some() { Outcome::Done } else { Outcome::Failed };
    context.output.rows(&[RunRow::from(run)])?;
    Ok(outcome)
}
