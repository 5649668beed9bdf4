//! The order of an erasure: refuse the ids, wait until nothing of them is on its way any more, take out the rows, compute
//! anew what follows from them, sweep up what is left in files, look everywhere, and write it down.
//!
//! Each step may be done again: an erasure that was cut off is run once more from the start. Who is meant is written down
//! until all is done, because the first rows that go take along what says which ids are one person's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use touchline_ingest::erased::ErasedIds;
use touchline_ingest::log::{Segment, list_segments, segment_sequence};
use touchline_ingest::record::decode;
use touchline_jobs::erase::{
    Certificate, Erased, Exported, FORMAT, HASH, Needles, Person, RAW_TABLES, Sweeper, Verification, erase_rows,
    resolve,
};
use touchline_jobs::lease::Leases;
use touchline_jobs::{RunError, RunRequest, Runner};
use touchline_lake::Lake;
use touchline_schemas::control::{Account, EXPORTS_LEASE, PendingErasure, Trigger};
use touchline_schemas::export::Destination;
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
    let lake = app.open_lake().await?;
    let runner = app.runner(app.query_engine(&lake)?)?;
    let is_dry_run = request.is_dry_run;
    let mut erasure = Erasure::prepare(app, &lake, &runner, request).await?;
    if is_dry_run {
        erasure.take_out(&Table::ALL, true).await?;
        return Ok(erasure.certificate);
    }
    erasure.begin().await?;
    drain(app, &lake).await?;
    erasure.take_out(&RAW_TABLES, false).await?;
    erasure.compute_anew(&runner).await?;
    let derived: Vec<Table> = Table::ALL.into_iter().filter(|table| !RAW_TABLES.contains(table)).collect();
    erasure.take_out(&derived, false).await?;
    erasure.finish().await
}

/// An erasure on its way.
struct Erasure<'a> {
    app: &'a App,
    lake: &'a Lake,
    person: Person,
    /// Erasures of the same person that were cut off, and this one itself once it has begun.
    pending: Vec<Uuid>,
    people: People,
    certificate: Certificate,
}

impl<'a> Erasure<'a> {
    /// Finds out who is meant, by the tables and by what an erasure wrote down that was cut off.
    async fn prepare(app: &'a App, lake: &'a Lake, runner: &Runner, request: Request<'_>) -> anyhow::Result<Self> {
        let requested_at = app.clock.now();
        let account_id = request.account.id;
        if !request.is_dry_run && JOB_NAMES.contains(&IDENTITIES) {
            run(runner, IDENTITIES, RunRequest::default()).await?;
        }
        let mut person = resolve(lake, account_id, request.ids).await?;
        let pending = unite_with_pending(app, account_id, &mut person).await?;
        let people = People::of(account_id, person.clone());
        let certificate = Certificate {
            format: FORMAT,
            account_id,
            account: request.account.slug.clone(),
            requested_by: request.requested_by,
            requested_at,
            completed_at: None,
            hash: HASH,
            id_hashes: app.control.erasure_hashes(account_id, &people.needles.ids(), rand::random()).await?,
            shared_ids: people.shared_ids,
            has_short_ids: !people.needles.are_all_searched(),
            tables: Vec::new(),
            deleted_files: Vec::new(),
            unreadable_files: Vec::new(),
            verification: Verification::default(),
        };
        Ok(Self { app, lake, person, pending, people, certificate })
    }

    /// Writes down who is meant, for a run that has to finish this one, and refuses the ids from now on.
    async fn begin(&mut self) -> anyhow::Result<()> {
        let (control, account_id, now) = (&self.app.control, self.certificate.account_id, self.app.clock.now());
        let begun = PendingErasure { id: Uuid::now_v7(), person: serde_json::to_string(&self.person)? };
        control.begin_erasure(account_id, &begun, now).await?;
        self.pending.push(begun.id);
        control.refuse_erased(account_id, &self.certificate.id_hashes, now).await?;
        Ok(())
    }

    /// Takes the person's rows out of these tables, or only counts them.
    async fn take_out(&mut self, tables: &[Table], is_dry_run: bool) -> anyhow::Result<()> {
        for table in tables {
            for (tenant, erased) in &self.people.erased {
                let table = self.lake.table(*table);
                let report = erase_rows(table, *tenant, erased, is_dry_run, &self.app.clock).await?;
                if report.files != [0, 0] {
                    self.certificate.tables.push(report);
                }
            }
        }
        Ok(())
    }

