//! Every operation of the description, asked by everybody who might ask. The tests go by the description alone: a route is
//! tried as soon as it is described, and they fail until they are told what it needs to be asked.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::Value;
use touchline_schemas::AccountId;
use touchline_schemas::control::{AccountStatus, KeyKind, NewErasure, Scope};

use super::administration::{NOBODY, export_id, key_id, send, user_id};
use super::formats::{REPORTS, address, filled};
use super::rejected::refused;
use crate::test_support::{Answer, TestApi, start};

/// Operations that answer without a key.
const OPEN: [&str; 7] =
    ["/", "/api/v1/health", "/healthz", "/metrics", "/pixel/v1/{call}", "/readyz", "/v1/projects/{write_key}/settings"];

/// Bodies of the operations that take one, to which they answer with success. `{new}` stands for a word that nothing is
/// called yet.
const BODIES: [(&str, &str, &str); 21] = [
    ("POST", "/api/v1/events", r#"{"events":[{"event_type":"page_view","visitor_id":"v1"}]}"#),
    ("POST", "/api/v1/sessions", r#"{"session":{"visitor_id":"v1","url":"https://x.example/"}}"#),
    ("POST", "/api/v1/conversions", r#"{"conversion_type":"purchase","visitor_id":"v1"}"#),
    ("POST", "/api/v1/identify", r#"{"user_id":"u1","visitor_id":"v1"}"#),
    ("POST", "/v1/{call}", r#"{"event":"x","userId":"u1"}"#),
    ("POST", "/beacon/v1/batch", r#"{"batch":[{"type":"track","event":"x","userId":"u1"}]}"#),
    ("POST", "/batch/", r#"{"event":"x","distinct_id":"u1"}"#),
    ("POST", "/api/event", r#"{"n":"x"}"#),
    ("POST", "/api/send", r#"{"payload":{"id":"u1"}}"#),
    ("POST", "/api/v1/sql", r#"{"sql":1}"#),
    ("POST", "/api/v1/keys", r#"{"scopes":["can_manage_settings"]}"#),
    ("POST", "/api/v1/keys/{key_id}/rotate", r#"{"grace_s":60}"#),
    ("PATCH", "/api/v1/settings", r#"{"mask_ip":true}"#),
    ("POST", "/api/v1/users", r#"{"email":"{new}@mail.example","role":"analyst","password":"correct horse battery"}"#),
    ("PATCH", "/api/v1/users/{user_id}", r#"{"role":"analyst"}"#),
    ("POST", "/api/v1/rejected/replay", r#"{"filter":{"code":"{new}"},"dry_run":true}"#),
    ("POST", "/api/v1/erasures", r#"{"ids":["{new}"],"dry_run":true}"#),
    (
        "POST",
        "/api/v1/exports",
        r#"{"name":"{new}","source":{"report":"traffic"},"format":"csv","destination":"file:a"}"#,
    ),
    ("PATCH", "/api/v1/exports/{export_id}", r#"{"is_paused":true}"#),
    ("POST", "/api/v1/accounts", r#"{"slug":"{new}"}"#),
    ("POST", "/api/v1/jobs/{job}/run", r#"{"full":true}"#),
];

/// Answered by processes of their own, of which there are none here: asked for what never gets to them.
const BY_WORKERS: [&str; 1] = ["/api/v1/sql"];

/// What stands in a path.
enum Part {
    /// Something of an account: its id there, for whoever may.
    Own(String),
    /// Something of the installation, which is for no account to hide.
    Installation(String),
}

/// An operation of the description.
struct Operation {
    method: Method,
    path: String,
    /// What a key needs, all of it; none if no key is needed.
    scopes: Option<Vec<Scope>>,
    takes_account: bool,
    has_body: bool,
    /// The statuses that it says it answers with.
    statuses: Vec<String>,
}

impl Operation {
    fn of(path: &str, method: &str, described: &Value) -> Self {
        let names = |scheme: &Value| -> Vec<Scope> {
            let scopes = scheme["key"].as_array().unwrap().iter();
            scopes.map(|scope| *Scope::ALL.iter().find(|known| known.as_str() == scope).unwrap()).collect()
        };
        let mut parameters = described["parameters"].as_array().into_iter().flatten();
        Self {
            method: method.to_uppercase().parse().unwrap(),
            path: path.to_owned(),
            scopes: described["security"].as_array().map(|schemes| schemes.iter().flat_map(names).collect()),
            takes_account: parameters.any(|given| given["in"] == "query" && given["name"] == "account_id"),
            has_body: described.get("requestBody").is_some(),
            statuses: described["responses"].as_object().unwrap().keys().cloned().collect(),
        }
    }

    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The name of what stands in the path, if something does.
    fn part(&self) -> Option<&str> {
        let (_, rest) = self.path.split_once('{')?;
        rest.split_once('}').map(|(name, _)| name)
    }

    /// What stands there, made anew: asking may change it.
    async fn known(&self, api: &TestApi) -> Option<Part> {
        let section = self.path.split('/').nth(3).unwrap_or_default();
        let account = api.account.id;
        Some(match (section, self.part()?) {
            ("keys", "key_id") => Part::Own(key_id(api, account, "can_manage_settings").await),
            ("users", "user_id") => Part::Own(user_id(api, account).await),
            ("exports", "export_id") => Part::Own(export_id(api, account).await),
            ("erasures", "erasure_id") => Part::Own(erasure_id(api, account).await),
            ("rejected", "rejected_id") => Part::Own(refused(api, "{}").await),
            ("people", "id") => Part::Own("00plain".to_owned()),
            ("reports", "id") => Part::Own("welcome".to_owned()),
            ("accounts", "account_id") => Part::Installation(other_account(api).await.to_string()),
            (_, "call") => Part::Installation("track".to_owned()),
            (_, "write_key") => Part::Installation("pk_live_1".to_owned()),
            ("jobs", "job") => Part::Installation("sessions".to_owned()),
            (_, part) => panic!("{}: say here what stands for `{part}`", self.name()),
        })
    }

    /// The address with `id` in its path, and with the query that it needs.
    fn address(&self, id: &str) -> String {
        let asked = self.path.strip_prefix(REPORTS).map_or_else(|| self.path.clone(), address);
        match self.part() {
            Some(part) => asked.replace(&format!("{{{part}}}"), id),
            None => asked,
        }
    }

    async fn known_address(&self, api: &TestApi) -> String {
        match self.known(api).await {
            Some(Part::Own(id) | Part::Installation(id)) => self.address(&id),
            None => self.address(""),
        }
    }

    fn body(&self) -> String {
        if !self.has_body {
            return String::new();
        }
        let found = BODIES.iter().find(|(method, path, _)| self.method == *method && self.path == *path);
        let (_, _, body) = found.unwrap_or_else(|| panic!("{}: say here what its body is", self.name()));
        body.replace("{new}", &uuid::Uuid::new_v4().simple().to_string())
    }

    async fn ask(&self, api: &TestApi, key: Option<&str>) -> Answer {
        send(api, &self.method, &self.known_address(api).await, key, &self.body()).await
    }

    fn assert_success(&self, answer: &Answer, who: &str) {
        let status = answer.status.as_u16();
        if BY_WORKERS.contains(&self.path.as_str()) {
            assert!(![401, 403].contains(&status), "{} by {who}: {}", self.name(), answer.body);
            return;
        }
        assert!((200..300).contains(&status), "{} by {who}: {status} {}", self.name(), answer.body);
        assert!(self.statuses.contains(&status.to_string()), "{} does not describe {status}", self.name());
    }
}

fn operations(api: &TestApi) -> Vec<Operation> {
    let (_, description) = crate::router(api.state.clone());
    let document = serde_json::to_value(&description).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let of_path = |(path, item): (&String, &Value)| -> Vec<Operation> {
        item.as_object().unwrap().iter().map(|(method, described)| Operation::of(path, method, described)).collect()
    };
    paths.flat_map(of_path).collect()
}

async fn other_account(api: &TestApi) -> AccountId {
    let slug = uuid::Uuid::new_v4().simple().to_string();
    api.state.control.create_account(&slug, &slug, start()).await.unwrap().id
}

/// The id of a new erasure of an account, which nobody does here.
async fn erasure_id(api: &TestApi, account_id: AccountId) -> String {
    let new = NewErasure { account_id, ids: vec!["ada".to_owned()], requested_by: None, is_dry_run: true };
    api.state.control.request_erasure(new, start()).await.unwrap().id.to_string()
}

fn text(scopes: &[Scope]) -> String {
    scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(",")
}

/// All scopes of an account but this one; `admin` has every other.
fn all_but(lacking: Scope) -> String {
    let others: Vec<Scope> =
        Scope::ALL.into_iter().filter(|scope| *scope != lacking && *scope != Scope::Admin).collect();
    text(&others)
}

#[tokio::test]
async fn only_what_is_for_everybody_needs_no_key() {
    let (api, _) = filled().await;
    let operations = operations(&api);
    let open: Vec<&str> =
        operations.iter().filter(|operation| operation.scopes.is_none()).map(|open| open.path.as_str()).collect();
    assert_eq!(open, OPEN);
    for operation in operations.iter().filter(|operation| operation.scopes.is_none()) {
        operation.assert_success(&operation.ask(&api, None).await, "nobody");
    }
}

#[tokio::test]
async fn whoever_has_no_good_key_is_told_so_before_anything_else() {
    let (api, _) = filled().await;
    let revoked = api.key("admin").await;
    api.state.control.revoke_key(None, revoked.as_str(), start()).await.unwrap();
    let suspended = other_account(&api).await;
    let of_suspended = api.new_key(suspended, KeyKind::Secret, "admin").await;
    api.state.control.set_account_status(suspended, AccountStatus::Suspended, start()).await.unwrap();
    let unknown = format!("sk_live_{}", "0".repeat(32));
    for operation in operations(&api).into_iter().filter(|operation| operation.scopes.is_some()) {
        for (key, code) in [
            (None, "missing_authorization"),
            (Some(&unknown), "invalid_key"),
            (Some(&revoked), "revoked_key"),
            (Some(&of_suspended), "suspended_account"),
        ] {
            // Neither what does not exist nor a body that is none may be noticed first.
            let asked = Request::builder().method(&operation.method).uri(operation.address(NOBODY));
            let asked = match key {
                Some(key) => asked.header("authorization", format!("Bearer {key}")),
                None => asked,
            };
            let answer = api.send(asked.body(Body::from("{nonsense")).unwrap()).await;
            let said = (answer.status.as_u16(), answer.code());
            assert_eq!(said, (401, code.to_owned()), "{}", operation.name());
        }
        assert!(operation.statuses.iter().any(|status| status == "401"), "{}", operation.name());
    }
}

#[tokio::test]
async fn each_operation_needs_the_scopes_that_it_names_and_no_others() {
    let (api, _) = filled().await;
    let admin = api.key("admin").await;
    for operation in operations(&api) {
        let Some(scopes) = &operation.scopes else { continue };
        for lacking in scopes {
            let key = api.key(&all_but(*lacking)).await;
            let answer = operation.ask(&api, Some(&key)).await;
            let said = (answer.status.as_u16(), answer.code());
            assert_eq!(said, (403, "missing_scope".to_owned()), "{} without {lacking}", operation.name());
            assert!(answer.body.contains(lacking.as_str()), "{}", answer.body);
            assert!(operation.statuses.iter().any(|status| status == "403"), "{}", operation.name());
        }
        if !scopes.contains(&Scope::Admin) {
            // Whoever needs none has any.
            let scopes = if scopes.is_empty() { "ingest".to_owned() } else { text(scopes) };
            let key = api.key(&scopes).await;
            operation.assert_success(&operation.ask(&api, Some(&key)).await, &scopes);
        }
        operation.assert_success(&operation.ask(&api, Some(&admin)).await, "admin");
    }
}

#[tokio::test]
async fn what_is_anothers_is_like_what_is_not_there() {
    let (api, _) = filled().await;
    let stranger = other_account(&api).await;
    for operation in operations(&api) {
        let Some(scopes) = operation.scopes.as_deref().filter(|scopes| !scopes.is_empty()) else { continue };
        let key = api.new_key(stranger, KeyKind::Secret, &text(scopes)).await;
        let known = operation.known(&api).await;
        let before = api.state.control.audit_entries(None, None, 1_000).await.unwrap();

        let unknown = [NOBODY, "nonsense"].map(|id| operation.address(id));
        let same: Option<Vec<String>> = match &known {
            Some(Part::Own(theirs)) => Some([operation.address(theirs)].into_iter().chain(unknown).collect()),
            Some(Part::Installation(_)) => Some(unknown.into()),
            None => None,
        };
        if let Some(addresses) = same {
            all_the_same(&api, &operation, &addresses, &key).await;
        }
        if operation.takes_account {
            let own = match operation.part() {
                Some("key_id") => operation.address(&key_id(&api, stranger, &text(scopes)).await),
                Some("user_id") => operation.address(&user_id(&api, stranger).await),
                Some("export_id") => operation.address(&export_id(&api, stranger).await),
                Some("erasure_id") => operation.address(&erasure_id(&api, stranger).await),
                Some(part) => panic!("{}: say here what is the stranger's own `{part}`", operation.name()),
                None => operation.address(""),
            };
            let separator = if own.contains('?') { '&' } else { '?' };
            let accounts = [&api.account.id.to_string(), NOBODY, "nonsense"];
            let addresses = accounts.map(|account| format!("{own}{separator}account_id={account}"));
            let status = all_the_same(&api, &operation, &addresses, &key).await;
            assert_eq!(status, 404, "{}", operation.name());
        }
        // What the stranger has made of their own is no change of anybody else's.
        let is_anothers = |entry: &touchline_schemas::control::AuditEntry| entry.account_id != stranger;
        let after = api.state.control.audit_entries(None, None, 1_000).await.unwrap();
        let (before, after) = (before.iter().filter(|entry| is_anothers(entry)), after.iter());
        assert!(before.eq(after.filter(|entry| is_anothers(entry))), "{} has changed something", operation.name());
    }
}

/// Asks at all these addresses; the answers must be one and the same, whose status it returns.
async fn all_the_same(api: &TestApi, operation: &Operation, addresses: &[String], key: &str) -> u16 {
    let body = operation.body();
    let mut answers = Vec::with_capacity(addresses.len());
    for address in addresses {
        let answer = send(api, &operation.method, address, Some(key), &body).await;
        answers.push((answer.status.as_u16(), answer.body));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{}: {answers:?}", operation.name());
    answers[0].0
}
