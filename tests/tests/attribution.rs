//! Touchpoints and credits are those of the definition, whatever the order, lateness and batching of events and however
//! often people are joined and parted; a crash between the two tables heals; every model's report sums to all
//! conversions and their value.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use chrono::{DateTime, NaiveDate, Utc};
use futures::TryStreamExt;
use proptest::prelude::*;
use touchline_ingest::event_ids::IdHash;
use touchline_ingest::record::{EncodedEvents, Event, RequestHead, decode, put_head};
use touchline_jobs::RunRequest;
use touchline_lake::{Change, ChangeKind, Commit, CommitInfo, EncodedRows};
use touchline_pipeline::reports::{TimeRange, attribution};
use touchline_schemas::control::{AccountSettings, ConversionValue};
use touchline_schemas::event::TextField;
use touchline_schemas::tables::Table;
use touchline_schemas::{AccountId, Environment, MockClock, Tenant};
use touchline_tests::installation::Installation;
use touchline_tests::rows::{only, rows};
use uuid::Uuid;

const TYPES: [&str; 7] = ["page_view", "page_view", "add_to_cart", "purchase", "signup", "$alias", "$unmerge"];
/// Those of the types that say nothing of who is who, besides carrying ids.
const PLAIN_TYPES: usize = 5;
const SOURCES: [Option<&str>; 4] = [None, None, Some("google"), Some("newsletter")];
const HOUR_US: i64 = 3_600_000_000;
const LOOKBACK_US: i64 = 30 * 24 * HOUR_US;
const VISITORS: u8 = 4;

#[derive(Debug, Clone)]
struct Sent {
    id: u32,
    visitor: u8,
    user: Option<u8>,
    occurred_at_us: i64,
    event_type: usize,
    source: usize,
    is_bot: bool,
}

/// Who is behind a visitor id: itself, or one of two users. Also whose user id the second one is.
type Identities = Vec<Option<u8>>;

/// A batch of events, who is who afterwards, and whether the table says what of it is new.
#[derive(Debug, Clone)]
struct Step {
    events: Vec<Sent>,
    identities: Identities,
    says_changes: bool,
}

fn begin_us() -> i64 {
    "2026-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap().timestamp_micros()
}

fn sent_events(types: usize) -> impl Strategy<Value = Vec<Sent>> {
    // Steps of 12 hours over 90 days: touches at exactly the look-back, and beyond it, are common.
    let event =
        (0..VISITORS, proptest::option::weighted(0.3, 0..2_u8), 0..180_i64, 0..types, 0..SOURCES.len(), 0..20_u8);
    proptest::collection::vec(event, 1..80).prop_map(|events| {
        let events = events.into_iter().enumerate();
        let sent = events.map(|(id, (visitor, user, step, event_type, source, bot))| Sent {
            id: id as u32,
            visitor,
            user,
            occurred_at_us: begin_us() + step * 12 * HOUR_US,
            event_type,
            source,
            is_bot: bot == 0,
        });
        sent.collect()
    })
}

fn histories() -> impl Strategy<Value = Vec<Step>> {
    let identities = || proptest::collection::vec(proptest::option::of(0..2_u8), usize::from(VISITORS));
    let steps = (1..5_usize).prop_flat_map(move |steps| {
        let step = (identities(), proptest::bool::weighted(0.7));
        (Just(steps), sent_events(PLAIN_TYPES).prop_shuffle(), proptest::collection::vec(step, steps))
    });
    steps.prop_map(|(steps, events, known)| {
        let length = events.len().div_ceil(steps);
        let mut batches = events.chunks(length);
        let step = |(identities, says_changes)| Step {
            events: batches.next().unwrap_or_default().to_vec(),
            identities,
            says_changes,
        };
        known.into_iter().map(step).collect()
    })
}

fn tenant() -> Tenant {
    Tenant { account_id: AccountId(Uuid::from_u128(1)), environment: Environment::Live }
}

