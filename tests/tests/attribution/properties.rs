//! Any history gives what the definition says of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use chrono::{DateTime, NaiveDate};
use proptest::prelude::*;
use touchline_jobs::RunRequest;
use touchline_lake::{Change, ChangeKind, Commit, CommitInfo, EncodedRows};
use touchline_schemas::tables::Table;
use touchline_tests::installation::Installation;
use touchline_tests::logged::tenant;
use touchline_tests::rows::only;

use super::{HOUR_US, SOURCES, Sent, TYPES, begin_us, cell, installation, run_named, store, sums, tables, units};

/// Those of the types that say nothing of who is who, besides carrying ids.
const PLAIN_TYPES: usize = 5;
const LOOKBACK_US: i64 = 30 * 24 * HOUR_US;
const VISITORS: u8 = 4;

/// Who is behind a visitor id: itself, or one of two users. Also whose user id the second one is.
type Identities = Vec<Option<u8>>;

/// A batch of events, who is who afterwards, and whether the table says what of it is new.
#[derive(Debug, Clone)]
struct Step {
    events: Vec<Sent>,
    identities: Identities,
    says_changes: bool,
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
