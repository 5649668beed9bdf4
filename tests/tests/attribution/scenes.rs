//! Single cases: reports, a crash, settings, days that are asked for, limits, failures.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use chrono::{DateTime, NaiveDate};
use futures::TryStreamExt;
use touchline_jobs::RunRequest;
use touchline_lake::Commit;
use touchline_pipeline::reports::{TimeRange, attribution};
use touchline_schemas::control::{AccountSettings, ConversionValue};
use touchline_schemas::tables::Table;
use touchline_schemas::{Environment, Tenant};
use touchline_tests::installation::Installation;
use touchline_tests::logged::tenant;
use touchline_tests::rows::only;

use super::{HOUR_US, Sent, TYPES, begin_us, cell, installation, run_named, store, store_of, sums, tables, units};

fn sent(id: u32, visitor: u8, hours: i64, event_type: &str, source: usize) -> Sent {
    Sent {
        id,
        visitor,
        user: None,
        occurred_at_us: begin_us() + hours * HOUR_US,
        event_type: TYPES.iter().position(|known| *known == event_type).unwrap(),
        source,
        is_bot: false,
    }
}

/// Three visits of one person, the last with a purchase; one visit of another, with a signup.
fn shop() -> Vec<Sent> {
    vec![
        sent(1, 1, 0, "page_view", 2),
        sent(2, 1, 7 * 24, "page_view", 3),
        sent(3, 1, 14 * 24, "purchase", 0),
        sent(4, 2, 15 * 24, "signup", 2),
        sent(5, 0, 16 * 24, "signup", 0),
    ]
}

async fn report(installation: &Installation, tenant: Tenant, params: attribution::Params) -> Vec<String> {
    let answer = attribution::query(&installation.engine, tenant, &params).await.unwrap();
    let batches: Vec<RecordBatch> = answer.batches.try_collect().await.unwrap();
    touchline_tests::rows::texts(&batches).unwrap()
}

