//! Session profiles: the conformance cases of `tests/data/sessions`, and random events under random rules against the
//! definition, through the real plan, in any order and any partitioning.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Decimal128Type;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::{DateTime, Duration, NaiveDate, NaiveTime, Utc};
use datafusion::prelude::{SessionConfig, SessionContext, col};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use serde::Deserialize;
use touchline_pipeline::sessions::profiles::{NAMES, Profile};
use touchline_pipeline::sessions::rules::{CampaignSplit, Identity, ReferrerSplit, Splits};
use touchline_pipeline::sessions::{SessionParams, SessionRules, sessions};
use touchline_schemas::control::AccountSettings;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::sessions as column;
use touchline_tests::event_table::{MemoryEvent, event_table};
use touchline_tests::naive_sessions::{external_referrer, naive_sessions};

const FILES: [(&str, &str); 7] = [
    ("pauses", include_str!("../data/sessions/pauses.toml")),
    ("midnights", include_str!("../data/sessions/midnights.toml")),
    ("campaigns", include_str!("../data/sessions/campaigns.toml")),
    ("referrers", include_str!("../data/sessions/referrers.toml")),
    ("lengths", include_str!("../data/sessions/lengths.toml")),
    ("clients", include_str!("../data/sessions/clients.toml")),
    ("whose", include_str!("../data/sessions/whose.toml")),
];
/// Stands for all profiles that a case does not name.
const OTHERS: &str = "others";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    on: Option<NaiveDate>,
    zone: Option<String>,
    #[serde(default)]
    own_domains: Vec<String>,
    events: Vec<CaseEvent>,
    sessions: BTreeMap<String, Vec<Vec<usize>>>,
    #[serde(default)]
    columns: BTreeMap<String, Vec<BTreeMap<String, String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseEvent {
    at: String,
    received: Option<String>,
    id: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    visitor: Option<String>,
    user: Option<String>,
    session: Option<String>,
    path: Option<String>,
    host: Option<String>,
    referrer: Option<String>,
    utm_source: Option<String>,
    utm_medium: Option<String>,
    utm_campaign: Option<String>,
    utm_term: Option<String>,
    gclid: Option<String>,
    #[serde(default)]
    bot: bool,
    every_min: Option<i64>,
    times: Option<i64>,
}

impl Case {
    fn events(&self) -> Vec<MemoryEvent> {
        let day = self.on.unwrap_or("2026-03-02".parse().unwrap());
        let mut events: Vec<MemoryEvent> = Vec::new();
        for event in &self.events {
            for repeat in 0..event.times.unwrap_or(1) {
                let later = Duration::minutes(event.every_min.unwrap_or(0) * repeat);
                events.push(event.read(day, later, events.len()));
            }
        }
        events
    }

    /// The rules that `profile@minutes+split+split` means for this case's account.
    fn rules(&self, spelled: &str) -> SessionRules {
        let (profile, splits) = spelled.split_once('+').unwrap_or((spelled, ""));
        let (profile, minutes) = profile
            .split_once('@')
            .map_or((profile, None), |(profile, minutes)| (profile, Some(minutes.parse().unwrap())));
        let account = AccountSettings {
            session_profile: Some(profile.to_owned()),
            session_timeout_minutes: minutes,
            session_splits: splits.split('+').filter(|split| !split.is_empty()).map(str::to_owned).collect(),
            time_zone: self.zone.clone(),
            ..AccountSettings::default()
        };
        SessionRules::of(&account, Duration::minutes(30)).unwrap()
    }
}

impl CaseEvent {
    fn read(&self, day: NaiveDate, later: Duration, place: usize) -> MemoryEvent {
        let at_us = (instant(&self.at, day) + later).timestamp_micros();
        let texts = [
            (TextField::EventId, Some(self.id.clone().unwrap_or_else(|| format!("e{:02}", place + 1)))),
            (TextField::EventType, Some(self.event_type.clone().unwrap_or_else(|| "page_view".to_owned()))),
            (TextField::VisitorId, Some(self.visitor.clone().unwrap_or_else(|| "a".to_owned()))),
            (TextField::UserId, self.user.clone()),
            (TextField::SessionId, self.session.clone()),
            (TextField::Path, Some(self.path.clone().unwrap_or_else(|| "/".to_owned()))),
            (TextField::Host, self.host.clone()),
            (TextField::Referrer, self.referrer.as_ref().map(|host| format!("https://{host}/"))),
            (TextField::ReferrerHost, self.referrer.clone()),
            (TextField::UtmSource, self.utm_source.clone()),
            (TextField::UtmMedium, self.utm_medium.clone()),
            (TextField::UtmCampaign, self.utm_campaign.clone()),
            (TextField::UtmTerm, self.utm_term.clone()),
            (TextField::Gclid, self.gclid.clone()),
        ];
        let given = texts.into_iter().filter_map(|(field, text)| Some((field, text.filter(|text| !text.is_empty())?)));
        MemoryEvent {
            occurred_at_us: at_us,
            received_at_us: self.received.as_ref().map_or(at_us, |at| instant(at, day).timestamp_micros()),
            is_bot: self.bot,
            revenue_e4: Some(mark(place)),
            texts: given.collect(),
        }
    }
}

