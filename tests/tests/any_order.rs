//! The order, lateness, duplication and batching in which events arrive never change a derived table: a run after each
//! batch gives the rows of one run over everything, and so does computing everything anew.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]
use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use touchline_ingest::record::{Event, decode};
use touchline_schemas::MockClock;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::Table;
use touchline_tests::installation::Installation;
use touchline_tests::logged::{self, tenant};
use touchline_tests::rows::{only, rows};

const TYPES: [&str; 8] =
    ["page_view", "page_view", "add_to_cart", "purchase", "$session_start", "$message_viewed", "$alias", "$unmerge"];
const SOURCES: [Option<&str>; 4] = [None, None, Some("google"), Some("newsletter")];
/// The second of them is the page's own host.
const REFERRERS: [Option<&str>; 4] = [None, None, Some("shop.example"), Some("www.google.com")];
const TIMEOUT_US: i64 = 30 * 60 * 1_000_000;

/// An event with its own time of arrival, which is what the session's id depends on; when it is *committed* is not.
#[derive(Debug, Clone)]
struct Sent {
    id: u32,
    visitor: u8,
    user: Option<u8>,
    occurred_at_us: i64,
    received_at_us: i64,
    event_type: usize,
    source: usize,
    referrer: usize,
    is_bot: bool,
}

fn begin_us() -> i64 {
    "2026-03-01T22:00:00Z".parse::<DateTime<Utc>>().unwrap().timestamp_micros()
}

fn sent_events() -> impl Strategy<Value = Vec<Sent>> {
    // Steps of ten minutes over two and a half days: pauses of exactly 30 minutes, equal times and midnights are common.
    let whose = (0..4_u8, proptest::option::of(0..3_u8), 0..20_u8);
    let event = (whose, 0..360_i64, 0..1_000_i64, 0..TYPES.len(), 0..SOURCES.len(), 0..REFERRERS.len());
    proptest::collection::vec(event, 1..70).prop_map(|events| {
        let events = events.into_iter().enumerate();
        let sent = events.map(|(id, ((visitor, user, bot), step, delay, event_type, source, referrer))| Sent {
            id: id as u32,
            visitor,
            user,
            occurred_at_us: begin_us() + step * 600_000_000,
            received_at_us: begin_us() + step * 600_000_000 + delay * 60_000_000,
            event_type,
            source,
            referrer,
            is_bot: bot == 0,
        });
        sent.collect()
    })
}

/// An order of arrival: shuffled, some twice, cut into batches.
fn deliveries(batches: std::ops::Range<usize>) -> impl Strategy<Value = (Vec<Sent>, Vec<Vec<Sent>>)> {
    sent_events().prop_flat_map(move |events| {
        let doubled: Vec<Sent> = events.iter().cloned().chain(events.iter().step_by(5).cloned()).collect();
        (Just(events), Just(doubled).prop_shuffle(), batches.clone()).prop_map(|(events, shuffled, batches)| {
            let length = shuffled.len().div_ceil(batches);
            (events, shuffled.chunks(length).map(<[Sent]>::to_vec).collect())
        })
    })
}

