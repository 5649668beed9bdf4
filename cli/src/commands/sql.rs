//! `touchline sql`: a statement over an account's tables, through a worker of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::bail;
use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use arrow::util::display::FormatOptions;
use arrow::util::pretty::pretty_format_batches_with_options;
use clap::{Args, ValueEnum};
use futures::TryStreamExt;
use serde::Serialize;
use serde_json::Value;
use touchline_api::sql::{SqlAnswer, SqlPool, SqlQuery, WorkerProgram};
use touchline_api::{CsvOptions, Format, RowWriter};
use touchline_schemas::Tenant;
use touchline_schemas::control::Account;

use super::{Context, Outcome, Usage};
use crate::app::App;
use crate::args::EnvironmentArg;
use crate::output::{NOTHING, Output, count};

/// What `sql` takes.
#[derive(Debug, Args)]
pub struct SqlArgs {
    /// The statement: one query.
    statement: String,
    /// Slug of the account whose tables are asked [default: the only one].
    #[arg(long, value_name = "SLUG")]
    account: Option<String>,
    /// Environment whose tables are asked.
    #[arg(long = "env", value_enum, default_value = "live")]
    environment: EnvironmentArg,
    /// Form of the answer [default: table; json with --json].
    #[arg(long, value_enum)]
    format: Option<SqlFormat>,
    /// Value for $1; given again, for $2, and so on. What is a number, true, false, null or a quoted text in JSON is
    /// taken as that, anything else as text.
    #[arg(long = "param", value_name = "VALUE", allow_hyphen_values = true)]
    params: Vec<String>,
}

/// Form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SqlFormat {
    /// A table for people.
    Table,
    /// RFC 4180 with a header.
    Csv,
    /// One object with all rows.
    Json,
}

/// What follows the rows in JSON.
#[derive(Debug, Serialize)]
struct Meta<'a> {
    table_versions: &'a BTreeMap<String, i64>,
}

/// Does it.
pub async fn run(args: SqlArgs, context: &Context) -> anyhow::Result<Outcome> {
    let app = context.app().await?;
    let account = account(&app, args.account.as_deref()).await?;
    let lake = app.open_lake().await?;
    let engine = app.query_engine(&lake)?;
    let pool = SqlPool::new(app.config.sql.clone(), lake.root().to_owned(), WorkerProgram::this());
    let tenant = Tenant { account_id: account.id, environment: args.environment.into() };
    let query = SqlQuery { sql: args.statement, params: params(&args.params) };
    let answer = pool.query(&engine, tenant, query).await?;
    let default = if context.output.is_json() { SqlFormat::Json } else { SqlFormat::Table };
    match args.format.unwrap_or(default) {
        SqlFormat::Table => table(answer, context.output).await?,
        SqlFormat::Csv => rows(answer, Format::Csv, context.output).await?,
        SqlFormat::Json => rows(answer, Format::Json, context.output).await?,
    }
    Ok(Outcome::Done)
}

async fn account(app: &App, slug: Option<&str>) -> anyhow::Result<Account> {
    if let Some(slug) = slug {
        return app.account(slug).await;
    }
    let mut accounts = app.control.accounts().await?;
    match (accounts.pop(), accounts.is_empty()) {
        (Some(account), true) => Ok(account),
        (Some(_), false) => bail!(Usage("there are several accounts: name one with --account".to_owned())),
        (None, _) => bail!(Usage("there is no account: see `touchline account create`".to_owned())),
    }
}

fn params(given: &[String]) -> Value {
    if given.is_empty() {
        return Value::Null;
    }
    let value = |text: &String| match serde_json::from_str(text) {
        Ok(value @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_))) => value,
        Ok(Value::Array(_) | Value::Object(_)) | Err(_) => Value::String(text.clone()),
    };
    Value::Array(given.iter().map(value).collect())
}

/// All rows at once: a column is as wide as its widest cell.
async fn table(mut answer: SqlAnswer, output: Output) -> anyhow::Result<()> {
    let mut batches = vec![printable(&RecordBatch::new_empty(answer.schema.clone()))?];
    while let Some(rows) = answer.batches.try_next().await? {
        batches.push(printable(&rows)?);
    }
    let row_count: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let options = FormatOptions::default().with_null(NOTHING);
    output.line(&pretty_format_batches_with_options(&batches, &options)?.to_string())?;
    output.note(&format!("{} {}", count(row_count as u64), if row_count == 1 { "row" } else { "rows" }));
    Ok(())
}

/// The same rows, with everything spelled out that a terminal would obey instead of showing it.
fn printable(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let fields = rows.schema_ref().fields().iter();
    let fields: Vec<Field> = fields.map(|field| field.as_ref().clone().with_name(escaped(field.name()))).collect();
    let columns = rows.columns().iter().map(|column| match column.as_string_opt::<i32>() {
        Some(texts) => Arc::new(texts.iter().map(|text| text.map(escaped)).collect::<StringArray>()) as ArrayRef,
        None => Arc::clone(column),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns.collect(), &options)
}

fn escaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

/// Rows as they come.
async fn rows(mut answer: SqlAnswer, format: Format, output: Output) -> anyhow::Result<()> {
    let mut writer = RowWriter::new(format, CsvOptions::default(), &answer.schema)?;
    output.bytes(&writer.head(&answer.schema))?;
    while let Some(rows) = answer.batches.try_next().await? {
        output.bytes(&writer.rows(&rows)?)?;
    }
    if format == Format::Json {
        let meta = serde_json::to_string(&Meta { table_versions: &answer.versions })?;
        output.line(&format!("],\"meta\":{meta}}}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_read_as_json_where_they_are_a_plain_value() {
        let given = ["1", "-2.5", "true", "null", "\"7\"", "2026-03-01", "a b", "[1]", ""].map(str::to_owned);
        assert_eq!(params(&given), json!([1, -2.5, true, null, "7", "2026-03-01", "a b", "[1]", ""]));
        assert_eq!(params(&[]), Value::Null);
    }

    #[test]
    fn a_terminal_is_told_nothing_by_a_table() {
        for (text, expected) in [
            ("plain ä 日本 \"q\" \\", "plain ä 日本 \"q\" \\"),
            ("\x1b[2J\x07", "\\u{1b}[2J\\u{7}"),
            ("a\r\n\tb", "a\\r\\n\\tb"),
            ("\u{9b}31m\x7f\0", "\\u{9b}31m\\u{7f}\\u{0}"),
        ] {
            let texts: ArrayRef = Arc::new(StringArray::from(vec![Some(text), None]));
            let numbers: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![1, 2]));
            let given = RecordBatch::try_from_iter([(text, texts), ("n", Arc::clone(&numbers))]).unwrap();
            let rows = printable(&given).unwrap();
            assert_eq!(rows.schema_ref().field(0).name(), expected);
            let texts: Vec<_> = rows.column(0).as_string::<i32>().iter().collect();
            assert_eq!((texts, rows.column(1)), (vec![Some(expected), None], &numbers));
        }
    }
}
