//! The order of an erasure: refuse the ids, wait until nothing of them is on its way any more, take out the rows, compute
//! anew what follows from them, sweep up what is left in files, look everywhere, and write it down.
//!
//! Each step may be done again: an erasure that was cut off is run once more from the start. Who is meant is written down
//! until all is done, because the first rows that go take along what says which ids are one person's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use touchline_schemas::control::{Certified, EXPORTS_LEASE, ErasureRequest, PendingErasure, Trigger};
use touchline_schemas::export::Destination;
use touchline_schemas::paths::DataDir;
use touchline_schemas::tables::Table;
use touchline_schemas::{AccountId, Environment, Tenant};
use uuid::Uuid;

use super::eraser::Eraser;
use super::{
    Certificate, Erased, ErasureError, Exported, FORMAT, HASH, Needles, Person, RAW_TABLES, Sweeper, Verification,
    erase_rows, resolve,
};
use crate::lease::Leases;
use crate::{RunError, RunRequest};

/// The job that says which ids are one person's.
const IDENTITIES: &str = "identities";
/// Between two attempts to run a job that is running.
const POLL: Duration = Duration::from_millis(200);
/// Between two looks at files that ingest may be about to commit.
const SETTLE_POLL: Duration = Duration::from_secs(5);
/// Renewed while the sweep lasts.
const LEASE_TTL: Duration = Duration::from_secs(60);
/// What is said of an erasure after which something of the person may be left.
const LEFT_OVER: &str = "the last look found the ids in files: the certificate names them";

/// An erasure on its way.
pub(super) struct Erasure<'a> {
    eraser: &'a Eraser,
    request: &'a ErasureRequest,
    person: Person,
    /// Erasures of the same person that were cut off, and this one itself once it has begun.
    pending: Vec<Uuid>,
    people: People,
    certificate: Certificate,
}

/// Does it, and certifies it.
pub(super) async fn erase(eraser: &Eraser, request: &ErasureRequest) -> Result<Certificate, ErasureError> {
    let mut erasure = Erasure::prepare(eraser, request).await?;
    erasure.begin().await?;
    eraser.log.drain().await.map_err(ErasureError::Drain)?;
    erasure.take_out(&RAW_TABLES, false).await?;
    erasure.compute_anew().await?;
    let derived: Vec<Table> = Table::ALL.into_iter().filter(|table| !RAW_TABLES.contains(table)).collect();
    erasure.take_out(&derived, false).await?;
    erasure.finish().await
}

/// Says what an erasure would take out of the tables, and changes nothing.
pub(super) async fn try_out(eraser: &Eraser, request: &ErasureRequest) -> Result<Certificate, ErasureError> {
    let mut erasure = Erasure::prepare(eraser, request).await?;
    erasure.take_out(&Table::ALL, true).await?;
    Ok(erasure.certificate)
}

impl<'a> Erasure<'a> {
    /// Finds out who is meant, by the tables and by what an erasure wrote down that was cut off.
    async fn prepare(eraser: &'a Eraser, request: &'a ErasureRequest) -> Result<Self, ErasureError> {
        let (control, account_id) = (&eraser.control, request.account_id);
        if !request.is_dry_run && eraser.runner.job_names().contains(&IDENTITIES) {
            run(eraser, IDENTITIES, RunRequest::default()).await?;
        }
        let account = control.account(account_id).await?.ok_or(ErasureError::NoAccount)?;
        let mut person = resolve(&eraser.lake, account_id, &request.ids).await?;
        let pending = unite_with_pending(eraser, account_id, &mut person).await?;
        let people = People::of(account_id, person.clone());
        let words = request.requested_by.as_deref();
        let certificate = Certificate {
            format: FORMAT,
            account_id,
            account: account.slug,
            requested_by: words.map(|words| people.needles.replaced_in(words).unwrap_or_else(|| words.to_owned())),
            requested_at: request.requested_at,
            completed_at: None,
            hash: HASH,
            id_hashes: control.erasure_hashes(account_id, &people.needles.ids(), (eraser.random)()).await?,
            shared_ids: people.shared_ids,
            has_short_ids: !people.needles.are_all_searched(),
            tables: Vec::new(),
            deleted_files: Vec::new(),
            unreadable_files: Vec::new(),
            verification: Verification::default(),
        };
        Ok(Self { eraser, request, person, pending, people, certificate })
    }