fn payload(tenant: Tenant, sent: &Sent) -> Vec<u8> {
    let id = format!("event-{:04}", sent.id);
    let mut event = Event::at(sent.occurred_at_us);
    event.is_bot = sent.is_bot;
    event.set(TextField::EventId, id.clone());
    event.set(TextField::EventType, TYPES[sent.event_type]);
    // Some people are known by their user id only, and some conversions are nobody's.
    if sent.visitor > 0 {
        event.set(TextField::VisitorId, format!("visitor-{}", sent.visitor));
    }
    if let Some(user) = sent.user {
        event.set(TextField::UserId, format!("user-{user}"));
    }
    event.set(TextField::Path, format!("/page-{}", sent.id % 7));
    if let Some(source) = SOURCES[sent.source] {
        event.set(TextField::UtmSource, source);
    }
    if TYPES[sent.event_type] == "purchase" {
        // Refunds are negative; many amounts do not divide evenly.
        event.revenue_e4 = Some(i64::from(sent.id) * 10_007 - 100_000);
        event.set(TextField::Properties, r#"{"margin":0.1}"#);
    }
    if TYPES[sent.event_type] == "$alias" {
        event.set(TextField::Properties, format!(r#"{{"previous_id":"user-{}"}}"#, sent.source % 2));
    }
    let mut events = EncodedEvents::default();
    events.push(IdHash::new(tenant, &id), &event);
    let head = RequestHead { tenant, received_at_us: sent.occurred_at_us, duplicates: 0, events: 1, rejected: 0 };
    let mut payload = Vec::new();
    put_head(&mut payload, &head);
    events.iter().for_each(|(_, bytes)| payload.extend_from_slice(bytes));
    payload
}

async fn installation(folder: &tempfile::TempDir) -> Installation {
    let clock = Arc::new(MockClock::at("2026-05-01T00:00:00Z".parse().unwrap()));
    Installation::open(folder.path(), clock, 2).await.unwrap()
}

/// Runs some jobs of which `attribution` reads the tables.
async fn run_named(installation: &Installation, names: &[&str]) {
    for job in installation.jobs().into_iter().filter(|job| names.contains(&job.name())) {
        installation.run_job(&*job, false).await.unwrap();
    }
}

async fn store(installation: &mut Installation, number: i64, events: &[Sent]) {
    store_of(installation, tenant(), number, events).await;
}

async fn store_of(installation: &mut Installation, tenant: Tenant, number: i64, events: &[Sent]) {
    let payloads: Vec<_> = events.iter().map(|sent| payload(tenant, sent)).collect();
    let requests: Vec<_> = payloads.iter().map(|payload| decode(payload).unwrap()).collect();
    installation.writer.store(number, &requests).await.unwrap();
}

/// Rows of `identities`: a visitor is a user's person; the user ids stand for themselves, and are not in the table.
fn identity_rows(identities: &Identities) -> RecordBatch {
    let known: Vec<(usize, u8)> =
        identities.iter().enumerate().filter_map(|(visitor, user)| Some((visitor, (*user)?))).collect();
    let text = |of: &dyn Fn(&(usize, u8)) -> String| -> ArrayRef {
        Arc::new(known.iter().map(|known| Some(of(known))).collect::<StringArray>())
    };
    let times = |time: Option<i64>| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(vec![time; known.len()]).with_timezone("UTC"))
    };
    let columns = vec![
        text(&|_| "visitor".to_owned()),
        text(&|(visitor, _)| format!("visitor-{visitor}")),
        text(&|(_, user)| format!("u:user-{user}")),
        times(None),
        times(None),
        times(Some(begin_us())),
    ];
    RecordBatch::try_new(Table::Identities.file_schema(), columns).unwrap()
}

/// Replaces `identities`, as its job would.
async fn identify(
    installation: &Installation,
    number: usize,
    before: &Identities,
    now: &Identities,
    says_changes: bool,
) {
    let table = installation.engine.lake().table(Table::Identities);
    let stored = table.snapshot().await.unwrap();
    let (old, new) = (identity_rows(before), identity_rows(now));
    let at = "2026-05-01T00:00:00Z".parse().unwrap();
    let mut add = Vec::new();
    if new.num_rows() > 0 {
        let rows = EncodedRows::new(Table::Identities, &new).unwrap();
        let day: NaiveDate = "2026-01-01".parse().unwrap();
        add.push(table.write_file(tenant(), day, &format!("identities-{number}"), rows, at).await.unwrap());
    }
    let mut info = CommitInfo::default();
    if says_changes {
        let changes = [(ChangeKind::Delete, old), (ChangeKind::Insert, new)];
        let file = table.write_changes(&format!("changes-{number}"), &changes).await.unwrap();
        info.changes.push(Change { tenant: tenant(), files: Some(vec![file]) });
    }
    let remove = stored.files(tenant()).to_vec();
    let commit = Commit { add, remove, info, based_on: stored.version, ..Commit::default() };
    table.commit(commit, at).await.unwrap();
}

async fn tables(installation: &Installation, tenant: Tenant) -> [Vec<String>; 2] {
    [
        rows(&installation.engine, Table::Touchpoints, tenant).await.unwrap(),
        rows(&installation.engine, Table::Attribution, tenant).await.unwrap(),
    ]
}

/// Rows of both tables after the steps, with the jobs run after each.
async fn tables_after(steps: &[Step]) -> [Vec<String>; 2] {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = installation(&folder).await;
    let mut known: Identities = vec![None; usize::from(VISITORS)];
    for (number, step) in steps.iter().enumerate() {
        store(&mut installation, number as i64 + 1, &step.events).await;
        run_named(&installation, &["sessions"]).await;
        identify(&installation, number, &known, &step.identities, step.says_changes).await;
        known = step.identities.clone();
        installation.run_attribution(RunRequest::default()).await.unwrap();
    }
    assert!(installation.run_attribution(RunRequest::default()).await.unwrap().unchanged);
    let stored = tables(&installation, tenant()).await;
    installation.run_attribution(RunRequest::FULL).await.unwrap();
    assert_eq!(tables(&installation, tenant()).await, stored, "a full run changes nothing");
    stored
}

/// Conversions with the begin of each of their touches in hours, by the definition.
fn by_definition(events: &[Sent], identities: &Identities) -> Vec<String> {
    let person = |sent: &Sent| match (sent.user, sent.visitor) {
        (Some(user), _) => Some(format!("u:user-{user}")),
        (None, 0) => None,
        (None, visitor) => Some(match identities[usize::from(visitor)] {
            Some(user) => format!("u:user-{user}"),
            None => format!("v:visitor-{visitor}"),
        }),
    };
    // Events are 12 hours apart or at the same time: a device's session is what happens at one time. It belongs to the
    // user that its first event with one names.
    let mut sessions: BTreeMap<(u8, Option<u8>, i64), Vec<&Sent>> = BTreeMap::new();
    for sent in events.iter().filter(|sent| !sent.is_bot && (sent.visitor > 0 || sent.user.is_some())) {
        let device = if sent.visitor > 0 { (sent.visitor, None) } else { (0, sent.user) };
        sessions.entry((device.0, device.1, sent.occurred_at_us)).or_default().push(sent);
    }
    let mut touches: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for ((_, _, at_us), mut session) in sessions {
        session.sort_by_key(|sent| sent.id);
        let user = session.iter().find_map(|sent| sent.user);
        let owner = person(&Sent { user, ..session[0].clone() }).unwrap();
        touches.entry(owner).or_default().push(at_us);
    }
    let mut found = Vec::new();
    for sent in events.iter().filter(|sent| !sent.is_bot && ["purchase", "signup"].contains(&TYPES[sent.event_type])) {
        let at_us = sent.occurred_at_us;
        let mine = person(sent).and_then(|person| touches.get(&person)).map(Vec::as_slice).unwrap_or_default();
        let mut counted: Vec<_> =
            mine.iter().filter(|touch| **touch <= at_us && **touch >= at_us - LOOKBACK_US).collect();
        counted.sort();
        if counted.is_empty() {
            found.push(format!("conversion_id=event-{:04} position=0 touch_count=0 touched_at=∅", sent.id));
        }
        for (place, touch) in counted.iter().enumerate() {
            let time = DateTime::from_timestamp_micros(**touch).unwrap().format("%Y-%m-%dT%H:%M:%SZ");
            let (position, count) = (place + 1, counted.len());
            found.push(format!(
                "conversion_id=event-{:04} position={position} touch_count={count} touched_at={time}",
                sent.id
            ));
        }
    }
    found.sort();
    found
}

fn cell<'a>(row: &'a str, column: &str) -> &'a str {
    row.split(' ').find_map(|cell| cell.strip_prefix(column)?.strip_prefix('=')).unwrap()
}