fn payload(sent: &Sent) -> Vec<u8> {
    let mut event = Event::at(sent.occurred_at_us);
    event.is_bot = sent.is_bot;
    event.set(TextField::EventId, format!("event-{:04}", sent.id));
    event.set(TextField::EventType, TYPES[sent.event_type]);
    // Some people are known by their user id only.
    if sent.visitor > 0 {
        event.set(TextField::VisitorId, format!("visitor-{}", sent.visitor));
    }
    if let Some(user) = sent.user.or((sent.visitor == 0).then_some(0)) {
        event.set(TextField::UserId, format!("user-{user}"));
    }
    event.set(TextField::Path, format!("/page-{}", sent.id % 7));
    if let Some(source) = SOURCES[sent.source] {
        event.set(TextField::UtmSource, source);
    }
    event.set(TextField::Host, "shop.example");
    if let Some(host) = REFERRERS[sent.referrer] {
        event.set(TextField::Referrer, format!("https://{host}/{}", sent.id));
        event.set(TextField::ReferrerHost, host);
    }
    // Without a member `previous_id` an unmerge parts the visitor from the user.
    if TYPES[sent.event_type] == "$alias" || (TYPES[sent.event_type] == "$unmerge" && sent.id.is_multiple_of(2)) {
        event.set(TextField::Properties, format!(r#"{{"previous_id":"user-{}"}}"#, sent.id / 2 % 3));
    }
    event.revenue_e4 = (TYPES[sent.event_type] == "purchase").then_some(i64::from(sent.id) * 10_000);
    logged::of(tenant(), sent.received_at_us, [event])
}

const TABLES: [Table; 9] = [
    Table::Sessions,
    Table::IdentityEdges,
    Table::Identities,
    Table::Visitors,
    Table::Touchpoints,
    Table::Attribution,
    Table::TrafficRollups,
    Table::MessageDeliveries,
    Table::MessageRollups,
];

/// Jobs that read what other jobs wrote, and change files of several commits if they run less often than those.
const READERS: [&str; 4] = ["visitors", "attribution", "traffic", "messages"];

/// Rows of all derived tables after the batches came, and after a full run. Jobs run after each batch, readers only
/// after every so many of them, and after the last.
async fn tables_after(batches: &[Vec<Sent>], readers_every: usize) -> anyhow::Result<[Vec<Vec<String>>; 2]> {
    let folder = tempfile::tempdir()?;
    let clock = Arc::new(MockClock::at("2026-03-05T00:00:00Z".parse()?));
    let mut installation = Installation::open(folder.path(), clock, 2).await?;
    for (number, batch) in batches.iter().enumerate() {
        let payloads: Vec<_> = batch.iter().map(payload).collect();
        let requests: Vec<_> = payloads.iter().map(|payload| decode(payload)).collect::<Result<_, _>>()?;
        installation.writer.store(number as i64 + 1, &requests).await?;
        let is_readers_turn = number % readers_every == 0 || number + 1 == batches.len();
        for job in installation.jobs() {
            if is_readers_turn || !READERS.contains(&job.name()) {
                installation.run_job(&*job, false).await?;
            }
        }
    }
    let mut incremental = Vec::new();
    for table in TABLES {
        incremental.push(rows(&installation.engine, table, tenant()).await?);
    }
    installation.run_jobs(true).await?;
    let mut full = Vec::new();
    for table in TABLES {
        full.push(rows(&installation.engine, table, tenant()).await?);
    }
    Ok([incremental, full])
}

/// Sessions by the definition, one event after the other: id, first and last event's number of steps, events.
fn by_definition(events: &[Sent]) -> Vec<String> {
    let mut devices: BTreeMap<(bool, u8), Vec<&Sent>> = BTreeMap::new();
    for sent in events {
        let event_type = TYPES[sent.event_type];
        if event_type.starts_with('$') && event_type != "$session_start" {
            continue;
        }
        // Visitor 0 sends no visitor id; its user stands for it.
        let device = if sent.visitor == 0 { 100 + sent.user.unwrap_or(0) } else { sent.visitor };
        devices.entry((sent.is_bot, device)).or_default().push(sent);
    }
    let mut sessions = Vec::new();
    for mut events in devices.into_values() {
        events.sort_by_key(|sent| (sent.occurred_at_us, sent.id));
        for session in events.chunk_by(|a, b| b.occurred_at_us - a.occurred_at_us <= TIMEOUT_US) {
            let anchor = session.iter().min_by_key(|sent| (sent.received_at_us, sent.id)).unwrap();
            let source = session.iter().find_map(|sent| SOURCES[sent.source]).unwrap_or("∅");
            let referrer = session.iter().find(|sent| REFERRERS[sent.referrer] == Some("www.google.com"));
            let referrer = referrer.map_or("∅".to_owned(), |sent| format!("https://www.google.com/{}", sent.id));
            let views = session.iter().filter(|sent| TYPES[sent.event_type] == "page_view");
            let entry = views.clone().next().map_or("∅".to_owned(), |sent| format!("/page-{}", sent.id % 7));
            let exit = views.clone().next_back().map_or("∅".to_owned(), |sent| format!("/page-{}", sent.id % 7));
            sessions.push(format!(
                "session_id=event-{:04} duration_s={} event_count={} page_view_count={} utm_source={source} referrer={referrer} entry_page={entry} exit_page={exit}",
                anchor.id,
                (session[session.len() - 1].occurred_at_us - session[0].occurred_at_us) / 1_000_000,
                session.len(),
                views.count(),
            ));
        }
    }
    sessions.sort();
    sessions
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn arrival_changes_no_derived_table((events, batches) in deliveries(1..5)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let [at_once, full] = runtime.block_on(tables_after(std::slice::from_ref(&events), 1)).unwrap();
        let columns = [
            "session_id", "duration_s", "event_count", "page_view_count", "utm_source", "referrer", "entry_page",
            "exit_page",
        ];
        prop_assert_eq!(only(&at_once[0], &columns), by_definition(&events));
        prop_assert_eq!(&at_once, &full);
        let [arrived, again] = runtime.block_on(tables_after(&batches, 1)).unwrap();
        for (number, table) in TABLES.into_iter().enumerate() {
            prop_assert_eq!(&arrived[number], &at_once[number], "{} by batches", table.name());
            prop_assert_eq!(&again[number], &at_once[number], "{} computed anew", table.name());
        }
    }
    #[test]
    fn readers_may_run_less_often_than_what_they_read(
        (events, batches) in deliveries(3..9), readers_every in 2..4_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let [at_once, _] = runtime.block_on(tables_after(&[events], 1)).unwrap();
        let [arrived, again] = runtime.block_on(tables_after(&batches, readers_every)).unwrap();
        for (number, table) in TABLES.into_iter().enumerate() {
            prop_assert_eq!(&arrived[number], &at_once[number], "{} by batches", table.name());
            prop_assert_eq!(&again[number], &at_once[number], "{} computed anew", table.name());
        }
    }
}

/// The second session appears in one commit and is replaced in the next, by one that began earlier and arrived first;
/// both end at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_came_and_went_between_two_runs_leaves_nothing() {
    let event = |id: u32, minutes: i64| Sent {
        id,
        visitor: 1,
        user: None,
        occurred_at_us: begin_us() + minutes * 60_000_000,
        received_at_us: begin_us() + i64::from(id) * 60_000_000,
        event_type: 0,
        source: 0,
        referrer: 0,
        is_bot: false,
    };
    let batches = [vec![event(1, 0)], vec![event(9, 620)], vec![event(2, 600)]];
    let [arrived, again] = tables_after(&batches, 2).await.unwrap();
    assert_eq!(arrived, again);
}
