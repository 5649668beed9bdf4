//! `touchline rejected replay`: refused events once more, with changes.

use std::collections::HashSet;

use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;
use touchline_ingest::replay::{Changes, Path, ReplayStatus, ReplayedEvent};
use touchline_pipeline::reports::rejected::chosen::{self, Choice};

use super::{DaysArgs, TenantArgs, pair, refused};
use crate::commands::Context;
use crate::output::{Row, count, table};

/// The flags that choose events.
const CHOOSING: [&str; 3] = ["filters", "from", "to"];

/// What `replay` takes.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Ids of refusals, as `list` shows them; instead of --filter, --from and --to.
    #[arg(value_name = "ID", conflicts_with_all = CHOOSING, required_unless_present_any = CHOOSING)]
    ids: Vec<String>,
    #[command(flatten)]
    tenant: TenantArgs,
    #[command(flatten)]
    days: DaysArgs,
    /// Only events with this value, as in code=timestamp_invalid: of event_id, event_type, code or source. May be given
    /// for several.
    #[arg(long = "filter", value_name = "COLUMN=VALUE")]
    filters: Vec<String>,
    /// Puts a value into each event: PATH is a JSON pointer, or names with dots between them; VALUE is JSON if it reads as
    /// JSON, else text. May be given several times.
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = setting)]
    set: Vec<(Path, Box<RawValue>)>,
    /// Takes what stands at a path out of each event, before anything is set. May be given several times.
    #[arg(long = "unset", value_name = "PATH")]
    unset: Vec<Path>,
    /// Only says what would become of the events, and with --json shows them with the changes.
    #[arg(long)]
    dry_run: bool,
}

/// What became of all events.
#[derive(Debug, Default, Serialize)]
struct Summary {
    dry_run: bool,
    valid: u64,
    stored: u64,
    duplicates: u64,
    rejected: u64,
    events: Vec<ReplayedEvent>,
}

/// One event, for people.
#[derive(Debug, Serialize)]
struct Line(ReplayedEvent);

impl Row for Line {
    const HEADINGS: &[&str] = &["rejected id", "status", "event id", "event type", "why"];

    fn cells(&self) -> Vec<String> {
        let Self(event) = self;
        let why: Vec<String> =
            event.errors.iter().map(|error| format!("{} {}: {}", error.code, error.pointer, error.detail)).collect();
        vec![
            event.rejected_id.clone(),
            event.status.as_str().to_owned(),
            event.event_id.clone().unwrap_or_default(),
            event.event_type.clone().unwrap_or_default(),
            why.join("; "),
        ]
    }
}

/// Does it, and says what became of each event.
pub(super) async fn run(args: ReplayArgs, context: &Context) -> anyhow::Result<()> {
    let choice = if args.ids.is_empty() {
        let filters = args.filters.iter().map(|filter| pair(filter)).collect::<Result<_, _>>()?;
        Choice::Which { range: args.days.range(), filters }
    } else {
        Choice::Ids(args.ids)
    };
    let changes = Changes { unset: args.unset, set: args.set };
    let app = context.app().await?;
    let tenant = args.tenant.tenant(&app).await?;
    let engine = app.query_engine(&app.open_lake().await?)?;
    let chosen = chosen::query(&engine, tenant, &choice, None).await.map_err(refused)?;
    let events = app.replay(tenant, chosen, &changes, args.dry_run).await?;
    let summary = Summary::of(args.dry_run, events);
    context.output.answer(&summary, &text(&summary))?;
    unknown(&choice, &summary.events)
}

/// Fails for ids that there are not, once the others are done.
fn unknown(choice: &Choice, events: &[ReplayedEvent]) -> anyhow::Result<()> {
    let Choice::Ids(ids) = choice else { return Ok(()) };
    let found: HashSet<&str> = events.iter().map(|event| event.rejected_id.as_str()).collect();
    let unknown: Vec<&str> = ids.iter().map(String::as_str).filter(|id| !found.contains(id)).collect();
    anyhow::ensure!(unknown.is_empty(), "there is no refused event {}", unknown.join(", "));
    Ok(())
}

impl Summary {
    fn of(dry_run: bool, events: Vec<ReplayedEvent>) -> Self {
        let mut summary = Self { dry_run, ..Self::default() };
        for event in &events {
            match event.status {
                ReplayStatus::Valid => summary.valid += 1,
                ReplayStatus::Accepted | ReplayStatus::Stored => summary.stored += 1,
                ReplayStatus::Duplicate => summary.duplicates += 1,
                ReplayStatus::Rejected => summary.rejected += 1,
            }
        }
        Self { events, ..summary }
    }
}

fn text(summary: &Summary) -> String {
    let rejected = count(summary.rejected);
    let counts = if summary.dry_run {
        format!("{} valid, {rejected} rejected; nothing was sent", count(summary.valid))
    } else {
        format!("{} stored, {} duplicates, {rejected} rejected", count(summary.stored), count(summary.duplicates))
    };
    if summary.events.is_empty() {
        return counts;
    }
    let lines: Vec<Line> = summary.events.iter().cloned().map(Line).collect();
    format!("{}\n{counts}", table(&lines))
}

/// A path and the value that is put there.
fn setting(text: &str) -> Result<(Path, Box<RawValue>), String> {
    let (path, value) = text.split_once('=').ok_or("it must be PATH=VALUE")?;
    let path = path.parse().map_err(|error: touchline_ingest::replay::PathError| error.to_string())?;
    Ok((path, Changes::value(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_a_path_and_a_value() {
        for (text, expected) in [
            ("timestamp=2026-01-01", Some(("/timestamp", "\"2026-01-01\""))),
            ("/properties/n=1", Some(("/properties/n", "1"))),
            ("a=b=c", Some(("/a", "\"b=c\""))),
            ("a=", Some(("/a", "\"\""))),
            ("a", None),
            ("=1", None),
        ] {
            let read = setting(text).ok().map(|(path, value)| (path.to_string(), value.get().to_owned()));
            let expected = expected.map(|(path, value)| (path.to_owned(), value.to_owned()));
            assert_eq!(read, expected, "{text}");
        }
    }
}
