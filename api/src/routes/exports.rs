//! `GET` and `POST /api/v1/exports`: what an account has exported, to where.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use touchline_exports::AskError;
use touchline_ingest::receive::FieldError;
use touchline_jobs::Schedule;
use touchline_schemas::control::{
    ControlDb, ControlError, Export, ExportId, ExportRun, ExportRunState, ExportTrigger, Scope, SigningKey,
    TableVersions, WebhookState,
};
use touchline_schemas::export::{
    Destination, ExportDefinition, ExportFormat, ExportMode, ExportSchedule, ExportSource, PathTemplate,
};
use touchline_schemas::{AccountId, Environment, Tenant};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::AppState;
use crate::administration::{self, ACCOUNT_ID, AccountParam, Listed, Parameters, sees};
use crate::auth::Caller;
use crate::error::{AdminChangeProblems, AdminProblems, ApiError};
use crate::exports::InProcess;
use crate::report::params::instant_text;

pub mod export;
pub mod run;
pub mod runs;
pub mod secret;

/// An export.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExportAnswer {
    /// Its id.
    pub export_id: Uuid,
    /// Whose rows it writes.
    #[schema(value_type = Uuid)]
    pub account_id: AccountId,
    /// `live` or `test`.
    #[schema(value_type = String, example = "live")]
    pub environment: Environment,
    /// Its name.
    #[schema(example = "daily-traffic")]
    pub name: String,
    /// The question: `report` and `params`, or `sql`, `params` and `tables`.
    #[schema(value_type = Object, example = json!({"report": "traffic", "params": {"by": "channel"}}))]
    pub source: ExportSource,
    /// `csv`, `csv.gz`, `ndjson` or `parquet`.
    #[schema(value_type = String, example = "parquet")]
    pub format: ExportFormat,
    /// `snapshot` or `changes`.
    #[schema(value_type = String, example = "snapshot")]
    pub mode: ExportMode,
    /// The whole days before a run's time that a snapshot is about; null if its source says so itself.
    pub last_days: Option<u16>,
    /// When it runs by itself: `cron` and `time_zone`; null if only when somebody asks.
    #[schema(value_type = Option<Object>, example = json!({"cron": "0 0 6 * * *", "time_zone": "Europe/Vienna"}))]
    pub schedule: Option<ExportSchedule>,
    /// Where its files go.
    #[schema(value_type = String, example = "file:sales")]
    pub destination: Destination,
    /// The folder of a run below the destination.
    #[schema(value_type = String, example = "{name}/{date}/{run_id}")]
    pub path: PathTemplate,
    /// Who is told when a run has ended.
    #[schema(example = "https://hooks.example/touchline")]
    pub webhook: Option<String>,
    /// Whether its schedule rests.
    pub is_paused: bool,
    /// The key that signs what it writes.
    #[schema(example = "esk_019b765f2c007000a000000000000001")]
    pub key_id: String,
    /// When it was created.
    #[schema(example = "2026-01-01T00:00:00.000000Z")]
    pub created_at: String,
    /// When it was last changed.
    #[schema(example = "2026-01-01T00:00:00.000000Z")]
    pub updated_at: String,
    /// The next time of its schedule; null without one, and while it rests.
    pub next_run_at: Option<String>,
    /// Its newest run.
    pub last_run: Option<ExportRunAnswer>,
}

/// A run of an export.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExportRunAnswer {
    /// Its number; later runs have greater ones.
    pub run_id: i64,
    /// The export.
    pub export_id: Uuid,
    /// Its number among the runs of the export that have succeeded, from 1; null for others.
    pub sequence: Option<i64>,
    /// `schedule` or `manual`.
    #[schema(value_type = String, example = "schedule")]
    pub trigger: ExportTrigger,
    /// `queued`: it waits for its turn or its next attempt; `running`, `succeeded` or `failed`.
    #[schema(value_type = String, example = "succeeded")]
    pub state: ExportRunState,
    /// How many attempts have begun.
    pub attempt: u16,
    /// The time that it stands for: one of the schedule, or when somebody asked.
    #[schema(example = "2026-01-01T06:00:00.000000Z")]
    pub scheduled_for: String,
    /// When it was asked for.
    #[schema(example = "2026-01-01T06:00:00.000000Z")]
    pub queued_at: String,
    /// When its newest attempt began.
    pub started_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// When its next attempt may begin.
    pub retry_at: Option<String>,
    /// What the newest attempt that failed said; null once one has succeeded.
    pub error: Option<String>,
    /// Where its files lie.
    #[schema(example = "file:sales/daily-traffic/2026-01-01/17")]
    pub folder: Option<String>,
    /// Files written, the manifest not counted.
    pub files: Option<u64>,
    /// Rows in them.
    pub rows: Option<u64>,
    /// Bytes of them.
    pub bytes: Option<u64>,
    /// What was read: by the name of the table its `id` and `version`.
    #[schema(value_type = Option<Object>)]
    pub table_versions: Option<TableVersions>,
    /// Everything received before this time is in what was read.
    pub watermark: Option<String>,
    /// SHA-256 of the manifest, in hexadecimal digits.
    pub manifest_sha256: Option<String>,
    /// Whether the webhook was told: `none` (there is nothing to tell), `pending`, `delivered` or `failed`.
    #[schema(value_type = String, example = "none")]
    pub webhook_state: WebhookState,
    /// How often the webhook was tried.
    pub webhook_attempts: u16,
    /// What the newest attempt that failed said.
    pub webhook_error: Option<String>,
}

