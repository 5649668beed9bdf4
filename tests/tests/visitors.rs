//! Stored visitors take up new events without a look at all sessions: whatever arrives, in whatever order, the touches of
//! a person can be told from the stored row and from the sessions that went and came.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use chrono::Duration;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::prelude::*;
use touchline_pipeline::channels::RuleSet;
use touchline_pipeline::identities::People;
use touchline_pipeline::scan::scan_schema;
use touchline_pipeline::sessions::rules::{Identity, Splits};
use touchline_pipeline::sessions::{SessionParams, SessionRules, sessions};
use touchline_pipeline::visitors::{Updated, Who, of_changes, update, visitors};
use touchline_schemas::event::TextField;
use touchline_schemas::tables::Table;
use touchline_tests::event_table::{MemoryEvent, event_table};
use touchline_tests::rows::{texts, value};

const MINUTE_US: i64 = 60_000_000;

async fn sessions_of(events: &[&MemoryEvent], params: &SessionParams) -> RecordBatch {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    let table = event_table(&[events.to_vec()]).unwrap();
    let found = sessions(&context, table, params.clone()).unwrap().collect().await.unwrap();
    concat_batches(&scan_schema(Table::Sessions), &found).unwrap()
}

async fn visitors_of(sessions: &RecordBatch, people: &Arc<People>) -> RecordBatch {
    let table = MemTable::try_new(sessions.schema(), vec![vec![sessions.clone()]]).unwrap();
    let found =
        visitors(&SessionContext::new(), Arc::new(table), people, &Who::Part { number: 0, of: 1 }).await.unwrap();
    concat_batches(&scan_schema(Table::Visitors), &found).unwrap()
}

/// The rows of `sessions` that are not among `others`, as the job `sessions` names them in a change file.
fn without(sessions: &RecordBatch, others: &RecordBatch) -> RecordBatch {
    let of = |batch: &RecordBatch| texts(std::slice::from_ref(batch)).unwrap();
    let others: HashSet<String> = of(others).into_iter().collect();
    let is_new: BooleanArray = of(sessions).iter().map(|row| Some(!others.contains(row))).collect();
    filter_record_batch(sessions, &is_new).unwrap()
}

fn sorted(visitors: &RecordBatch) -> Vec<String> {
    let mut rows = texts(std::slice::from_ref(visitors)).unwrap();
    rows.sort();
    rows
}

/// What becomes of visitors when `late` events come after `stored` ones; and what they are, computed from all sessions.
async fn after(stored: &[&MemoryEvent], late: &[&MemoryEvent], params: &SessionParams) -> (Updated, RecordBatch) {
    let people = Arc::new(People::new(Vec::new()));
    let before = sessions_of(stored, params).await;
    let now = sessions_of(&[stored, late].concat(), params).await;
    let (went, came) = (without(&before, &now), without(&now, &before));
    let went = of_changes(&went, &people).unwrap();
    let came = of_changes(&came, &people).unwrap();
    let updated = update(&visitors_of(&before, &people).await, &went, &came).unwrap();
    (updated, visitors_of(&now, &people).await)
}

/// The people of `v0`, whom nobody knows, and of `u`, who has two devices and events without any.
const DEVICES: [(Option<&str>, Option<&str>); 4] =
    [(Some("v0"), None), (Some("v1"), Some("u")), (Some("v2"), Some("u")), (None, Some("u"))];
const TYPES: [&str; 4] = ["page_view", "page_view", "purchase", "$session_start"];
const CAMPAIGNS: [&[(TextField, &str)]; 4] = [
    &[],
    &[],
    &[(TextField::UtmSource, "google"), (TextField::UtmMedium, "cpc")],
    &[(TextField::UtmSource, "news"), (TextField::UtmMedium, "email")],
];
/// The page is on `shop.example`.
const SITES: [Option<&str>; 5] = [None, None, Some("shop.example"), Some("www.google.com"), Some("blog.example")];
/// 0 is an amount, and amounts may cancel out.
const AMOUNTS_E4: [Option<i64>; 5] = [None, None, Some(0), Some(50_000), Some(-50_000)];