fn params(model: &str) -> attribution::Params {
    attribution::Params {
        range: TimeRange::default(),
        model: model.to_owned(),
        order: None,
        by: "utm_source".to_owned(),
        event_type: None,
        lookback_days: None,
        limit: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_of_every_model_sum_to_all_conversions_and_their_value() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = installation(&folder).await;
    store(&mut installation, 1, &shop()).await;
    run_named(&installation, &["identities", "sessions"]).await;
    installation.run_attribution(RunRequest::default()).await.unwrap();
    // The purchase is worth 3 * 1.0007 - 10 = -6.9979; the signups have no value, and the last has no touch.
    for (model, expected) in [
        ("first", ["google 2.0000 -6.9979 2", "∅ 1.0000 ∅ 0", ""]),
        ("last", ["∅ 2.0000 -6.9979 1", "google 1.0000 ∅ 1", ""]),
        ("last_non_direct", ["∅ 1.0000 ∅ 0", "google 1.0000 ∅ 1", "newsletter 1.0000 -6.9979 1"]),
        ("linear", ["∅ 1.3334 -2.3327 1", "google 1.3333 -2.3326 2", "newsletter 0.3333 -2.3326 1"]),
        ("position", ["∅ 1.4000 -2.7991 1", "google 1.4000 -2.7992 2", "newsletter 0.2000 -1.3996 1"]),
        ("time_decay", ["∅ 1.5714 -3.9988 1", "google 1.1429 -0.9997 2", "newsletter 0.2857 -1.9994 1"]),
        ("participation", ["∅ 2.0000 -6.9979 1", "google 2.0000 -6.9979 2", "newsletter 1.0000 -6.9979 1"]),
        ("shapley", ["∅ 1.3334 -2.3327 1", "google 1.3333 -2.3326 2", "newsletter 0.3333 -2.3326 1"]),
        // Half of the walks from google go on to the newsletter and from there to direct: effects 1, 1/2, 1/2.
        ("markov", ["∅ 1.5000 -1.7494 1", "google 1.0000 -3.4990 2", "newsletter 0.5000 -1.7495 1"]),
    ] {
        let found = report(&installation, tenant(), params(model)).await;
        let line =
            |row: &String| ["utm_source", "conversions", "value", "touches"].map(|column| cell(row, column)).join(" ");
        let expected: Vec<_> = expected.into_iter().filter(|row| !row.is_empty()).collect();
        assert_eq!(found.iter().map(line).collect::<Vec<_>>(), expected, "{model}");
        // Computed from journeys it is what is stored.
        let computed = attribution::Params { lookback_days: Some(365), ..params(model) };
        assert_eq!(report(&installation, tenant(), computed).await, found, "{model}");
        // With the look-back of 6 days, only the session of each conversion is left.
        let short = attribution::Params { lookback_days: Some(6), by: "channel".to_owned(), ..params(model) };
        let touches: i64 = report(&installation, tenant(), short)
            .await
            .iter()
            .map(|row| cell(row, "touches").parse::<i64>().unwrap())
            .sum();
        assert_eq!(touches, 2, "{model}");
        let purchases = attribution::Params { event_type: Some("purchase".to_owned()), ..params(model) };
        let credit: i128 =
            report(&installation, tenant(), purchases).await.iter().map(|row| units(cell(row, "conversions"))).sum();
        assert_eq!(credit, if model == "participation" { 30_000 } else { 10_000 }, "{model}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_cut_off_between_the_tables_is_made_good() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = installation(&folder).await;
    store(&mut installation, 1, &shop()[..3]).await;
    run_named(&installation, &["identities", "sessions"]).await;
    installation.run_attribution(RunRequest::default()).await.unwrap();
    let attribution = installation.engine.lake().table(Table::Attribution).clone();
    let before = attribution.snapshot().await.unwrap();
    store(&mut installation, 2, &shop()[3..]).await;
    run_named(&installation, &["identities", "sessions"]).await;
    installation.run_attribution(RunRequest::default()).await.unwrap();
    let expected = tables(&installation, tenant()).await;

    // `attribution` as it was before the second run, with what it said of itself.
    let now = "2026-05-01T00:00:00Z".parse().unwrap();
    let after = attribution.snapshot().await.unwrap();
    let remove = after.files(tenant()).to_vec();
    let info = before.info.clone().unwrap();
    attribution.commit(Commit { remove, info, based_on: after.version, ..Commit::default() }, now).await.unwrap();
    let healed = installation.run_attribution(RunRequest::default()).await.unwrap();
    assert!(!healed.unchanged);
    assert_eq!(tables(&installation, tenant()).await, expected);
    assert!(installation.run_attribution(RunRequest::default()).await.unwrap().unchanged);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_say_what_a_conversion_is_worth_and_which_sessions_count() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = installation(&folder).await;
    let now = "2026-05-01T00:00:00Z".parse().unwrap();
    let account = installation.control.create_account("acme", "Acme", now).await.unwrap();
    let tenant = Tenant { account_id: account.id, environment: Environment::Live };
    store_of(&mut installation, tenant, 1, &shop()).await;
    run_named(&installation, &["identities", "sessions"]).await;
    installation.run_attribution(RunRequest::default()).await.unwrap();

    let check = async |settings: AccountSettings, expected: &[&str]| {
        installation.control.set_account_settings(account.id, &settings, now).await.unwrap();
        installation.run_attribution(RunRequest::default()).await.unwrap();
        let [touchpoints, _] = tables(&installation, tenant).await;
        let found: BTreeSet<String> =
            only(&touchpoints, &["conversion_id", "value", "touch_count"]).into_iter().collect();
        let expected: Vec<String> = expected
            .iter()
            .map(|row| {
                let [id, value, touches] = row.split(' ').collect::<Vec<_>>().try_into().unwrap();
                format!("conversion_id=event-{id} value={value} touch_count={touches}")
            })
            .collect();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
    };
    check(AccountSettings::default(), &["0003 -6.9979 3", "0004 ∅ 1", "0005 ∅ 0"]).await;
    let values = BTreeMap::from([
        ("purchase".to_owned(), ConversionValue::Property("margin".to_owned())),
        ("signup".to_owned(), ConversionValue::Fixed("25".to_owned())),
    ]);
    let worth = AccountSettings { conversion_values: values, ..AccountSettings::default() };
    check(worth, &["0003 0.1000 3", "0004 25.0000 1", "0005 25.0000 0"]).await;
    let purchases = AccountSettings {
        conversion_event_types: Some(vec!["purchase".to_owned()]),
        attribution_lookback_days: Some(7),
        ..AccountSettings::default()
    };
    check(purchases, &["0003 -6.9979 2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn days_that_are_asked_for_are_computed_anew_and_others_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = installation(&folder).await;
    store(&mut installation, 1, &shop()).await;
    run_named(&installation, &["identities", "sessions"]).await;
    installation.run_attribution(RunRequest::default()).await.unwrap();
    let expected = tables(&installation, tenant()).await;
    let table = installation.engine.lake().table(Table::Touchpoints);
    let paths = async || -> BTreeMap<NaiveDate, String> {
        let stored = table.snapshot().await.unwrap();
        stored.files(tenant()).iter().map(|file| (file.date, file.path.clone())).collect()
    };
    let before = paths().await;
    let asked = RunRequest { from: Some("2026-01-16".parse().unwrap()), ..RunRequest::default() };
    installation.run_attribution(asked).await.unwrap();
    let after = paths().await;
    let kept: Vec<String> =
        before.iter().filter(|(day, path)| after.get(day) == Some(path)).map(|(day, _)| day.to_string()).collect();
    assert_eq!(kept, ["2026-01-15"]);
    assert_eq!(after.len(), 3);
    assert_eq!(tables(&installation, tenant()).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn news_that_touch_no_conversion_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = installation(&folder).await;
    store(&mut installation, 1, &shop()).await;
    run_named(&installation, &["identities", "sessions"]).await;
    installation.run_attribution(RunRequest::default()).await.unwrap();
    let expected = tables(&installation, tenant()).await;
    // Somebody who never converted, and a visit after the conversion.
    store(&mut installation, 2, &[sent(6, 3, 24, "page_view", 0), sent(7, 1, 20 * 24, "page_view", 0)]).await;
    run_named(&installation, &["identities", "sessions"]).await;
    let report = installation.run_attribution(RunRequest::default()).await.unwrap();
    assert_eq!((report.unchanged, report.rows_written), (false, 0));
    assert_eq!(tables(&installation, tenant()).await, expected);
}

/// More visits than count, and a purchase in the last of them.
#[tokio::test(flavor = "multi_thread")]
async fn of_too_many_touches_the_last_count() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = installation(&folder).await;
    let visits = (0..1_006_u32).map(|visit| Sent {
        occurred_at_us: begin_us() + i64::from(visit) * 31 * 60_000_000,
        ..sent(visit, 1, 0, if visit < 1_005 { "page_view" } else { "purchase" }, 0)
    });
    store(&mut installation, 1, &visits.collect::<Vec<_>>()).await;
    installation.run_jobs(false).await.unwrap();
    let [touchpoints, attribution] = tables(&installation, tenant()).await;
    assert_eq!(touchpoints.len(), 1_000);
    let first = touchpoints.iter().find(|row| cell(row, "position") == "1").unwrap();
    assert_eq!(cell(first, "session_id"), "event-0006");
    assert_eq!(cell(first, "touch_count"), "1000");
    assert!(sums(&attribution).values().all(|(credit, _)| *credit == 10_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_that_fails_stops_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = installation(&folder).await;
    let other = Tenant { environment: Environment::Test, ..tenant() };
    store(&mut installation, 1, &shop()).await;
    store_of(&mut installation, other, 2, &shop()).await;
    run_named(&installation, &["identities", "sessions"]).await;

    let sessions = installation.engine.lake().table(Table::Sessions).snapshot().await.unwrap();
    let file = folder.path().join("lake").join("sessions").join(&sessions.files(tenant())[0].path);
    let aside = file.with_extension("aside");
    std::fs::rename(&file, &aside).unwrap();
    installation.run_attribution(RunRequest::default()).await.unwrap_err();
    assert!(tables(&installation, tenant()).await.iter().all(Vec::is_empty));
    let of_other = tables(&installation, other).await;
    assert!(of_other.iter().all(|rows| !rows.is_empty()));

    // It is not forgotten, although nothing is new.
    std::fs::rename(&aside, &file).unwrap();
    installation.run_attribution(RunRequest::default()).await.unwrap();
    assert_eq!(tables(&installation, tenant()).await, of_other);
    assert!(installation.run_attribution(RunRequest::default()).await.unwrap().unchanged);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_claims_no_later_time_than_any_source() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = installation(&folder).await;
    store(&mut installation, 1, &shop()).await;
    installation.run_jobs(false).await.unwrap();
    store(&mut installation, 2, &[sent(9, 3, 20 * 24, "purchase", 2)]).await;
    run_named(&installation, &["sessions"]).await;
    let report = installation.run_attribution(RunRequest::default()).await.unwrap();
    let received = |hours: i64| DateTime::from_timestamp_micros(begin_us() + hours * HOUR_US);
    assert_eq!(report.watermark, received(16 * 24));
    run_named(&installation, &["identities"]).await;
    assert_eq!(installation.run_attribution(RunRequest::default()).await.unwrap().watermark, received(20 * 24));
}
