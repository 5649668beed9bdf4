//! `touchline goals`: compare.

use clap::{Args, Subcommand};
use serde::Serialize;
use touchline_pipeline::messages::compare::{Compared, Counted, compare};
use touchline_pipeline::messages::goals::Goals;
use touchline_schemas::Tenant;
use touchline_schemas::control::{ControlError, goals};

use super::{Context, Outcome, Usage};
use crate::args::EnvironmentArg;
use crate::output::{NOTHING, Row, count, table};

/// What can be done with goals; `touchline account settings` sets them.
#[derive(Debug, Subcommand)]
pub enum GoalsCommand {
    /// Counts with other goals over the deliveries and events that are there, and shows the account's beside them.
    /// Writes nothing.
    Compare(CompareArgs),
}

/// What `compare` takes.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Slug of the account.
    slug: String,
    /// The other goals, written like the account's setting `goals`.
    goals: String,
    /// Environment whose deliveries are counted.
    #[arg(long = "env", value_enum, default_value = "live")]
    environment: EnvironmentArg,
}

/// A message and a goal, for programs and people.
#[derive(Debug, Serialize)]
struct ComparedRow {
    system: Option<String>,
    message_id: Option<String>,
    variant: Option<String>,
    channel: Option<String>,
    goal: String,
    now: CountedRow,
    then: CountedRow,
}

#[derive(Debug, Serialize)]
struct CountedRow {
    conversions: u64,
    conversions_total: u64,
    revenue: String,
}

impl From<Counted> for CountedRow {
    fn from(counted: Counted) -> Self {
        let Counted { conversions, conversions_total, revenue_e4 } = counted;
        Self { conversions, conversions_total, revenue: amount(revenue_e4) }
    }
}

impl From<Compared> for ComparedRow {
    fn from(compared: Compared) -> Self {
        let [system, message_id, variant, channel] = compared.message;
        let [now, then] = compared.counted.map(CountedRow::from);
        Self { system, message_id, variant, channel, goal: compared.goal, now, then }
    }
}

impl Row for ComparedRow {
    const HEADINGS: &[&str] = &[
        "system",
        "message",
        "variant",
        "channel",
        "goal",
        "conversions",
        "then",
        "goal events",
        "then",
        "revenue",
        "then",
    ];

    fn cells(&self) -> Vec<String> {
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| NOTHING.to_owned());
        vec![
            text(&self.system),
            text(&self.message_id),
            text(&self.variant),
            text(&self.channel),
            self.goal.clone(),
            count(self.now.conversions),
            count(self.then.conversions),
            count(self.now.conversions_total),
            count(self.then.conversions_total),
            self.now.revenue.clone(),
            self.then.revenue.clone(),
        ]
    }
}

/// An amount with its four decimals.
fn amount(e4: i128) -> String {
    let sign = if e4 < 0 { "-" } else { "" };
    format!("{sign}{}.{:04}", e4.unsigned_abs() / 10_000, e4.unsigned_abs() % 10_000)
}

/// Does it.
pub async fn run(command: GoalsCommand, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        GoalsCommand::Compare(args) => run_compare(args, context).await?,
    }
    Ok(Outcome::Done)
}

async fn run_compare(args: CompareArgs, context: &Context) -> anyhow::Result<()> {
    let refused = |error: ControlError| Usage(error.to_string());
    let then = Goals::new(goals(&args.goals).map_err(refused)?);
    let app = context.app().await?;
    let account = app.account(&args.slug).await?;
    let now = Goals::of(&account.settings);
    let engine = app.query_engine(&app.open_lake().await?)?;
    let tenant = Tenant { account_id: account.id, environment: args.environment.into() };
    let compared = compare(&engine, tenant, [&now, &then]).await?;
    let rows: Vec<ComparedRow> = compared.into_iter().map(ComparedRow::from).collect();
    context.output.answer(&rows, &table(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_four_decimals() {
        for (e4, expected) in [(0, "0.0000"), (12_345, "1.2345"), (-5, "-0.0005"), (-10_000, "-1.0000")] {
            assert_eq!(amount(e4), expected);
        }
    }
}