    /// Lets the jobs compute what follows from the rows that are left.
    async fn compute_anew(&self, runner: &Runner) -> anyhow::Result<()> {
        let account = Some(self.certificate.account_id);
        for job in JOB_NAMES.into_iter().filter(|job| !CARETAKERS.contains(job)) {
            run(runner, job, RunRequest { full: true, account, ..RunRequest::default() }).await?;
        }
        Ok(())
    }

    /// Sweeps up what is left in files, looks everywhere, and certifies it.
    async fn finish(mut self) -> anyhow::Result<Certificate> {
        let (app, account_id) = (self.app, self.certificate.account_id);
        let data_dir = app.data_dir.root().canonicalize()?;
        let log_folder = DataDir::new(&data_dir).log();
        let unpack = |path: &Path, bytes: &[u8]| records(&log_folder, path, bytes, account_id);
        let exported = exported(app, account_id).await?;
        let needles = &self.people.needles;
        let sweeper = Sweeper { lake: self.lake, account_id, needles, unpack: &unpack, exported: &exported };
        sweep(app, &sweeper, &mut self.certificate).await?;
        app.control.forget_erasures(&self.pending).await?;
        app.control.scrub().await?;

        let roots = [data_dir, self.lake.root().to_owned(), exported.root.clone()];
        self.certificate.verification = sweeper.verify(&roots).await?;
        self.certificate.completed_at = Some(app.clock.now());
        let text = serde_json::to_string(&self.certificate)?;
        app.control.certify_erasure(account_id, &self.certificate.id_hashes, &text, app.clock.now()).await?;
        Ok(self.certificate)
    }
}

