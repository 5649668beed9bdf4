//! People who are to be erased. What happens to them then is tried where there is somebody to do it.

use chrono::TimeDelta;
use serde_json::{Value, json};
use touchline_schemas::Environment;
use touchline_schemas::control::{ErasureState, KeyKind, NewKey};

use crate::test_support::{TestApi, start};

const PATH: &str = "/api/v1/erasures";

#[tokio::test]
async fn an_erasure_is_asked_for_listed_and_shown_and_names_nobody() {
    let api = TestApi::new().await;
    let key = api.key("can_manage_settings").await;
    let mut ids = Vec::new();
    for (person, dry_run) in [("ada@mail.example", false), ("v:phone-of-bob", true)] {
        let body = json!({"ids": [person], "requested_by": "ticket 17", "dry_run": dry_run}).to_string();
        let asked = api.post(PATH, &key, body).await;
        assert_eq!(asked.status, 202, "{}", asked.body);
        assert_eq!((&asked.json()["state"], &asked.json()["dry_run"]), (&json!("waiting"), &json!(dry_run)));
        ids.push(asked.json()["erasure_id"].as_str().unwrap().to_owned());
        api.clock.advance(TimeDelta::seconds(1));
    }
    let first = api.get(&format!("{PATH}?limit=1"), &key).await.json();
    assert_eq!((&first["data"][0]["erasure_id"], first["data"].as_array().unwrap().len()), (&json!(ids[1]), 1));
    let next = api.get(first["links"]["next"].as_str().unwrap(), &key).await.json();
    assert_eq!(next["data"][0]["erasure_id"], json!(ids[0]));
    assert_eq!(next["links"]["next"], Value::Null);

    let due = api.state.control.due_erasure(api.state.clock.now()).await.unwrap().unwrap();
    assert_eq!((due.id.to_string(), due.ids.as_slice()), (ids[0].clone(), &["ada@mail.example".to_owned()][..]));
    let certificate = Some(r#"{"format":1,"tables":[]}"#);
    let end = api.state.control.end_erasure(&due, ErasureState::Done, None, certificate, start());
    end.await.unwrap();
    let shown = api.get(&format!("{PATH}/{}", ids[0]), &key).await;
    assert_eq!((&shown.json()["state"], &shown.json()["certificate"]["format"]), (&json!("done"), &json!(1)));
    for address in [PATH.to_owned(), format!("{PATH}/{}", ids[1]), "/api/v1/audit".to_owned()] {
        let told = api.get(&address, &key).await.body;
        assert!(!told.contains("ada@") && !told.contains("phone-of-bob"), "{told}");
    }
    let noted = api.get("/api/v1/audit?limit=1", &key).await.json();
    assert_eq!((&noted["data"][0]["action"], &noted["data"][0]["target"]), (&json!("erasure.request"), &json!(ids[1])));
}

#[tokio::test]
async fn an_erasure_is_asked_for_in_words_that_are_understood() {
    let api = TestApi::new().await;
    let key = api.key("can_manage_settings").await;
    for (body, pointer) in [
        (json!({}), "/ids"),
        (json!({"ids": []}), "/ids"),
        (json!({"ids": "ada"}), "/ids"),
        (json!({"ids": [""]}), "/ids"),
        (json!({"ids": ["ada", 7]}), "/ids"),
        (json!({"ids": vec!["a"; 101]}), "/ids"),
        (json!({"ids": ["a".repeat(10_000)]}), "/ids"),
        (json!({"ids": ["ada"], "requested_by": "a".repeat(501)}), "/requested_by"),
        (json!({"ids": ["ada"], "dry_run": "yes"}), "/dry_run"),
        (json!({"ids": ["ada"], "person": "ada"}), "/person"),
    ] {
        let refused = api.post(PATH, &key, body.to_string()).await;
        let said = (refused.status.as_u16(), refused.json()["errors"][0]["pointer"].clone());
        assert_eq!(said, (422, json!(pointer)), "{}", refused.body);
    }
    assert_eq!(api.get(PATH, &key).await.json()["data"], json!([]));
}

#[tokio::test]
async fn a_key_for_tests_erases_nobody_who_lives() {
    let api = TestApi::new().await;
    for (scopes, status) in [("can_manage_settings", 403), ("admin", 202)] {
        let scopes = scopes.parse().unwrap();
        let (environment, kind) = (Environment::Test, KeyKind::Secret);
        let new = NewKey { account_id: api.account.id, environment, kind, scopes, name: None };
        let random = uuid::Uuid::new_v4().into_bytes();
        let (_, key) = api.state.control.create_key(new, random, start()).await.unwrap();
        let answer = api.post(PATH, key.expose(), json!({"ids": ["ada"]}).to_string()).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
}