fn units(text: &str) -> i128 {
    (text.parse::<f64>().unwrap() * 10_000.0).round() as i128
}

/// Credits of each conversion and model, and their values.
fn sums(attribution: &[String]) -> BTreeMap<(String, String), (i128, Option<i128>)> {
    let mut sums: BTreeMap<(String, String), (i128, Option<i128>)> = BTreeMap::new();
    for row in attribution {
        let key = (cell(row, "conversion_id").to_owned(), cell(row, "model").to_owned());
        let sum = sums.entry(key).or_default();
        sum.0 += units(cell(row, "credit"));
        if cell(row, "value") != "∅" {
            sum.1 = Some(sum.1.unwrap_or_default() + units(cell(row, "value")));
        }
    }
    sums
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_history_gives_the_touchpoints_and_credits_of_the_definition(steps in histories()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let [touchpoints, attribution] = runtime.block_on(tables_after(&steps));

        let events: Vec<Sent> = steps.iter().flat_map(|step| step.events.clone()).collect();
        let identities = &steps.last().unwrap().identities;
        let columns = ["conversion_id", "position", "touch_count", "touched_at"];
        prop_assert_eq!(only(&touchpoints, &columns), by_definition(&events, identities));

        // All at once, with only the last word on who is who.
        let at_once = [Step { events, identities: identities.clone(), says_changes: true }];
        let [touchpoints_at_once, attribution_at_once] = runtime.block_on(tables_after(&at_once));
        prop_assert_eq!(&touchpoints, &touchpoints_at_once);
        prop_assert_eq!(&attribution, &attribution_at_once);

        let values: BTreeMap<String, Option<i128>> = touchpoints.iter().map(|row| {
            let value = Some(cell(row, "value")).filter(|value| *value != "∅").map(units);
            (cell(row, "conversion_id").to_owned(), value)
        }).collect();
        let sums = sums(&attribution);
        prop_assert_eq!(sums.len(), 6 * values.len());
        for ((conversion, model), (credit, value)) in sums {
            prop_assert_eq!(credit, 10_000, "{} {}", conversion, model);
            prop_assert_eq!(value, values[&conversion], "{} {}", conversion, model);
        }
    }
}

