//! Somebody who has nothing but the bucket, and follows the manifests of complete sets.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use touchline_schemas::export::ExportMode;

use super::Fixture;
use crate::destination::Folder;
use crate::manifest::{MANIFEST_FILE, Manifest, SUCCESS_FILE, Signer};
use crate::verify;

/// The reader, and what it has.
pub struct Reader<'a> {
    fixture: &'a Fixture,
    followed: Option<(i64, String)>,
    pub days: BTreeMap<NaiveDate, BTreeSet<u8>>,
}

impl<'a> Reader<'a> {
    pub fn new(fixture: &'a Fixture) -> Self {
        Self { fixture, followed: None, days: BTreeMap::new() }
    }

    /// Takes in what is new, in the order of its sequence, and finds no set that is broken or strange.
    pub async fn follow(&mut self) {
        let mut sets = Vec::new();
        for folder in self.folders().await {
            let (signed, manifest_sha256) = verify::read(&folder, MANIFEST_FILE).await.unwrap();
            let key = self.fixture.control.signing_key(&signed.signature.key_id).await.unwrap().unwrap();
            let verified = verify::verify(&folder, signed, manifest_sha256, Some(&Signer::from(&key))).await.unwrap();
            assert_eq!(verified.differences, []);
            self.has_nothing_else(&folder, &verified.signed.manifest).await;
            sets.push((folder, verified.signed.manifest, verified.manifest_sha256));
        }
        sets.sort_by_key(|(_, manifest, _)| manifest.sequence);
        let done = self.followed.as_ref().map_or(0, |(sequence, _)| *sequence);
        for (folder, manifest, manifest_sha256) in sets.into_iter().filter(|(_, set, _)| set.sequence > done) {
            let previous = manifest.previous.as_ref().map(|set| (set.sequence, set.manifest_sha256.clone()));
            assert_eq!(previous, self.followed);
            self.apply(&folder, &manifest).await;
            self.followed = Some((manifest.sequence, manifest_sha256));
        }
    }

    async fn apply(&mut self, folder: &Folder, manifest: &Manifest) {
        match manifest.mode {
            ExportMode::Snapshot => self.days.clear(),
            ExportMode::Changes => {
                let named = manifest.files.iter().filter_map(|file| file.day);
                for day in named.chain(manifest.deleted_days.iter().copied()) {
                    self.days.remove(&day);
                }
                for day in &manifest.deleted_days {
                    assert!(manifest.files.iter().all(|file| file.day != Some(*day)));
                }
            }
        }
        for file in &manifest.files {
            let text = folder.read(&file.path, u64::MAX).await.unwrap().unwrap();
            for line in std::str::from_utf8(&text).unwrap().lines().skip(1) {
                let (day, number) = line.split_once(',').unwrap();
                let day: NaiveDate = day.parse().unwrap();
                assert!(file.day.is_none_or(|named| named == day));
                assert!(self.days.entry(day).or_default().insert(number.parse().unwrap()), "a row came twice");
            }
        }
    }

    /// The folders in which a run has succeeded.
    async fn folders(&self) -> Vec<Folder> {
        let found = self.paths(None).await;
        let ends = |path: &Path| path.filename() == Some(SUCCESS_FILE);
        let sets = found.into_iter().filter(ends);
        sets.map(|path| {
            let folder = path.as_ref().strip_suffix(&format!("/{SUCCESS_FILE}")).unwrap().to_owned();
            Folder::in_store(self.fixture.bucket.clone(), Path::from(folder))
        })
        .collect()
    }

    async fn has_nothing_else(&self, folder: &Folder, manifest: &Manifest) {
        let found = self.paths(Some(&folder.location(""))).await;
        let named = manifest.files.iter().map(|file| file.path.as_str());
        let expected: BTreeSet<Path> =
            named.chain([MANIFEST_FILE, SUCCESS_FILE]).map(|name| folder.location(name)).collect();
        assert_eq!(found, expected);
    }

    async fn paths(&self, folder: Option<&Path>) -> BTreeSet<Path> {
        self.fixture.bucket.list(folder).map_ok(|file| file.location).try_collect().await.unwrap()
    }
}
