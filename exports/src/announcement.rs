//! What a webhook is told of a run that has ended.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use touchline_jobs::standard_webhooks::{Message, SendError};
use touchline_schemas::control::{Export, ExportRun, ExportRunState};
use touchline_schemas::{AccountId, Environment};

use crate::manifest::MANIFEST_FILE;

/// A message about a run.
#[derive(Debug, Serialize)]
struct Announcement<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Debug, Serialize)]
struct Data<'a> {
    account: AccountId,
    environment: Environment,
    export_id: uuid::Uuid,
    export: &'a str,
    run_id: i64,
    scheduled_for: DateTime<Utc>,
    sequence: Option<i64>,
    manifest: Option<String>,
    manifest_sha256: Option<&'a str>,
    files: Option<u64>,
    rows: Option<u64>,
    bytes: Option<u64>,
    error: Option<&'a str>,
}

/// The message: the same, under the same id, whenever it is sent.
///
/// # Errors
///
/// [`SendError::Body`].
pub fn message(export: &Export, run: &ExportRun) -> Result<Message, SendError> {
    let has_succeeded = run.state == ExportRunState::Succeeded;
    let kind = if has_succeeded { "export.succeeded" } else { "export.failed" };
    let folder = run.folder.as_deref().filter(|_| has_succeeded);
    let content = Announcement {
        kind,
        timestamp: run.ended_at.unwrap_or(run.queued_at).to_rfc3339_opts(SecondsFormat::Micros, true),
        data: Data {
            account: export.tenant.account_id,
            environment: export.tenant.environment,
            export_id: export.id.0,
            export: &export.definition.name,
            run_id: run.id.0,
            scheduled_for: run.scheduled_for,
            sequence: run.sequence,
            manifest: folder.map(|folder| format!("{folder}/{MANIFEST_FILE}")),
            manifest_sha256: run.manifest_sha256.as_deref(),
            files: run.files,
            rows: run.rows,
            bytes: run.bytes,
            error: run.error.as_deref(),
        },
    };
    let message = Message::of(&content)?;
    Ok(Message { id: format!("msg_{}_{}", export.id.0.simple(), run.id), ..message })
}
