use serde_json::{Value, json};

use super::*;
use crate::control::moment::tests::at;
use crate::control::{AccountStatus, ExportTrigger};
use crate::tenant::Environment;

const MAX_EXPORTS: u32 = 4;

pub async fn with_account() -> (ControlDb, AccountId) {
    let control = ControlDb::open_in_memory().await.unwrap();
    let account = control.create_account("acme", "Acme", at(0)).await.unwrap().id;
    (control, account)
}

pub async fn create(control: &ControlDb, account: AccountId, name: &str, second: i64) -> (Export, SigningKey) {
    create_as(control, live(account), json!({ "name": name }), second).await.unwrap()
}

pub async fn create_with_webhook(control: &ControlDb, account: AccountId, name: &str) -> (Export, SigningKey) {
    let fields = json!({"name": name, "webhook": "https://hooks.example/services/0a1b2c"});
    create_as(control, live(account), fields, 1).await.unwrap()
}

fn live(account_id: AccountId) -> Tenant {
    Tenant { account_id, environment: Environment::Live }
}

fn definition(fields: Value) -> ExportDefinition {
    let mut definition = json!({"source": {"report": "traffic"}, "format": "csv", "destination": "file:a"});
    definition.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(definition).unwrap()
}

async fn create_as(
    control: &ControlDb,
    tenant: Tenant,
    fields: Value,
    second: i64,
) -> Result<(Export, SigningKey), ControlError> {
    control.create_export(tenant, &definition(fields), MAX_EXPORTS, [1; 32], at(second)).await
}

async fn change(control: &ControlDb, id: ExportId, second: i64, fields: Value) -> Result<Export, ControlError> {
    let changed = |was: &ExportDefinition| {
        let fields = fields.as_object().unwrap().clone();
        Ok(serde_json::from_value(Value::Object(was.patched(fields))).unwrap())
    };
    control.change_export(None, id, changed, at(second)).await
}

#[tokio::test]
async fn a_name_is_one_export_of_an_account_in_an_environment() {
    let (control, account) = with_account().await;
    let other = control.create_account("other", "Other", at(0)).await.unwrap().id;
    let (export, _) = create(&control, account, "a", 1).await;
    let again = create_as(&control, live(account), json!({"name": "a"}), 2).await;
    assert!(matches!(again, Err(ControlError::ExportNameTaken { name }) if name == "a"));
    create(&control, other, "a", 2).await;
    let test = Tenant { environment: Environment::Test, ..live(account) };
    let (in_test, _) = create_as(&control, test, json!({"name": "a"}), 2).await.unwrap();
    let (second, _) = create(&control, account, "b", 3).await;
    let renamed = change(&control, second.id, 4, json!({"name": "a"})).await;
    assert!(matches!(renamed, Err(ControlError::ExportNameTaken { .. })));
    assert_eq!(control.exports(account).await.unwrap(), [export.clone(), second, in_test]);

    control.delete_export(Some(account), export.id, at(5)).await.unwrap();
    create(&control, account, "a", 6).await;
}

#[tokio::test]
async fn an_export_is_found_in_its_account_until_it_is_deleted() {
    let (control, account) = with_account().await;
    let other = control.create_account("other", "Other", at(0)).await.unwrap().id;
    let (export, _) = create(&control, account, "a", 1).await;
    assert_eq!(control.export(Some(account), export.id).await.unwrap(), export);
    assert_eq!(control.export(None, export.id).await.unwrap(), export);
    let unknown = |result: Result<Export, ControlError>| assert!(matches!(result, Err(ControlError::UnknownExport)));
    unknown(control.export(Some(other), export.id).await);
    unknown(control.delete_export(Some(other), export.id, at(2)).await);
    let same = |was: &ExportDefinition| Ok(was.clone());
    unknown(control.change_export(Some(other), export.id, same, at(2)).await);
    assert!(matches!(
        control.rotate_export_key(Some(other), export.id, [2; 32], at(2)).await,
        Err(ControlError::UnknownExport)
    ));
    assert_eq!(control.delete_export(Some(account), export.id, at(3)).await.unwrap(), export);
    unknown(control.export(None, export.id).await);
    unknown(control.delete_export(None, export.id, at(4)).await);
    assert_eq!(control.exports(account).await.unwrap(), []);
}