/// An export with the secret that signs what it writes, which is shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExportWithSecret {
    /// The secret: `whsec_` and 32 bytes in base64.
    #[schema(example = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")]
    pub signing_secret: String,
    /// The rest.
    #[serde(flatten)]
    pub about: ExportAnswer,
}

/// What an export is to be. In a change, what is not named stays, and null takes a field back to its default.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct ExportRequest {
    /// `live` or `test`, of a new export only. Default: that of the key which asks; only a key with the scope `admin` may
    /// name the other.
    #[schema(example = "live")]
    pub environment: Option<String>,
    /// 1 to 63 lower-case letters, digits and hyphens, no hyphen first; no other export of the account in this
    /// environment has it. Needed.
    #[schema(example = "daily-traffic")]
    pub name: Option<String>,
    /// `{"report","params"}`, as in `GET /api/v1/reports/{report}?…`, or `{"sql","params","tables"}`. Needed.
    #[schema(value_type = Option<Object>, example = json!({"report": "traffic", "params": {"by": "channel"}}))]
    pub source: Option<()>,
    /// `csv`, `csv.gz`, `ndjson` or `parquet`. Needed.
    #[schema(example = "parquet")]
    pub format: Option<String>,
    /// `snapshot` (default): every run writes everything; `changes`: the days that have changed, and which have gone.
    #[schema(example = "snapshot")]
    pub mode: Option<String>,
    /// A snapshot of so many whole days before the run's time, 1 to 3,660.
    #[schema(minimum = 1, maximum = 3_660, example = 7)]
    pub last_days: Option<u16>,
    /// `cron` (second, minute, hour, day of month, month, day of week) and `time_zone` (default UTC). Default: none.
    #[schema(value_type = Option<Object>, example = json!({"cron": "0 0 6 * * *", "time_zone": "Europe/Vienna"}))]
    pub schedule: Option<()>,
    /// `file:relative/folder` below the installation's root of exports, or `s3://bucket/prefix`. Needed.
    #[schema(example = "file:sales")]
    pub destination: Option<String>,
    /// The folder of a run, with `{name}`, `{account}`, `{environment}`, `{date}`, `{sequence}` and, at its end,
    /// `{run_id}`. Default `{name}/{date}/{run_id}`.
    #[schema(example = "{name}/{date}/{run_id}")]
    pub path: Option<String>,
    /// An https address that is told when a run has ended. Default: none.
    #[schema(example = "https://hooks.example/touchline")]
    pub webhook: Option<String>,
    /// Whether its schedule rests. Default false.
    pub is_paused: Option<bool>,
}

/// Lists exports
///
/// Needs the scope `can_manage_settings`. By environment and name; of the environment of the key which asks, or of both
/// with the scope `admin`.
#[utoipa::path(
    get,
    path = "/api/v1/exports",
    tag = "exports",
    security(("key" = ["can_manage_settings"])),
    params(AccountParam),
    responses((status = 200, description = "The exports", body = Listed<ExportAnswer>), AdminProblems)
)]
pub async fn get_exports(State(state): State<AppState>, caller: Caller, uri: Uri) -> Result<Response, ApiError> {
    caller.require(Scope::CanManageSettings)?;
    let account = asked_account(&state, &caller, &uri).await?;
    let exports = state.control.exports(account).await?.into_iter();
    let now = state.clock.now();
    let mut answers = Vec::new();
    for export in exports.filter(|export| sees(&caller, export.tenant.environment)) {
        answers.push(answer(&state.control, export, now).await?);
    }
    Listed::all(answers).answer()
}

/// Creates an export
///
/// Needs the scopes `can_manage_settings` and `can_view_reports`: nobody has exported what they may not read. The secret
/// that signs manifests and webhooks is shown in this answer and never again.
#[utoipa::path(
    post,
    path = "/api/v1/exports",
    tag = "exports",
    security(("key" = ["can_manage_settings", "can_view_reports"])),
    params(AccountParam),
    request_body = ExportRequest,
    responses((status = 201, description = "The export and its secret", body = ExportWithSecret), AdminChangeProblems)
)]
pub async fn post_exports(
    State(state): State<AppState>,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    may_define(&caller)?;
    let account_id = asked_account(&state, &caller, request.uri()).await?;
    let mut members = administration::object(&state, request).await?;
    let environment = take_environment(&mut members)?.unwrap_or(caller.tenant().environment);
    if !sees(&caller, environment) {
        return Err(ApiError::MissingScope(Scope::Admin));
    }
    let definition = read(members)?;
    let tenant = Tenant { account_id, environment };
    check_question(&state, tenant, &definition).await?;
    let control = administration::control(&state, &caller);
    let limit = state.config.exports.max_exports;
    let now = state.clock.now();
    let (export, key) = control.create_export(tenant, &definition, limit, rand::random(), now).await?;
    with_secret(&state, StatusCode::CREATED, export, &key, now).await
}

