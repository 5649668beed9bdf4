//! What stands beside the rows of an answer.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use touchline_pipeline::AnswerMeta;
use utoipa::ToSchema;

use crate::format::{Ending, FormatError};
use crate::report::params::{ReportQuery, instant_text};

/// What rows were computed from.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Meta {
    /// Version of the table that was read; null for reports that read none.
    pub lake_version: Option<i64>,
    /// Version of `events` that this table was computed from.
    pub source_version: Option<i64>,
    /// The time up to which events are in it, RFC 3339.
    pub watermark: Option<String>,
    /// Versions of the tables that a statement may have read; missing in reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table_versions: Option<BTreeMap<String, i64>>,
    /// Name and version of the metric's definition.
    pub definition: &'static str,
    /// Begin of the range, included.
    pub from: Option<String>,
    /// End of the range, excluded; null when it is open.
    pub to: Option<String>,
    /// Events of the account, on days of UTC that the range touches, that came in when their day was over: how much what
    /// was counted before may have changed. Null for earlier states, and where nothing was read from the lake.
    pub late_events: Option<u64>,
    /// Whether everything that was received up to the end of the range is in the answer: the watermark reaches it. What
    /// comes late may still change it.
    pub complete: bool,
    /// What it was made of, if not of tables.
    #[serde(skip)]
    pub(super) facts: Option<String>,
    /// As [`AnswerMeta`] has it.
    #[serde(skip)]
    pub(in crate::report) is_of_last_plan: bool,
}

impl Meta {
    /// What a query's answer says of itself.
    pub fn of(answer: &AnswerMeta, query: &ReportQuery) -> Self {
        Self {
            lake_version: Some(answer.lake_version),
            source_version: answer.source_version,
            watermark: answer.watermark.map(instant_text),
            is_of_last_plan: answer.is_of_last_plan,
            complete: answer.watermark.zip(query.range.to).is_some_and(|(watermark, to)| watermark >= to),
            ..Self::without_lake(answer.definition, query)
        }
    }

    /// What is known of an answer that was not read from a table.
    pub fn without_lake(definition: &'static str, query: &ReportQuery) -> Self {
        let text = |at: Option<DateTime<Utc>>| at.map(instant_text);
        Self {
            lake_version: None,
            source_version: None,
            watermark: None,
            table_versions: None,
            definition,
            from: text(query.range.from),
            to: text(query.range.to),
            late_events: None,
            complete: false,
            facts: None,
            is_of_last_plan: false,
        }
    }

    /// Names the versions of the tables that a statement may have read.
    pub fn with_tables(self, versions: BTreeMap<String, i64>) -> Self {
        Self { table_versions: Some(versions), ..self }
    }

    /// Names what an answer without tables was made of, so that the same answer can be told.
    pub fn made_of(self, facts: impl std::fmt::Debug) -> Self {
        Self { facts: Some(format!("{facts:?}")), ..self }
    }
}

/// Where to go from here.
#[derive(Debug, Serialize, ToSchema)]
pub struct Links {
    /// The next page; null when there is none.
    pub next: Option<String>,
}

/// The whole document in JSON, as the description of the API has it.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct Envelope {
    /// One object for each row, with the column names of the CSV.
    #[schema(value_type = Vec<Object>)]
    pub data: Vec<()>,
    /// What the rows were computed from.
    pub meta: Meta,
    /// Where to go from here.
    pub links: Links,
}

/// What follows the rows in JSON.
#[derive(Serialize)]
struct Tail<'a> {
    meta: &'a Meta,
    links: &'a Links,
}

/// `],"meta":{…},"links":{…}}`: the rest of the object that the writer's head opened.
pub(super) fn json_ending(meta: &Meta, links: &Links) -> Result<Ending, FormatError> {
    let tail = serde_json::to_vec(&Tail { meta, links })?;
    let mut ending = b"],".to_vec();
    ending.extend_from_slice(&tail[1..]);
    Ok(Ending(ending))
}
