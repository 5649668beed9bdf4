//! `GET /api/v1/reports/sequences`: what became of the runs of sequences.

pub mod branches;
pub mod lift;
pub mod steps;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::sequences;
use utoipa::IntoParams;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ProblemItem, ReportProblems};
use crate::report::answer;
use crate::report::params::{AnswerParams, LimitParam, Parameter, RangeParams};
use crate::report::{Asked, Meta, ReportQuery, ReportRows};

const CALENDAR: &str = "calendar";
const TAKEN: [Parameter; 3] = [Parameter::By, Parameter::Limit, Parameter::Own(CALENDAR)];
/// What runs are grouped by when the request does not say.
const DEFAULT_BY: &str = "sequence_id";

/// What runs are grouped by, and which are counted.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct SequenceParams {
    /// Some of `day` (UTC), `sequence_id`, `sequence_version`, `arm`, separated by commas. Default: `sequence_id`.
    #[param(example = "sequence_id,arm")]
    pub by: Option<String>,
    /// `cohort` (default): runs that were entered in the range, and what has become of them by now. `event`: what happened
    /// in the range, day by day; the range is of whole days of UTC.
    #[param(example = "event")]
    pub calendar: Option<String>,
}

/// Sums the runs of sequences up
///
/// Needs the scope `can_view_reports`. Entries, people, runs under way and exits by reason; in the calendar `cohort` also
/// what became of the messages of the runs. Rows in which counts do not add up name the checks that they fail in
/// `failed_checks`.
#[utoipa::path(
    get,
    path = "/api/v1/reports/sequences",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(RangeParams, AnswerParams, SequenceParams, LimitParam),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_sequences(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let params = sequences::Params {
        range: asked.query.range,
        by: asked.query.by.clone().unwrap_or_else(|| DEFAULT_BY.to_owned()),
        calendar: calendar(&asked.query),
        limit: asked.query.limit,
    };
    let engine = asked.engine(&state, &caller, &sequences::TABLES).await?;
    let compute = async {
        let found = sequences::query(&engine, caller.tenant(), &params).await?;
        let meta = Meta::of(&found.meta, &asked.query);
        answer::all(&asked, &found.schema, found.batches, &meta).await
    };
    asked.once(&state, sequences::DEFINITION, compute).await
}

fn calendar(query: &ReportQuery) -> String {
    query.own(CALENDAR).unwrap_or_else(|| sequences::CALENDARS[0].to_owned())
}

/// The goals that are asked about.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct GoalParams {
    /// This goal of the account only. Default: all of them.
    #[param(example = "bought")]
    pub goal: Option<String>,
    /// Days in which goals count, 1 to 365. Default: what each goal says.
    #[param(example = 14, minimum = 1, maximum = 365)]
    pub window_days: Option<u16>,
    /// The share of errors of each interval and verdict. Default: 0.05.
    #[param(example = 0.05, minimum = 0.000001, maximum = 0.5)]
    pub alpha: Option<f64>,
    /// The version of the sequence. Default: the latest that somebody entered in the range.
    #[param(example = 3)]
    pub sequence_version: Option<i64>,
}

const GOAL: &str = "goal";
const WINDOW_DAYS: &str = "window_days";
const ALPHA: &str = "alpha";
const VERSION: &str = "sequence_version";
/// What `window_days=` may be.
const MOST_DAYS: std::ops::RangeInclusive<u16> = 1..=365;

fn window_days(query: &ReportQuery) -> Result<Option<u16>, ApiError> {
    number(query, WINDOW_DAYS, "a whole number from 1 to 365", |days| MOST_DAYS.contains(days))
}

fn alpha(query: &ReportQuery) -> Result<f64, ApiError> {
    let given = number(query, ALPHA, "a number from 0.000001 to 0.5", |alpha| sequences::lift::ALPHAS.contains(alpha))?;
    Ok(given.unwrap_or(sequences::lift::DEFAULT_ALPHA))
}

fn version(query: &ReportQuery) -> Result<Option<i64>, ApiError> {
    number(query, VERSION, "a whole number", |_| true)
}

/// A number among the parameters that the report reads itself.
fn number<T: std::str::FromStr>(
    query: &ReportQuery,
    name: &'static str,
    form: &str,
    is_allowed: impl Fn(&T) -> bool,
) -> Result<Option<T>, ApiError> {
    let Some(text) = query.own(name) else { return Ok(None) };
    match text.parse().ok().filter(is_allowed) {
        Some(number) => Ok(Some(number)),
        None => {
            let detail = format!("`{name}` must be {form}, not `{}`", text.chars().take(80).collect::<String>());
            Err(ApiError::Query(vec![ProblemItem::parameter(name.to_owned(), "invalid_value", detail)]))
        }
    }
}
