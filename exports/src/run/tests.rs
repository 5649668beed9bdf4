//! Runs that are cut off anywhere, and readers who do not notice.

use proptest::prelude::*;
use serde_json::json;
use touchline_schemas::control::ExportRunState;
use touchline_schemas::export::ExportDefinition;

use super::*;
use crate::testing::{Fixture, Trouble, day};

/// An attempt in a world where there is trouble in the `number`th call of the bucket. Whether there was.
async fn troubled_attempt(fixture: &Fixture, run: &ExportRun, number: usize, trouble: Trouble) -> bool {
    fixture.bucket.expect(number, trouble);
    let workshop = fixture.workshop();
    tokio::select! {
        biased;
        () = fixture.bucket.death() => {}
        ended = workshop.attempt(run) => {
            assert!(ended.as_ref().err().is_none_or(|error| !error.is_final()), "{ended:?}");
        }
    }
    !fixture.bucket.calm()
}

/// Two runs before, so that the third writes a day anew and a new day, leaves one out, and deletes one.
async fn with_a_past(mode: &str) -> Fixture {
    let fixture = Fixture::new(json!({ "mode": mode })).await;
    for number in 0..4 {
        fixture.lake.add(day(number), number);
    }
    fixture.run().await;
    fixture.lake.add(day(4), 4);
    fixture.run().await;
    fixture.lake.add(day(1), 11);
    fixture.lake.empty(day(2));
    fixture.lake.add(day(5), 5);
    fixture.lake.touch(day(3));
    fixture
}

async fn change(fixture: &Fixture, change: impl FnOnce(&mut ExportDefinition)) {
    fixture.clock.advance(chrono::TimeDelta::minutes(1));
    let now = fixture.workshop().clock.now();
    let changed = |definition: &ExportDefinition| {
        let mut definition = definition.clone();
        change(&mut definition);
        Ok(definition)
    };
    fixture.control.change_export(None, fixture.export.id, changed, now).await.unwrap();
}

#[tokio::test]
async fn a_run_that_was_cut_off_anywhere_ends_with_one_complete_set() {
    for mode in ["snapshot", "changes"] {
        for trouble in Trouble::ALL {
            for number in 0.. {
                let fixture = with_a_past(mode).await;
                let run = fixture.queue().await;
                let run = fixture.begin(&run).await;
                if !troubled_attempt(&fixture, &run, number, trouble).await {
                    assert!(number >= 4, "there are calls in which there can be trouble");
                    break;
                }
                let under_way = fixture.control.export_run(run.id).await.unwrap().unwrap();
                assert_eq!(under_way.state, ExportRunState::Running, "{mode} {trouble:?} {number}");
                // Meanwhile the tables go on.
                fixture.lake.add(day(0), 99);
                let run = fixture.reclaim().await;
                let run = fixture.workshop().attempt(&run).await.unwrap();
                assert_eq!((run.state, run.sequence), (ExportRunState::Succeeded, Some(3)));
                let mut reader = fixture.reader();
                reader.follow().await;
                let mut expected = fixture.lake.days();
                if !reader.days[&day(0)].contains(&99) {
                    // The set was complete before they came.
                    assert!(matches!(trouble, Trouble::FailsDone | Trouble::DiesDone));
                    expected.entry(day(0)).or_default().remove(&99);
                }
                assert_eq!(reader.days, expected, "{mode} {trouble:?} {number}");
                fixture.run().await;
                reader.follow().await;
                assert_eq!(reader.days, fixture.lake.days(), "{mode} {trouble:?} {number}");
            }
        }
    }
}

#[tokio::test]
async fn a_set_that_was_broken_since_is_written_anew() {
    let fixture = with_a_past("changes").await;
    let run = fixture.queue().await;
    let run = fixture.begin(&run).await;
    // The run has written everything but the ledger when its process dies.
    let base = fixture.control.export_base(&fixture.export).await.unwrap();
    let workshop = fixture.workshop();
    let destination = workshop.destination(&fixture.export, &run, &base).await.unwrap();
    let folder = workshop.places.open(&destination).unwrap();
    let (manifest, _) = workshop.write_set(&fixture.export, &run, &folder, &base).await.unwrap();
    folder.put(&manifest.files[0].path, Bytes::from_static(b"day,number\r\n")).await.unwrap();
    let run = fixture.reclaim().await;
    fixture.workshop().attempt(&run).await.unwrap();
    let mut reader = fixture.reader();
    reader.follow().await;
    assert_eq!(reader.days, fixture.lake.days());
}

