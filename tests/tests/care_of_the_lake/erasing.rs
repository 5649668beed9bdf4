//! Erasure of one person, beside what else writes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::TimeDelta;
use touchline_jobs::erase::{Certificate, Erased, Exported, FORMAT, HASH, Needles, Sweeper, Verification, erase_rows};
use touchline_lake::{Lake, LakeOptions};
use touchline_schemas::tables::Table;
use touchline_schemas::{AccountId, TypedId};
use touchline_tests::installation::Installation;
use touchline_tests::logged::tenant;
use touchline_tests::rows::rows;

use super::{begin, clock, compact, sent, store, stored};

#[tokio::test(flavor = "multi_thread")]
async fn erasing_takes_out_one_person_beside_a_compaction() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let mut installation = Installation::open(folder.path(), clock.clone(), 2).await.unwrap();
    for number in 0..10_u32 {
        store(&mut installation.writer, i64::from(number) + 1, tenant(), &sent(number * 20..number * 20 + 20)).await;
    }
    let lake = Lake::open(&folder.path().join("lake"), LakeOptions { checkpoint_interval: 20 }).await.unwrap();
    let needles = Needles::new([TypedId::visitor("visitor-2")].into(), "erased-1".into());
    let erased = Arc::new(Erased { needles, shared: Vec::new() });
    let shared_clock: touchline_schemas::clock::SharedClock = clock.clone();
    let table = installation.engine.lake().table(Table::Events);
    let dry = erase_rows(table, tenant(), &erased, true, &shared_clock).await.unwrap();
    assert_eq!((dry.rows_removed, dry.rows), (50, [200, 200]));
    let (report, _) =
        tokio::join!(erase_rows(table, tenant(), &erased, false, &shared_clock), compact(&lake, &clock, true));
    assert_eq!(report.unwrap().versions.len(), 2);
    let left = rows(&installation.engine, Table::Events, tenant()).await.unwrap();
    assert_eq!(left.len(), 150);
    assert!(left.iter().all(|row| !row.contains("visitor-2")));
    let again = erase_rows(table, tenant(), &erased, false, &shared_clock).await.unwrap();
    assert_eq!((again.rows_removed, again.versions[0]), (0, again.versions[1]));
}

fn certificate(account_id: AccountId) -> Certificate {
    Certificate {
        format: FORMAT,
        account_id,
        account: "acme".into(),
        requested_by: None,
        requested_at: begin(),
        completed_at: None,
        hash: HASH,
        id_hashes: Vec::new(),
        shared_ids: 0,
        has_short_ids: false,
        tables: Vec::new(),
        deleted_files: Vec::new(),
        unreadable_files: Vec::new(),
        verification: Verification::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_leaves_alone_what_ingest_may_be_about_to_commit() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let mut installation = Installation::open(folder.path(), clock.clone(), 2).await.unwrap();
    store(&mut installation.writer, 1, tenant(), &sent(0..20)).await;
    let lake = installation.engine.lake();
    let table = lake.table(Table::Events);
    let needles = Needles::new([TypedId::visitor("visitor-2")].into(), "erased-1".into());
    let erased = Arc::new(Erased { needles: needles.clone(), shared: Vec::new() });
    let shared_clock: touchline_schemas::clock::SharedClock = clock.clone();
    let before = stored(lake, Table::Events).await;
    erase_rows(table, tenant(), &erased, false, &shared_clock).await.unwrap();
    let after = stored(lake, Table::Events).await;
    // Ingest has written a file and not committed it yet; and a merge was in vain.
    let replaced = table.folder().join(before.iter().next().unwrap());
    let [written, merged] = ["node-1-000000000002.zstd.parquet", "sorted-1.zstd.parquet"].map(|name| {
        let copy = replaced.with_file_name(name);
        std::fs::copy(&replaced, &copy).unwrap();
        std::fs::File::open(&copy).unwrap().set_modified(begin().into()).unwrap();
        copy
    });
    let exported = Exported::default();
    let account_id = tenant().account_id;
    let unpack = |_: &std::path::Path, _: &[u8]| None;
    let sweeper = Sweeper { lake, account_id, needles: &needles, unpack: &unpack, exported: &exported, roots: &[] };
    let mut done = certificate(tenant().account_id);
    let unsettled = sweeper.strays(begin() + TimeDelta::minutes(9), &mut done).await.unwrap();
    assert_eq!(unsettled, std::slice::from_ref(&written));
    assert!(written.exists() && !merged.exists());
    assert_eq!(done.deleted_files.len(), before.len() + 1, "what was replaced goes at once: {before:?}");
    assert_eq!(sweeper.strays(begin() + TimeDelta::minutes(11), &mut done).await.unwrap(), [] as [PathBuf; 0]);
    assert!(!written.exists());
    let kept: BTreeSet<_> = after.difference(&before).cloned().collect();
    assert_eq!(stored(lake, Table::Events).await, kept);
}