/// Rows of both tables when all jobs run after each batch, who is who being found out from the events.
async fn tables_of_all_jobs(batches: &[Vec<Sent>]) -> [Vec<String>; 2] {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = installation(&folder).await;
    for (number, batch) in batches.iter().enumerate() {
        store(&mut installation, number as i64 + 1, batch).await;
        installation.run_jobs(false).await.unwrap();
    }
    tables(&installation, tenant()).await
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn joining_and_parting_people_gives_what_all_events_at_once_give(
        events in sent_events(TYPES.len()).prop_shuffle(), batches in 2..5_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let batches: Vec<Vec<Sent>> = events.chunks(events.len().div_ceil(batches)).map(<[Sent]>::to_vec).collect();
        let arrived = runtime.block_on(tables_of_all_jobs(&batches));
        let at_once = runtime.block_on(tables_of_all_jobs(&[events]));
        prop_assert_eq!(arrived, at_once);
    }
}

fn sent(id: u32, visitor: u8, hours: i64, event_type: &str, source: usize) -> Sent {
    Sent {
        id,
        visitor,
        user: None,
        occurred_at_us: begin_us() + hours * HOUR_US,
        event_type: TYPES.iter().position(|known| *known == event_type).unwrap(),
        source,
        is_bot: false,
    }
}

