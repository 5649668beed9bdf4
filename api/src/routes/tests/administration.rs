//! Keys, settings, users, exports, accounts, jobs, and who changed what.

use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};
use touchline_schemas::control::{KeyKind, NewKey, NewUser, Password, PasswordHash, Role};
use touchline_schemas::{AccountId, Environment, Tenant};
use uuid::Uuid;

use crate::test_support::{Answer, TestApi, start};

/// An id that nothing has.
pub const NOBODY: &str = "00000000-0000-7000-8000-000000000000";
/// A user as it is asked for.
const USER: &str = r#"{"email":"ada@mail.example","role":"analyst","password":"correct horse battery"}"#;

pub async fn send(api: &TestApi, method: &Method, address: &str, key: Option<&str>, body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(address).header("x-request-id", "same");
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    api.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

/// Another account, and a key of it that may ingest.
async fn other_account(api: &TestApi, slug: &str) -> (AccountId, String) {
    let account_id = api.state.control.create_account(slug, slug, start()).await.unwrap().id;
    (account_id, key_id(api, account_id, "ingest").await)
}

/// The id of a new analyst of an account, whose password nobody has.
pub async fn user_id(api: &TestApi, account_id: AccountId) -> String {
    let new = NewUser { account_id, email: format!("{}@mail.example", Uuid::new_v4().simple()), role: Role::Analyst };
    let control = &api.state.control;
    control.create_user(new, HASH.clone(), start()).await.unwrap().id.to_string()
}

/// The id of a new live export of an account.
pub async fn export_id(api: &TestApi, account_id: AccountId) -> String {
    let name = Uuid::new_v4().simple().to_string();
    let source = json!({"report": "traffic"});
    let definition = json!({"name": name, "source": source, "format": "csv", "destination": "file:a"});
    let definition = serde_json::from_value(definition).unwrap();
    let tenant = Tenant { account_id, environment: Environment::Live };
    let created = api.state.control.create_export(tenant, &definition, 1_000, [7; 32], start()).await;
    created.unwrap().0.id.to_string()
}

/// Made once: hashing takes its time.
static HASH: LazyLock<PasswordHash> =
    LazyLock::new(|| Password::new("correct horse battery".to_owned()).unwrap().hash([7; 16]).unwrap());

/// The id of a new live key of an account.
pub async fn key_id(api: &TestApi, account_id: AccountId, scopes: &str) -> String {
    let scopes = scopes.parse().unwrap();
    let (environment, kind) = (Environment::Live, KeyKind::Secret);
    let new = NewKey { account_id, environment, kind, scopes, name: None };
    let random = Uuid::new_v4().into_bytes();
    api.state.control.create_key(new, random, start()).await.unwrap().0.id.to_string()
}

#[tokio::test]
async fn an_administrator_may_name_any_account_that_there_is() {
    let api = TestApi::new().await;
    let key = api.key("admin").await;
    let (other, _) = other_account(&api, "other").await;
    let path = format!("/api/v1/keys?account_id={other}");
    let created = api.post(&path, &key, r#"{"scopes":["can_view_reports"],"environment":"test"}"#).await;
    assert_eq!(created.status, 201, "{}", created.body);
    assert_eq!(created.json()["account_id"], other.to_string());
    let listed = api.get(&path, &key).await.json();
    // Both were made at one instant, so that either may be the first.
    let keys = listed["data"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    assert!(keys.iter().any(|key| key["key_id"] == created.json()["key_id"]), "{listed}");
    for id in [NOBODY, "nonsense"] {
        assert_eq!(api.get(&format!("/api/v1/keys?account_id={id}"), &key).await.status, 404);
    }
    for id in [NOBODY, "nonsense"] {
        for action in ["suspend", "resume"] {
            assert_eq!(api.post(&format!("/api/v1/accounts/{id}/{action}"), &key, "").await.status, 404);
        }
    }
}

#[tokio::test]
async fn a_key_is_shown_once_and_then_only_by_what_it_may_do() {
    let api = TestApi::new().await;
    let key = api.key("can_manage_settings,can_view_reports").await;
    let created = api.post("/api/v1/keys", &key, r#"{"scopes":["can_view_reports"],"name":" dashboard "}"#).await;
    assert_eq!((created.status.as_u16(), &created.headers["cache-control"]), (201, &"no-store".parse().unwrap()));
    let created = created.json();
    let secret = created["key"].as_str().unwrap();
    assert!(secret.starts_with("sk_live_") && secret.starts_with(created["prefix"].as_str().unwrap()));
    assert_eq!((&created["name"], &created["environment"]), (&json!("dashboard"), &json!("live")));
    assert_eq!(api.get("/api/v1/reports/ingest", secret).await.status, 200);
    assert_eq!(api.get("/api/v1/keys", secret).await.status, 403);
    for address in ["/api/v1/keys", "/api/v1/audit"] {
        let listed = api.get(address, &key).await;
        assert!(listed.body.contains("dashboard") && !listed.body.contains(secret), "{}", listed.body);
        assert!(!listed.body.contains("digest"));
    }
}

#[tokio::test]
async fn a_key_grants_nothing_that_it_has_not() {
    let api = TestApi::new().await;
    let key = api.key("can_manage_settings").await;
    let admin = api.key("admin").await;
    for (body, by_key, by_admin) in [
        (r#"{"scopes":["can_manage_settings"]}"#, 201, 201),
        (r#"{"scopes":["ingest"]}"#, 403, 201),
        (r#"{"scopes":["can_manage_settings","admin"]}"#, 403, 201),
        (r#"{"scopes":["can_manage_settings"],"environment":"test"}"#, 403, 201),
        (r#"{"scopes":["ingest"],"kind":"publishable"}"#, 403, 201),
        (r#"{"scopes":["can_manage_settings"],"kind":"publishable"}"#, 422, 422),
    ] {
        assert_eq!(api.post("/api/v1/keys", &key, body).await.status, by_key, "{body}");
        assert_eq!(api.post("/api/v1/keys", &admin, body).await.status, by_admin, "{body}");
    }
    // Whoever rotates a key holds it then.
    for scopes in ["admin", "can_view_reports", "can_manage_settings,ingest"] {
        let target = key_id(&api, api.account.id, scopes).await;
        for action in ["rotate", "revoke"] {
            let path = format!("/api/v1/keys/{target}/{action}");
            assert_eq!(api.post(&path, &key, "").await.code(), "missing_scope", "{scopes} {action}");
        }
        assert_eq!(api.post(&format!("/api/v1/keys/{target}/revoke"), &admin, "").await.status, 200);
    }
}

#[tokio::test]
async fn keys_of_the_other_environment_are_not_there() {
    let api = TestApi::new().await;
    let (key, admin) = (api.key("can_manage_settings").await, api.key("admin").await);
    let body = r#"{"scopes":["can_manage_settings"],"environment":"test"}"#;
    let test = api.post("/api/v1/keys", &admin, body).await.json();
    let id = test["key_id"].as_str().unwrap();
    let seen = api.get("/api/v1/keys", &key).await;
    assert!(!seen.body.contains(id));
    assert!(api.get("/api/v1/keys", &admin).await.body.contains(id));
    for action in ["rotate", "revoke"] {
        assert_eq!(api.post(&format!("/api/v1/keys/{id}/{action}"), &key, "").await.status, 404);
    }
    assert_eq!(
        api.get("/api/v1/keys", test["key"].as_str().unwrap()).await.json()["data"].as_array().unwrap().len(),
        1
    );
}

#[tokio::test]
async fn rotation_and_revocation_are_felt_at_once() {
    let api = TestApi::new().await;
    let admin = api.key("admin").await;
    let created = api.post("/api/v1/keys", &admin, r#"{"scopes":["ingest"]}"#).await.json();
    let (id, first) = (created["key_id"].as_str().unwrap(), created["key"].as_str().unwrap());
    let status = async |key: &str| api.get("/api/v1/validate", key).await.status.as_u16();
    assert_eq!(status(first).await, 200);

    let rotate = format!("/api/v1/keys/{id}/rotate");
    let rotated = api.post(&rotate, &admin, r#"{"grace_s":60}"#).await.json();
    let second = rotated["key"].as_str().unwrap();
    assert_eq!((&rotated["key_id"], &rotated["previous_until"]), (&json!(id), &json!("2026-01-01T00:01:00.000000Z")));
    assert_eq!((status(first).await, status(second).await), (200, 200));
    api.clock.advance(chrono::TimeDelta::seconds(60));
    assert_eq!((status(first).await, status(second).await), (401, 200));

    let third = api.post(&rotate, &admin, "").await.json()["key"].as_str().unwrap().to_owned();
    assert_eq!((status(second).await, status(&third).await), (401, 200));
    assert_eq!(api.post(&format!("/api/v1/keys/{id}/revoke"), &admin, "").await.status, 200);
    assert_eq!(status(&third).await, 401);
    assert_eq!(api.post(&rotate, &admin, "").await.code(), "key_revoked");
    assert_eq!(api.post(&format!("/api/v1/keys/{id}/revoke"), &admin, "").await.status, 200);
}

#[tokio::test]
async fn settings_are_changed_together_or_not_at_all() {
    let api = TestApi::new().await;
    let key = api.key("can_manage_settings").await;
    let path = "/api/v1/settings";
    let settings = async || api.get(path, &key).await.json()["settings"].clone();
    assert_eq!(settings().await["time_zone"], Value::Null);
    let changed =
        send(&api, &Method::PATCH, path, Some(&key), r#"{"time_zone":"Europe/Berlin","retention_days":90}"#).await;
    assert_eq!((changed.status.as_u16(), &changed.json()["settings"]["retention_days"]), (200, &json!(90)));

    let body = r#"{"time_zone":null,"retention_days":0,"colour":"red","goals":{"g":{"event":"x"}}}"#;
    let refused = send(&api, &Method::PATCH, path, Some(&key), body).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
    let refused = refused.json();
    let pointers: Vec<&str> =
        refused["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/colour", "/goals", "/retention_days"]);
    assert_eq!(settings().await["time_zone"], "Europe/Berlin");

    send(&api, &Method::PATCH, path, Some(&key), r#"{"time_zone":null}"#).await;
    assert_eq!((&settings().await["time_zone"], &settings().await["retention_days"]), (&Value::Null, &json!(90)));
    for (body, status) in [("[]", 400), ("{", 400), ("", 200)] {
        assert_eq!(send(&api, &Method::PATCH, path, Some(&key), body).await.status, status, "{body}");
    }
}

#[tokio::test]
async fn accounts_are_made_suspended_and_resumed() {
    let api = TestApi::new().await;
    let admin = api.key("admin").await;
    let created = api.post("/api/v1/accounts", &admin, r#"{"slug":"shop","name":"Shop"}"#).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let id = created.json()["account_id"].as_str().unwrap().to_owned();
    let key = api.post(&format!("/api/v1/keys?account_id={id}"), &admin, r#"{"scopes":["ingest"]}"#).await.json();
    let key = key["key"].as_str().unwrap();
    let code = async || api.get("/api/v1/validate", key).await.code();
    assert_eq!(code().await, "");
    let set = async |action: &str| api.post(&format!("/api/v1/accounts/{id}/{action}"), &admin, "").await.json();
    assert_eq!(set("suspend").await["status"], "suspended");
    assert_eq!(code().await, "suspended_account");
    assert_eq!(set("resume").await["status"], "active");
    api.clock.advance(chrono::TimeDelta::seconds(5));
    assert_eq!(code().await, "");

    for (body, status, code, pointer) in [
        (r#"{"slug":"shop"}"#, 409, "slug_taken", "/slug"),
        (r#"{"slug":"No Slug"}"#, 422, "invalid", "/slug"),
        (r#"{"slug":"a","name":" "}"#, 422, "invalid", "/name"),
        (r#"{"name":"A"}"#, 422, "invalid", "/slug"),
        (r#"{"slug":"a","plan":"pro"}"#, 422, "invalid", "/plan"),
    ] {
        let refused = api.post("/api/v1/accounts", &admin, body).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (status, code), "{body}");
        assert_eq!(refused.json()["errors"][0]["pointer"], pointer, "{body}");
    }
    let own = format!("/api/v1/accounts/{}/suspend", api.account.id);
    assert_eq!(api.post(&own, &admin, "").await.code(), "own_account");
    let slugs = api.get("/api/v1/accounts", &admin).await.json();
    assert_eq!((&slugs["data"][0]["slug"], &slugs["data"][1]["slug"]), (&json!("acme"), &json!("shop")));
}

#[tokio::test]
async fn the_audit_says_which_key_did_what_page_by_page() {
    let api = TestApi::new().await;
    let key = api.key("can_manage_settings").await;
    let key_id = api.state.control.keys(api.account.id).await.unwrap()[0].id;
    send(&api, &Method::PATCH, "/api/v1/settings", Some(&key), r#"{"mask_ip":false}"#).await;
    other_account(&api, "other").await;

    let first = api.get("/api/v1/audit?limit=2", &key).await;
    let rows = first.json()["data"].clone();
    assert_eq!((&rows[0]["action"], &rows[1]["action"]), (&json!("settings.change"), &json!("key.create")));
    assert_eq!(rows[0]["actor"], format!("key:{key_id}"));
    assert_eq!(rows[0]["after"], json!({"settings": {"mask_ip": false}}));
    let next = first.json()["links"]["next"].as_str().unwrap().to_owned();
    assert_eq!(first.headers["link"], format!("<{next}>; rel=\"next\"").as_str());
    let last = api.get(&next, &key).await.json();
    assert_eq!((&last["data"][0]["action"], &last["links"]["next"]), (&json!("account.create"), &Value::Null));
    assert_eq!(last["data"].as_array().unwrap().len(), 1);
    for query in ["limit=0", "cursor=x", "from=2026-01-01", "limit=1&limit=1"] {
        assert_eq!(api.get(&format!("/api/v1/audit?{query}"), &key).await.code(), "invalid_parameter", "{query}");
    }
}

#[tokio::test]
async fn a_job_is_run_once_at_a_time_and_its_history_says_so() {
    let api = TestApi::new().await;
    let admin = api.key("admin").await;
    let job = async || api.get("/api/v1/jobs", &admin).await.json()["data"][0].clone();
    let idle = job().await;
    assert_eq!((&idle["job"], &idle["health"], &idle["last_run"]), (&json!("sessions"), &json!("well"), &Value::Null));
    assert_eq!((&idle["time_zone"], &idle["failures_in_a_row"]), (&json!("UTC"), &json!(0)));
    assert!(idle["next_run_at"].as_str().unwrap() > "2026-01-01T00:00:00.000000Z");

    let run = "/api/v1/jobs/sessions/run";
    api.job.waits.store(true, Ordering::Relaxed);
    let body = json!({"full": true, "from": "2026-01-01", "account_id": api.account.id}).to_string();
    let started = api.post(run, &admin, body).await;
    assert_eq!(started.status, 202, "{}", started.body);
    let running = job().await["last_run"].clone();
    assert_eq!((&running["status"], &running["run_id"]), (&json!("running"), &started.json()["run_id"]));
    assert_eq!(running["request"], json!({"full": false, "account": api.account.id, "from": "2026-01-01", "to": null}));
    assert_eq!(api.post(run, &admin, "").await.code(), "already_running");

    api.job.waits.store(false, Ordering::Relaxed);
    api.job.go_on.notify_one();
    let mut again = api.post(run, &admin, "").await;
    for _ in 0..1_000 {
        if again.status == 202 {
            break;
        }
        tokio::task::yield_now().await;
        again = api.post(run, &admin, "").await;
    }
    assert_eq!(again.status, 202, "{}", again.body);

    let history = api.get("/api/v1/jobs/sessions/history?limit=1", &admin).await.json();
    assert_eq!(history["data"][0]["run_id"], again.json()["run_id"]);
    let next = history["links"]["next"].as_str().unwrap();
    let older = api.get(next, &admin).await.json();
    assert_eq!((&older["data"][0]["run_id"], &older["data"][0]["status"]), (&running["run_id"], &json!("succeeded")));
    assert_eq!(older["links"]["next"], Value::Null);
}

#[tokio::test]
async fn a_run_is_asked_for_in_words_that_are_understood() {
    let api = TestApi::new().await;
    let admin = api.key("admin").await;
    for path in ["/api/v1/jobs/nothing/run", "/api/v1/jobs/visitors/run"] {
        assert_eq!(api.post(path, &admin, "").await.status, 404, "{path}");
    }
    assert_eq!(api.get("/api/v1/jobs/nothing/history", &admin).await.status, 404);
    for (body, pointer) in [
        (json!({"full": "yes"}), "/full"),
        (json!({"from": "yesterday"}), "/from"),
        (json!({"from": "2026-01-02", "to": "2026-01-02"}), "/to"),
        (json!({"account_id": NOBODY}), "/account_id"),
        (json!({"account_id": "nonsense"}), "/account_id"),
        (json!({"days": 3}), "/days"),
    ] {
        let refused = api.post("/api/v1/jobs/sessions/run", &admin, body.to_string()).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.json()["errors"][0]["pointer"]),
            (422, &json!(pointer)),
            "{body}"
        );
    }
    assert_eq!(api.get("/api/v1/jobs/sessions/history", &admin).await.json()["data"], json!([]));
}

#[tokio::test]
async fn users_are_made_changed_and_removed_and_their_passwords_never_shown() {
    let api = TestApi::new().await;
    let (admin, editor) = (api.key("admin").await, api.key("can_view_reports,can_manage_settings").await);
    let body = |email: &str, role: &str| {
        json!({"email": email, "role": role, "password": "correct horse battery"}).to_string()
    };
    let owner = api.post("/api/v1/users", &admin, body("Owner@mail.example", "owner")).await;
    assert_eq!((owner.status.as_u16(), &owner.json()["email"]), (201, &json!("owner@mail.example")));
    let ada = api.post("/api/v1/users", &editor, body("ada@mail.example", "analyst")).await.json();
    assert_eq!(api.post("/api/v1/users", &editor, body("eve@mail.example", "admin")).await.code(), "missing_scope");
    assert_eq!(api.post("/api/v1/users", &admin, body("ADA@mail.example", "editor")).await.code(), "email_taken");

    let path = |user: &Value| format!("/api/v1/users/{}", user["user_id"].as_str().unwrap());
    let (ada, owner) = (path(&ada), path(&owner.json()));
    let change = async |key: &str, path: &str, body: &str| send(&api, &Method::PATCH, path, Some(key), body).await;
    let changed = change(&editor, &ada, r#"{"role":"editor","password":"another horse battery"}"#).await;
    assert_eq!((changed.status.as_u16(), &changed.json()["role"]), (200, &json!("editor")));
    let account = api.account.id;
    let opened = async |given: &str| {
        api.state.control.user_with_password(account, "ada@mail.example", given).await.unwrap().is_some()
    };
    assert!(opened("another horse battery").await && !opened("correct horse battery").await);

    // Nobody makes themselves more than they are, or undoes who is more.
    assert_eq!(change(&editor, &ada, r#"{"role":"owner"}"#).await.code(), "missing_scope");
    assert_eq!(change(&editor, &owner, r#"{"password":"another horse battery"}"#).await.code(), "missing_scope");
    assert_eq!(send(&api, &Method::DELETE, &owner, Some(&editor), "").await.code(), "missing_scope");
    assert_eq!(send(&api, &Method::DELETE, &owner, Some(&admin), "").await.code(), "last_owner");
    assert_eq!(send(&api, &Method::DELETE, &ada, Some(&editor), "").await.status, 200);
    for address in ["/api/v1/users", "/api/v1/audit"] {
        let listed = api.get(address, &admin).await.body;
        assert!(!listed.contains("horse") && !listed.contains("argon2") && listed.contains("owner@mail.example"));
    }
    assert_eq!(api.get("/api/v1/users", &editor).await.json()["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn users_are_asked_for_in_words_that_are_understood() {
    let api = TestApi::new().await;
    let admin = api.key("admin").await;
    for (changed, value, pointer) in [
        ("email", json!("nobody"), "/email"),
        ("role", json!("marketer"), "/role"),
        ("password", json!("short"), "/password"),
        ("password", Value::Null, "/password"),
        ("name", json!("Ada"), "/name"),
    ] {
        let mut body: Value = serde_json::from_str(USER).unwrap();
        body[changed] = value;
        let refused = api.post("/api/v1/users", &admin, body.to_string()).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["errors"][0]["pointer"]), (422, &json!(pointer)));
        assert!(!refused.body.contains("short\"") && !refused.body.contains("horse"), "{}", refused.body);
    }
}
