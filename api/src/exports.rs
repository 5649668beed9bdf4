//! Answers the questions of exports by asking this API itself, in the process: an export holds, by construction, the bytes
//! that the same question has over HTTP.

mod by_day;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::datatypes::{Field, SchemaRef};
use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use touchline_exports::{AskError, Question, Questions, Range, Rows};
use touchline_schemas::Tenant;
use touchline_schemas::control::{
    AccountStatus, AuthenticatedKey, KeyKind, Scope, Scopes, TableVersion, TableVersions,
};
use touchline_schemas::export::{
    ExportDefinition, ExportFormat, ExportMode, ExportSource, RANGE_PARAMS, ReportSource, SqlSource,
};
use touchline_schemas::tables::Table;
use tower::ServiceExt;
use url::form_urlencoded;
use uuid::Uuid;

use crate::AppState;
use crate::auth::Caller;
use crate::error::Problem;
use crate::format::Format;
use crate::report::params::{TIME_ZONE, instant_text};
use crate::routes;

/// What an answer says of itself to whoever asked in this process. It travels as an extension, which no answer over the
/// network has.
#[derive(Debug, Clone)]
pub struct AnswerFacts {
    /// The columns.
    pub schema: SchemaRef,
    /// The tables that were read, by name; the ids of those that a statement read are not known here.
    pub tables: TableVersions,
    /// Up to when what was received is in them.
    pub watermark: Option<DateTime<Utc>>,
    /// Name and version of the metric's definition.
    pub definition: &'static str,
    /// The rows written so far.
    pub rows: Arc<AtomicU64>,
}

/// Asks the routes of this process.
#[derive(Clone)]
pub struct InProcess {
    state: AppState,
    router: Router,
}

impl std::fmt::Debug for InProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InProcess").finish_non_exhaustive()
    }
}

impl InProcess {
    /// Asks the routes over `state`.
    pub fn new(state: AppState) -> Self {
        let router = routes::questions(state.clone());
        Self { state, router }
    }

    /// Whether the question of an export is one that can be answered, told by asking it about a day without rows.
    ///
    /// # Errors
    ///
    /// See [`AskError`].
    pub async fn check(&self, tenant: Tenant, definition: &ExportDefinition) -> Result<(), AskError> {
        let ExportDefinition { source, format, mode, .. } = definition;
        if *mode == ExportMode::Changes {
            self.tables_by_day(source)?;
        }
        // A report that is not given a range is asked about one day too, if it takes a range.
        let is_given_one = definition.is_given_a_range()
            || match source {
                ExportSource::Report(report) => takes_range(report),
                ExportSource::Sql(_) => false,
            };
        let range = is_given_one.then(Range::without_rows);
        self.ask(Question { tenant, source, format: *format, mode: *mode, range }).await.map(drop)
    }

    /// Somebody who may read the reports of this tenant, and nothing else.
    async fn caller(&self, tenant: Tenant) -> Result<Caller, AskError> {
        let account = self.state.control.account(tenant.account_id).await;
        let account = account.map_err(|_| failed("the account could not be read"))?;
        let account = account.filter(|account| account.status == AccountStatus::Active);
        let account = account.ok_or_else(|| failed("the account is suspended"))?;
        Ok(Caller::within(AuthenticatedKey {
            key_id: Uuid::nil(),
            tenant,
            kind: KeyKind::Secret,
            scopes: Scopes::only(Scope::CanViewReports),
            account_slug: account.slug,
            account_name: account.name,
            settings: account.settings,
        }))
    }

    /// The versions of the tables with their ids.
    async fn identified(&self, tables: TableVersions) -> Result<TableVersions, AskError> {
        let mut identified = TableVersions::new();
        for (name, TableVersion { id, version }) in tables {
            let table = Table::ALL.into_iter().find(|table| table.name() == name).filter(|_| id.is_empty());
            let id = match table {
                Some(table) => {
                    let found = self.state.engine.lake().table(table).id().await;
                    found.map_err(|_| failed("the tables could not be read"))?
                }
                None => id,
            };
            identified.insert(name, TableVersion { id, version });
        }
        Ok(identified)
    }
}

#[async_trait]
impl Questions for InProcess {
    fn tables_by_day(&self, source: &ExportSource) -> Result<Vec<Table>, AskError> {
        match source {
            ExportSource::Report(report) => by_day::tables(report).map_err(AskError::Refused),
            ExportSource::Sql(sql) => Ok(sql.tables().collect()),
        }
    }

