use axum::body::to_bytes;
use axum::http::Uri;
use chrono::DateTime;
use touchline_pipeline::AnswerMeta;

use super::*;
use crate::format::tests::every_kind;
use crate::report::Cursor;
use crate::report::params::{Parameter, ReportQuery};

fn asked(address: &'static str, headers: &HeaderMap) -> Result<Asked, ApiError> {
    let now = DateTime::from_timestamp(1_767_225_600, 0).unwrap();
    Asked::parse(&Uri::from_static(address), headers, &[Parameter::Limit, Parameter::Cursor], 100, now, "")
}

fn meta(query: &ReportQuery) -> Meta {
    let answer = AnswerMeta {
        lake_version: 7,
        source_version: Some(9),
        watermark: DateTime::from_timestamp(1_767_225_600, 0),
        definition: "sessions/1",
        is_of_last_plan: true,
    };
    Meta::of(&answer, query)
}

async fn text(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap()
}

#[test]
fn format_parameter_beats_suffix_beats_accept() {
    for (address, accept, expected) in [
        ("/r", "text/csv", Some(Format::Csv)),
        ("/r.json", "text/csv", Some(Format::Json)),
        ("/r.json?format=csv", "application/json", Some(Format::Csv)),
        ("/r?format=json", "image/png", Some(Format::Json)),
        ("/r", "image/png", None),
        ("/r.parquet", "text/csv", Some(Format::Parquet)),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        let chosen = asked(address, &headers).ok().map(|asked| asked.delivery.format);
        assert_eq!(chosen, expected, "{address} {accept}");
    }
}

#[test]
fn beside_a_body_the_address_says_only_how_the_answer_looks() {
    for (query, expected) in [
        ("", Ok(Format::Json)),
        ("format=csv&bom=1&raw=1", Ok(Format::Csv)),
        ("as_of=7", Err("as_of unknown_parameter")),
        ("from=yesterday&format=csv&limit=1", Err("from unknown_parameter, limit unknown_parameter")),
        ("format=xml", Err("format invalid_value")),
        ("raw=1&raw=1", Err("raw repeated")),
    ] {
        let uri: Uri = format!("/sql?{query}").parse().unwrap();
        let asked = Asked::in_body(None, &uri, &HeaderMap::new(), DateTime::UNIX_EPOCH);
        let told = asked.map(|asked| asked.delivery.format).map_err(|error| match error {
            ApiError::Query(items) => {
                let said = |item: ProblemItem| format!("{} {}", item.parameter.unwrap_or_default(), item.code);
                items.into_iter().map(said).collect::<Vec<_>>().join(", ")
            }
            other => panic!("{other}"),
        });
        assert_eq!(told, expected.map_err(str::to_owned), "{query}");
    }
}

#[tokio::test]
async fn a_page_is_an_envelope_with_a_link_to_the_next() {
    let asked = asked("/r?limit=2&from=2025-12-01", &HeaderMap::new()).unwrap();
    let cursor = Cursor { at: DateTime::UNIX_EPOCH, id: "s1".to_owned() };
    let held = Page { batches: vec![every_kind()], next: Some(cursor.clone()) };
    let response = page(&asked, &every_kind().schema(), held, &meta(&asked.query)).unwrap();

    let next = format!("/r?limit=2&from=2025-12-01T00%3A00%3A00.000000Z&cursor={}", cursor.encode());
    assert_eq!(response.headers()[header::LINK], format!("<{next}>; rel=\"next\"").as_str());
    assert_eq!(response.headers()[X_LAKE_VERSION], "7");
    assert_eq!(response.headers()[X_WATERMARK], "2026-01-01T00:00:00.000000Z");
    let body: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(body["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(body["meta"]["lake_version"], 7);
    assert_eq!(body["meta"]["definition"], "sessions/1");
    assert_eq!(body["meta"]["late_events"], serde_json::Value::Null);
    assert_eq!(body["links"]["next"], next);
}

#[test]
fn a_range_is_complete_when_the_watermark_reaches_its_end() {
    for (range, expected) in [
        ("to=2025-12-31", true),
        ("to=2026-01-01", true),
        ("to=2026-01-01T00:00:00.000001Z", false),
        ("from=2025-12-01", false),
    ] {
        let uri: Uri = format!("/r?{range}").parse().unwrap();
        let asked = Asked::parse(&uri, &HeaderMap::new(), &[], 100, DateTime::UNIX_EPOCH, "");
        assert_eq!(meta(&asked.unwrap().query).complete, expected, "{range}");
    }
}

#[tokio::test]
async fn what_the_caller_has_is_not_sent_again() {
    let address = "/r?from=2025-12-01";
    let answer = async |headers: &HeaderMap, fact: u8| {
        let asked = asked(address, headers).unwrap();
        let rows = stream::iter([Ok::<_, std::io::Error>(every_kind())]);
        let meta = Meta::without_lake("r/1", &asked.query).made_of(fact);
        all(&asked, &every_kind().schema(), rows, &meta).await.unwrap()
    };
    let first = answer(&HeaderMap::new(), 1).await;
    let mut headers = HeaderMap::new();
    headers.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
    let again = answer(&headers, 1).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(again.headers()[header::ETAG], first.headers()[header::ETAG]);
    assert_eq!(text(again).await, "");
    assert_eq!(answer(&headers, 2).await.status(), StatusCode::OK);
    headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("*"));
    assert_eq!(answer(&headers, 3).await.status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn a_report_without_earlier_states_says_so() {
    let asked = asked("/r?as_of=7", &HeaderMap::new()).unwrap();
    let rows = stream::iter([Ok::<_, std::io::Error>(every_kind())]);
    let meta = Meta::without_lake("r/1", &asked.query);
    let refused = all(&asked, &every_kind().schema(), rows, &meta).await.unwrap_err();
    assert!(matches!(refused, ApiError::Query(_)));
}

#[tokio::test]
async fn no_rows_are_still_a_document() {
    for (address, expected) in
        [("/r?format=csv", "text,count,flag,share,at,day,revenue\r\n"), ("/r", r#"{"data":[],"meta":{"#)]
    {
        let asked = asked(address, &HeaderMap::new()).unwrap();
        let nothing = stream::iter(Vec::<Result<RecordBatch, std::io::Error>>::new());
        let response = all(&asked, &every_kind().schema(), nothing, &meta(&asked.query)).await.unwrap();
        assert!(text(response).await.starts_with(expected));
    }
}

#[tokio::test]
async fn a_query_that_fails_at_once_is_an_error_and_not_a_body() {
    let asked = asked("/r", &HeaderMap::new()).unwrap();
    let failing = stream::iter([Err::<RecordBatch, _>(std::io::Error::other("disk"))]);
    assert!(all(&asked, &every_kind().schema(), failing, &meta(&asked.query)).await.is_err());
}
