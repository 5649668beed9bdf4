//! Exports: what is created, shown, changed and deleted, and the runs that are asked for.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};
use touchline_schemas::config::Config;
use touchline_schemas::control::ExportRunId;

use crate::test_support::{Answer, TestApi, start};

const PATH: &str = "/api/v1/exports";
/// What whoever defines exports needs.
const EDITOR: &str = "can_view_reports,can_manage_settings";

fn definition(name: &str) -> Value {
    json!({
        "name": name,
        "source": {"report": "traffic", "params": {"by": "channel"}},
        "format": "parquet",
        "last_days": 7,
        "schedule": {"cron": "0 0 6 * * *", "time_zone": "Europe/Vienna"},
        "destination": "file:sales",
        "webhook": "https://hooks.example/x",
    })
}

async fn change(api: &TestApi, key: &str, path: &str, body: Value) -> Answer {
    let request = Request::builder().method(Method::PATCH).uri(path).header("authorization", format!("Bearer {key}"));
    api.send(request.body(Body::from(body.to_string())).unwrap()).await
}

async fn delete(api: &TestApi, key: &str, path: &str) -> Answer {
    let request = Request::builder().method(Method::DELETE).uri(path).header("authorization", format!("Bearer {key}"));
    api.send(request.body(Body::empty()).unwrap()).await
}

async fn create(api: &TestApi, key: &str, definition: &Value) -> Value {
    let created = api.post(PATH, key, definition.to_string()).await;
    assert_eq!(created.status, 201, "{}", created.body);
    created.json()
}

fn path_of(export: &Value) -> String {
    format!("{PATH}/{}", export["export_id"].as_str().unwrap())
}