    async fn ask(&self, question: Question<'_>) -> Result<Rows, AskError> {
        let caller = self.caller(question.tenant).await?;
        let mut request = request(&question).map_err(|_| refused("the question cannot be put as a request"))?;
        request.extensions_mut().insert(caller);
        let Ok(mut response) = self.router.clone().oneshot(request).await;
        if response.status() != StatusCode::OK {
            return Err(problem(&mut response));
        }
        let facts = response.extensions_mut().remove::<AnswerFacts>();
        let facts = facts.ok_or_else(|| refused("this is nothing that can be exported"))?;
        let bytes = response.into_body().into_data_stream().map_err(|_| failed("the answer broke off"));
        let definition = definition(&question, &facts);
        Ok(Rows {
            schema: facts.schema,
            tables: self.identified(facts.tables).await?,
            watermark: facts.watermark,
            definition,
            rows: facts.rows,
            bytes: bytes.boxed(),
        })
    }
}

/// The definition of an answer. That of a statement is its columns: rows with others are other rows.
fn definition(question: &Question<'_>, facts: &AnswerFacts) -> String {
    match question.source {
        ExportSource::Report(_) => facts.definition.to_owned(),
        ExportSource::Sql(_) => {
            let column =
                |field: &Arc<Field>| format!("{} {} {}\n", field.name(), field.data_type(), field.is_nullable());
            let columns: String = facts.schema.fields().iter().map(column).collect();
            let digest = format!("{:x}", Sha256::digest(columns));
            format!("{}/{}", facts.definition, &digest[..16])
        }
    }
}

/// The request that puts a question.
fn request(question: &Question) -> axum::http::Result<Request<Body>> {
    let format = match question.format {
        ExportFormat::Csv | ExportFormat::CsvGz => Format::Csv,
        ExportFormat::Ndjson => Format::Ndjson,
        ExportFormat::Parquet => Format::Parquet,
    };
    match question.source {
        ExportSource::Report(report) => {
            let query = report_query(report, format, question);
            Request::get(format!("/api/v1/reports/{}?{query}", report.report)).body(Body::empty())
        }
        ExportSource::Sql(sql) => {
            let body = json!({"sql": sql.sql, "params": sql_params(sql, question.range), "format": format.word()});
            let json = "application/json";
            Request::post("/api/v1/sql").header(header::CONTENT_TYPE, json).body(Body::from(body.to_string()))
        }
    }
}

fn report_query(report: &ReportSource, format: Format, question: &Question) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("format", format.word());
    query.extend_pairs(&report.params);
    if let Some(range) = question.range {
        let [from, to] = RANGE_PARAMS;
        query.append_pair(from, &instant_text(range.from)).append_pair(to, &instant_text(range.to));
    }
    // Days of UTC, whatever the account's days are: then a change of that setting changes no row.
    let is_zoned = by_day::takes_time_zone(&report.report) && !report.params.contains_key(TIME_ZONE);
    if question.mode == ExportMode::Changes && is_zoned {
        query.append_pair(TIME_ZONE, "UTC");
    }
    query.finish()
}

fn sql_params(sql: &SqlSource, range: Option<Range>) -> Value {
    let mut params: Map<String, Value> = sql.params.clone();
    if let Some(range) = range {
        for (name, at) in RANGE_PARAMS.into_iter().zip([range.from, range.to]) {
            params.insert(name.to_owned(), Value::String(instant_text(at)));
        }
    }
    if params.is_empty() { Value::Null } else { Value::Object(params) }
}

/// Whether a report that is given no range may be asked for one.
fn takes_range(report: &ReportSource) -> bool {
    !by_day::has_no_range(&report.report) && RANGE_PARAMS.iter().all(|name| !report.params.contains_key(*name))
}

/// Why there is no answer.
fn problem(response: &mut Response) -> AskError {
    let status = response.status();
    let Some(problem) = response.extensions_mut().remove::<Problem>() else {
        return failed("the question has no answer");
    };
    let mut said = problem.detail;
    for item in problem.errors {
        if !said.contains(&item.detail) {
            said.push_str(": ");
            said.push_str(&item.detail);
        }
    }
    let may_pass = status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
        || problem.retry_after_s.is_some();
    if may_pass { AskError::Failed(said) } else { AskError::Refused(said) }
}

fn refused(said: &str) -> AskError {
    AskError::Refused(said.to_owned())
}

fn failed(said: &str) -> AskError {
    AskError::Failed(said.to_owned())
}
