//! Whatever profile and splits an account has chosen, the order and batching in which its events arrive never change
//! its sessions, and they are those of the definition.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use proptest::prelude::*;
use touchline_ingest::record::decode;
use touchline_pipeline::sessions::SessionRules;
use touchline_pipeline::sessions::profiles::{NAMES, SPLITS};
use touchline_schemas::control::AccountSettings;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::Table;
use touchline_schemas::{Environment, MockClock, Tenant};
use touchline_tests::event_table::MemoryEvent;
use touchline_tests::installation::Installation;
use touchline_tests::logged::request;
use touchline_tests::naive_sessions::naive_sessions;
use touchline_tests::rows::{only, rows};

const CAMPAIGNS: [Option<&str>; 4] = [None, None, Some("a"), Some("b")];
const SITES: [Option<&str>; 3] = [None, Some("search.example"), Some("news.example")];

/// Page views of two visitors over two and a half days, in steps of ten minutes, some of whom the client says the
/// session of.
fn views() -> impl Strategy<Value = Vec<MemoryEvent>> {
    let view = (0..2_u8, proptest::option::of(0..3_u8), 0..6_i64, 0..40_i64, 0..CAMPAIGNS.len(), 0..SITES.len());
    proptest::collection::vec(view, 1..50).prop_map(|views| {
        let begin_us = "2026-03-01T20:00:00Z".parse::<DateTime<Utc>>().unwrap().timestamp_micros();
        let views = views.into_iter().enumerate();
        let views = views.map(|(place, (visitor, session, half_day, step, campaign, site))| {
            let texts = [
                (TextField::EventId, Some(format!("event-{place:02}"))),
                (TextField::EventType, Some("page_view".to_owned())),
                (TextField::VisitorId, Some(format!("v{visitor}"))),
                (TextField::SessionId, session.map(|session| format!("s{session}"))),
                (TextField::UtmCampaign, CAMPAIGNS[campaign].map(str::to_owned)),
                (TextField::ReferrerHost, SITES[site].map(str::to_owned)),
            ];
            let at_us = begin_us + (half_day * 12 * 6 + step) * 600_000_000;
            let texts = texts.into_iter().filter_map(|(field, text)| Some((field, text?))).collect();
            MemoryEvent { occurred_at_us: at_us, received_at_us: at_us, texts, ..MemoryEvent::default() }
        });
        views.collect()
    })
}

fn settings() -> impl Strategy<Value = AccountSettings> {
    let timeout = proptest::option::of(prop_oneof![Just(10), Just(120)]);
    let zone = proptest::sample::select(vec!["Europe/Berlin", "Asia/Kolkata", "UTC"]);
    (proptest::sample::select(&NAMES[..]), proptest::sample::subsequence(&SPLITS[..], 0..3), timeout, zone).prop_map(
        |(profile, splits, session_timeout_minutes, zone)| AccountSettings {
            session_profile: Some(profile.to_owned()),
            session_splits: splits.into_iter().map(str::to_owned).collect(),
            session_timeout_minutes,
            time_zone: Some(zone.to_owned()),
            ..AccountSettings::default()
        },
    )
}

/// Rows of `sessions` after the batches came, with the jobs run after each; and after a full run.
async fn sessions_after(settings: &AccountSettings, batches: &[Vec<MemoryEvent>]) -> [Vec<String>; 2] {
    let folder = tempfile::tempdir().unwrap();
    let now: DateTime<Utc> = "2026-03-08T00:00:00Z".parse().unwrap();
    let mut installation = Installation::open(folder.path(), Arc::new(MockClock::at(now)), 2).await.unwrap();
    let account_id = installation.control.create_account("acme", "Acme", now).await.unwrap().id;
    installation.control.set_account_settings(account_id, settings, now).await.unwrap();
    let tenant = Tenant { account_id, environment: Environment::Live };
    for (number, batch) in batches.iter().enumerate() {
        let payload = |view: &MemoryEvent| {
            let texts: Vec<_> = view.texts.iter().map(|(field, text)| (*field, text.as_str())).collect();
            request(tenant, view.occurred_at_us, &texts)
        };
        let payloads: Vec<_> = batch.iter().map(payload).collect();
        let requests: Vec<_> = payloads.iter().map(|payload| decode(payload).unwrap()).collect();
        installation.writer.store(number as i64 + 1, &requests).await.unwrap();
        installation.run_jobs(false).await.unwrap();
    }
    let incremental = rows(&installation.engine, Table::Sessions, tenant).await.unwrap();
    installation.run_jobs(true).await.unwrap();
    [incremental, rows(&installation.engine, Table::Sessions, tenant).await.unwrap()]
}

fn by_definition(views: &[MemoryEvent], settings: &AccountSettings) -> Vec<String> {
    let rules = SessionRules::of(settings, Duration::minutes(30)).unwrap();
    let id = |place: &usize| views[*place].text(TextField::EventId).unwrap_or_default();
    let sessions = naive_sessions(views, &rules, &[]);
    let row = |session: &Vec<usize>| {
        let (first, last) = (id(&session[0]), id(&session[session.len() - 1]));
        format!("first_event_id={first} last_event_id={last} event_count={}", session.len())
    };
    let mut rows: Vec<String> = sessions.iter().map(row).collect();
    rows.sort();
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn arrival_changes_the_sessions_of_no_profile(
        (views, settings, batches) in (views(), settings(), 1..4_usize),
        seed in any::<u64>(),
    ) {
        let mut shuffled = views.clone();
        let mix = |view: &MemoryEvent| {
            let id = view.text(TextField::EventId).unwrap_or_default();
            id.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(9))
        };
        shuffled.sort_by_key(mix);
        let length = shuffled.len().div_ceil(batches);
        let batches: Vec<_> = shuffled.chunks(length).map(<[MemoryEvent]>::to_vec).collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let [incremental, full] = runtime.block_on(sessions_after(&settings, &batches));
        prop_assert_eq!(&incremental, &full);
        let columns = ["first_event_id", "last_event_id", "event_count"];
        prop_assert_eq!(only(&full, &columns), by_definition(&views, &settings));
    }
}
