//! The order of an erasure: refuse the ids, wait until nothing of them is on its way any more, take out the rows, compute
//! anew what follows from them, sweep up what is left in files, look everywhere, and write it down.
//!
//! Each step may be done again: an erasure that was cut off is run once more from the start.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use touchline_ingest::erased::ErasedIds;
use touchline_ingest::log::{Segment, list_segments, segment_sequence};
use touchline_ingest::record::decode;
use touchline_jobs::erase::{
    Certificate, Erased, FORMAT, HASH, Needles, Person, RAW_TABLES, Sweeper, Verification, erase_rows, resolve,
};
use touchline_jobs::lease::Leases;
use touchline_jobs::{RunError, RunRequest, Runner};
use touchline_lake::Lake;
use touchline_schemas::control::{Account, Trigger};
use touchline_schemas::paths::DataDir;
use touchline_schemas::tables::Table;
use touchline_schemas::{AccountId, Environment, Tenant};
use uuid::Uuid;

use crate::app::{App, CARETAKERS, JOB_NAMES};

/// The job that says which ids are one person's.
const IDENTITIES: &str = "identities";
/// How long the log may take to reach the lake before the erasure gives up.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(200);
/// Between two looks at files that ingest may be about to commit.
const SETTLE_POLL: Duration = Duration::from_secs(5);
/// Renewed while the sweep lasts.
const LEASE_TTL: Duration = Duration::from_secs(60);

/// What is asked for.
#[derive(Debug)]
pub struct Request<'a> {
    /// The account.
    pub account: &'a Account,
    /// Ids of the person.
    pub ids: &'a [String],
    /// Who asks.
    pub requested_by: Option<String>,
    /// Only say what would be done.
    pub is_dry_run: bool,
}

/// Does it, and certifies it.
pub async fn erase(app: &App, request: Request<'_>) -> anyhow::Result<Certificate> {
    let requested_at = app.clock.now();
    let lake = app.open_lake().await?;
    let runner = app.runner(app.query_engine(&lake)?)?;
    let account_id = request.account.id;
    if !request.is_dry_run && JOB_NAMES.contains(&IDENTITIES) {
        run(&runner, IDENTITIES, RunRequest::default()).await?;
    }
    let people = People::of(account_id, resolve(&lake, account_id, request.ids).await?);
    let hashes = app.control.erasure_hashes(account_id, &people.needles.ids(), rand::random()).await?;
    let mut certificate = Certificate {
        format: FORMAT,
        account_id,
        account: request.account.slug.clone(),
        requested_by: request.requested_by,
        requested_at,
        completed_at: None,
        hash: HASH,
        id_hashes: hashes,
        shared_ids: people.shared_ids,
        has_short_ids: !people.needles.are_all_searched(),
        tables: Vec::new(),
        deleted_files: Vec::new(),
        unreadable_files: Vec::new(),
        verification: Verification::default(),
    };
    if request.is_dry_run {
        for table in Table::ALL {
            people.erase(app, &lake, table, true, &mut certificate).await?;
        }
        return Ok(certificate);
    }

    app.control.refuse_erased(account_id, &certificate.id_hashes, app.clock.now()).await?;
    drain(app, &lake).await?;
    for table in RAW_TABLES {
        people.erase(app, &lake, table, false, &mut certificate).await?;
    }
    let renewed = RunRequest { full: true, account: Some(account_id), ..RunRequest::default() };
    for job in JOB_NAMES.into_iter().filter(|job| !CARETAKERS.contains(job)) {
        run(&runner, job, renewed).await?;
    }
    for table in Table::ALL.into_iter().filter(|table| !RAW_TABLES.contains(table)) {
        people.erase(app, &lake, table, false, &mut certificate).await?;
    }
    let data_dir = app.data_dir.root().canonicalize()?;
    let log_folder = DataDir::new(&data_dir).log();
    let unpack = |path: &Path, bytes: &[u8]| records(&log_folder, path, bytes, account_id);
    let sweeper = Sweeper { lake: &lake, account_id, needles: &people.needles, unpack: &unpack };
    sweep(app, &sweeper, &mut certificate).await?;
    app.control.scrub().await?;

    let roots = [data_dir, lake.root().to_owned()];
    certificate.verification = sweeper.verify(&roots).await?;
    certificate.completed_at = Some(app.clock.now());
    let text = serde_json::to_string(&certificate)?;
    app.control.certify_erasure(account_id, &certificate.id_hashes, &text).await?;
    Ok(certificate)
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

    async fn erase(
        &self,
        app: &App,
        lake: &Lake,
        table: Table,
        is_dry_run: bool,
        certificate: &mut Certificate,
    ) -> anyhow::Result<()> {
        for (tenant, erased) in &self.erased {
            let report = erase_rows(lake.table(table), *tenant, erased, is_dry_run, &app.clock).await?;
            if report.files != [0, 0] {
                certificate.tables.push(report);
            }
        }
        Ok(())
    }
}

