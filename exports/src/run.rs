//! One attempt of a run: the files, then the manifest, then `_SUCCESS`, then the ledger. Whatever an attempt that was cut
//! off has left, the next one ends with one complete set of files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use chrono::{DateTime, NaiveDate, Utc};
use futures::StreamExt;
use touchline_lake::LakeError;
use touchline_schemas::clock::SharedClock;
use touchline_schemas::control::{
    ControlDb, ControlError, Export, ExportBase, ExportDay, ExportOutcome, ExportRun, TableVersions,
};
use touchline_schemas::export::{Destination, ExportFormat, ExportMode, PathWords};

use crate::changes::{Changed, changed};
use crate::destination::{DestinationError, Folder, Places, Sealed};
use crate::manifest::{
    Column, ExportName, FORMAT, FileEntry, MANIFEST_FILE, Manifest, ManifestError, Previous, Range, SUCCESS_FILE,
    SignedManifest, Signer, Totals, sha256,
};
use crate::question::{AskError, Question, Questions, Rows};
use crate::range::{day_of, last_days};
use crate::tables::Tables;
use crate::verify::{self, VerifyError};

/// What a run works with.
#[derive(Clone, Copy)]
pub struct Workshop<'a> {
    /// The ledger.
    pub control: &'a ControlDb,
    /// The time.
    pub clock: &'a SharedClock,
    /// Who answers.
    pub questions: &'a dyn Questions,
    /// What has changed.
    pub tables: &'a dyn Tables,
    /// Where files go.
    pub places: &'a dyn Places,
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// There is no answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The destination failed.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// The lake cannot be read.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The manifest cannot be written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The ledger failed.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The files of this attempt would lie elsewhere than those of the first.
    #[error("the export was changed while its run was under way")]
    Changed,
}

impl AttemptError {
    /// What the account is told: no path of the machine, and no statement.
    pub fn told(&self) -> String {
        match self {
            Self::Ask(error) => error.to_string(),
            Self::Destination(error) => error.to_string(),
            Self::Lake(_) => "the tables could not be read".to_owned(),
            Self::Manifest(_) => "the manifest could not be written".to_owned(),
            Self::Control(ControlError::UnknownExport) => "the export was deleted".to_owned(),
            Self::Control(_) => "the ledger of runs could not be read or written".to_owned(),
            Self::Changed => self.to_string(),
        }
    }

    /// Whether no further attempt will do better.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Ask(AskError::Refused(_)) | Self::Control(ControlError::UnknownExport) | Self::Changed => true,
            Self::Ask(AskError::Failed(_))
            | Self::Destination(_)
            | Self::Lake(_)
            | Self::Manifest(_)
            | Self::Control(_) => false,
        }
    }
}

/// Everything that a run wrote, before it is put into a manifest.
struct Written {
    definition: String,
    schema: SchemaRef,
    tables: TableVersions,
    watermark: Option<DateTime<Utc>>,
    range: Option<Range>,
    files: Vec<FileEntry>,
    deleted_days: Vec<NaiveDate>,
}