    /// Writes down who is meant, for a run that has to finish this one, and refuses the ids from now on.
    async fn begin(&mut self) -> Result<(), ErasureError> {
        let (control, account_id, now) = (&self.eraser.control, self.request.account_id, self.eraser.clock.now());
        let person = self.person.to_text().map_err(ErasureError::Text)?;
        let begun = PendingErasure { id: Uuid::now_v7(), person };
        control.begin_erasure(account_id, &begun, now).await?;
        self.pending.push(begun.id);
        control.refuse_erased(account_id, &self.certificate.id_hashes, now).await?;
        Ok(())
    }

    /// Takes the person's rows out of these tables, or only counts them.
    async fn take_out(&mut self, tables: &[Table], is_dry_run: bool) -> Result<(), ErasureError> {
        for table in tables {
            for (tenant, erased) in &self.people.erased {
                let table = self.eraser.lake.table(*table);
                let report = erase_rows(table, *tenant, erased, is_dry_run, &self.eraser.clock).await?;
                if report.files != [0, 0] {
                    self.certificate.tables.push(report);
                }
            }
        }
        Ok(())
    }

    /// Lets the jobs compute what follows from the rows that are left.
    async fn compute_anew(&self) -> Result<(), ErasureError> {
        let account = Some(self.request.account_id);
        for job in self.eraser.runner.job_names() {
            if !self.eraser.caretakers.contains(&job) {
                run(self.eraser, job, RunRequest { full: true, account, ..RunRequest::default() }).await?;
            }
        }
        Ok(())
    }

    /// Sweeps up what is left in files, looks everywhere, and certifies it.
    async fn finish(mut self) -> Result<Certificate, ErasureError> {
        let (eraser, account_id) = (self.eraser, self.request.account_id);
        let data_dir = eraser.canonical_data_dir()?;
        let unpack = |path: &Path, bytes: &[u8]| eraser.log.unpack(&data_dir, path, bytes, account_id);
        let roots = eraser.roots()?;
        let needles = &self.people.needles;
        let exported = exported(eraser).await?;
        let sweeper =
            Sweeper { lake: &eraser.lake, account_id, needles, unpack: &unpack, exported: &exported, roots: &roots };
        sweep(eraser, &sweeper, &mut self.certificate).await?;
        let requests = self.forget().await?;

        self.certificate.verification = sweeper.verify(&roots).await?;
        let is_left = self.certificate.verification.occurrences > 0;
        self.certificate.completed_at = Some(eraser.clock.now());
        let text = serde_json::to_string(&self.certificate).map_err(ErasureError::Text)?;
        let certified = Certified {
            account_id,
            requests: &requests,
            hashes: &self.certificate.id_hashes,
            certificate: &text,
            problem: is_left.then_some(LEFT_OVER),
        };
        let control = eraser.control.acting_as(self.request.sender());
        control.certify_erasure(certified, eraser.clock.now()).await?;
        Ok(self.certificate)
    }

    /// Takes the person out of the control database, and says which requests are answered by that.
    async fn forget(&self) -> Result<Vec<Uuid>, ErasureError> {
        let (control, needles) = (&self.eraser.control, &self.people.needles);
        let is_theirs = |given: &str| self.person.is_named(given);
        let without = |words: &str| needles.replaced_in(words);
        let mut answered = control.forget_requested(self.request.account_id, &is_theirs, &without).await?;
        if !answered.contains(&self.request.id) {
            answered.push(self.request.id);
        }
        control.forget_erasures(&self.pending).await?;
        control.scrub().await?;
        Ok(answered)
    }
}

/// Adds what erasures of the same person wrote down that were cut off, and says which these are: of an event that is
/// erased already no table says any more whose device it came from.
async fn unite_with_pending(
    eraser: &Eraser,
    account_id: AccountId,
    person: &mut Person,
) -> Result<Vec<Uuid>, ErasureError> {
    let mut others = Vec::new();
    for pending in eraser.control.pending_erasures(account_id).await? {
        others.push((pending.id, Person::from_text(&pending.person).map_err(ErasureError::Text)?));
    }
    let mut united = Vec::new();
    // One that is added may know of another.
    while let Some(place) = others.iter().position(|(_, other)| person.is_one_with(other)) {
        let (id, other) = others.swap_remove(place);
        person.unite(other);
        united.push(id);
    }
    Ok(united)
}