/// Events in steps of ten minutes, so that pauses of exactly the timeout and equal times are common, and whether each is
/// late. When an event was received says nothing of when it was stored: several nodes take events.
fn events() -> impl Strategy<Value = Vec<(MemoryEvent, bool)>> {
    let content = (0..TYPES.len(), 0..CAMPAIGNS.len(), 0..SITES.len(), 0..AMOUNTS_E4.len());
    let session = proptest::option::of(0..2_u8);
    let event = (0..DEVICES.len(), session, 0..90_i64, 0..200_i64, content, any::<bool>());
    proptest::collection::vec(event, 1..40).prop_map(|events| {
        let events = events.into_iter().enumerate();
        let events = events.map(|(place, (device, session, step, received, content, is_late))| {
            let (event_type, campaign, site, amount) = content;
            let (visitor, user) = DEVICES[device];
            let mut texts = vec![
                // Ids in another order than places.
                (TextField::EventId, format!("event-{:02}", place * 37 % 59)),
                (TextField::EventType, TYPES[event_type].to_owned()),
                (TextField::Host, "shop.example".to_owned()),
                (TextField::Path, format!("/{place}")),
            ];
            texts.extend(visitor.map(|id| (TextField::VisitorId, id.to_owned())));
            texts.extend(user.map(|id| (TextField::UserId, id.to_owned())));
            texts.extend(session.map(|id| (TextField::SessionId, format!("s{id}"))));
            texts.extend(CAMPAIGNS[campaign].iter().map(|(field, text)| (*field, (*text).to_owned())));
            if let Some(site) = SITES[site] {
                texts.push((TextField::Referrer, format!("https://{site}/{place}")));
                texts.push((TextField::ReferrerHost, site.to_owned()));
            }
            let event = MemoryEvent {
                occurred_at_us: step * 10 * MINUTE_US,
                received_at_us: received * MINUTE_US,
                revenue_e4: AMOUNTS_E4[amount],
                texts,
                ..MemoryEvent::default()
            };
            (event, is_late)
        });
        events.collect()
    })
}

