//! What an answer was read from: its tag, and answers as they were.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Request, header};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use touchline_schemas::config::Config;
use touchline_schemas::control::LateEvents;
use touchline_schemas::tables::Table;
use touchline_schemas::{Environment, Tenant};

use super::formats::{REPORTS, filled, filled_with, reports};
use super::rows::commit_rows;
use crate::format::Format;
use crate::test_support::{Answer, TestApi, start};

async fn get_unless(api: &TestApi, address: &str, key: &str, tag: &header::HeaderValue) -> Answer {
    let request = Request::get(address).header(header::AUTHORIZATION, format!("Bearer {key}"));
    api.send(request.header(header::IF_NONE_MATCH, tag).body(Body::empty()).unwrap()).await
}

/// More rows in every table, and in each a newer version. They lie in the week before, within the window of a funnel.
async fn more_rows(api: &TestApi) {
    for table in Table::ALL {
        commit_rows(api, table, start() - TimeDelta::days(5), 31, start() + TimeDelta::hours(1)).await;
    }
}

fn is_of_the_lake(address: &str) -> bool {
    !address.contains("/ingest")
}

#[tokio::test]
async fn the_same_answer_is_sent_once_and_has_the_same_bytes() {
    let (api, key) = filled().await;
    let stranger = api.key_of_another_account("can_view_reports").await;
    let mut tags = BTreeMap::new();
    for report in reports(&api) {
        for format in Format::ALL {
            let address = format!("{report}&format={}", format.word());
            let first = api.get(&address, &key).await;
            let tag = first.headers[header::ETAG].clone();
            assert!(tag.to_str().unwrap().starts_with('"'), "{address}");
            assert_eq!(api.get(&address, &key).await.bytes, first.bytes, "{address}");
            assert_eq!(first.headers["x-bytes-scanned"] != "0", is_of_the_lake(&address), "{address}");

            let again = get_unless(&api, &address, &key, &tag).await;
            assert_eq!((again.status.as_u16(), again.bytes.len()), (304, 0), "{address}");
            for name in ["etag", "cache-control", "vary", "x-lake-version", "x-watermark"] {
                assert_eq!(again.headers.get(name), first.headers.get(name), "{address} {name}");
            }
            if is_of_the_lake(&address) {
                assert_eq!(again.headers["x-bytes-scanned"], "0", "{address}: nothing was computed");
                assert_eq!(first.headers["x-watermark"], "2026-01-01T00:00:00.000000Z");
            }
            let of_stranger = get_unless(&api, &address, &stranger, &tag).await;
            assert_ne!(of_stranger.status, 304, "{address}");
            assert_eq!(tags.insert(tag, address.clone()), None, "{address}");
        }
    }
    more_rows(&api).await;
    for (tag, address) in tags.iter().filter(|(_, address)| is_of_the_lake(address)) {
        let answer = get_unless(&api, address, &key, tag).await;
        assert_eq!(answer.status, 200, "{address}");
        assert_ne!(answer.headers[header::ETAG], *tag, "{address}");
    }
}

#[tokio::test]
async fn a_kept_answer_is_the_one_that_was_computed() {
    let (api, key) = filled_with(Config::default()).await;
    for report in reports(&api) {
        let [first, again] = [api.get(&report, &key).await, api.get(&report, &key).await];
        assert_eq!((first.status.as_u16(), &first.bytes), (200, &again.bytes), "{report}");
        let head = |answer: &Answer| {
            let mut headers = answer.headers.clone();
            for of_the_request in ["x-request-id", "ratelimit"] {
                headers.remove(of_the_request);
            }
            headers
        };
        assert_eq!(head(&first), head(&again), "{report}");
    }
}

#[tokio::test]
async fn late_events_are_told_and_make_another_answer() {
    let (api, key) = filled().await;
    let address = format!("{REPORTS}traffic?from=2025-12-20&to=2026-01-01");
    let before = api.get(&address, &key).await;
    assert_eq!(before.json()["meta"]["late_events"], 0);
    let tenant = Tenant { account_id: api.account.id, environment: Environment::Live };
    let late = |day: &str, events| LateEvents { tenant, day: day.parse().unwrap(), events };
    let rows = [late("2025-12-19", 1), late("2025-12-20", 10), late("2025-12-31", 100), late("2026-01-01", 1_000)];
    api.state.control.record_ingest("late", 1, &[], &rows).await.unwrap();
    let after = api.get(&address, &key).await;
    assert_eq!(after.json()["meta"]["late_events"], 110);
    assert_ne!(after.headers[header::ETAG], before.headers[header::ETAG]);
    assert_eq!(after.json()["data"], before.json()["data"]);
    let as_then = api.get(&format!("{address}&as_of=0"), &key).await;
    assert_eq!(as_then.json()["meta"]["late_events"], Value::Null);
}

