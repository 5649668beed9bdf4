//! `POST /api/v1/sql`: a statement over the caller's own tables.

use axum::extract::{Request, State};
use axum::http::header;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use touchline_schemas::control::Scope;
use utoipa::{IntoParams, ToSchema};

use crate::AppState;
use crate::auth::Caller;
use crate::body;
use crate::error::{ApiError, SqlProblems};
use crate::format::Format;
use crate::report::answer::{self, X_BYTES_SCANNED};
use crate::report::{Asked, Meta, SqlRows};
use crate::sql::SqlQuery;

pub mod schema;

/// What the answer's `meta` calls it: rows as they are stored, without a definition of ours.
const DEFINITION: &str = "sql";

/// A statement.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlBody {
    /// One query in the dialect of DataFusion, which is close to PostgreSQL's.
    #[schema(example = "SELECT channel, count(*) AS sessions FROM sessions WHERE started_at >= $1 GROUP BY channel")]
    sql: String,
    /// Values for the statement's placeholders: an array for `$1`, `$2`, …, an object for `$name`.
    #[serde(default)]
    #[schema(value_type = Value, example = json!(["2026-03-01"]))]
    params: Value,
    /// The format by name; else `format=` or `Accept` decide.
    #[schema(example = "json")]
    format: Option<String>,
}

/// How the answer is to look.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct SqlParams {
    /// `json`, `ndjson`, `csv`, `parquet` or `arrow`; after the body's `format` and before `Accept`.
    #[param(example = "csv")]
    pub format: Option<String>,
    /// `1`: CSV begins with a byte order mark, as Excel wants it.
    pub bom: Option<String>,
    /// `1`: texts in CSV that begin with `=`, `+`, `-`, `@`, TAB or CR are not guarded by an apostrophe.
    pub raw: Option<String>,
}

/// Asks the tables
///
/// Needs the scope `can_view_reports`. The tables are those of `/api/v1/sql/schema`, with the rows of the key's account
/// and environment. An answer that fails after its first megabytes breaks off.
#[utoipa::path(
    post,
    path = "/api/v1/sql",
    tag = "sql",
    security(("key" = ["can_view_reports"])),
    params(SqlParams),
    request_body = SqlBody,
    responses(SqlRows, SqlProblems)
)]
pub async fn post_sql(State(state): State<AppState>, caller: Caller, request: Request) -> Result<Response, ApiError> {
    caller.require(Scope::CanViewReports)?;
    let (parts, body) = request.into_parts();
    let body = body::read(&state, &parts.headers, body).await?;
    let body: SqlBody = serde_json::from_slice(&body).map_err(|error| ApiError::BadBody(error.to_string()))?;
    let format = body.format.as_deref().map(named).transpose()?;
    let asked = Asked::in_body(format, &parts.uri, &parts.headers, state.clock.now())?;
    let query = SqlQuery { sql: body.sql, params: body.params };
    let found = state.sql.query(&state.engine, caller.tenant(), query).await?;
    let meta = Meta::without_lake(DEFINITION, &asked.query).with_tables(found.versions);
    let mut response = answer::all(&asked, &found.schema, found.batches, &meta).await?;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    // The worker reads, and does not say how much.
    headers.remove(X_BYTES_SCANNED);
    Ok(response)
}

fn named(word: &str) -> Result<Format, ApiError> {
    Format::from_word(word).ok_or_else(|| {
        let words: Vec<&str> = Format::ALL.iter().map(|format| format.word()).collect();
        ApiError::BadBody(format!("`format` is one of {}", words.join(", ")))
    })
}
