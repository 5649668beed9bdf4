//! Rows in numbered pages, in the form that others give them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::formats::filled;

/// The members of a row, as clients know them.
const CONVERSION: [&str; 20] = [
    "date",
    "type",
    "name",
    "funnel",
    "attribution_model",
    "algorithm",
    "channel",
    "credit",
    "revenue",
    "revenue_credit",
    "currency",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "is_acquisition",
    "properties",
    "journey_position",
    "touchpoint_index",
    "journey_length",
    "days_to_conversion",
];
const FUNNEL: [&str; 12] = [
    "date",
    "type",
    "name",
    "funnel",
    "channel",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "revenue",
    "currency",
    "is_acquisition",
    "properties",
];

fn names(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_page_has_the_form_that_clients_know() {
    let (api, key) = filled().await;
    for (path, members) in [("conversions", &CONVERSION[..]), ("funnel", &FUNNEL[..])] {
        let range = "start_date=2025-12-01&end_date=2026-01-01";
        let all = api.get(&format!("/api/v1/data/{path}?{range}"), &key).await.json();
        assert_eq!(names(&all), BTreeSet::from(["data", "meta"]));
        let count = all["data"].as_array().unwrap().len();
        assert!(count > 20, "{path}: {count}");
        for row in all["data"].as_array().unwrap() {
            assert_eq!(names(row), members.iter().copied().collect(), "{path}");
        }
        assert_eq!(all["meta"], json!({"total_count": count, "page": 1, "per_page": 100, "total_pages": 1}));

        let answer = api.get(&format!("/api/v1/data/{path}?{range}&page=2&per_page=10"), &key).await;
        assert!(answer.headers.contains_key("x-lake-version"));
        let page = answer.json();
        assert_eq!(page["data"].as_array().unwrap()[..], all["data"].as_array().unwrap()[10..20]);
        let pages = count.div_ceil(10);
        assert_eq!(page["meta"], json!({"total_count": count, "page": 2, "per_page": 10, "total_pages": pages}));
        let behind = api.get(&format!("/api/v1/data/{path}?{range}&page=1000000&per_page=1000"), &key).await.json();
        assert_eq!((&behind["data"], &behind["meta"]["total_count"]), (&json!([]), &json!(count)));
        let nothing = api.get(&format!("/api/v1/data/{path}?end_date=2020-01-01"), &key).await.json();
        assert_eq!(nothing["meta"], json!({"total_count": 0, "page": 1, "per_page": 100, "total_pages": 0}));
    }
}

#[tokio::test]
async fn nobody_sees_the_rows_of_another_account() {
    let (api, _) = filled().await;
    let other = api.key_of_another_account("can_view_reports").await;
    for path in ["conversions", "funnel"] {
        let answer = api.get(&format!("/api/v1/data/{path}?start_date=2025-12-01"), &other).await.json();
        assert_eq!((&answer["data"], &answer["meta"]["total_count"]), (&json!([]), &json!(0)), "{path}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_page_is_said_with_the_limit() {
    let (api, key) = filled().await;
    for (address, part) in [
        ("conversions?per_page=5000", "1 to 1000"),
        ("conversions?model=markov", "time_decay"),
        ("funnel?model=linear", "unknown_parameter"),
        ("funnel?start_date=2020-01-01", "365 days"),
    ] {
        let answer = api.get(&format!("/api/v1/data/{address}"), &key).await;
        assert_eq!(answer.status, 400, "{address}");
        assert!(answer.body.contains(part), "{address} {}", answer.body);
    }
}
