//! The embedded rules can be read, and give every case of tests/data its channel.

use std::collections::BTreeSet;

use super::*;

/// A line of tests/data/channels: signals, where the page is, and the channel.
fn check(rules: RuleSet, line: &str) -> &'static str {
    let fields: Vec<&str> = line.split(',').collect();
    let [source, medium, campaign, click_id, referrer_host, page_host, own_domains, expected] = fields[..] else {
        panic!("{line}");
    };
    let some = |text| Some(text).filter(|text: &&str| !text.is_empty());
    let own_domains: Vec<String> = own_domains.split(' ').map(str::to_owned).collect();
    let own = OwnSites::new(&own_domains);
    let click_id = some(click_id).map(|name| TextField::ALL.into_iter().find(|field| field.column() == name).unwrap());
    let signals = Signals {
        source: some(source),
        medium: some(medium),
        campaign: some(campaign),
        click_id,
        referrer_host: some(referrer_host).filter(|host| !own.is_internal(host, some(page_host))),
    };
    let channel = rules.channel(&signals);
    assert_eq!(channel, expected, "{}: {line}", rules.name());
    channel
}

fn check_all(rules: RuleSet, cases: &str, at_least: usize) {
    let lines = cases.lines().skip(1).filter(|line| !line.starts_with('#'));
    let given: Vec<&str> = lines.map(|line| check(rules, line)).collect();
    assert!(given.len() >= at_least, "{}", given.len());
    let given: BTreeSet<&str> = given.into_iter().collect();
    let silent: Vec<&str> = rules.channels().filter(|channel| !given.contains(channel)).collect();
    // What is left is shown by the published cases.
    let elsewhere: &[&str] = if rules == RuleSet::ga4() { &["SMS"] } else { &[] };
    assert_eq!(silent, elsewhere);
}

#[test]
fn the_embedded_rules_can_be_read() {
    for (text, rules) in
        [(include_str!("touchline.toml"), RuleSet::touchline()), (include_str!("ga4.toml"), RuleSet::ga4())]
    {
        let read = Rules::parse(text).unwrap();
        assert_eq!(read.name, rules.name());
        assert_eq!(RuleSet::by_name(&read.name), Ok(rules));
        assert!(rules.channels().any(|channel| channel == rules.direct()));
        assert_eq!(rules.channel(&Signals::default()), rules.direct());
        assert_eq!(rules.direct().to_ascii_lowercase(), "direct");
    }
    assert_eq!(RuleSet::touchline().definition(), "channels/touchline/2");
    assert_eq!(RuleSet::ga4().definition(), "channels/ga4/1");
}

#[test]
fn settings_accept_exactly_these_rule_sets() {
    assert_eq!(names(), touchline_schemas::control::CHANNEL_RULES);
    assert_eq!(RuleSet::by_name("ga5"), Err(UnknownRuleSet { name: "ga5".to_owned() }));
}

#[test]
fn every_case_of_the_set_touchline_gets_its_channel() {
    check_all(RuleSet::touchline(), include_str!("../../../tests/data/channels/touchline.csv"), 200);
}

#[test]
fn every_case_of_the_set_ga4_gets_its_channel() {
    check_all(RuleSet::ga4(), include_str!("../../../tests/data/channels/ga4.csv"), 60);
}

#[test]
fn every_published_case_of_ga4_gets_its_channel() {
    #[derive(serde::Deserialize)]
    struct Published {
        source: String,
        medium: String,
        campaign: String,
        expected_channel: String,
    }
    let cases = include_str!("../../../tests/data/ga4-channels/default_channel_grouping_cases.json");
    let cases: Vec<Published> = serde_json::from_str(cases).unwrap();
    assert_eq!(cases.len(), 30);
    for case in &cases {
        check(
            RuleSet::ga4(),
            &format!("{},{},{},,,,,{}", case.source, case.medium, case.campaign, case.expected_channel),
        );
    }
}