/// Three visits of one person, the last with a purchase; one visit of another, with a signup.
fn shop() -> Vec<Sent> {
    vec![
        sent(1, 1, 0, "page_view", 2),
        sent(2, 1, 7 * 24, "page_view", 3),
        sent(3, 1, 14 * 24, "purchase", 0),
        sent(4, 2, 15 * 24, "signup", 2),
        sent(5, 0, 16 * 24, "signup", 0),
    ]
}

async fn report(installation: &Installation, tenant: Tenant, params: attribution::Params) -> Vec<String> {
    let answer = attribution::query(&installation.engine, tenant, &params).await.unwrap();
    let batches: Vec<RecordBatch> = answer.batches.try_collect().await.unwrap();
    touchline_tests::rows::texts(&batches).unwrap()
}

fn params(model: &str) -> attribution::Params {
    attribution::Params {
        range: TimeRange::default(),
        model: model.to_owned(),
        order: None,
        by: "utm_source".to_owned(),
        event_type: None,
        lookback_days: None,
        limit: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_of_every_model_sum_to_all_conversions_and_their_value() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = installation(&folder).await;
    store(&mut installation, 1, &shop()).await;
    run_named(&installation, &["identities", "sessions"]).await;
    installation.run_attribution(RunRequest::default()).await.unwrap();
    // The purchase is worth 3 * 1.0007 - 10 = -6.9979; the signups have no value, and the last has no touch.
    for (model, expected) in [
        ("first", ["google 2.0000 -6.9979 2", "∅ 1.0000 ∅ 0", ""]),
        ("last", ["∅ 2.0000 -6.9979 1", "google 1.0000 ∅ 1", ""]),
        ("last_non_direct", ["∅ 1.0000 ∅ 0", "google 1.0000 ∅ 1", "newsletter 1.0000 -6.9979 1"]),
        ("linear", ["∅ 1.3334 -2.3327 1", "google 1.3333 -2.3326 2", "newsletter 0.3333 -2.3326 1"]),
        ("position", ["∅ 1.4000 -2.7991 1", "google 1.4000 -2.7992 2", "newsletter 0.2000 -1.3996 1"]),
        ("time_decay", ["∅ 1.5714 -3.9988 1", "google 1.1429 -0.9997 2", "newsletter 0.2857 -1.9994 1"]),
        ("participation", ["∅ 2.0000 -6.9979 1", "google 2.0000 -6.9979 2", "newsletter 1.0000 -6.9979 1"]),
        ("shapley", ["∅ 1.3334 -2.3327 1", "google 1.3333 -2.3326 2", "newsletter 0.3333 -2.3326 1"]),
        // Half of the walks from google go on to the newsletter and from there to direct: effects 1, 1/2, 1/2.
        ("markov", ["∅ 1.5000 -1.7494 1", "google 1.0000 -3.4990 2", "newsletter 0.5000 -1.7495 1"]),
    ] {
        let found = report(&installation, tenant(), params(model)).await;
        let line =
            |row: &String| ["utm_source", "conversions", "value", "touches"].map(|column| cell(row, column)).join(" ");
        let expected: Vec<_> = expected.into_iter().filter(|row| !row.is_empty()).collect();
        assert_eq!(found.iter().map(line).collect::<Vec<_>>(), expected, "{model}");
        // Computed from journeys it is what is stored.
        let computed = attribution::Params { lookback_days: Some(365), ..params(model) };
        assert_eq!(report(&installation, tenant(), computed).await, found, "{model}");
        // With the look-back of 6 days, only the session of each conversion is left.
        let short = attribution::Params { lookback_days: Some(6), by: "channel".to_owned(), ..params(model) };
        let touches: i64 = report(&installation, tenant(), short)
            .await
            .iter()
            .map(|row| cell(row, "touches").parse::<i64>().unwrap())
            .sum();
        assert_eq!(touches, 2, "{model}");
        let purchases = attribution::Params { event_type: Some("purchase".to_owned()), ..params(model) };
        let credit: i128 =
            report(&installation, tenant(), purchases).await.iter().map(|row| units(cell(row, "conversions"))).sum();
        assert_eq!(credit, if model == "participation" { 30_000 } else { 10_000 }, "{model}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_cut_off_between_the_tables_is_made_good() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = installation(&folder).await;
    store(&mut installation, 1, &shop()[..3]).await;
    run_named(&installation, &["identities", "sessions"]).await;
    installation.run_attribution(RunRequest::default()).await.unwrap();
    let attribution = installation.engine.lake().table(Table::Attribution).clone();
    let before = attribution.snapshot().await.unwrap();
    store(&mut installation, 2, &shop()[3..]).await;
    run_named(&installation, &["identities", "sessions"]).await;
    installation.run_attribution(RunRequest::default()).await.unwrap();
    let expected = tables(&installation, tenant()).await;

    // `attribution` as it was before the second run, with what it said of itself.
    let now = "2026-05-01T00:00:00Z".parse().unwrap();
    let after = attribution.snapshot().await.unwrap();
    let remove = after.files(tenant()).to_vec();
    let info = before.info.clone().unwrap();
    attribution.commit(Commit { remove, info, based_on: after.version, ..Commit::default() }, now).await.unwrap();
    let healed = installation.run_attribution(RunRequest::default()).await.unwrap();
    assert!(!healed.unchanged);
    assert_eq!(tables(&installation, tenant()).await, expected);
    assert!(installation.run_attribution(RunRequest::default()).await.unwrap().unchanged);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_say_what_a_conversion_is_worth_and_which_sessions_count() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = installation(&folder).await;
    let now = "2026-05-01T00:00:00Z".parse().unwrap();
    let account = installation.control.create_account("acme", "Acme", now).await.unwrap();
    let tenant = Tenant { account_id: account.id, environment: Environment::Live };
    store_of(&mut installation, tenant, 1, &shop()).await;
    run_named(&installation, &["identities", "sessions"]).await;
    installation.run_attribution(RunRequest::default()).await.unwrap();

    let check = async |settings: AccountSettings, expected: &[&str]| {
        installation.control.set_account_settings(account.id, &settings, now).await.unwrap();
        installation.run_attribution(RunRequest::default()).await.unwrap();
        let [touchpoints, _] = tables(&installation, tenant).await;
        let found: BTreeSet<String> =
            only(&touchpoints, &["conversion_id", "value", "touch_count"]).into_iter().collect();
        let expected: Vec<String> = expected
            .iter()
            .map(|row| {
                let [id, value, touches] = row.split(' ').collect::<Vec<_>>().try_into().unwrap();
                format!("conversion_id=event-{id} value={value} touch_count={touches}")
            })
            .collect();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
    };
    check(AccountSettings::default(), &["0003 -6.9979 3", "0004 ∅ 1", "0005 ∅ 0"]).await;
    let values = BTreeMap::from([
        ("purchase".to_owned(), ConversionValue::Property("margin".to_owned())),
        ("signup".to_owned(), ConversionValue::Fixed("25".to_owned())),
    ]);
    let worth = AccountSettings { conversion_values: values, ..AccountSettings::default() };
    check(worth, &["0003 0.1000 3", "0004 25.0000 1", "0005 25.0000 0"]).await;
    let purchases = AccountSettings {
        conversion_event_types: Some(vec!["purchase".to_owned()]),
        attribution_lookback_days: Some(7),
        ..AccountSettings::default()
    };
    check(purchases, &["0003 -6.9979 2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn days_that_are_asked_for_are_computed_anew_and_others_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = installation(&folder).await;
    store(&mut installation, 1, &shop()).await;
    run_named(&installation, &["identities", "sessions"]).await;
    installation.run_attribution(RunRequest::default()).await.unwrap();
    let expected = tables(&installation, tenant()).await;
    let table = installation.engine.lake().table(Table::Touchpoints);
    let paths = async || -> BTreeMap<NaiveDate, String> {
        let stored = table.snapshot().await.unwrap();
        stored.files(tenant()).iter().map(|file| (file.date, file.path.clone())).collect()
    };
    let before = paths().await;
    let asked = RunRequest { from: Some("2026-01-16".parse().unwrap()), ..RunRequest::default() };
    installation.run_attribution(asked).await.unwrap();
    let after = paths().await;
    let kept: Vec<String> =
        before.iter().filter(|(day, path)| after.get(day) == Some(path)).map(|(day, _)| day.to_string()).collect();
    assert_eq!(kept, ["2026-01-15"]);
    assert_eq!(after.len(), 3);
    assert_eq!(tables(&installation, tenant()).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn news_that_touch_no_conversion_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = installation(&folder).await;
    store(&mut installation, 1, &shop()).await;
    run_named(&installation, &["identities", "sessions"]).await;
    installation.run_attribution(RunRequest::default()).await.unwrap();
    let expected = tables(&installation, tenant()).await;
    // Somebody who never converted, and a visit after the conversion.
    store(&mut installation, 2, &[sent(6, 3, 24, "page_view", 0), sent(7, 1, 20 * 24, "page_view", 0)]).await;
    run_named(&installation, &["identities", "sessions"]).await;
    let report = installation.run_attribution(RunRequest::default()).await.unwrap();
    assert_eq!((report.unchanged, report.rows_written), (false, 0));
    assert_eq!(tables(&installation, tenant()).await, expected);
}

/// More visits than count, and a purchase in the last of them.
#[tokio::test(flavor = "multi_thread")]
async fn of_too_many_touches_the_last_count() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = installation(&folder).await;
    let visits = (0..1_006_u32).map(|visit| Sent {
        occurred_at_us: begin_us() + i64::from(visit) * 31 * 60_000_000,
        ..sent(visit, 1, 0, if visit < 1_005 { "page_view" } else { "purchase" }, 0)
    });
    store(&mut installation, 1, &visits.collect::<Vec<_>>()).await;
    installation.run_jobs(false).await.unwrap();
    let [touchpoints, attribution] = tables(&installation, tenant()).await;
    assert_eq!(touchpoints.len(), 1_000);
    let first = touchpoints.iter().find(|row| cell(row, "position") == "1").unwrap();
    assert_eq!(cell(first, "session_id"), "event-0006");
    assert_eq!(cell(first, "touch_count"), "1000");
    assert!(sums(&attribution).values().all(|(credit, _)| *credit == 10_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_that_fails_stops_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = installation(&folder).await;
    let other = Tenant { environment: Environment::Test, ..tenant() };
    store(&mut installation, 1, &shop()).await;
    store_of(&mut installation, other, 2, &shop()).await;
    run_named(&installation, &["identities", "sessions"]).await;

    let sessions = installation.engine.lake().table(Table::Sessions).snapshot().await.unwrap();
    let file = folder.path().join("lake").join("sessions").join(&sessions.files(tenant())[0].path);
    let aside = file.with_extension("aside");
    std::fs::rename(&file, &aside).unwrap();
    installation.run_attribution(RunRequest::default()).await.unwrap_err();
    assert!(tables(&installation, tenant()).await.iter().all(Vec::is_empty));
    let of_other = tables(&installation, other).await;
    assert!(of_other.iter().all(|rows| !rows.is_empty()));

    // It is not forgotten, although nothing is new.
    std::fs::rename(&aside, &file).unwrap();
    installation.run_attribution(RunRequest::default()).await.unwrap();
    assert_eq!(tables(&installation, tenant()).await, of_other);
    assert!(installation.run_attribution(RunRequest::default()).await.unwrap().unchanged);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_claims_no_later_time_than_any_source() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = installation(&folder).await;
    store(&mut installation, 1, &shop()).await;
    installation.run_jobs(false).await.unwrap();
    store(&mut installation, 2, &[sent(9, 3, 20 * 24, "purchase", 2)]).await;
    run_named(&installation, &["sessions"]).await;
    let report = installation.run_attribution(RunRequest::default()).await.unwrap();
    let received = |hours: i64| DateTime::from_timestamp_micros(begin_us() + hours * HOUR_US);
    assert_eq!(report.watermark, received(16 * 24));
    run_named(&installation, &["identities"]).await;
    assert_eq!(installation.run_attribution(RunRequest::default()).await.unwrap().watermark, received(20 * 24));
}