impl Workshop<'_> {
    /// Where the files of a run lie. `base` is what the run builds on.
    ///
    /// # Errors
    ///
    /// The ledger fails.
    pub async fn destination(
        &self,
        export: &Export,
        run: &ExportRun,
        base: &ExportBase,
    ) -> Result<Destination, AttemptError> {
        let account_id = export.tenant.account_id;
        let account = self.control.account(account_id).await?;
        let account = account.ok_or(ControlError::UnknownAccount { account_id })?;
        let definition = &export.definition;
        let words = PathWords {
            name: &definition.name,
            account: &account.slug,
            environment: export.tenant.environment,
            date: day_of(run.scheduled_for, definition.time_zone()),
            run_id: run.id.0,
            sequence: sequence(base),
        };
        Ok(definition.destination.join(&definition.path.render(words)))
    }

    /// Carries out the attempt `run`, which has begun, and enters it as succeeded.
    ///
    /// # Errors
    ///
    /// See [`AttemptError`]. The run has not ended then.
    pub async fn attempt(&self, run: &ExportRun) -> Result<ExportRun, AttemptError> {
        // Read after the attempt has begun: what is changed from now on is newer than the attempt, and the ledger sees it.
        let export = self.control.export(None, run.export_id).await?;
        let base = self.control.export_base(&export).await?;
        if let Some(adopted) = self.adopt_set(&export, run, &base).await? {
            return Ok(adopted);
        }
        let destination = self.destination(&export, run, &base).await?;
        if run.folder.as_deref() != Some(destination.to_string().as_str()) {
            return Err(AttemptError::Changed);
        }
        let folder = self.places.open(&destination)?;
        let (manifest, manifest_sha256) = self.write_set(&export, run, &folder, &base).await?;
        let outcome = outcome(&manifest, manifest_sha256, base.days, &destination);
        Ok(self.control.finish_export_run(run, outcome, self.clock.now()).await?)
    }

    /// Enters a run as succeeded whose complete set of files can be seen already, whatever has gone wrong since: somebody
    /// may have read it. None if there is no such set.
    ///
    /// # Errors
    ///
    /// See [`AttemptError`].
    pub async fn adopt(&self, run: &ExportRun) -> Result<Option<ExportRun>, AttemptError> {
        let export = self.control.export(None, run.export_id).await?;
        let base = self.control.export_base(&export).await?;
        self.adopt_set(&export, run, &base).await
    }

    async fn adopt_set(
        &self,
        export: &Export,
        run: &ExportRun,
        base: &ExportBase,
    ) -> Result<Option<ExportRun>, AttemptError> {
        // Where the first attempt wrote, also if the export writes elsewhere by now.
        let noted = run.folder.as_deref().and_then(|folder| folder.parse::<Destination>().ok());
        let Some(destination) = noted else { return Ok(None) };
        let folder = self.places.open(&destination)?;
        let Some((manifest, manifest_sha256)) = self.complete_set(export, run, &folder, base).await? else {
            return Ok(None);
        };
        let outcome = outcome(&manifest, manifest_sha256, base.days.clone(), &destination);
        Ok(Some(self.control.finish_export_run(run, outcome, self.clock.now()).await?))
    }

    /// The set that an attempt before this one has completed: it was cut off before the ledger knew.
    async fn complete_set(
        &self,
        export: &Export,
        run: &ExportRun,
        folder: &Folder,
        base: &ExportBase,
    ) -> Result<Option<(Manifest, String)>, AttemptError> {
        let (signed, manifest_sha256) = match verify::read(folder, MANIFEST_FILE).await {
            Ok(found) => found,
            Err(VerifyError::Destination(error)) => return Err(error.into()),
            Err(VerifyError::Manifest(_) | VerifyError::NoManifest { .. }) => return Ok(None),
        };
        let key = self.control.signing_key(&signed.signature.key_id).await?;
        let key = key.filter(|key| key.export_id == export.id);
        let manifest = &signed.manifest;
        // Also of a definition that was changed since: the ledger knows that the run is older than the change.
        let is_ours = manifest.export.id == export.id
            && manifest.run_id == run.id
            && manifest.sequence == sequence(base)
            && manifest.previous == previous(base);
        if !is_ours {
            return Ok(None);
        }
        let signer = key.as_ref().map(Signer::from);
        let verified = verify::verify(folder, signed, manifest_sha256, signer.as_ref()).await?;
        let is_complete = verified.differences.is_empty();
        Ok(is_complete.then_some((verified.signed.manifest, verified.manifest_sha256)))
    }

    async fn write_set(
        &self,
        export: &Export,
        run: &ExportRun,
        folder: &Folder,
        base: &ExportBase,
    ) -> Result<(Manifest, String), AttemptError> {
        folder.clear().await?;
        let written = match export.definition.mode {
            ExportMode::Snapshot => self.write_snapshot(export, run, folder).await?,
            ExportMode::Changes => self.write_changes(export, folder, base).await?,
        };
        let manifest = self.manifest(export, run, base, written);
        let signer = Signer::from(&self.control.export_signing_key(export.id).await?);
        let bytes = SignedManifest::write(&manifest, &signer)?;
        let manifest_sha256 = sha256(&bytes);
        folder.put(MANIFEST_FILE, bytes).await?;
        folder.put(SUCCESS_FILE, Bytes::from(format!("{manifest_sha256}\n"))).await?;
        Ok((manifest, manifest_sha256))
    }

    async fn write_snapshot(&self, export: &Export, run: &ExportRun, folder: &Folder) -> Result<Written, AttemptError> {
        let definition = &export.definition;
        let zone = definition.time_zone();
        let range = definition.last_days.map(|days| last_days(run.scheduled_for, days, zone));
        let mut answer = self.questions.ask(question(export, range)).await?;
        let path = format!("part-0.{}", definition.format.as_str());
        let (sealed, rows) = write(folder, &path, definition.format, &mut answer).await?;
        let file = entry(path, None, rows, &sealed);
        sealed.keep().await?;
        Ok(Written {
            definition: answer.definition,
            schema: answer.schema,
            tables: answer.tables,
            watermark: answer.watermark,
            range,
            files: vec![file],
            deleted_days: Vec::new(),
        })
    }

    async fn write_changes(
        &self,
        export: &Export,
        folder: &Folder,
        base: &ExportBase,
    ) -> Result<Written, AttemptError> {
        let tables = self.questions.tables_by_day(&export.definition.source)?;
        // What the columns are must be known also if no day has changed.
        let nothing = self.questions.ask(question(export, Some(Range::without_rows()))).await?;
        // Rows of another definition are other rows of the same tables.
        let done = base.table_versions.as_ref().filter(|_| base.definition.as_ref() == Some(&nothing.definition));
        let changed = changed(self.tables, export.tenant, &tables, done, &base.days).await?;
        let Changed { versions, watermark, days, is_everything } = changed;
        let mut written = Written {
            definition: nothing.definition,
            schema: nothing.schema,
            tables: versions,
            watermark,
            range: None,
            files: Vec::new(),
            deleted_days: Vec::new(),
        };
        let known: BTreeMap<NaiveDate, &ExportDay> = base.days.iter().map(|day| (day.day, day)).collect();
        for day in days {
            let known = known.get(&day).copied();
            match self.write_day(export, folder, day, known.filter(|_| !is_everything)).await? {
                Day::Written(file) => written.files.push(file),
                Day::Unchanged => {}
                Day::Empty if known.is_some() => written.deleted_days.push(day),
                Day::Empty => {}
            }
        }
        Ok(written)
    }

    /// Writes the rows of a day, unless a reader has the same.
    async fn write_day(
        &self,
        export: &Export,
        folder: &Folder,
        day: NaiveDate,
        known: Option<&ExportDay>,
    ) -> Result<Day, AttemptError> {
        let format = export.definition.format;
        let path = format!("day={day}/part-0.{}", format.as_str());
        let mut answer = self.questions.ask(question(export, Some(Range::of_day(day)))).await?;
        let (sealed, rows) = write(folder, &path, format, &mut answer).await?;
        if rows == 0 {
            sealed.discard().await;
            return Ok(Day::Empty);
        }
        if known.is_some_and(|known| known.sha256 == sealed.sha256) {
            sealed.discard().await;
            return Ok(Day::Unchanged);
        }
        let file = entry(path, Some(day), rows, &sealed);
        sealed.keep().await?;
        Ok(Day::Written(file))
    }

    fn manifest(&self, export: &Export, run: &ExportRun, base: &ExportBase, written: Written) -> Manifest {
        let definition = &export.definition;
        Manifest {
            format: FORMAT.to_owned(),
            account: export.tenant.account_id,
            environment: export.tenant.environment,
            export: ExportName { id: export.id, name: definition.name.clone() },
            run_id: run.id,
            sequence: sequence(base),
            previous: previous(base),
            mode: definition.mode,
            range: written.range,
            scheduled_for: run.scheduled_for,
            generated_at: self.clock.now(),
            source: definition.source.clone(),
            definition: written.definition,
            file_format: definition.format,
            schema: Column::all(&written.schema),
            tables: written.tables,
            watermark: written.watermark,
            totals: Totals::of(&written.files),
            files: written.files,
            deleted_days: written.deleted_days,
        }
    }
}