/// A run that has written everything but the ledger when its process dies.
async fn visible_and_not_entered(fixture: &Fixture) -> ExportRun {
    let run = fixture.queue().await;
    let run = fixture.begin(&run).await;
    let base = fixture.control.export_base(&fixture.export).await.unwrap();
    let workshop = fixture.workshop();
    let destination = workshop.destination(&fixture.export, &run, &base).await.unwrap();
    let folder = workshop.places.open(&destination).unwrap();
    workshop.write_set(&fixture.export, &run, &folder, &base).await.unwrap();
    run
}

#[tokio::test]
async fn a_set_that_can_be_seen_is_not_taken_back_whatever_the_export_has_become() {
    type Change = fn(&mut ExportDefinition);
    let source = |definition: &mut ExportDefinition| {
        definition.source = serde_json::from_value(json!({"report": "numbers", "params": {"bots": "only"}})).unwrap();
    };
    let changes: [Change; 4] = [
        |_| {},
        source,
        |definition| definition.path = "{name}/elsewhere/{run_id}".parse().unwrap(),
        |definition| definition.destination = "file:moved".parse().unwrap(),
    ];
    for (number, changed) in changes.into_iter().enumerate() {
        let fixture = with_a_past("changes").await;
        let run = visible_and_not_entered(&fixture).await;
        let mut reader = fixture.reader();
        reader.follow().await;
        let seen = reader.days.clone();
        assert_eq!(seen, fixture.lake.days(), "{number}");
        change(&fixture, changed).await;
        let now = fixture.workshop().clock.now();
        let [run] = &fixture.control.reclaim_export_runs(u16::MAX, now, now).await.unwrap()[..] else {
            panic!("{} was under way", run.id)
        };
        let run = fixture.control.begin_export_run(run.id, "file:noted/before", now).await.unwrap();
        let run = fixture.workshop().attempt(&run).await.unwrap();
        assert_eq!((run.state, run.sequence), (ExportRunState::Succeeded, Some(3)), "{number}");
    }
}

#[tokio::test]
async fn changes_hold_what_changed_and_no_more() {
    let fixture = with_a_past("changes").await;
    let asked = fixture.lake.asked();
    let run = fixture.run().await;
    assert_eq!((run.files, run.rows), (Some(2), Some(3)));
    // The four days that the log names, and the columns.
    assert_eq!(fixture.lake.asked() - asked, 5);
    let mut reader = fixture.reader();
    reader.follow().await;
    assert_eq!(reader.days, fixture.lake.days());
    let base = fixture.control.export_base(&fixture.export).await.unwrap();
    let days: Vec<NaiveDate> = base.days.iter().map(|day| day.day).collect();
    assert_eq!(days, [0, 1, 3, 4, 5].map(day));

    let run = fixture.run().await;
    assert_eq!((run.files, run.rows, run.sequence), (Some(0), Some(0), Some(4)));
    reader.follow().await;
}

#[tokio::test]
async fn everything_is_written_anew_when_the_question_is_another() {
    let fixture = with_a_past("changes").await;
    fixture.run().await;
    let source = serde_json::from_value(json!({"report": "numbers", "params": {"bots": "include"}})).unwrap();
    change(&fixture, |definition| definition.source = source).await;
    assert_eq!(fixture.run().await.files, Some(5));
    assert_eq!(fixture.run().await.files, Some(0));
    fixture.lake.redefine();
    assert_eq!(fixture.run().await.files, Some(5));
}

#[tokio::test]
async fn an_export_that_goes_elsewhere_fails_the_run_that_is_under_way() {
    let fixture = with_a_past("changes").await;
    let run = fixture.queue().await;
    let run = fixture.begin(&run).await;
    change(&fixture, |definition| definition.destination = "file:elsewhere".parse().unwrap()).await;
    let failed = fixture.workshop().attempt(&run).await.unwrap_err();
    assert!(matches!(failed, AttemptError::Changed) && failed.is_final());
}