/// Runs a job, after the run of it that is going on, if there is one: that one may have begun too early.
async fn run(runner: &Runner, job: &str, request: RunRequest) -> anyhow::Result<()> {
    loop {
        match runner.run_now(job, request, Trigger::Manual).await {
            Ok(_) => return Ok(()),
            Err(RunError::AlreadyRunning { .. }) => tokio::time::sleep(POLL).await,
            Err(error) => return Err(error).with_context(|| format!("the job `{job}` must compute its table anew")),
        }
    }
}

/// Returns when nothing that was received before the ids were refused is in the log any more: by emptying it, or beside
/// a running server by waiting until that has learnt of the refusal and the lake has what came before.
async fn drain(app: &App, lake: &Lake) -> anyhow::Result<()> {
    const LATE: &str =
        "the lake has not taken what is in the log; the ids are refused from now on, run the erasure again later";
    if tokio::time::timeout(DRAIN_TIMEOUT, app.drain_log(lake)).await.context(LATE)?? {
        return Ok(());
    }
    tokio::time::sleep(ErasedIds::REFRESHED_EVERY * 2).await;
    let folder = app.data_dir.log();
    let waited_for: Vec<PathBuf> = list_segments(&folder)?.into_iter().map(|segment| segment.path).collect();
    let emptied = async {
        while waited_for.iter().any(|path| path.exists()) {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(DRAIN_TIMEOUT, emptied).await.context(LATE)
}

/// Sweeps while no job runs, because what a job has written and not yet committed looks like a leftover.
async fn sweep(app: &App, sweeper: &Sweeper<'_>, certificate: &mut Certificate) -> anyhow::Result<()> {
    let mut leases = Leases::default();
    let swept = sweep_alone(app, &mut leases, sweeper, certificate).await;
    leases.release().await;
    swept
}

async fn sweep_alone(
    app: &App,
    leases: &mut Leases,
    sweeper: &Sweeper<'_>,
    certificate: &mut Certificate,
) -> anyhow::Result<()> {
    const LOST: &str = "another process has started a job; run the erasure again";
    let holder = format!("erase-{}-{}", std::process::id(), Uuid::now_v7().simple());
    for job in JOB_NAMES {
        leases.take(&app.control, &app.clock, &format!("job:{job}"), &holder, LEASE_TTL).await.context(LOST)?;
    }
    leases.hold_while(sweep_all(app, sweeper, certificate)).await.context(LOST)?
}

async fn sweep_all(app: &App, sweeper: &Sweeper<'_>, certificate: &mut Certificate) -> anyhow::Result<()> {
    let mut unsettled = sweeper.strays(app.clock.now(), certificate).await?;
    while !unsettled.is_empty() {
        tracing::info!(files = unsettled.len(), "waiting for files that ingest may be about to commit");
        tokio::time::sleep(SETTLE_POLL).await;
        // What has come meanwhile was received after the ids were refused.
        let still = sweeper.strays(app.clock.now(), certificate).await?;
        unsettled.retain(|path| still.contains(path));
    }
    sweeper.folder(&app.data_dir.exports(), certificate)?;
    sweeper.folder(&app.data_dir.log().join("damaged"), certificate)?;
    Ok(())
}

/// This account's records in a segment of the log in `folder`; `None` for any other file.
fn records(folder: &Path, path: &Path, bytes: &[u8], account_id: AccountId) -> Option<Vec<Vec<u8>>> {
    if path.parent() != Some(folder) {
        return None;
    }
    let segment = Segment::parse(segment_sequence(path)?, bytes.to_vec());
    let ours = segment.payloads().filter(|payload| {
        // What cannot be understood may be anybody's.
        decode(payload).map_or(true, |request| request.head.tenant.account_id == account_id)
    });
    Some(ours.map(<[u8]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_what_lies_in_the_logs_folder_and_is_called_like_one() {
        let folder = Path::new("/data/log");
        let check = |path: &Path, expected: Option<usize>| {
            let found = records(folder, path, b"no segment at all", AccountId(Uuid::nil()));
            assert_eq!(found.map(|records| records.len()), expected, "{}", path.display());
        };
        const SEGMENT: &str = "00000000000000000007.log";
        check(&folder.join(SEGMENT), Some(0));
        check(&Path::new("/data/exports").join(SEGMENT), None);
        check(&folder.join("damaged").join(SEGMENT), None);
        check(&folder.join("node"), None);
    }
}
