//! `touchline sql`: a statement over an account's tables, through a worker of its own.

use std::collections::BTreeMap;

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use touchline_api::sql::{SqlPool, SqlQuery, WorkerProgram};
use touchline_schemas::Tenant;
use touchline_schemas::control::Account;

use super::{Context, Outcome, Usage};
use crate::app::App;
use crate::args::EnvironmentArg;
use crate::rows::{RowsFormat, print};

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
    format: Option<RowsFormat>,
    /// Value for $1; given again, for $2, and so on. What is a number, true, false, null or a quoted text in JSON is
    /// taken as that, anything else as text.
    #[arg(long = "param", value_name = "VALUE", allow_hyphen_values = true)]
    params: Vec<String>,
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
    let format = RowsFormat::or_of(args.format, context.output);
    let meta = Meta { table_versions: &answer.versions };
    print(&answer.schema, answer.batches, &meta, format, context.output).await?;
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
}