/// A definition, from the members of an object.
fn read(members: Map<String, Value>) -> Result<ExportDefinition, ControlError> {
    ExportDefinition::read(members, Schedule::of_export).map_err(ControlError::InvalidExport)
}

/// Asks the question once, about a day without rows: what is wrong with it is said now, and not in the night.
pub(super) async fn check_question(
    state: &AppState,
    tenant: Tenant,
    definition: &ExportDefinition,
) -> Result<(), ApiError> {
    match InProcess::new(state.clone()).check(tenant, definition).await {
        Ok(()) => Ok(()),
        Err(AskError::Refused(detail)) => Err(ApiError::Refused {
            what: "export",
            code: "invalid",
            errors: vec![FieldError { pointer: "/source".into(), code: "refused_question", detail }],
        }),
        Err(AskError::Failed(_)) => Err(ApiError::Unavailable("the question of the export could not be asked now")),
    }
}

fn take_environment(members: &mut Map<String, Value>) -> Result<Option<Environment>, ApiError> {
    let Some(given) = members.remove("environment").filter(|given| !given.is_null()) else { return Ok(None) };
    let environment = given.as_str().and_then(|word| word.parse().ok());
    environment.map(Some).ok_or_else(|| ApiError::Refused {
        what: "export",
        code: "invalid",
        errors: vec![FieldError {
            pointer: "/environment".into(),
            code: "invalid_value",
            detail: "`environment` must be `live` or `test`".to_owned(),
        }],
    })
}

/// Whoever says what an export asks reads the answer through it: managing alone is not enough.
fn may_define(caller: &Caller) -> Result<(), ApiError> {
    caller.require(Scope::CanManageSettings)?;
    caller.require(Scope::CanViewReports)
}

async fn asked_account(state: &AppState, caller: &Caller, uri: &Uri) -> Result<AccountId, ApiError> {
    let parameters = Parameters::read(uri, &[ACCOUNT_ID])?;
    administration::account(state, caller, parameters.account()).await
}

/// The export of that id, if the caller may see it.
async fn visible(state: &AppState, caller: &Caller, account: AccountId, export_id: &str) -> Result<Export, ApiError> {
    let id: ExportId = export_id.parse().map_err(|_| ApiError::NotFound)?;
    let export = state.control.export(Some(account), id).await?;
    if sees(caller, export.tenant.environment) { Ok(export) } else { Err(ApiError::NotFound) }
}

async fn answer(control: &ControlDb, export: Export, now: DateTime<Utc>) -> Result<ExportAnswer, ApiError> {
    let key_id = control.export_signing_key(export.id).await?.key_id;
    let last_run = control.export_runs(export.id, None, 1).await?.pop();
    let definition = export.definition;
    let schedule = definition.schedule.as_ref().filter(|_| !definition.is_paused);
    let schedule = schedule.and_then(|schedule| Schedule::of_export(schedule).ok());
    Ok(ExportAnswer {
        export_id: export.id.0,
        account_id: export.tenant.account_id,
        environment: export.tenant.environment,
        name: definition.name,
        source: definition.source,
        format: definition.format,
        mode: definition.mode,
        last_days: definition.last_days,
        schedule: definition.schedule,
        destination: definition.destination,
        path: definition.path,
        webhook: definition.webhook,
        is_paused: definition.is_paused,
        key_id,
        created_at: instant_text(export.created_at),
        updated_at: instant_text(export.updated_at),
        next_run_at: schedule.and_then(|schedule| schedule.next_after(now)).map(instant_text),
        last_run: last_run.map(ExportRunAnswer::from),
    })
}

async fn with_secret(
    state: &AppState,
    status: StatusCode,
    export: Export,
    key: &SigningKey,
    now: DateTime<Utc>,
) -> Result<Response, ApiError> {
    let about = answer(&state.control, export, now).await?;
    let answer = ExportWithSecret { signing_secret: key.secret.expose(), about };
    // Nobody on the way shall keep it.
    Ok((status, [(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

impl From<ExportRun> for ExportRunAnswer {
    fn from(run: ExportRun) -> Self {
        Self {
            run_id: run.id.0,
            export_id: run.export_id.0,
            sequence: run.sequence,
            trigger: run.trigger,
            state: run.state,
            attempt: run.attempt,
            scheduled_for: instant_text(run.scheduled_for),
            queued_at: instant_text(run.queued_at),
            started_at: run.started_at.map(instant_text),
            ended_at: run.ended_at.map(instant_text),
            retry_at: run.retry_at.map(instant_text),
            error: run.error,
            folder: run.folder,
            files: run.files,
            rows: run.rows,
            bytes: run.bytes,
            table_versions: run.table_versions,
            watermark: run.watermark.map(instant_text),
            manifest_sha256: run.manifest_sha256,
            webhook_state: run.webhook_state,
            webhook_attempts: run.webhook_attempts,
            webhook_error: run.webhook_error,
        }
    }
}