/// A clock time on `day`, or RFC 3339.
fn instant(text: &str, day: NaiveDate) -> DateTime<Utc> {
    if text.contains('T') {
        return text.parse().unwrap();
    }
    let padded = if text.len() == 5 { format!("{text}:00") } else { text.to_owned() };
    day.and_time(NaiveTime::parse_from_str(&padded, "%H:%M:%S%.f").unwrap()).and_utc()
}

/// A revenue that says which event it is, also within a sum.
fn mark(place: usize) -> i64 {
    assert!(place < 59, "18 digits hold no more marks");
    1 << place
}

/// A session: its events' places, and its columns as text.
type Row = (Vec<usize>, BTreeMap<String, String>);

/// The sessions that the real plan makes of events that are dealt to `partitions` in an order drawn from `seed`.
async fn cut(
    events: &[MemoryEvent],
    rules: &SessionRules,
    own_domains: &[String],
    partitions: usize,
    seed: u64,
) -> Vec<Row> {
    let mut shuffled: Vec<&MemoryEvent> = events.iter().collect();
    shuffled.shuffle(&mut SmallRng::seed_from_u64(seed));
    let mut dealt = vec![Vec::new(); partitions];
    shuffled.into_iter().enumerate().for_each(|(place, event)| dealt[place % partitions].push(event));
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(partitions));
    let params = SessionParams { rules: rules.clone(), own_domains: own_domains.to_vec(), ..SessionParams::default() };
    let frame = sessions(&context, event_table(&dealt).unwrap(), params).unwrap();
    let mut rows: Vec<Row> = frame.collect().await.unwrap().iter().flat_map(rows_of).collect();
    rows.sort();
    rows
}

fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let options = FormatOptions::default();
    let columns: Vec<_> =
        batch.columns().iter().map(|values| ArrayFormatter::try_new(values.as_ref(), &options).unwrap()).collect();
    let marks = batch.column_by_name(column::REVENUE).unwrap().as_primitive::<Decimal128Type>();
    let row = |row: usize| {
        let cells = batch.schema_ref().fields().iter().zip(&columns);
        let cells = cells.map(|(field, values)| (field.name().clone(), values.value(row).to_string()));
        let places = (0..59).filter(|place| marks.value(row) >> place & 1 == 1);
        (places.collect(), cells.collect())
    };
    (0..batch.num_rows()).map(row).collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn check(file: &str, case: &Case, spelled: &str, expected: &[Vec<usize>], columns: &[BTreeMap<String, String>]) {
    let what = format!("{file}: {}: {spelled}", case.name);
    let (events, rules) = (case.events(), case.rules(spelled));
    let mut in_order: Vec<Vec<usize>> =
        expected.iter().map(|numbers| numbers.iter().map(|number| number - 1).collect()).collect();
    in_order.sort();
    let mut by_definition = naive_sessions(&events, &rules, &case.own_domains);
    by_definition.iter_mut().for_each(|places| places.sort_unstable());
    by_definition.sort();
    assert_eq!(by_definition, in_order, "{what}, by definition");
    for (partitions, seed) in [(1, 1), (2, 2), (7, 3)] {
        let found = cut(&events, &rules, &case.own_domains, partitions, seed).await;
        let places: Vec<Vec<usize>> = found.iter().map(|(places, _)| places.clone()).collect();
        assert_eq!(places, in_order, "{what}, {partitions} partitions");
        for (numbers, cells) in expected.iter().zip(columns) {
            let (_, row) = found.iter().find(|(places, _)| places[0] + 1 == *numbers.iter().min().unwrap()).unwrap();
            for (name, value) in cells {
                assert_eq!(row.get(name), Some(value), "{what}, {partitions} partitions: {name}");
            }
        }
    }
}

