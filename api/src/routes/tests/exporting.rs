//! What an export asks: the bytes are those of the answer over HTTP.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use futures::TryStreamExt;
use touchline_exports::{AskError, Question, Questions, Range};
use touchline_schemas::export::{ExportFormat, ExportMode, ExportSource, ReportSource, SqlSource};
use touchline_schemas::tables::Table;
use touchline_schemas::{Environment, Tenant};
use url::form_urlencoded;

use super::formats::{REPORTS, filled, reports};
use crate::exports::InProcess;
use crate::test_support::{TestApi, start};

fn tenant(api: &TestApi) -> Tenant {
    Tenant { account_id: api.account.id, environment: Environment::Live }
}

fn report(name: &str, params: &[(&str, &str)]) -> ExportSource {
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    ExportSource::Report(ReportSource { report: name.to_owned(), params })
}

#[tokio::test]
async fn an_export_of_any_report_has_the_bytes_of_its_answer() {
    let (api, key) = filled().await;
    let questions = InProcess::new(api.state.clone());
    for address in reports(&api) {
        let (path, query) = address.split_once('?').unwrap();
        let params: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let source = ReportSource { report: path.strip_prefix(REPORTS).unwrap().to_owned(), params };
        let source = ExportSource::Report(source);
        for (format, word) in
            [(ExportFormat::Csv, "csv"), (ExportFormat::Ndjson, "ndjson"), (ExportFormat::Parquet, "parquet")]
        {
            let question =
                Question { tenant: tenant(&api), source: &source, format, mode: ExportMode::Snapshot, range: None };
            let answer = questions.ask(question).await.unwrap();
            let bytes: Vec<bytes::Bytes> = answer.bytes.try_collect().await.unwrap();
            let expected = api.get(&format!("{address}&format={word}"), &key).await;
            assert!(bytes.concat() == expected.bytes, "{address} {word}");
            if format == ExportFormat::Ndjson {
                assert_eq!(answer.rows.load(Ordering::Acquire), expected.body.lines().count() as u64, "{address}");
            }
        }
    }
}

#[tokio::test]
async fn every_report_is_known_to_stand_by_its_days_or_not() {
    let (api, _) = filled().await;
    let questions = InProcess::new(api.state.clone());
    let mut by_day = Vec::new();
    for address in reports(&api) {
        let name = address.split_once('?').unwrap().0.strip_prefix(REPORTS).unwrap().to_owned();
        match questions.tables_by_day(&report(&name, &[])) {
            Ok(tables) => {
                // What is recorded is what is read.
                let (source, range) = (report(&name, &[]), Some(Range::of_day(start().date_naive())));
                let question = Question {
                    tenant: tenant(&api),
                    source: &source,
                    format: ExportFormat::Csv,
                    mode: ExportMode::Changes,
                    range,
                };
                let read = questions.ask(question).await.unwrap().tables;
                let tables: Vec<&str> = tables.into_iter().map(Table::name).collect();
                assert!(read.keys().all(|table| tables.contains(&table.as_str())), "{name}: {read:?}");
                by_day.push(name);
            }
            Err(refused) => assert!(!refused.to_string().contains("no such report"), "{refused}"),
        }
    }
    assert_eq!(by_day.len(), 10, "{by_day:?}");
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_with_the_words_of_the_api() {
    let (api, _) = filled().await;
    let questions = InProcess::new(api.state.clone());
    let check = async |source: ExportSource, expected: &str| {
        let question = Question {
            tenant: tenant(&api),
            source: &source,
            format: ExportFormat::Csv,
            mode: ExportMode::Snapshot,
            range: None,
        };
        match questions.ask(question).await.map(drop) {
            Err(AskError::Refused(said)) => assert!(said.contains(expected), "{said}"),
            other => panic!("{source:?}: {other:?}"),
        }
    };
    check(report("trafic", &[]), "nothing at this address").await;
    check(report("traffic", &[("by", "colour")]), "colour").await;
    check(report("traffic", &[("colour", "red")]), "colour").await;
    check(report("../keys", &[]), "nothing at this address").await;
    let too_long = "SELECT 1 --".to_owned() + &"x".repeat(api.state.config.sql.max_statement_bytes);
    let sql = SqlSource { sql: too_long, params: serde_json::Map::new(), tables: Vec::new() };
    check(ExportSource::Sql(sql), "bytes").await;
}

#[tokio::test]
async fn a_suspended_account_has_nothing_exported() {
    let (api, _) = filled().await;
    let status = touchline_schemas::control::AccountStatus::Suspended;
    api.state.control.set_account_status(api.account.id, status, start()).await.unwrap();
    let source = report("traffic", &[]);
    let question = Question {
        tenant: tenant(&api),
        source: &source,
        format: ExportFormat::Csv,
        mode: ExportMode::Snapshot,
        range: None,
    };
    let asked = InProcess::new(api.state.clone()).ask(question).await.map(drop);
    assert_eq!(asked, Err(AskError::Failed("the account is suspended".to_owned())));
}