/// Rules under which stored sessions take up new events.
fn params() -> impl Strategy<Value = SessionParams> {
    let client = Identity::ClientSession { timeout: Duration::hours(2) };
    let midnight = Splits { midnight: Some(chrono_tz::UTC), ..Splits::default() };
    let rules = proptest::sample::select(vec![
        SessionRules::default(),
        SessionRules { splits: midnight, ..SessionRules::default() },
        SessionRules { identity: client, ..SessionRules::default() },
    ]);
    let channel_rules = prop_oneof![Just(RuleSet::touchline()), Just(RuleSet::ga4())];
    (rules, channel_rules).prop_map(|(rules, channel_rules)| {
        assert!(rules.is_mergeable());
        SessionParams { rules, channel_rules, ..SessionParams::default() }
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn events_that_extend_and_join_sessions_leave_nobody_unknown((events, params) in (events(), params())) {
        let of = |late: bool| events.iter().filter(move |event| event.1 == late).map(|event| &event.0);
        let (stored, late): (Vec<_>, Vec<_>) = (of(false).collect(), of(true).collect());
        let (updated, expected) = runtime().block_on(after(&stored, &late, &params));
        prop_assert_eq!(updated.unknown, HashSet::new());
        prop_assert_eq!(sorted(&updated.rows), sorted(&expected));
    }
}

/// An event of the visitor `v`: a number, in whose order they arrived, its minute, and what else it says.
type Told<'a> = (u32, i64, &'a [(TextField, &'a str)]);

fn told((number, minute, texts): &Told<'_>) -> MemoryEvent {
    let own = [
        (TextField::EventId, format!("e{number}")),
        (TextField::EventType, "page_view".to_owned()),
        (TextField::VisitorId, "v".to_owned()),
        (TextField::Host, "shop.example".to_owned()),
    ];
    MemoryEvent {
        occurred_at_us: minute * MINUTE_US,
        received_at_us: i64::from(*number) * MINUTE_US,
        texts: own.into_iter().chain(texts.iter().map(|(field, text)| (*field, (*text).to_owned()))).collect(),
        ..MemoryEvent::default()
    }
}

/// Late events leave these people unknown, and of the others the last touch that was not direct is this session, by this
/// channel.
#[track_caller]
fn check(stored: &[Told<'_>], late: &[Told<'_>], unknown: &[&str], last_non_direct: &[(&str, &str)]) {
    let [stored, late] = [stored, late].map(|events| events.iter().map(told).collect::<Vec<_>>());
    let (stored, late): (Vec<_>, Vec<_>) = (stored.iter().collect(), late.iter().collect());
    let (updated, expected) = runtime().block_on(after(&stored, &late, &SessionParams::default()));
    assert_eq!(updated.unknown, unknown.iter().map(|person| (*person).to_owned()).collect());
    let rows = sorted(&updated.rows);
    let is_known = |row: &String| !unknown.contains(&value(row, "person_id"));
    assert_eq!(rows, sorted(&expected).into_iter().filter(is_known).collect::<Vec<_>>());
    let touch = |row| (value(row, "last_non_direct_touch_session_id"), value(row, "last_non_direct_touch_channel"));
    assert_eq!(rows.iter().map(|row| touch(row)).collect::<Vec<_>>(), last_non_direct);
}

const GOOGLE: (TextField, &str) = (TextField::ReferrerHost, "www.google.com");
const BLOG: (TextField, &str) = (TextField::ReferrerHost, "blog.example");
const EMAIL: (TextField, &str) = (TextField::UtmMedium, "email");

#[test]
fn a_late_first_event_without_a_referrer_leaves_the_channel() {
    check(&[(1, 10, &[GOOGLE])], &[(2, 0, &[])], &[], &[("e1", "organic_search")]);
    check(&[(1, 10, &[EMAIL])], &[(2, 0, &[])], &[], &[("e1", "email")]);
    check(&[(1, 10, &[GOOGLE])], &[(2, 20, &[]), (3, 15, &[BLOG])], &[], &[("e1", "organic_search")]);
}

#[test]
fn a_session_of_two_that_a_late_event_bridges_is_known() {
    // The channel is that of the earlier campaign, the id that of the older anchor, be it the greater or the smaller.
    check(&[(1, 0, &[EMAIL]), (2, 50, &[GOOGLE])], &[(3, 25, &[])], &[], &[("e1", "email")]);
    check(&[(2, 0, &[EMAIL]), (1, 50, &[GOOGLE])], &[(3, 25, &[])], &[], &[("e1", "email")]);
    check(&[(10, 0, &[EMAIL]), (9, 50, &[GOOGLE])], &[(11, 25, &[])], &[], &[("e9", "email")]);
    check(&[(1, 0, &[]), (2, 50, &[GOOGLE])], &[(3, 25, &[])], &[], &[("e1", "organic_search")]);
    check(&[(1, 0, &[GOOGLE]), (2, 50, &[])], &[(3, 25, &[])], &[], &[("e1", "organic_search")]);
    check(&[(2, 0, &[BLOG]), (1, 50, &[GOOGLE])], &[(3, 25, &[EMAIL])], &[], &[("e1", "email")]);
}

#[test]
fn a_campaign_that_says_nothing_can_make_a_session_direct() {
    let footer = (TextField::UtmContent, "footer");
    check(&[(1, 10, &[EMAIL])], &[(2, 0, &[footer])], &["v:v"], &[]);
    check(&[(1, 10, &[EMAIL, GOOGLE])], &[(2, 0, &[footer])], &[], &[("e1", "organic_search")]);
    let direct = (TextField::UtmSource, "(direct)");
    check(&[(1, 10, &[EMAIL])], &[(2, 0, &[direct])], &["v:v"], &[]);
    check(&[(1, 10, &[direct, GOOGLE])], &[(2, 0, &[BLOG])], &["v:v"], &[]);
}

#[test]
fn a_session_that_becomes_another_persons_is_missing_to_the_first() {
    let (anna, ben) = ((TextField::UserId, "anna"), (TextField::UserId, "ben"));
    check(&[(1, 10, &[ben]), (2, 100, &[ben])], &[(3, 0, &[anna])], &["u:ben"], &[("∅", "∅")]);
    // Whoever has no session left is known to have none.
    check(&[(1, 10, &[ben])], &[(2, 0, &[anna])], &[], &[("∅", "∅")]);
}
