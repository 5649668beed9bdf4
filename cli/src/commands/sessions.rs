//! `touchline sessions`: compare.

use std::collections::BTreeMap;

use anyhow::bail;
use chrono::{DateTime, Duration, NaiveDate, NaiveTime, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;
use touchline_pipeline::reports::TimeRange;
use touchline_pipeline::sessions::SessionRules;
use touchline_pipeline::sessions::compare::{Comparison, Difference, Does, compare};
use touchline_pipeline::sessions::profiles::ProfileError;
use touchline_schemas::Tenant;

use super::{Context, Outcome, Usage};
use crate::args::EnvironmentArg;
use crate::output::{Row, count, table};

/// What can be done with sessions.
#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// Compares what two session profiles make of the same events, and lists the events that explain the difference.
    Compare(CompareArgs),
}

/// What `compare` takes.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Slug of the account whose events are compared.
    #[arg(long, value_name = "SLUG")]
    account: String,
    /// Environment whose events are compared.
    #[arg(long = "env", value_enum, default_value = "live")]
    environment: EnvironmentArg,
    /// A profile; to be given twice: touchline, client, ga4, matomo, plausible, or account for what the account has
    /// chosen.
    #[arg(long = "profile", value_name = "PROFILE", required = true)]
    profiles: Vec<String>,
    /// First day, UTC [default: the first with events].
    #[arg(long, value_name = "DATE")]
    from: Option<NaiveDate>,
    /// Day after the last, UTC [default: the last with events].
    #[arg(long, value_name = "DATE")]
    to: Option<NaiveDate>,
    /// The most events to list.
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

/// The answer, for programs.
#[derive(Debug, Serialize)]
struct Answer {
    events: u64,
    profiles: Vec<ProfileCount>,
    differing_events: u64,
    reasons: BTreeMap<&'static str, u64>,
    rows: Vec<DifferenceRow>,
}

/// What a profile comes to.
#[derive(Debug, Serialize)]
struct ProfileCount {
    profile: String,
    definition: String,
    sessions: u64,
}

impl Row for ProfileCount {
    const HEADINGS: &[&str] = &["profile", "definition", "sessions"];

    fn cells(&self) -> Vec<String> {
        vec![self.profile.clone(), self.definition.clone(), count(self.sessions)]
    }
}

/// An event that explains a difference.
#[derive(Debug, Serialize)]
struct DifferenceRow {
    occurred_at: DateTime<Utc>,
    device: String,
    event_id: String,
    reason: &'static str,
    pause_s: Option<i64>,
    /// The event that it continues under each profile; null where it begins a session.
    continues: BTreeMap<String, Option<String>>,
    why: String,
}

impl Row for DifferenceRow {
    const HEADINGS: &[&str] = &["occurred at", "device", "event", "why"];

    fn cells(&self) -> Vec<String> {
        let at = self.occurred_at.format("%F %T%.6f").to_string();
        vec![at, self.device.clone(), self.event_id.clone(), self.why.clone()]
    }
}

/// Does it.
pub async fn run(command: SessionsCommand, context: &Context) -> anyhow::Result<Outcome> {
    let SessionsCommand::Compare(args) = command;
    let names: [String; 2] = args
        .profiles
        .try_into()
        .map_err(|given: Vec<String>| Usage(format!("--profile is to be given twice, not {} times", given.len())))?;
    if names[0] == names[1] {
        bail!(Usage("the two profiles are the same".to_owned()));
    }
    let app = context.app().await?;
    let account = app.account(&args.account).await?;
    let default_timeout = Duration::minutes(i64::from(app.config.sessions.timeout_minutes));
    let rules_of = |name: &str| -> anyhow::Result<SessionRules> {
        SessionRules::of_profile(name, &account.settings, default_timeout).map_err(|error| match error {
            ProfileError::Unknown { .. } => Usage(error.to_string()).into(),
            ProfileError::UnknownSplit { .. }
            | ProfileError::TimeZone { .. }
            | ProfileError::Text(_)
            | ProfileError::Field { .. } => error.into(),
        })
    };
    let rules = [rules_of(&names[0])?, rules_of(&names[1])?];
    let definitions = [rules[0].definition(), rules[1].definition()];
    let engine = app.query_engine(&app.open_lake().await?)?;
    let tenant = Tenant { account_id: account.id, environment: args.environment.into() };
    let range = TimeRange { from: args.from.map(start_of), to: args.to.map(start_of) };
    let found = compare(&engine, tenant, rules, &account.settings.own_domains, range, args.limit).await?;
    let answer = answer(found, &names, definitions);
    context.output.answer(&answer, &in_words(&answer))?;
    Ok(Outcome::Done)
}