/// Adds what erasures of the same person wrote down that were cut off, and says which these are: of an event that is
/// erased already no table says any more whose device it came from.
async fn unite_with_pending(app: &App, account_id: AccountId, person: &mut Person) -> anyhow::Result<Vec<Uuid>> {
    let mut others = Vec::new();
    for pending in app.control.pending_erasures(account_id).await? {
        let known: Person =
            serde_json::from_str(&pending.person).context("an erasure that was begun is not readable")?;
        others.push((pending.id, known));
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

/// Sweeps while no job and no export runs: what a job has written and not yet committed looks like a leftover, and an
/// export may be writing rows that it read before they were taken out.
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
    const LOST: &str = "another process has started a job or an export; run the erasure again";
    let holder = format!("erase-{}-{}", std::process::id(), Uuid::now_v7().simple());
    for job in JOB_NAMES {
        leases.take(&app.control, &app.clock, &format!("job:{job}"), &holder, LEASE_TTL).await.context(LOST)?;
    }
    leases.take(&app.control, &app.clock, EXPORTS_LEASE, &holder, LEASE_TTL).await.context(LOST)?;
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
    sweeper.folder(&sweeper.exported.root, certificate)?;
    sweeper.folder(&app.data_dir.log().join("damaged"), certificate)?;
    Ok(())
}

/// What exports have written on this machine, and which of it is not this account's.
async fn exported(app: &App, account_id: AccountId) -> anyhow::Result<Exported> {
    let root = app.config.exports.root(&app.data_dir);
    // A root that is not there holds nothing.
    let root = root.canonicalize().unwrap_or(root);
    let folders = app.control.export_folders_of_others(account_id).await?;
    let on_this_machine = |folder: &String| match folder.parse() {
        Ok(Destination::File { folder }) => Some(root.join(folder)),
        Ok(Destination::S3 { .. }) | Err(_) => None,
    };
    Ok(Exported { of_others: folders.iter().filter_map(on_this_machine).collect(), root })
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
    use touchline_ingest::import::ndjson::{ImportedEvent, ImportedLine};
    use touchline_schemas::SystemClock;
    use touchline_schemas::config::Config;
    use touchline_schemas::control::ExportTrigger;

    use super::*;
    use crate::settings::Settings;

    const EVENTS: [&str; 4] = [
        r#"{"event_type":"page_view","visitor_id":"canary-phone","user_id":"canary-ada","event_id":"1"}"#,
        r#"{"event_type":"page_view","visitor_id":"canary-phone","event_id":"2"}"#,
        r#"{"event_type":"page_view","visitor_id":"friend","event_id":"3"}"#,
        r#"{"event_type":"","visitor_id":"canary-phone","event_id":"4"}"#,
    ];

    async fn installation(folder: &Path) -> (App, Account) {
        let settings = Settings { config: Config::default(), config_file: None, data_dir: DataDir::new(folder) };
        let app = App::open(settings, Arc::new(SystemClock)).await.expect("opens");
        let account = app.control.create_account("shop", "Shop", app.clock.now()).await.expect("is created");
        let (lines, batches) = tokio::sync::mpsc::channel(1);
        let events = EVENTS.into_iter().zip(1..).map(|(json, number)| {
            ImportedLine::Event(ImportedEvent { event_id: number.to_string(), json: json.to_owned() })
        });
        lines.send(events.collect()).await.expect("is taken");
        drop(lines);
        let tenant = Tenant { account_id: account.id, environment: Environment::Live };
        let summary = app.import_batches(tenant, batches).await.expect("is imported");
        assert_eq!((summary.stored, summary.rejected), (3, 1));
        (app, account)
    }

    fn request<'a>(account: &'a Account, ids: &'a [String]) -> Request<'a> {
        Request { account, ids, requested_by: None, is_dry_run: false }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_erasure_that_was_cut_off_is_finished_by_the_next() {
        let folder = tempfile::tempdir().expect("a folder");
        let (app, account) = installation(folder.path()).await;
        let ids = ["u:canary-ada".to_owned()];
        {
            let lake = app.open_lake().await.expect("opens");
            let runner = app.runner(app.query_engine(&lake).expect("runs")).expect("runs");
            let mut cut_off = Erasure::prepare(&app, &lake, &runner, request(&account, &ids)).await.expect("is known");
            cut_off.begin().await.expect("begins");
            cut_off.take_out(&[Table::Events], false).await.expect("is taken out");
        }
        // Nothing says any more that the phone is Ada's; and the refusal that names it is left.
        assert_eq!(app.control.pending_erasures(account.id).await.expect("is read").len(), 1);
        let certificate = erase(&app, request(&account, &ids)).await.expect("is erased");
        assert_eq!(certificate.id_hashes.len(), 2);
        let rejected = certificate.tables.iter().find(|table| table.table == "rejected_events");
        assert_eq!(rejected.map(|table| (table.rows_removed, table.rows[1])), Some((1, 0)));
        assert_eq!((certificate.verification.occurrences, certificate.unreadable_files), (0, Vec::<String>::new()));
        assert_eq!(app.control.pending_erasures(account.id).await.expect("is read"), []);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn exports_lose_what_they_hold_of_the_person_and_those_of_others_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let (app, account) = installation(folder.path()).await;
        let other = app.control.create_account("other", "Other", app.clock.now()).await.expect("is created");
        let definition = serde_json::json!({
            "name": "events", "source": {"report": "events"}, "format": "csv", "destination": "file:both",
        });
        let definition = serde_json::from_value(definition).expect("is a definition");
        let mut files = Vec::new();
        for (account_id, number) in [(account.id, 1), (other.id, 2)] {
            let tenant = Tenant { account_id, environment: Environment::Live };
            let now = app.clock.now();
            let (export, _) = app.control.create_export(tenant, &definition, 9, [7; 32], now).await.expect("is made");
            let run = app.control.queue_export_run(export.id, ExportTrigger::Manual, now, now).await.expect("waits");
            let run = app.control.begin_export_run(run.id, &format!("file:both/{number}"), now).await;
            run.expect("begins");
            let run_folder = app.data_dir.exports().join(format!("both/{number}/day=2026-03-01"));
            std::fs::create_dir_all(&run_folder).expect("is made");
            for (name, text) in [("part-0.csv", "canary-phone,1\r\n"), ("part-1.csv", "friend,1\r\n")] {
                std::fs::write(run_folder.join(name), text).expect("is written");
                files.push(run_folder.join(name));
            }
        }
        let certificate = erase(&app, request(&account, &["u:canary-ada".to_owned()])).await.expect("is erased");
        let left: Vec<bool> = files.iter().map(|path| path.exists()).collect();
        assert_eq!(left, [false, true, true, true]);
        assert_eq!(certificate.verification.occurrences, 0, "{:?}", certificate.verification.found_in);
    }

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
