use serde_json::Value;

use super::*;

#[track_caller]
fn check(field: &str, text: &str) {
    let mut settings = AccountSettings::default();
    settings.set(field, text).unwrap();
    assert_eq!(settings.get(field).as_deref(), Some(text));
    // What was set is stored, and read back as the same.
    let stored = serde_json::to_value(&settings).unwrap();
    assert_eq!(serde_json::from_value::<AccountSettings>(stored).unwrap(), settings);
    settings.unset(field).unwrap();
    assert_eq!(settings, AccountSettings::default());
}

#[track_caller]
fn check_refused(field: &str, text: &str, expected: &str) {
    let mut settings = AccountSettings::default();
    let message = settings.set(field, text).unwrap_err().to_string();
    assert!(message.contains(expected), "`{message}` does not contain `{expected}`");
    assert_eq!(settings, AccountSettings::default());
}

#[test]
fn a_patch_changes_what_it_names_and_takes_back_what_is_null() {
    let before = AccountSettings { mask_ip: Some(true), retention_days: Some(9), ..AccountSettings::default() };
    let check = |patch: Value, expected: AccountSettings| {
        let changes = patch.as_object().unwrap();
        assert_eq!(before.patched(changes).unwrap(), expected, "{patch}");
    };
    check(serde_json::json!({}), before.clone());
    check(serde_json::json!({"mask_ip": null}), AccountSettings { mask_ip: None, ..before.clone() });
    let splits = vec!["midnight".to_owned()];
    check(
        serde_json::json!({"session_splits": ["midnight"], "retention_days": 90}),
        AccountSettings { session_splits: splits, retention_days: Some(90), ..before.clone() },
    );
    let goal = Goal { window_days: 3, ..Goal::of("purchase") };
    check(
        serde_json::json!({"goals": {"sale": {"event_type": "purchase", "window_days": 3, "condition": null}}}),
        AccountSettings { goals: BTreeMap::from([("sale".to_owned(), goal)]), ..before.clone() },
    );
}

#[test]
fn a_patch_names_everything_that_is_wrong_with_it() {
    let fields = |patch: Value| -> Vec<String> {
        match AccountSettings::default().patched(patch.as_object().unwrap()) {
            Err(ControlError::Settings { errors }) => errors.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    };
    for (patch, expected) in [
        (serde_json::json!({"colour": 1}), "there is no setting `colour`"),
        (serde_json::json!({"colour": null}), "there is no setting `colour`"),
        (serde_json::json!({"mask_ip": "yes"}), "mask_ip must be"),
        (serde_json::json!({"retention_days": 0}), "retention_days must be a whole number between 1 and 36500"),
        (serde_json::json!({"retention_days": -1}), "retention_days must be"),
        (serde_json::json!({"own_domains": []}), "own_domains must be something"),
        (serde_json::json!({"time_zone": "Mars/Phobos"}), "time_zone must be the IANA name"),
        (serde_json::json!({"goals": {"g": {"event_type": "x", "days": 3}}}), "goals must be without members"),
    ] {
        let errors = fields(patch.clone());
        assert!(errors.len() == 1 && errors[0].contains(expected), "{patch}: {errors:?}");
    }
    assert_eq!(fields(serde_json::json!({"mask_ip": 1, "retention_days": 0, "session_splits": ["midnight"]})).len(), 2);
}

#[test]
fn every_setting_can_be_set_shown_stored_and_taken_back() {
    let examples = [
        ("time_zone", "Europe/Berlin"),
        ("own_domains", "shop.example,xn--bcher-kva.example"),
        ("tracked_domains", "shop.example"),
        ("mask_ip", "false"),
        ("privacy_signals", "ignore"),
        ("session_profile", "plausible"),
        ("session_timeout_minutes", "475"),
        ("session_splits", "midnight,campaign"),
        ("channel_rules", "ga4"),
        ("conversion_event_types", "purchase,demo booked"),
        ("conversion_values", "purchase=property:order.margin,rent=revenue,signup=fixed:12.50"),
        (
            "goals",
            "activated=demo booked;where=plan.name:pro;window_days=3;credit=last_touch;value=fixed:12.50,\
             bought=purchase",
        ),
        ("attribution_lookback_days", "365"),
        ("retention_days", "1"),
    ];
    assert_eq!(examples.map(|(field, _)| field), SETTINGS);
    for (field, text) in examples {
        check(field, text);
    }
}

#[test]
fn a_refusal_names_the_setting_its_limit_and_what_was_given() {
    let limit = "session_timeout_minutes must be a whole number between 1 and 475, not `476`";
    check_refused("session_timeout_minutes", "476", limit);
    check_refused("session_timeout_minutes", "0", "not `0`");
    check_refused("session_timeout_minutes", "half", "not `half`");
    check_refused("attribution_lookback_days", "366", "a whole number between 1 and 365, not `366`");
    check_refused("retention_days", "0", "a whole number between 1 and 36500, not `0`");
    check_refused("retention_days", "-1", "not `-1`");
    check_refused("mask_ip", "yes", "mask_ip must be true or false, not `yes`");
    check_refused("privacy_signals", "ignored", "privacy_signals must be honour or ignore, not `ignored`");
    check_refused("session_profile", "GA4", "session_profile must be one of touchline, client, ga4");
    check_refused("session_splits", "midnight,noon", "max_24h, each at most once, not `noon`");
    check_refused("session_splits", "midnight,midnight", "not `midnight`");
    check_refused("channel_rules", "mine", "channel_rules must be touchline or ga4, not `mine`");
    check_refused("time_zone", "Berlin", "as in Europe/Berlin, not `Berlin`");
    for given in [
        "signup",
        "two words=signup",
        "a=signup;window_days=0",
        "a=signup;window_days=366",
        "a=signup;window_days=3;window_days=3",
        "a=signup;where=plan",
        "a=signup;credit=first",
        "a=signup;value=much",
        "a=signup;when=now",
        "a=signup,a=lead",
    ] {
        check_refused("goals", given, "goals must be a list of name=event_type");
    }
    check_refused("timezone", "UTC", "there is no setting `timezone`: the settings are time_zone, own_domains");
}

#[test]
fn own_domains_are_host_names() {
    for given in [
        "https://shop.example",
        "shop.example/",
        "shop.example:80",
        "Shop.example",
        "shop",
        ".example",
        "shop..example",
        "-shop.example",
        "10.0.0.1",
        "bücher.example",
        "shop.example,",
    ] {
        check_refused("own_domains", given, "own_domains must be a list of host names");
    }
    check_refused("own_domains", &format!("{}.example", "x".repeat(64)), "own_domains");
    check("own_domains", &format!("{}.example", "x".repeat(63)));
}

#[test]
fn conversion_values_are_rules_by_type() {
    for given in [
        "signup",
        "signup=",
        "signup=12.50",
        "signup=fixed",
        "signup=fixed:",
        "signup=fixed:-1",
        "signup=fixed:1.23456",
        "signup=fixed:1e3",
        "signup=fixed:123456789012345",
        "signup=property:",
        "signup=property:a..b",
        "=revenue",
        "signup=revenue,signup=revenue",
    ] {
        check_refused("conversion_values", given, "conversion_values must be a list of event_type=revenue");
    }
    check("conversion_values", "signup=fixed:12345678901234.1234");
}

#[test]
fn nothing_is_not_a_value() {
    for field in SETTINGS {
        check_refused(field, "", field);
    }
    check_refused("own_domains", "", "something: to take a setting back, unset it");
    check_refused("conversion_event_types", "purchase,,signup", "not ``");
}