#[tokio::test]
async fn an_export_is_shown_as_it_was_defined_and_its_secret_once() {
    let api = TestApi::new().await;
    let key = api.key(EDITOR).await;
    let answer = api.post(PATH, &key, definition("daily").to_string()).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    let created = answer.json();
    let secret = created["signing_secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && secret.len() == 50, "{secret}");
    for (name, value) in definition("daily").as_object().unwrap() {
        assert_eq!(&created[name], value, "{name}");
    }
    for (name, value) in [
        ("account_id", json!(api.account.id)),
        ("environment", json!("live")),
        ("mode", json!("snapshot")),
        ("path", json!("{name}/{date}/{run_id}")),
        ("is_paused", json!(false)),
        ("created_at", json!("2026-01-01T00:00:00.000000Z")),
        ("next_run_at", json!("2026-01-01T05:00:00.000000Z")),
        ("last_run", Value::Null),
    ] {
        assert_eq!(created[name], value, "{name}");
    }

    let shown = api.get(&path_of(&created), &key).await;
    let mut expected = created.clone();
    expected.as_object_mut().unwrap().remove("signing_secret");
    assert_eq!(shown.json(), expected);
    let listed = api.get(PATH, &key).await;
    assert_eq!(listed.json()["data"], json!([expected]));
    let audit = api.get("/api/v1/audit", &key).await;
    for answer in [&shown, &listed, &audit] {
        assert!(!answer.body.contains(secret) && !answer.body.contains("whsec_"), "{}", answer.body);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_definition_is_said_at_once() {
    let api = TestApi::new().await;
    let key = api.key(EDITOR).await;
    let least = json!({"name": "a", "source": {"report": "traffic"}, "format": "csv", "destination": "file:a"});
    create(&api, &key, &least).await;
    for (changes, status, code, pointers) in [
        (json!({}), 409, "name_taken", vec!["/name"]),
        (json!({"name": null, "format": "xls", "color": 1}), 422, "invalid", vec!["/name", "/format", "/color"]),
        (json!({"name": "b", "destination": "file:../x"}), 422, "invalid", vec!["/destination"]),
        (json!({"name": "b", "path": "{name}"}), 422, "invalid", vec!["/path"]),
        (json!({"name": "b", "schedule": {"cron": "0 0 0 30 2 *"}}), 422, "invalid", vec!["/schedule"]),
        (json!({"name": "b", "schedule": {"cron": "0 6 * *"}}), 422, "invalid", vec!["/schedule"]),
        (
            json!({"name": "b", "schedule": {"cron": "0 0 6 * * *", "time_zone": "Mars/Base"}}),
            422,
            "invalid",
            vec!["/schedule/time_zone"],
        ),
        (json!({"name": "b", "webhook": "http://hooks.example/"}), 422, "invalid", vec!["/webhook"]),
        (json!({"name": "b", "environment": "prod"}), 422, "invalid", vec!["/environment"]),
        (
            json!({"name": "B", "source": {"report": "traffic", "params": {"format": "csv"}}}),
            422,
            "invalid",
            vec!["/name", "/source/params/format"],
        ),
    ] {
        let mut body = least.clone();
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let refused = api.post(PATH, &key, body.to_string()).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (status, code), "{changes}: {}", refused.body);
        let refused = refused.json();
        let told: Vec<&str> =
            refused["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        assert_eq!(told, pointers, "{changes}");
    }
    assert_eq!(api.get(PATH, &key).await.json()["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_export_is_changed_field_by_field_or_not_at_all() {
    let api = TestApi::new().await;
    let key = api.key(EDITOR).await;
    let export = create(&api, &key, &definition("daily")).await;
    let path = path_of(&export);
    api.clock.advance(chrono::TimeDelta::hours(1));
    let body = json!({"is_paused": true, "webhook": null, "schedule": {"time_zone": "UTC"}});
    let changed = change(&api, &key, &path, body).await.json();
    let schedule = json!({"cron": "0 0 6 * * *", "time_zone": "UTC"});
    assert_eq!((&changed["schedule"], &changed["webhook"]), (&schedule, &Value::Null));
    assert_eq!((&changed["next_run_at"], &changed["is_paused"]), (&Value::Null, &json!(true)));
    assert_eq!(changed["updated_at"], "2026-01-01T01:00:00.000000Z");
    assert_eq!((&changed["name"], &changed["key_id"]), (&export["name"], &export["key_id"]));

    let refused = change(&api, &key, &path, json!({"is_paused": false, "last_days": 0, "name": null})).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
    assert_eq!(api.get(&path, &key).await.json(), changed);
    let source = json!({"report": "utm"});
    let changed = change(&api, &key, &path, json!({"source": source, "is_paused": false})).await.json();
    assert_eq!((&changed["source"], &changed["next_run_at"]), (&source, &json!("2026-01-01T06:00:00.000000Z")));
    assert_eq!(change(&api, &key, &path, json!({"environment": "test"})).await.status, 422);
    let unknown = change(&api, &key, &path, json!({"source": {"report": "utm", "params": {"by": "colour"}}})).await;
    let errors = unknown.json()["errors"].clone();
    assert_eq!((&errors[0]["pointer"], &errors[0]["code"]), (&json!("/source"), &json!("refused_question")));
    assert_eq!(api.get(&path, &key).await.json()["source"], source);
}

#[tokio::test]
async fn one_run_waits_at_a_time_and_the_history_comes_in_pages() {
    let api = TestApi::new().await;
    let key = api.key(EDITOR).await;
    let export = create(&api, &key, &definition("daily")).await;
    let path = path_of(&export);
    let run = async || api.post(&format!("{path}/run"), &key, "").await;
    let mut runs = Vec::new();
    for number in 0..3 {
        let queued = run().await;
        assert_eq!((queued.status.as_u16(), &queued.json()["state"]), (202, &json!("queued")), "{}", queued.body);
        assert_eq!((&queued.json()["trigger"], &queued.json()["attempt"]), (&json!("manual"), &json!(0)));
        assert_eq!(run().await.code(), "export_busy", "{number}");
        let id = ExportRunId(queued.json()["run_id"].as_i64().unwrap());
        let begun = api.state.control.begin_export_run(id, "file:sales/x", start()).await.unwrap();
        assert_eq!(run().await.code(), "export_busy", "{number}");
        api.state.control.fail_export_run(&begun, "no space", None, start()).await.unwrap();
        runs.push(id.0);
    }
    let page = api.get(&format!("{path}/runs?limit=2"), &key).await.json();
    assert_eq!((&page["data"][0]["run_id"], &page["data"][1]["run_id"]), (&json!(runs[2]), &json!(runs[1])));
    let newest = &page["data"][0];
    assert_eq!((&newest["state"], &newest["error"]), (&json!("failed"), &json!("no space")));
    assert_eq!((&newest["folder"], &newest["sequence"]), (&json!("file:sales/x"), &Value::Null));
    assert_eq!(newest["webhook_state"], "pending");
    let rest = api.get(page["links"]["next"].as_str().unwrap(), &key).await.json();
    assert_eq!((&rest["data"][0]["run_id"], &rest["links"]["next"]), (&json!(runs[0]), &Value::Null));
    assert_eq!(&api.get(&path, &key).await.json()["last_run"], newest);
    for (body, status) in [(r#"{"full":true}"#, 422), ("[]", 400), ("{}", 202)] {
        assert_eq!(api.post(&format!("{path}/run"), &key, body).await.status, status, "{body}");
    }
}

#[tokio::test]
async fn a_secret_is_rotated_under_a_new_key_id() {
    let api = TestApi::new().await;
    let key = api.key(EDITOR).await;
    let export = create(&api, &key, &definition("daily")).await;
    let rotated = api.post(&format!("{}/secret", path_of(&export)), &key, "").await;
    assert_eq!(rotated.headers["cache-control"], "no-store");
    let rotated = rotated.json();
    assert_ne!(rotated["signing_secret"], export["signing_secret"]);
    assert_ne!(rotated["key_id"], export["key_id"]);
    assert_eq!(api.get(&path_of(&export), &key).await.json()["key_id"], rotated["key_id"]);
    let audit = api.get("/api/v1/audit?limit=1", &key).await;
    assert_eq!(audit.json()["data"][0]["action"], "export.rotate_key");
    assert!(!audit.body.contains("whsec_"), "{}", audit.body);
}

#[tokio::test]
async fn what_is_deleted_is_gone_and_its_name_free() {
    let api = TestApi::new().await;
    let key = api.key(EDITOR).await;
    let export = create(&api, &key, &definition("daily")).await;
    let path = path_of(&export);
    let deleted = delete(&api, &key, &path).await.json();
    assert_eq!((&deleted["name"], &deleted["next_run_at"]), (&json!("daily"), &Value::Null));
    for address in [&path, &format!("{path}/runs")] {
        assert_eq!(api.get(address, &key).await.status, 404, "{address}");
    }
    assert_eq!(api.post(&format!("{path}/run"), &key, "").await.status, 404);
    assert_eq!(delete(&api, &key, &path).await.status, 404);
    assert_eq!(api.get(PATH, &key).await.json()["data"], json!([]));
    create(&api, &key, &definition("daily")).await;
}

#[tokio::test]
async fn exports_of_the_other_environment_are_not_there() {
    let api = TestApi::new().await;
    let (key, admin) = (api.key(EDITOR).await, api.key("admin").await);
    let mut test = definition("daily");
    test["environment"] = json!("test");
    assert_eq!(api.post(PATH, &key, test.to_string()).await.code(), "missing_scope");
    let export = create(&api, &admin, &test).await;
    assert_eq!(export["environment"], "test");
    create(&api, &key, &definition("daily")).await;
    assert_eq!(api.get(&path_of(&export), &key).await.status, 404);
    assert_eq!(api.get(&path_of(&export), &admin).await.status, 200);
    let count = async |key: &str| api.get(PATH, key).await.json()["data"].as_array().unwrap().len();
    assert_eq!((count(&key).await, count(&admin).await), (1, 2));
}

#[tokio::test]
async fn an_account_has_as_many_exports_as_the_operator_allows() {
    let mut config = Config::default();
    config.exports.max_exports = 1;
    let api = TestApi::with(config).await;
    let key = api.key(EDITOR).await;
    create(&api, &key, &definition("a")).await;
    let refused = api.post(PATH, &key, definition("b").to_string()).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (409, "too_many_exports"));
    assert!(refused.body.contains("exports.max_exports"), "{}", refused.body);
}
