//! `touchline rejected`: list, reasons, show, replay.

use anyhow::Context as _;
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::{Args, Subcommand};
use futures::StreamExt;
use serde::Serialize;
use touchline_pipeline::reports::rejected::{self, Params, reasons};
use touchline_pipeline::reports::rows::Page;
use touchline_pipeline::reports::{Answer, TimeRange};
use touchline_pipeline::{PipelineError, QueryEngine};
use touchline_schemas::Tenant;
use touchline_schemas::tables::rejected_events as column;

use super::{Context, Outcome, Usage};
use crate::app::App;
use crate::args::EnvironmentArg;
use crate::output::Output;
use crate::rows::{RowsFormat, print};

mod replay;
mod show;

/// What can be done with refused events.
#[derive(Debug, Subcommand)]
pub enum RejectedCommand {
    /// Lists them, newest first, with their reasons; as CSV and JSON also with their bytes.
    List(ListArgs),
    /// Counts them by reason and endpoint, most first.
    Reasons(ReasonsArgs),
    /// Shows everything that is kept of one.
    Show(show::ShowArgs),
    /// Sends them again, with changes: through the endpoint that refused them, and into the same dedup.
    Replay(replay::ReplayArgs),
}

/// Whose refused events.
#[derive(Debug, Args)]
pub struct TenantArgs {
    /// Slug of the account.
    #[arg(long, value_name = "SLUG")]
    account: String,
    /// Environment whose events were refused.
    #[arg(long = "env", value_enum, default_value = "live")]
    environment: EnvironmentArg,
}

/// Which days' refused events.
#[derive(Debug, Args)]
pub struct DaysArgs {
    /// First day of arrival, UTC [default: the first].
    #[arg(long, value_name = "DATE")]
    from: Option<NaiveDate>,
    /// Day after the last, UTC [default: the last].
    #[arg(long, value_name = "DATE")]
    to: Option<NaiveDate>,
}

/// What `reasons` takes.
#[derive(Debug, Args)]
pub struct ReasonsArgs {
    #[command(flatten)]
    tenant: TenantArgs,
    #[command(flatten)]
    days: DaysArgs,
    /// Form of the answer [default: table; json with --json].
    #[arg(long, value_enum)]
    format: Option<RowsFormat>,
}

/// What `list` takes.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    tenant: TenantArgs,
    #[command(flatten)]
    days: DaysArgs,
    /// Only events with this value, as in code=timestamp_invalid: of rejected_id, event_id, event_type, code or source.
    /// May be given for several.
    #[arg(long = "filter", value_name = "COLUMN=VALUE")]
    filters: Vec<String>,
    /// The most events to list.
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Form of the answer [default: table; json with --json].
    #[arg(long, value_enum)]
    format: Option<RowsFormat>,
}

/// What stands behind the rows in JSON.
#[derive(Debug, Serialize)]
struct Meta {
    lake_version: i64,
    watermark: Option<DateTime<Utc>>,
    definition: &'static str,
}

/// Does it.
pub async fn run(command: RejectedCommand, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        RejectedCommand::List(args) => list(args, context).await?,
        RejectedCommand::Reasons(args) => run_reasons(args, context).await?,
        RejectedCommand::Show(args) => show::run(args, context).await?,
        RejectedCommand::Replay(args) => replay::run(args, context).await?,
    }
    Ok(Outcome::Done)
}

async fn list(args: ListArgs, context: &Context) -> anyhow::Result<()> {
    let filters = args.filters.iter().map(|filter| pair(filter)).collect::<Result<_, _>>()?;
    let page = Page { after: None, limit: Some(args.limit) };
    let params = Params { range: args.days.range(), filters, page };
    let (engine, tenant) = args.tenant.open(context).await?;
    let found = rejected::query(&engine, tenant, &params).await.map_err(refused)?;
    answer(found, args.format, context.output).await
}

async fn run_reasons(args: ReasonsArgs, context: &Context) -> anyhow::Result<()> {
    let (engine, tenant) = args.tenant.open(context).await?;
    let found = reasons::query(&engine, tenant, args.days.range()).await.map_err(refused)?;
    answer(found, args.format, context.output).await
}

impl DaysArgs {
    fn range(&self) -> TimeRange {
        let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
        TimeRange { from: self.from.map(midnight), to: self.to.map(midnight) }
    }
}

impl TenantArgs {
    async fn tenant(&self, app: &App) -> anyhow::Result<Tenant> {
        let account_id = app.account(&self.account).await?.id;
        Ok(Tenant { account_id, environment: self.environment.into() })
    }

    async fn open(&self, context: &Context) -> anyhow::Result<(QueryEngine, Tenant)> {
        let app = context.app().await?;
        let tenant = self.tenant(&app).await?;
        Ok((app.query_engine(&app.open_lake().await?)?, tenant))
    }
}

async fn answer(found: Answer, format: Option<RowsFormat>, output: Output) -> anyhow::Result<()> {
    let format = RowsFormat::or_of(format, output);
    let Answer { schema, batches, meta } = found;
    let meta = Meta { lake_version: meta.lake_version, watermark: meta.watermark, definition: meta.definition };
    match format {
        RowsFormat::Csv | RowsFormat::Json => print(&schema, batches, &meta, format, output).await,
        RowsFormat::Table => {
            // A body may have any size.
            let places = schema.fields().iter().enumerate().filter(|(_, field)| field.name() != column::BODY);
            let places: Vec<usize> = places.map(|(place, _)| place).collect();
            let shown = schema.project(&places).context("a column is gone")?.into();
            let rows = batches.map(move |rows| rows.and_then(|rows| Ok(rows.project(&places)?)));
            print(&shown, rows, &meta, format, output).await
        }
    }
}

/// A filter's column and value.
fn pair(filter: &str) -> Result<(String, String), Usage> {
    let wrong = || Usage(format!("--filter must be COLUMN=VALUE, not `{filter}`"));
    let (name, value) = filter.split_once('=').ok_or_else(wrong)?;
    Ok((name.to_owned(), value.to_owned()))
}

/// What the report refuses is wrong usage.
fn refused(error: PipelineError) -> anyhow::Error {
    match error {
        PipelineError::BadParameter { .. } => Usage(error.to_string()).into(),
        PipelineError::NoVersion | PipelineError::VersionGone | PipelineError::Lake(..) | PipelineError::Engine(..) => {
            error.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_a_column_and_a_value() {
        for (filter, expected) in [
            ("code=invalid", Some(("code", "invalid"))),
            ("event_id=a=b", Some(("event_id", "a=b"))),
            ("code=", Some(("code", ""))),
            ("code", None),
        ] {
            let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(pair(filter).ok(), expected, "{filter}");
        }
    }
}
