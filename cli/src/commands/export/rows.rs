//! How exports and their runs are printed.

use chrono::{DateTime, Utc};
use serde::Serialize;
use touchline_schemas::control::{ControlDb, ControlError, Export, ExportRun, TableVersions};
use touchline_schemas::export::ExportDefinition;

use crate::output::{NOTHING, Row, bytes, count};

/// An export as it is printed.
#[derive(Debug, Serialize)]
pub struct ExportRow {
    export_id: String,
    environment: &'static str,
    /// What it is.
    #[serde(flatten)]
    pub definition: ExportDefinition,
    key_id: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    last_run: Option<RunRow>,
}

impl ExportRow {
    /// The export, its key's id and its newest run.
    pub async fn read(control: &ControlDb, export: Export) -> Result<Self, ControlError> {
        let key_id = control.export_signing_key(export.id).await?.key_id;
        let last_run = control.export_runs(export.id, None, 1).await?.pop();
        Ok(Self {
            export_id: export.id.to_string(),
            environment: export.tenant.environment.as_str(),
            definition: export.definition,
            key_id,
            created_at: export.created_at,
            updated_at: export.updated_at,
            last_run: last_run.map(RunRow::from),
        })
    }
}

impl Row for ExportRow {
    const HEADINGS: &[&str] =
        &["export", "environment", "format", "mode", "schedule", "destination", "last run", "state", "export_id"];

    fn cells(&self) -> Vec<String> {
        let definition = &self.definition;
        let schedule = match &definition.schedule {
            Some(_) if definition.is_paused => "paused".to_owned(),
            Some(schedule) => format!("{} ({})", schedule.cron, schedule.time_zone),
            None => "by hand only".to_owned(),
        };
        vec![
            definition.name.clone(),
            self.environment.to_owned(),
            definition.format.as_str().to_owned(),
            definition.mode.as_str().to_owned(),
            schedule,
            definition.destination.to_string(),
            time(self.last_run.as_ref().map(|run| run.scheduled_for)),
            self.last_run.as_ref().map_or(NOTHING, |run| run.state).to_owned(),
            self.export_id.clone(),
        ]
    }
}

/// An export with its secret.
#[derive(Debug, Serialize)]
pub struct WithSecret {
    /// The secret.
    pub signing_secret: String,
    /// The rest.
    #[serde(flatten)]
    pub row: ExportRow,
}

/// A run as it is printed.
#[derive(Debug, Serialize)]
pub struct RunRow {
    run_id: i64,
    sequence: Option<i64>,
    trigger: &'static str,
    state: &'static str,
    attempt: u16,
    scheduled_for: DateTime<Utc>,
    queued_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    retry_at: Option<DateTime<Utc>>,
    error: Option<String>,
    folder: Option<String>,
    files: Option<u64>,
    rows: Option<u64>,
    bytes: Option<u64>,
    table_versions: Option<TableVersions>,
    watermark: Option<DateTime<Utc>>,
    manifest_sha256: Option<String>,
    webhook_state: &'static str,
    webhook_attempts: u16,
    webhook_error: Option<String>,
}

impl From<ExportRun> for RunRow {
    fn from(run: ExportRun) -> Self {
        Self {
            run_id: run.id.0,
            sequence: run.sequence,
            trigger: run.trigger.as_str(),
            state: run.state.as_str(),
            attempt: run.attempt,
            scheduled_for: run.scheduled_for,
            queued_at: run.queued_at,
            started_at: run.started_at,
            ended_at: run.ended_at,
            retry_at: run.retry_at,
            error: run.error,
            folder: run.folder,
            files: run.files,
            rows: run.rows,
            bytes: run.bytes,
            table_versions: run.table_versions,
            watermark: run.watermark,
            manifest_sha256: run.manifest_sha256,
            webhook_state: run.webhook_state.as_str(),
            webhook_attempts: run.webhook_attempts,
            webhook_error: run.webhook_error,
        }
    }
}

impl Row for RunRow {
    const HEADINGS: &[&str] =
        &["run", "number", "trigger", "for", "attempt", "state", "ended", "files", "rows", "size", "folder", "error"];

    fn cells(&self) -> Vec<String> {
        let number = |number: Option<u64>| number.map_or_else(|| NOTHING.to_owned(), count);
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| NOTHING.to_owned());
        vec![
            self.run_id.to_string(),
            self.sequence.map_or_else(|| NOTHING.to_owned(), |sequence| sequence.to_string()),
            self.trigger.to_owned(),
            time(Some(self.scheduled_for)),
            self.attempt.to_string(),
            self.state.to_owned(),
            time(self.ended_at),
            number(self.files),
            number(self.rows),
            self.bytes.map_or_else(|| NOTHING.to_owned(), bytes),
            text(&self.folder),
            text(&self.error),
        ]
    }
}

fn time(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(|| NOTHING.to_owned(), |at| at.format("%F %T").to_string())
}
