//! `GET /api/v1/sql/schema`: the tables that a statement can name.

use arrow::datatypes::{DataType, TimeUnit};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use touchline_schemas::control::Scope;
use touchline_schemas::tables::Table;
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::error::{ApiError, ScopeProblems};
use crate::intake::json;

/// The tables.
#[derive(Debug, Serialize, ToSchema)]
struct SchemaAnswer {
    /// One for each table.
    data: Vec<TableAnswer>,
}

/// A table.
#[derive(Debug, Serialize, ToSchema)]
struct TableAnswer {
    /// Its name.
    #[schema(example = "sessions")]
    table: &'static str,
    /// What its rows are.
    #[schema(example = "One row per session")]
    description: String,
    /// In the order of `SELECT *`.
    columns: Vec<ColumnAnswer>,
}

/// A column.
#[derive(Debug, Serialize, ToSchema)]
struct ColumnAnswer {
    /// Its name.
    #[schema(example = "started_at")]
    name: String,
    /// Its type, as `CAST` takes it.
    #[serde(rename = "type")]
    #[schema(example = "TIMESTAMP WITH TIME ZONE")]
    data_type: String,
    /// What it holds, where that is written down.
    description: Option<String>,
}

/// Lists the tables
///
/// Needs the scope `can_view_reports`.
#[utoipa::path(
    get,
    path = "/api/v1/sql/schema",
    tag = "sql",
    security(("key" = ["can_view_reports"])),
    responses((status = 200, description = "Tables, columns and types", body = SchemaAnswer), ScopeProblems)
)]
pub async fn get_sql_schema(caller: Caller) -> Result<Response, ApiError> {
    caller.require(Scope::CanViewReports)?;
    json(StatusCode::OK, &SchemaAnswer { data: Table::ALL.map(describe).into() })
}

fn describe(table: Table) -> TableAnswer {
    let mut descriptions = table.column_descriptions();
    let schema = table.file_schema();
    let columns = schema.fields().iter().map(|field| ColumnAnswer {
        name: field.name().clone(),
        data_type: type_name(field.data_type()),
        description: descriptions.remove(field.name()),
    });
    TableAnswer { table: table.name(), description: table.description(), columns: columns.collect() }
}

fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "TEXT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "TIMESTAMP WITH TIME ZONE".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::List(values) => format!("{}[]", type_name(values.data_type())),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_type_by_its_name_in_sql() {
        let columns: Vec<ColumnAnswer> = Table::ALL.into_iter().flat_map(|table| describe(table).columns).collect();
        let known = ["TEXT", "BIGINT", "DOUBLE", "BOOLEAN", "TIMESTAMP WITH TIME ZONE", "DECIMAL(18, 4)"];
        for column in &columns {
            let of = column.data_type.trim_end_matches("[]");
            assert!(known.contains(&of), "{} {}", column.name, column.data_type);
        }
        assert!(columns.iter().any(|column| column.data_type == "TEXT[]"));
        assert!(!columns.iter().any(|column| column.name == "account_id"));
    }
}