#[tokio::test]
async fn a_range_that_moves_with_the_clock_has_another_tag_each_day() {
    let (api, key) = filled().await;
    let address = format!("{REPORTS}traffic");
    let tag = api.get(&address, &key).await.headers[header::ETAG].clone();
    api.clock.advance(TimeDelta::hours(23));
    assert_eq!(get_unless(&api, &address, &key, &tag).await.status, 304);
    api.clock.advance(TimeDelta::hours(1));
    assert_eq!(get_unless(&api, &address, &key, &tag).await.status, 200);
}

#[tokio::test]
async fn an_answer_can_be_had_as_then_known() {
    let (api, key) = filled().await;
    let reports: Vec<String> = reports(&api).into_iter().filter(|address| is_of_the_lake(address)).collect();
    let mut then = Vec::new();
    for address in &reports {
        then.push(api.get(address, &key).await.json());
    }
    let known_at = last_commit(&api).await;
    more_rows(&api).await;
    for (address, then) in reports.iter().zip(&then) {
        let now = api.get(address, &key).await.json();
        assert_ne!(now["data"], then["data"], "{address}");
        let version = &then["meta"]["lake_version"];
        let time = known_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        for as_of in [version.to_string(), time] {
            let answer = api.get(&format!("{address}&as_of={as_of}"), &key).await;
            assert_eq!(answer.status, 200, "{address} {as_of} {}", answer.body);
            assert_eq!(answer.json()["data"], then["data"], "{address} {as_of}");
            // How much came late is known of now only.
            let then_known = serde_json::json!({ "late_events": null });
            let meta = then["meta"].as_object().into_iter().flatten().chain(then_known.as_object().unwrap());
            assert_eq!(
                answer.json()["meta"],
                meta.map(|(name, value)| (name.clone(), value.clone())).collect::<Value>()
            );
            assert_eq!(answer.headers["x-lake-version"], version.to_string().as_str());
        }
    }
}

/// When the newest version of any table was committed.
async fn last_commit(api: &TestApi) -> DateTime<Utc> {
    let mut last = DateTime::UNIX_EPOCH;
    for table in Table::ALL {
        let table = api.state.engine.lake().table(table);
        let version = table.refresh().await.unwrap();
        last = last.max(table.committed_at(version).await.unwrap().unwrap());
    }
    last
}

#[tokio::test]
async fn a_state_that_the_lake_does_not_have_is_told_from_one_that_it_does_not_keep() {
    let (api, key) = filled().await;
    more_rows(&api).await;
    let check = async |as_of: &str, status: u16, code: &str| {
        let answer = api.get(&format!("{REPORTS}sessions?from=2025-12-01&as_of={as_of}"), &key).await;
        let found = if answer.status == 200 { String::new() } else { answer.code() };
        assert_eq!((answer.status.as_u16(), found.as_str()), (status, code), "{as_of} {}", answer.body);
    };
    check("1", 200, "").await;
    check("3", 404, "no_such_version").await;
    check("1990-01-01", 404, "no_such_version").await;
    check("9999-01-01", 200, "").await;

    // A file of the older version is replaced, and later deleted.
    let table = api.state.engine.lake().table(Table::Sessions);
    let tenant =
        touchline_schemas::Tenant { account_id: api.account.id, environment: touchline_schemas::Environment::Live };
    let old = table.snapshot_at(1).await.unwrap().files(tenant).to_vec();
    let path = old[0].path.clone();
    let commit = touchline_lake::Commit { remove: old, based_on: 2, ..touchline_lake::Commit::default() };
    table.commit(commit, start()).await.unwrap();
    check("1", 200, "").await;
    table.delete_files(&[path]).await.unwrap();
    check("1", 410, "version_gone").await;
    check("2", 410, "version_gone").await;
    check("3", 200, "").await;

    // Entries of the log that are older than it keeps are gone.
    let at_first = table.committed_at(0).await.unwrap().unwrap();
    table.expire_log("2999-01-01T00:00:00Z".parse().unwrap(), start()).await.unwrap();
    check("0", 410, "version_gone").await;
    check(&at_first.to_rfc3339_opts(chrono::SecondsFormat::Micros, true), 410, "version_gone").await;
    check("3", 200, "").await;
}