/// Who is erased, in each environment of the account.
struct People {
    needles: Needles,
    shared_ids: usize,
    erased: Vec<(Tenant, Arc<Erased>)>,
}

impl People {
    fn of(account_id: AccountId, person: Person) -> Self {
        let replacement = format!("erased-{}", &Uuid::now_v7().simple().to_string()[..12]);
        let needles = Needles::new(person.ids, replacement);
        let erased = [Environment::Live, Environment::Test].map(|environment| {
            let shared = person.shared.iter().filter(|shared| shared.environment == environment).cloned().collect();
            (Tenant { account_id, environment }, Arc::new(Erased { needles: needles.clone(), shared }))
        });
        let shared_ids = person.shared.iter().map(|shared| &shared.id).collect::<BTreeSet<_>>().len();
        Self { needles, shared_ids, erased: erased.into() }
    }
}

/// Runs a job, after the run of it that is going on, if there is one: that one may have begun too early.
async fn run(eraser: &Eraser, job: &'static str, request: RunRequest) -> Result<(), ErasureError> {
    loop {
        match eraser.runner.run_now(job, request, Trigger::Manual).await {
            Ok(_) => return Ok(()),
            Err(RunError::AlreadyRunning { .. }) => tokio::time::sleep(POLL).await,
            Err(source) => return Err(ErasureError::Job { job, source: Box::new(source) }),
        }
    }
}

/// Sweeps while no job and no export runs: what a job has written and not yet committed looks like a leftover, and an
/// export may be writing rows that it read before they were taken out.
async fn sweep(eraser: &Eraser, sweeper: &Sweeper<'_>, certificate: &mut Certificate) -> Result<(), ErasureError> {
    let mut leases = Leases::default();
    let swept = sweep_alone(eraser, &mut leases, sweeper, certificate).await;
    leases.release().await;
    swept
}

async fn sweep_alone(
    eraser: &Eraser,
    leases: &mut Leases,
    sweeper: &Sweeper<'_>,
    certificate: &mut Certificate,
) -> Result<(), ErasureError> {
    let holder = format!("erase-{}-{}", std::process::id(), Uuid::now_v7().simple());
    for job in eraser.runner.job_names() {
        leases.take(&eraser.control, &eraser.clock, &format!("job:{job}"), &holder, LEASE_TTL).await?;
    }
    leases.take(&eraser.control, &eraser.clock, EXPORTS_LEASE, &holder, LEASE_TTL).await?;
    leases.hold_while(sweep_all(eraser, sweeper, certificate)).await?
}

async fn sweep_all(eraser: &Eraser, sweeper: &Sweeper<'_>, certificate: &mut Certificate) -> Result<(), ErasureError> {
    let mut unsettled: Vec<PathBuf> = sweeper.strays(eraser.clock.now(), certificate).await?;
    while !unsettled.is_empty() {
        tracing::info!(files = unsettled.len(), "waiting for files that ingest may be about to commit");
        tokio::time::sleep(SETTLE_POLL).await;
        // What has come meanwhile was received after the ids were refused.
        let still = sweeper.strays(eraser.clock.now(), certificate).await?;
        unsettled.retain(|path| still.contains(path));
    }
    let data_dir = DataDir::new(eraser.canonical_data_dir()?);
    sweeper.folder(&sweeper.exported.root, certificate)?;
    sweeper.folder(&data_dir.log().join("damaged"), certificate)?;
    Ok(())
}

/// What exports have written on this machine, and for whom.
async fn exported(eraser: &Eraser) -> Result<Exported, ErasureError> {
    let root = eraser.canonical_exports();
    let folders = eraser.control.export_folders().await?;
    let on_this_machine = |(folder, account): &(String, AccountId)| match folder.parse() {
        Ok(Destination::File { folder }) => Some((root.join(folder), *account)),
        Ok(Destination::S3 { .. }) | Err(_) => None,
    };
    Ok(Exported { folders: folders.iter().filter_map(on_this_machine).collect(), root })
}