#[test]
fn every_case_holds_in_any_order_and_partitioning() {
    let runtime = runtime();
    let mut checked = BTreeMap::new();
    for (file, text) in FILES {
        let cases: File = toml::from_str(text).unwrap();
        for case in &cases.case {
            for (spelled, expected) in &case.sessions {
                let named = |profile: &&str| spelled == OTHERS && !case.sessions.contains_key(*profile);
                let meant: Vec<&str> = if spelled == OTHERS {
                    NAMES.into_iter().filter(|profile| named(profile)).collect()
                } else {
                    vec![spelled]
                };
                for spelled in meant {
                    let columns = case.columns.get(spelled).map_or(&[][..], Vec::as_slice);
                    assert!(columns.is_empty() || columns.len() == expected.len(), "{}: columns", case.name);
                    runtime.block_on(check(file, case, spelled, expected, columns));
                    *checked.entry(spelled.to_owned()).or_insert(0) += 1;
                }
            }
            for spelled in case.columns.keys() {
                let known = case.sessions.contains_key(spelled)
                    || (NAMES.contains(&spelled.as_str()) && case.sessions.contains_key(OTHERS));
                assert!(known, "{}: columns of {spelled}, which makes no sessions", case.name);
            }
        }
    }
    for profile in NAMES {
        assert!(checked.get(profile).is_some_and(|cases| *cases >= 30), "{profile}: {checked:?}");
    }
}

const MINUTE_US: i64 = 60_000_000;
const TYPES: [&str; 5] = ["page_view", "page_view", "purchase", "$session_start", "$message_viewed"];
const CAMPAIGNS: [Option<&str>; 5] = [None, None, Some("a"), Some("A"), Some("b")];
const TERMS: [Option<&str>; 4] = [None, None, Some("oak"), Some("ash")];
const SITES: [Option<&str>; 5] =
    [None, None, Some("search.example"), Some("www.search.example"), Some("my.example.com")];

fn random_events() -> impl Strategy<Value = Vec<MemoryEvent>> {
    // Steps of ten minutes around a midnight in Berlin: pauses of exactly 30 minutes and equal times are common.
    let who = (0..3_u8, proptest::option::of(0..2_u8), proptest::option::of(0..2_u8), 0..10_u8);
    let event = (who, 0..60_i64, 0..500_i64, 0..TYPES.len(), 0..CAMPAIGNS.len(), 0..TERMS.len(), 0..SITES.len());
    proptest::collection::vec(event, 0..50).prop_map(|events| {
        let begin_us = "2026-03-28T19:00:00Z".parse::<DateTime<Utc>>().unwrap().timestamp_micros();
        let events = events.into_iter().enumerate();
        let events = events.map(|(place, (who, step, delay_min, event_type, campaign, term, site))| {
            let (visitor, user, session, bot) = who;
            let at_us = begin_us + step * 10 * MINUTE_US;
            let texts = [
                // Ids in another order than places.
                (TextField::EventId, Some(format!("event-{:02}", place * 37 % 59))),
                (TextField::EventType, Some(TYPES[event_type].to_owned())),
                (TextField::VisitorId, (visitor > 0).then(|| format!("v{visitor}"))),
                (TextField::UserId, user.map(|user| format!("u{user}"))),
                (TextField::SessionId, session.map(|session| format!("s{session}"))),
                (TextField::Host, Some("shop.example.com".to_owned())),
                (TextField::UtmCampaign, CAMPAIGNS[campaign].map(str::to_owned)),
                (TextField::UtmTerm, TERMS[term].map(str::to_owned)),
                (TextField::Referrer, Some(format!("https://{}/{place}", SITES[site].unwrap_or_default()))),
                (TextField::ReferrerHost, SITES[site].map(str::to_owned)),
            ];
            MemoryEvent {
                occurred_at_us: at_us,
                received_at_us: at_us + delay_min * MINUTE_US,
                is_bot: bot == 0,
                revenue_e4: Some(mark(place)),
                texts: texts.into_iter().filter_map(|(field, text)| Some((field, text?))).collect(),
            }
        });
        events.collect()
    })
}

