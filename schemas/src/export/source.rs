//! What an export asks: a report with its parameters, or a statement with the values of its placeholders.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::tables::Table;

/// The placeholders, and the parameters of a report, that say which days are meant: the first and the one behind the
/// last.
pub const RANGE_PARAMS: [&str; 2] = ["from", "to"];

/// The question of an export. As JSON an object with `report` or `sql`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SourceFields", into = "SourceFields")]
pub enum ExportSource {
    /// A report.
    Report(ReportSource),
    /// A statement.
    Sql(SqlSource),
}

/// A report, as it is asked for over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportSource {
    /// What stands behind `/api/v1/reports/`.
    pub report: String,
    /// Its query parameters.
    pub params: BTreeMap<String, String>,
}

/// A statement, as it is sent over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlSource {
    /// The statement.
    pub sql: String,
    /// The values of its placeholders: texts, numbers, truth values or null.
    pub params: Map<String, Value>,
    /// The names of the tables from whose days its rows follow; for changes only.
    pub tables: Vec<String>,
}

impl SqlSource {
    /// The tables that are named.
    pub fn tables(&self) -> impl Iterator<Item = Table> {
        Table::ALL.into_iter().filter(|table| self.tables.iter().any(|name| name == table.name()))
    }

    /// Whether the statement has the placeholder `$name`.
    pub fn has_placeholder(&self, name: &str) -> bool {
        let ends = |behind: &str| !behind.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
        let mut found = self.sql.split('$').skip(1);
        found.any(|behind| behind.strip_prefix(name).is_some_and(ends))
    }
}

/// Why an object is no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It names neither, or both.
    #[error("a source has either `report` or `sql`")]
    Neither,
    /// It names tables of a report, which knows them itself.
    #[error("a report knows its tables: `tables` belongs to `sql`")]
    TablesOfReport,
    /// A parameter of a report is no text.
    #[error("the parameters of a report are texts, as in its address: `{name}` is none")]
    Parameter {
        /// The parameter.
        name: String,
    },
}

/// The object as it stands in JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceFields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    report: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sql: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    params: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tables: Vec<String>,
}

impl TryFrom<SourceFields> for ExportSource {
    type Error = SourceError;

    fn try_from(fields: SourceFields) -> Result<Self, Self::Error> {
        let SourceFields { report, sql, params, tables } = fields;
        match (report, sql) {
            (Some(report), None) if tables.is_empty() => {
                let params = params.into_iter().map(|(name, value)| match value {
                    Value::String(text) => Ok((name, text)),
                    Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                        Err(SourceError::Parameter { name })
                    }
                });
                Ok(Self::Report(ReportSource { report, params: params.collect::<Result<_, _>>()? }))
            }
            (Some(_), None) => Err(SourceError::TablesOfReport),
            (None, Some(sql)) => Ok(Self::Sql(SqlSource { sql, params, tables })),
            (Some(_), Some(_)) | (None, None) => Err(SourceError::Neither),
        }
    }
}

impl From<ExportSource> for SourceFields {
    fn from(source: ExportSource) -> Self {
        match source {
            ExportSource::Report(ReportSource { report, params }) => Self {
                report: Some(report),
                sql: None,
                params: params.into_iter().map(|(name, text)| (name, Value::String(text))).collect(),
                tables: Vec::new(),
            },
            ExportSource::Sql(SqlSource { sql, params, tables }) => {
                Self { report: None, sql: Some(sql), params, tables }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_source_is_a_report_or_a_statement() {
        let check = |text: Value, expected: &str| {
            let said = match serde_json::from_value::<ExportSource>(text.clone()) {
                Ok(source) => serde_json::to_string(&source).unwrap(),
                Err(error) => error.to_string(),
            };
            assert!(said.contains(expected), "{text}: {said}");
        };
        check(json!({"report": "traffic"}), r#"{"report":"traffic"}"#);
        check(json!({"report": "traffic", "params": {"by": "channel"}}), r#""params":{"by":"channel"}"#);
        check(json!({"sql": "SELECT 1", "params": {"x": null}}), r#"{"sql":"SELECT 1","params":{"x":null}}"#);
        check(json!({"sql": "SELECT 1", "tables": ["events"]}), r#""tables":["events"]"#);
        check(json!({}), "either `report` or `sql`");
        check(json!({"report": "traffic", "sql": "SELECT 1"}), "either `report` or `sql`");
        check(json!({"report": "traffic", "tables": ["events"]}), "`tables` belongs to `sql`");
        check(json!({"report": "traffic", "params": {"limit": 3}}), "`limit` is none");
        check(json!({"report": "traffic", "query": "x"}), "unknown field `query`");
        check(json!("traffic"), "invalid type");
    }

    #[test]
    fn placeholders_are_found_by_their_whole_name() {
        let check = |sql: &str, expected: bool| {
            let source = SqlSource { sql: sql.to_owned(), params: Map::new(), tables: Vec::new() };
            assert_eq!(source.has_placeholder("to"), expected, "{sql}");
        };
        check("x < $to", true);
        check("x < $to)", true);
        check("x BETWEEN $total AND $to", true);
        check("x < $total", false);
        check("x < $to_day", false);
        check("x < to", false);
        check("x < $1", false);
    }
}