fn start_of(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

fn answer(found: Comparison, names: &[String; 2], definitions: [String; 2]) -> Answer {
    let profiles = names.iter().zip(definitions).zip(found.sessions);
    let profiles =
        profiles.map(|((name, definition), sessions)| ProfileCount { profile: name.clone(), definition, sessions });
    Answer {
        events: found.events,
        profiles: profiles.collect(),
        differing_events: found.differing,
        reasons: found.reasons.into_iter().map(|(reason, events)| (reason.as_str(), events)).collect(),
        rows: found.rows.into_iter().map(|row| difference_row(row, names)).collect(),
    }
}

fn difference_row(found: Difference, names: &[String; 2]) -> DifferenceRow {
    let why = why(&found, names);
    let continues = names.iter().cloned().zip(found.does).map(|(name, does)| match does {
        Does::Begins => (name, None),
        Does::Continues(event_id) => (name, Some(event_id)),
    });
    DifferenceRow {
        occurred_at: found.occurred_at,
        continues: continues.collect(),
        device: found.device,
        event_id: found.event_id,
        reason: found.reason.as_str(),
        pause_s: found.pause.map(|pause| pause.num_seconds()),
        why,
    }
}

fn why(found: &Difference, [first, second]: &[String; 2]) -> String {
    let reason = match found.pause {
        Some(pause) => format!("{} of {}", found.reason, in_minutes(pause)),
        None => found.reason.to_string(),
    };
    match &found.does {
        [Does::Begins, _] => format!("new session in {first}, not in {second}: {reason}"),
        [_, Does::Begins] => format!("new session in {second}, not in {first}: {reason}"),
        [Does::Continues(one), Does::Continues(other)] => {
            format!("continues {one} in {first}, {other} in {second}: {reason}")
        }
    }
}

fn in_minutes(pause: Duration) -> String {
    let (minutes, seconds) = (pause.num_minutes(), pause.num_seconds() % 60);
    match seconds {
        0 => format!("{minutes} min"),
        seconds => format!("{minutes} min {seconds} s"),
    }
}

fn in_words(answer: &Answer) -> String {
    let counts = table(&answer.profiles);
    let events = count(answer.events);
    if answer.differing_events == 0 {
        return format!("{counts}\n\nThe sessions of {events} events are the same.");
    }
    let reasons = answer.reasons.iter().map(|(reason, events)| format!("{reason} {}", count(*events)));
    format!(
        "{counts}\n\nOf {events} events, {} explain the difference: {}.\nThe first {}:\n\n{}",
        count(answer.differing_events),
        reasons.collect::<Vec<_>>().join(", "),
        answer.rows.len(),
        table(&answer.rows),
    )
}

#[cfg(test)]
mod tests {
    use touchline_pipeline::sessions::compare::Reason;

    use super::*;

    fn check(does: [Does; 2], reason: Reason, pause: Option<Duration>, expected: &str) {
        let found = Difference {
            device: "d".to_owned(),
            event_id: "e".to_owned(),
            occurred_at: DateTime::UNIX_EPOCH,
            does,
            reason,
            pause,
        };
        assert_eq!(why(&found, &["ga4".to_owned(), "matomo".to_owned()]), expected);
    }

    #[test]
    fn a_difference_is_said_in_words() {
        let after = |id: &str| Does::Continues(id.to_owned());
        check(
            [Does::Begins, after("a")],
            Reason::Pause,
            Some(Duration::minutes(31)),
            "new session in ga4, not in matomo: pause of 31 min",
        );
        check([after("a"), Does::Begins], Reason::Midnight, None, "new session in matomo, not in ga4: midnight");
        check(
            [after("a"), after("b")],
            Reason::ClientSession,
            None,
            "continues a in ga4, b in matomo: client session id changed",
        );
        assert_eq!(in_minutes(Duration::milliseconds(1_805_500)), "30 min 5 s");
    }
}