fn random_rules() -> impl Strategy<Value = SessionRules> {
    let campaign = || {
        let parts = [
            vec![vec![TextField::UtmCampaign], vec![TextField::UtmTerm]],
            vec![vec![TextField::UtmTerm, TextField::UtmCampaign]],
        ];
        (proptest::sample::select(parts.to_vec()), any::<bool>())
            .prop_map(|(parts, from_direct)| CampaignSplit { parts, from_direct })
    };
    let referrer = || any::<bool>().prop_map(|from_direct| ReferrerSplit { from_direct });
    let zones = [chrono_tz::Europe::Berlin, chrono_tz::America::St_Johns, chrono_tz::UTC];
    (
        prop_oneof![Just(10), Just(29), Just(30), Just(90)],
        proptest::option::of(prop_oneof![Just(60), Just(6_000)]),
        proptest::option::of(campaign()),
        proptest::option::of(referrer()),
        proptest::option::of(proptest::sample::select(zones.to_vec())),
        proptest::option::of(prop_oneof![Just(20), Just(60), Just(200)]),
    )
        .prop_map(|(timeout, client, campaign, referrer, midnight, max_length)| SessionRules {
            profile: "random/1".to_owned(),
            timeout: Duration::minutes(timeout),
            identity: client
                .map_or(Identity::Device, |minutes| Identity::ClientSession { timeout: Duration::minutes(minutes) }),
            splits: Splits { campaign, referrer, midnight, max_length: max_length.map(Duration::minutes) },
        })
}

/// What a session must say, from its events: their places, anchor, first and last, campaign, referrer, counts.
fn row_by_definition(events: &[MemoryEvent], session: &[usize], own_domains: &[String]) -> (Vec<usize>, Vec<String>) {
    let of = |place: usize| &events[place];
    let id = |place: usize| of(place).text(TextField::EventId).unwrap_or_default().to_owned();
    let anchor = session.iter().min_by_key(|place| (of(**place).received_at_us, id(**place))).unwrap();
    let campaign = session.iter().find(|place| {
        [TextField::UtmCampaign, TextField::UtmTerm].iter().any(|field| of(**place).text(*field).is_some())
    });
    let campaign = campaign.and_then(|place| of(*place).text(TextField::UtmCampaign)).unwrap_or_default().to_owned();
    let referring = session.iter().find(|place| external_referrer(of(**place), own_domains).is_some());
    let of_referring = |field| referring.and_then(|place| of(*place).text(field)).unwrap_or_default().to_owned();
    let referrer = [TextField::EventId, TextField::Referrer, TextField::ReferrerHost].map(of_referring);
    let views = session.iter().filter(|place| of(**place).text(TextField::EventType) == Some("page_view")).count();
    let mut places = session.to_vec();
    places.sort_unstable();
    let last = session[session.len() - 1];
    let [counted, viewed] = [session.len(), views].map(|count| count.to_string());
    let cells = [id(*anchor), id(session[0]), id(last), campaign].into_iter().chain(referrer).chain([counted, viewed]);
    (places, cells.collect())
}

const COMPARED: [&str; 9] = [
    column::SESSION_ID,
    column::FIRST_EVENT_ID,
    column::LAST_EVENT_ID,
    "utm_campaign",
    column::REFERRER_EVENT_ID,
    "referrer",
    "referrer_host",
    column::EVENT_COUNT,
    column::PAGE_VIEW_COUNT,
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_rules_give_the_sessions_of_their_definition(
        (events, rules, partitions, seed, owns) in
            (random_events(), random_rules(), 1..8_usize, any::<u64>(), any::<bool>())
    ) {
        let own_domains = if owns { vec!["search.example".to_owned()] } else { Vec::new() };
        let sessions = naive_sessions(&events, &rules, &own_domains);
        let mut expected: Vec<_> = sessions.iter().map(|session| row_by_definition(&events, session, &own_domains)).collect();
        expected.sort();
        let found = runtime().block_on(cut(&events, &rules, &own_domains, partitions, seed));
        let found: Vec<_> = found
            .into_iter()
            .map(|(places, row)| (places, COMPARED.map(|name| row[name].clone()).to_vec()))
            .collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn columns_that_are_not_asked_for_change_nothing() {
    let cases: File = toml::from_str(FILES[2].1).unwrap();
    let case = &cases.case[0];
    let (events, rules) = (case.events(), case.rules("touchline+campaign+midnight"));
    let counts = runtime().block_on(async {
        let context = SessionContext::new();
        let table = event_table(&[events.iter().collect()]).unwrap();
        let params = SessionParams { rules, ..SessionParams::default() };
        let frame = sessions(&context, table, params).unwrap().select(vec![col(column::EVENT_COUNT)]).unwrap();
        frame.sort(vec![col(column::EVENT_COUNT).sort(true, true)]).unwrap().count().await.unwrap()
    });
    assert_eq!(counts, 2);
}

#[test]
fn a_profile_that_does_not_exist_is_no_profile() {
    assert!(NAMES.into_iter().all(|name| Profile::by_name(name).is_ok()));
    assert!(Profile::by_name("Touchline").is_err());
}