#[tokio::test]
async fn a_snapshot_of_the_last_days_asks_for_them() {
    let fixture = Fixture::new(json!({"last_days": 2, "format": "csv.gz"})).await;
    // The last of them is the day of the run.
    let days = [3, 2, 1, 0].map(|before| day(0) - chrono::TimeDelta::days(before));
    for (number, day) in (0..).zip(days) {
        fixture.lake.add(day, number);
    }
    let run = fixture.run().await;
    assert_eq!((run.rows, run.files), (Some(2), Some(1)));
    let folder = fixture.workshop().places.open(&run.folder.unwrap().parse().unwrap()).unwrap();
    let (signed, _) = verify::read(&folder, MANIFEST_FILE).await.unwrap();
    let range = signed.manifest.range.unwrap();
    assert_eq!((range.from, range.to), (Range::of_day(days[1]).from, Range::of_day(days[3]).from));
    assert_eq!(signed.manifest.files[0].path, "part-0.csv.gz");
}

/// What happens between two looks of a reader.
#[derive(Debug, Clone)]
enum Happening {
    Add(u8, u8),
    Remove(u8, u8),
    Empty(u8),
    Touch(u8),
    ForgetLog,
    ReplaceTable,
    /// After so many questions a number comes to a day.
    Surprise(usize, u8, u8),
    Run,
    /// A run with trouble in this call, and again until it succeeds.
    TroubledRun(usize, usize),
    Follow,
}

fn happening() -> impl Strategy<Value = Happening> {
    let (days, numbers) = (0_u8..6, 0_u8..4);
    prop_oneof![
        6 => (days.clone(), numbers.clone()).prop_map(|(day, number)| Happening::Add(day, number)),
        3 => (days.clone(), numbers.clone()).prop_map(|(day, number)| Happening::Remove(day, number)),
        2 => days.clone().prop_map(Happening::Empty),
        1 => days.clone().prop_map(Happening::Touch),
        1 => Just(Happening::ForgetLog),
        1 => Just(Happening::ReplaceTable),
        2 => (1_usize..9, days, numbers).prop_map(|(after, day, number)| Happening::Surprise(after, day, number)),
        4 => Just(Happening::Run),
        2 => (0_usize..20, 0..Trouble::ALL.len()).prop_map(|(call, trouble)| Happening::TroubledRun(call, trouble)),
        2 => Just(Happening::Follow),
    ]
}

async fn live_through(happenings: Vec<Happening>) {
    let fixture = Fixture::new(json!({"mode": "changes"})).await;
    let mut reader = fixture.reader();
    for happening in happenings {
        match happening {
            Happening::Add(at, number) => fixture.lake.add(day(at), number),
            Happening::Remove(at, number) => fixture.lake.remove(day(at), number),
            Happening::Empty(at) => fixture.lake.empty(day(at)),
            Happening::Touch(at) => fixture.lake.touch(day(at)),
            Happening::ForgetLog => fixture.lake.forget_log(),
            Happening::ReplaceTable => fixture.lake.replace_table(),
            Happening::Surprise(after, at, number) => fixture.lake.surprise(after, day(at), number),
            Happening::Run => {
                fixture.run().await;
            }
            Happening::TroubledRun(call, trouble) => {
                let run = fixture.queue().await;
                let run = fixture.begin(&run).await;
                troubled_attempt(&fixture, &run, call, Trouble::ALL[trouble]).await;
                let after = fixture.control.export_run(run.id).await.unwrap().unwrap();
                if after.state == ExportRunState::Running {
                    let run = fixture.reclaim().await;
                    fixture.workshop().attempt(&run).await.unwrap();
                }
            }
            Happening::Follow => reader.follow().await,
        }
    }
    // What came during a run comes with the next; no surprise is further away than these.
    for _ in 0..8 {
        fixture.run().await;
    }
    reader.follow().await;
    assert_eq!(reader.days, fixture.lake.days());
    // Somebody who begins only now has the same.
    let mut late = fixture.reader();
    late.follow().await;
    assert_eq!(late.days, reader.days);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_reader_who_follows_the_manifests_has_the_newest_rows(happenings in prop::collection::vec(happening(), 1..40)) {
        tokio::runtime::Runtime::new().unwrap().block_on(live_through(happenings));
    }
}
