//! `touchline jobs run --plan`: what a run would read, before anything runs.

use std::collections::HashMap;

use chrono::NaiveDate;
use serde::Serialize;
use touchline_jobs::{JobPlan, PlanPart, RunRequest};
use touchline_schemas::AccountId;

use crate::app::App;
use crate::commands::Outcome;
use crate::output::{self, NOTHING, Output, Row, bytes, count};

/// Days that follow each other, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct DayRange {
    first: NaiveDate,
    last: NaiveDate,
}

/// A job's plan as it is printed.
#[derive(Debug, Serialize)]
struct PlannedJob {
    job: &'static str,
    source_version: Option<i64>,
    rows: u64,
    bytes: u64,
    parts: Vec<PartRow>,
}

/// What would be read of one tenant, as it is printed.
#[derive(Debug, Clone, Serialize)]
struct PartRow {
    #[serde(skip)]
    job: &'static str,
    account: String,
    account_id: AccountId,
    environment: &'static str,
    reason: &'static str,
    days: Vec<DayRange>,
    rows: u64,
    bytes: u64,
}

impl Row for PartRow {
    const HEADINGS: &[&str] = &["job", "account", "environment", "reason", "days", "rows", "size"];

    fn cells(&self) -> Vec<String> {
        let days: Vec<String> = self.days.iter().map(DayRange::text).collect();
        vec![
            self.job.to_owned(),
            self.account.clone(),
            self.environment.to_owned(),
            self.reason.to_owned(),
            if days.is_empty() { NOTHING.to_owned() } else { days.join(", ") },
            count(self.rows),
            bytes(self.bytes),
        ]
    }
}

impl DayRange {
    fn text(&self) -> String {
        if self.first == self.last { self.first.to_string() } else { format!("{} to {}", self.first, self.last) }
    }
}

/// Prints the plans of these jobs as things are now: what an earlier job would write is not in a later one's plan.
pub async fn print(jobs: &[&'static str], request: RunRequest, output: Output, app: &App) -> anyhow::Result<Outcome> {
    let accounts = app.control.accounts().await?;
    let slugs: HashMap<AccountId, String> = accounts.into_iter().map(|account| (account.id, account.slug)).collect();
    let mut plans = Vec::new();
    for job in jobs {
        plans.push(PlannedJob::new(job, app.plan_job(job, request).await?, &slugs));
    }
    output.answer(&plans, &text(&plans))?;
    Ok(Outcome::Done)
}

impl PlannedJob {
    fn new(job: &'static str, plan: JobPlan, slugs: &HashMap<AccountId, String>) -> Self {
        Self {
            job,
            source_version: plan.source_version,
            rows: plan.parts.iter().map(|part| part.rows).sum(),
            bytes: plan.parts.iter().map(|part| part.bytes).sum(),
            parts: plan.parts.into_iter().map(|part| PartRow::new(job, part, slugs)).collect(),
        }
    }

    fn line(&self) -> String {
        let version = self.source_version.map_or_else(String::new, |version| format!(" of source version {version}"));
        if self.parts.is_empty() {
            format!("{}: nothing to do{}", self.job, version.replace(" of", " at"))
        } else {
            format!("{}: {} rows, {}{version}", self.job, count(self.rows), bytes(self.bytes))
        }
    }
}

impl PartRow {
    fn new(job: &'static str, part: PlanPart, slugs: &HashMap<AccountId, String>) -> Self {
        let account_id = part.tenant.account_id;
        Self {
            job,
            // Rows may outlive their account.
            account: slugs.get(&account_id).cloned().unwrap_or_else(|| account_id.to_string()),
            account_id,
            environment: part.tenant.environment.as_str(),
            reason: part.reason,
            days: ranges(part.days),
            rows: part.rows,
            bytes: part.bytes,
        }
    }
}

fn text(plans: &[PlannedJob]) -> String {
    let parts: Vec<PartRow> = plans.iter().flat_map(|plan| plan.parts.clone()).collect();
    let table = (!parts.is_empty()).then(|| output::table(&parts));
    let lines: Vec<String> = table.into_iter().chain(plans.iter().map(PlannedJob::line)).collect();
    lines.join("\n")
}

/// Days in any order, as the fewest ranges.
fn ranges(mut days: Vec<NaiveDate>) -> Vec<DayRange> {
    days.sort_unstable();
    let mut ranges: Vec<DayRange> = Vec::new();
    for day in days {
        match ranges.last_mut() {
            Some(range) if range.last == day || range.last.succ_opt() == Some(day) => range.last = day,
            Some(_) | None => ranges.push(DayRange { first: day, last: day }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use touchline_schemas::{Environment, Tenant};
    use uuid::Uuid;

    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn days_are_shown_as_ranges() {
        let check = |days: &[&str], expected: &[&str]| {
            let found: Vec<String> =
                ranges(days.iter().map(|text| day(text)).collect()).iter().map(DayRange::text).collect();
            assert_eq!(found, expected);
        };
        check(&[], &[]);
        check(&["2026-03-01"], &["2026-03-01"]);
        check(
            &["2026-03-01", "2026-02-27", "2026-02-28", "2026-02-28", "2026-03-03"],
            &["2026-02-27 to 2026-03-01", "2026-03-03"],
        );
    }

    #[test]
    fn plan_names_accounts_and_adds_up() {
        let [known, gone] = [1, 2].map(|number| AccountId(Uuid::from_u128(number)));
        let part = |account_id: AccountId, days: &[&str], rows: u64| PlanPart {
            tenant: Tenant { account_id, environment: Environment::Live },
            reason: "new rows",
            days: days.iter().map(|text| day(text)).collect(),
            rows,
            bytes: rows * 100,
        };
        let slugs = HashMap::from([(known, "shop".to_owned())]);
        let parts = vec![part(known, &["2026-03-01", "2026-03-02"], 1_200), part(gone, &[], 34)];
        let plans = [
            PlannedJob::new("sessions", JobPlan { source_version: Some(17), parts }, &slugs),
            PlannedJob::new("visitors", JobPlan { source_version: Some(5), parts: Vec::new() }, &slugs),
        ];
        let expected = "\
JOB       ACCOUNT                               ENVIRONMENT  REASON    DAYS                       ROWS  SIZE
sessions  shop                                  live         new rows  2026-03-01 to 2026-03-02  1,200  120.0 kB
sessions  00000000-0000-0000-0000-000000000002  live         new rows  -                            34  3.4 kB
sessions: 1,234 rows, 123.4 kB of source version 17
visitors: nothing to do at source version 5";
        assert_eq!(text(&plans), expected);
        let json = serde_json::to_value(&plans[0]).unwrap();
        assert_eq!(json["parts"][0]["days"], serde_json::json!([{"first": "2026-03-01", "last": "2026-03-02"}]));
        assert_eq!((json["rows"].as_u64(), json["parts"][0]["account"].as_str()), (Some(1_234), Some("shop")));
    }
}