#[tokio::test]
async fn what_is_not_read_from_the_lake_has_no_earlier_state() {
    let (api, key) = filled().await;
    let answer = api.get(&format!("{REPORTS}ingest?as_of=1"), &key).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "invalid_parameter"));
    assert_eq!(answer.json()["errors"][0]["parameter"], "as_of");
}

/// Rows by their first column.
async fn rows(api: &TestApi, key: &str, query: &str) -> BTreeMap<String, BTreeMap<String, Value>> {
    let answer = api.get(&format!("{REPORTS}traffic?{query}"), key).await;
    assert_eq!(answer.status, 200, "{query} {}", answer.body);
    let by = query.split('&').find_map(|pair| pair.strip_prefix("by=")).unwrap();
    let rows: Vec<BTreeMap<String, Value>> = serde_json::from_value(answer.json()["data"].clone()).unwrap();
    rows.into_iter().map(|mut row| (row.remove(by).unwrap().to_string(), row)).collect()
}

#[tokio::test]
async fn days_are_those_of_the_time_zone() {
    let (api, key) = filled().await;
    // Sessions began each half hour from midnight to noon.
    for (query, expected) in [
        ("by=day", &[("\"2025-12-31\"", 24)][..]),
        ("by=day&tz=Pacific/Kiritimati", &[("\"2025-12-31\"", 20), ("\"2026-01-01\"", 4)]),
        ("by=day&tz=America/New_York", &[("\"2025-12-30\"", 10), ("\"2025-12-31\"", 14)]),
    ] {
        let found = rows(&api, &key, query).await;
        let found: Vec<_> = found.iter().map(|(day, row)| (day.as_str(), row["sessions"].as_i64().unwrap())).collect();
        assert_eq!(found, expected, "{query}");
    }
    assert_eq!(api.get(&format!("{REPORTS}traffic?tz=Mars"), &key).await.code(), "invalid_parameter");
}

#[tokio::test]
async fn the_range_before_stands_beside() {
    let (api, key) = filled().await;
    commit_rows(&api, Table::Sessions, start() - TimeDelta::days(2), 30, start()).await;
    // Eight hours of the last day, and the eight before.
    let (now, before) = ("from=2025-12-31&to=2025-12-31T08:00:00Z", "from=2025-12-30T16:00:00Z&to=2025-12-31");
    commit_rows(&api, Table::Sessions, start() - TimeDelta::hours(32) + TimeDelta::minutes(1), 7, start()).await;
    for by in ["channel", "exit_page", "utm_source"] {
        let compared = rows(&api, &key, &format!("by={by}&{now}&compare=previous")).await;
        let parts =
            [rows(&api, &key, &format!("by={by}&{now}")).await, rows(&api, &key, &format!("by={by}&{before}")).await];
        assert_eq!(
            compared.len(),
            parts[0].keys().chain(parts[1].keys()).collect::<std::collections::BTreeSet<_>>().len()
        );
        assert!(!parts[1].is_empty());
        for (value, row) in &compared {
            for (column, cell) in row {
                let (part, column) = match column.strip_prefix("previous_") {
                    Some(column) => (&parts[1], column),
                    None => (&parts[0], column.as_str()),
                };
                let nothing = if column == "revenue" { Value::Null } else { 0.into() };
                let expected = part.get(value).map_or(&nothing, |row| &row[column]);
                assert_eq!(cell, expected, "{by} {value} {column}");
            }
        }
    }
    let days = rows(&api, &key, "by=day&from=2025-12-31&to=2026-01-01&compare=previous").await;
    let sizes = |row: &BTreeMap<String, Value>| [row["sessions"].clone(), row["previous_sessions"].clone()];
    let days: Vec<_> = days.iter().map(|(day, row)| (day.as_str(), sizes(row))).collect();
    assert_eq!(days, [("\"2025-12-31\"", [24.into(), 37.into()])]);
    for wrong in ["compare=previous", "compare=last&to=2026-01-01"] {
        assert_eq!(api.get(&format!("{REPORTS}traffic?{wrong}"), &key).await.code(), "invalid_parameter", "{wrong}");
    }
}