/// What became of a day.
enum Day {
    Written(FileEntry),
    Unchanged,
    Empty,
}

fn question(export: &Export, range: Option<Range>) -> Question<'_> {
    let definition = &export.definition;
    Question {
        tenant: export.tenant,
        source: &definition.source,
        format: definition.format,
        mode: definition.mode,
        range,
    }
}

/// Writes an answer to a file that is not seen yet, and counts its rows.
async fn write(
    folder: &Folder,
    path: &str,
    format: ExportFormat,
    answer: &mut Rows,
) -> Result<(Sealed, u64), AttemptError> {
    let mut upload = folder.begin(path, format == ExportFormat::CsvGz)?;
    while let Some(bytes) = answer.bytes.next().await {
        let written = match bytes {
            Ok(bytes) => upload.write(bytes).await.map_err(AttemptError::from),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = written {
            upload.discard().await;
            return Err(error);
        }
    }
    let sealed = upload.seal().await?;
    Ok((sealed, answer.rows.load(Ordering::Acquire)))
}

fn entry(path: String, day: Option<NaiveDate>, rows: u64, sealed: &Sealed) -> FileEntry {
    FileEntry { path, day, rows, bytes: sealed.size_bytes, sha256: sealed.sha256.clone() }
}

fn sequence(base: &ExportBase) -> i64 {
    base.previous.as_ref().map_or(1, |previous| previous.sequence + 1)
}

fn previous(base: &ExportBase) -> Option<Previous> {
    base.previous
        .as_ref()
        .map(|previous| Previous { sequence: previous.sequence, manifest_sha256: previous.manifest_sha256.clone() })
}

/// What the ledger keeps of a manifest.
fn outcome(manifest: &Manifest, manifest_sha256: String, known: Vec<ExportDay>, folder: &Destination) -> ExportOutcome {
    ExportOutcome {
        sequence: manifest.sequence,
        files: manifest.totals.files,
        rows: manifest.totals.rows,
        bytes: manifest.totals.bytes,
        table_versions: manifest.tables.clone(),
        watermark: manifest.watermark,
        definition: manifest.definition.clone(),
        manifest_sha256,
        days: match manifest.mode {
            ExportMode::Snapshot => Vec::new(),
            ExportMode::Changes => days_left(manifest, known, folder),
        },
    }
}

/// The days that a reader has who had `known` and followed the manifest.
fn days_left(manifest: &Manifest, known: Vec<ExportDay>, folder: &Destination) -> Vec<ExportDay> {
    let replaced: BTreeSet<NaiveDate> = manifest.files.iter().filter_map(|file| file.day).collect();
    let gone = |day: &NaiveDate| replaced.contains(day) || manifest.deleted_days.contains(day);
    let kept = known.into_iter().filter(|day| !gone(&day.day));
    let new = manifest.files.iter().filter_map(|file| {
        let file_at = folder.join(&file.path).to_string();
        Some(ExportDay { day: file.day?, sha256: file.sha256.clone(), rows: file.rows, file: file_at })
    });
    kept.chain(new).collect()
}

#[cfg(test)]
mod tests;