#[tokio::test]
async fn an_account_has_so_many_exports_and_no_more() {
    let (control, account) = with_account().await;
    for number in 0..MAX_EXPORTS {
        create(&control, account, &format!("e{number}"), 1).await;
    }
    let refused = create_as(&control, live(account), json!({"name": "more"}), 2).await;
    assert!(matches!(refused, Err(ControlError::TooManyExports { max_exports: MAX_EXPORTS })));
    let first = control.exports(account).await.unwrap().remove(0);
    control.delete_export(None, first.id, at(3)).await.unwrap();
    create(&control, account, "more", 4).await;
}

#[tokio::test]
async fn a_definition_that_is_wrong_is_refused_however_it_comes() {
    let (control, account) = with_account().await;
    let created = create_as(&control, live(account), json!({"name": "A"}), 1).await;
    assert!(matches!(created, Err(ControlError::InvalidExport(_))));
    let (export, _) = create(&control, account, "a", 1).await;
    let changed = change(&control, export.id, 2, json!({"last_days": 0})).await;
    assert!(matches!(changed, Err(ControlError::InvalidExport(_))));
    assert_eq!(control.export(None, export.id).await.unwrap(), export);
}

#[tokio::test]
async fn times_before_a_schedule_was_set_or_resumed_are_not_made_up_for() {
    let (control, account) = with_account().await;
    let (export, _) = create(&control, account, "a", 1).await;
    assert_eq!(export.scheduled_since, at(1));
    let hourly = json!({"schedule": {"cron": "0 0 * * * *"}});
    for (second, fields, since) in [
        (2, json!({"webhook": "https://hooks.example/"}), 1),
        (3, hourly.clone(), 3),
        (4, hourly, 3),
        (5, json!({"is_paused": true}), 3),
        (6, json!({"is_paused": false}), 6),
        (7, json!({"schedule": {"time_zone": "Europe/Vienna"}}), 7),
    ] {
        let changed = change(&control, export.id, second, fields).await.unwrap();
        assert_eq!(changed.scheduled_since, at(since), "{second}");
    }
}

#[tokio::test]
async fn schedules_are_followed_unless_the_export_or_its_account_rests() {
    let (control, account) = with_account().await;
    let other = control.create_account("other", "Other", at(0)).await.unwrap().id;
    let schedule = json!({"cron": "0 0 * * * *"});
    let (followed, _) =
        create_as(&control, live(account), json!({"name": "a", "schedule": schedule}), 1).await.unwrap();
    let paused = json!({"name": "b", "schedule": schedule, "is_paused": true});
    create_as(&control, live(account), paused, 1).await.unwrap();
    create(&control, account, "c", 1).await;
    create_as(&control, live(other), json!({"name": "d", "schedule": schedule}), 1).await.unwrap();
    control.set_account_status(other, AccountStatus::Suspended, at(2)).await.unwrap();
    assert_eq!(control.scheduled_exports().await.unwrap(), std::slice::from_ref(&followed));
    control.delete_export(None, followed.id, at(3)).await.unwrap();
    assert_eq!(control.scheduled_exports().await.unwrap(), []);
}

#[tokio::test]
async fn changes_of_exports_are_noted_without_secrets() {
    let (control, account) = with_account().await;
    let (export, first) = create_with_webhook(&control, account, "a").await;
    change(&control, export.id, 2, json!({"is_paused": true})).await.unwrap();
    change(&control, export.id, 3, json!({"is_paused": true})).await.unwrap();
    let second = control.rotate_export_key(None, export.id, [2; 32], at(4)).await.unwrap();
    control.queue_export_run(export.id, ExportTrigger::Manual, at(5), at(5)).await.unwrap();
    control.delete_export(None, export.id, at(6)).await.unwrap();

    let entries = control.audit_entries(Some(account), None, 9).await.unwrap();
    let actions: Vec<_> = entries.iter().rev().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["account.create", "export.create", "export.change", "export.rotate_key", "export.delete"]);
    assert_eq!(entries[2].after, Some(json!({"is_paused": true})));
    assert_eq!(entries[1].before, Some(json!({ "key_id": first.key_id })));
    assert_eq!(entries[1].after, Some(json!({ "key_id": second.key_id })));
    let text = serde_json::to_string(&entries).unwrap();
    assert!(text.contains("https://hooks.example/***") && !text.contains("0a1b2c"), "{text}");
    assert!(!text.contains("whsec_"), "{text}");
}
