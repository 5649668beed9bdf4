//! What an erasure needs of ingest: that the log is emptied, and which of its records are whose.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use touchline_ingest::erased::ErasedIds;
use touchline_ingest::log::{Segment, list_segments, segment_sequence};
use touchline_ingest::record::decode;
use touchline_jobs::erase::ReceivedLog;
use touchline_lake::Lake;
use touchline_schemas::AccountId;
use touchline_schemas::paths::DataDir;

use crate::app::App;

/// How long the log may take to reach the lake before the erasure gives up.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(200);

/// The log of an installation, and the lake that it goes to.
#[derive(Debug)]
pub struct IngestLog {
    app: App,
    lake: Lake,
}

impl IngestLog {
    /// The log of `app`.
    pub fn new(app: App, lake: Lake) -> Self {
        Self { app, lake }
    }

    /// Empties the log, or beside a running server (which this process may be) waits until that has learnt of the refusal
    /// and the lake has what came before.
    async fn drained(&self) -> anyhow::Result<()> {
        const LATE: &str = "the log is not empty yet";
        if tokio::time::timeout(DRAIN_TIMEOUT, self.app.drain_log(&self.lake)).await.context(LATE)?? {
            return Ok(());
        }
        tokio::time::sleep(ErasedIds::REFRESHED_EVERY * 2).await;
        let folder = self.app.data_dir.log();
        let waited_for: Vec<PathBuf> = list_segments(&folder)?.into_iter().map(|segment| segment.path).collect();
        let emptied = async {
            while waited_for.iter().any(|path| path.exists()) {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(DRAIN_TIMEOUT, emptied).await.context(LATE)
    }
}

impl ReceivedLog for IngestLog {
    fn drain(&self) -> BoxFuture<'_, Result<(), Box<dyn std::error::Error + Send + Sync>>> {
        async { Ok(self.drained().await?) }.boxed()
    }

    fn unpack(&self, data_dir: &Path, path: &Path, bytes: &[u8], account_id: AccountId) -> Option<Vec<Vec<u8>>> {
        records(&DataDir::new(data_dir).log(), path, bytes, account_id)
    }
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use chrono::TimeDelta;
    use tokio_util::sync::CancellationToken;
    use touchline_ingest::import::ndjson::{Form, ImportedEvent, ImportedLine};
    use touchline_jobs::erase::{Certificate, Erased, Eraser, Needles, Person, erase_rows};
    use touchline_schemas::clock::Clock as _;
    use touchline_schemas::config::Config;
    use touchline_schemas::control::{Account, Actor, ErasureRequest, ErasureState, ExportTrigger, NewErasure};
    use touchline_schemas::tables::Table;
    use touchline_schemas::{Environment, MockClock, SystemClock, Tenant};
    use uuid::Uuid;

    use super::*;
    use crate::settings::Settings;

    const EVENTS: [&str; 4] = [
        r#"{"event_type":"page_view","visitor_id":"canary-phone","user_id":"canary-ada","event_id":"1"}"#,
        r#"{"event_type":"page_view","visitor_id":"canary-phone","event_id":"2"}"#,
        r#"{"event_type":"page_view","visitor_id":"friend","event_id":"3"}"#,
        r#"{"event_type":"","visitor_id":"canary-phone","event_id":"4"}"#,
    ];

    /// A log that does not get empty so many times.
    #[derive(Debug)]
    struct Stuck {
        log: IngestLog,
        times: AtomicUsize,
    }

    impl ReceivedLog for Stuck {
        fn drain(&self) -> BoxFuture<'_, Result<(), Box<dyn std::error::Error + Send + Sync>>> {
            let is_stuck = self.times.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            match is_stuck {
                Ok(_) => async { Err("canary-ada is in the log".into()) }.boxed(),
                Err(_) => self.log.drain(),
            }
        }

        fn unpack(&self, data_dir: &Path, path: &Path, bytes: &[u8], account_id: AccountId) -> Option<Vec<Vec<u8>>> {
            self.log.unpack(data_dir, path, bytes, account_id)
        }
    }

    struct Installation {
        app: App,
        clock: Arc<MockClock>,
        account: Account,
        _folder: tempfile::TempDir,
    }

    impl Installation {
        async fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let data_dir = DataDir::new(folder.path());
            let settings = Settings { config: Config::default(), config_file: None, data_dir };
            let clock = Arc::new(MockClock::at(SystemClock.now()));
            let app = App::open(settings, clock.clone()).await.expect("opens");
            let account = app.control.create_account("shop", "Shop", clock.now()).await.expect("is created");
            let (lines, batches) = tokio::sync::mpsc::channel(1);
            let events = EVENTS.into_iter().zip(1..).map(|(json, number)| {
                ImportedLine::Event(ImportedEvent {
                    event_id: number.to_string(),
                    json: json.to_owned(),
                    form: Form::Native,
                })
            });
            lines.send(events.collect()).await.expect("is taken");
            drop(lines);
            let tenant = Tenant { account_id: account.id, environment: Environment::Live };
            let import = app.import(tenant, "import-test".to_owned()).await.expect("begins");
            let summary = import.run(batches).await.expect("is imported");
            assert_eq!((summary.stored, summary.rejected), (3, 1));
            Self { app, clock, account, _folder: folder }
        }

        /// Erases, though the log is stuck so many times.
        async fn eraser(&self, times: usize) -> Eraser {
            let lake = self.app.open_lake().await.expect("opens");
            let runner = self.app.runner(self.app.query_engine(&lake).expect("runs")).expect("runs");
            let eraser = self.app.eraser(&lake, runner);
            let log = IngestLog::new(self.app.clone(), lake);
            Eraser { log: Arc::new(Stuck { log, times: times.into() }), ..eraser }
        }

        fn new_erasure(&self, ids: &[&str], is_dry_run: bool) -> NewErasure {
            let ids = ids.iter().map(|id| (*id).to_owned()).collect();
            let requested_by = Some("ticket of canary-ada".to_owned());
            NewErasure { account_id: self.account.id, ids, requested_by, is_dry_run }
        }

        async fn ask(&self, ids: &[&str], is_dry_run: bool) -> ErasureRequest {
            let control = self.app.control.acting_as(Actor::Key(Uuid::from_u128(7)));
            let new = self.new_erasure(ids, is_dry_run);
            control.request_erasure(new, self.clock.now()).await.expect("is kept")
        }

        async fn read(&self, request: &ErasureRequest) -> ErasureRequest {
            let found = self.app.control.erasure_request(self.account.id, request.id).await.expect("is read");
            found.expect("is there")
        }

        /// What a crash would leave that came when the events were gone, and nothing else.
        async fn take_out_events(&self, eraser: &Eraser) {
            let pending = self.app.control.pending_erasures(self.account.id).await.expect("is read");
            let person = Person::from_text(&pending[0].person).expect("is a person");
            let erased = Erased { needles: Needles::new(person.ids, "gone".to_owned()), shared: Default::default() };
            let tenant = Tenant { account_id: self.account.id, environment: Environment::Live };
            let (table, erased, clock) = (eraser.lake.table(Table::Events), Arc::new(erased), self.app.clock.clone());
            erase_rows(table, tenant, &erased, false, &clock).await.expect("is taken out");
        }
    }

    fn assert_whole(certificate: &Certificate) {
        assert_eq!(certificate.id_hashes.len(), 2, "Ada and her phone");
        let rejected = certificate.tables.iter().find(|table| table.table == "rejected_events");
        assert_eq!(rejected.map(|table| (table.rows_removed, table.rows[1])), Some((1, 0)));
        assert_eq!((certificate.verification.occurrences, &certificate.unreadable_files), (0, &Vec::<String>::new()));
        assert!(!certificate.requested_by.as_deref().unwrap_or_default().contains("canary"), "{certificate:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_erasure_that_was_cut_off_is_finished_by_the_next() {
        let installation = Installation::new().await;
        let eraser = installation.eraser(1).await;
        let new = || installation.new_erasure(&["u:canary-ada"], false);
        eraser.erase(new()).await.expect_err("the log is stuck");
        installation.take_out_events(&eraser).await;
        // Nothing says any more that the phone is Ada's; and the refusal that names it is left.
        let control = &installation.app.control;
        assert_eq!(control.pending_erasures(installation.account.id).await.expect("is read").len(), 1);
        assert_whole(&eraser.erase(new()).await.expect("is erased"));
        assert_eq!(control.pending_erasures(installation.account.id).await.expect("is read"), []);
        let requests = control.erasure_requests(installation.account.id, None, 9).await.expect("is read");
        assert!(requests.iter().all(|request| request.state == ErasureState::Done && request.ids.is_empty()));
        assert_eq!(requests.len(), 2, "the one that was cut off is answered too");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_asked_for_is_done_one_after_the_other_and_again_after_a_failure() {
        let installation = Installation::new().await;
        let eraser = installation.eraser(1).await;
        let stop = CancellationToken::new();
        let would = installation.ask(&["canary-phone"], true).await;
        let ada = installation.ask(&["u:canary-ada"], false).await;
        let again = installation.ask(&["canary-phone"], false).await;

        assert!(eraser.tick(&stop).await.expect("is tried out"));
        let told: serde_json::Value =
            serde_json::from_str(&installation.read(&would).await.certificate.expect("is kept")).expect("is JSON");
        assert_eq!((&told["tables"][0]["table"], &told["tables"][0]["rows_removed"]), (&"events".into(), &2.into()));

        eraser.tick(&stop).await.expect_err("the log is stuck");
        let failed = installation.read(&ada).await;
        assert_eq!((failed.state, failed.attempts, failed.ids.len()), (ErasureState::Failed, 1, 1));
        assert_eq!(failed.problem.as_deref(), Some("the lake has not taken what is in the log"));
        installation.take_out_events(&eraser).await;

        installation.clock.advance(TimeDelta::minutes(1));
        assert!(eraser.tick(&stop).await.expect("is erased"));
        let done = installation.read(&ada).await;
        assert_eq!((done.state, done.attempts, done.ids.len()), (ErasureState::Done, 2, 0));
        assert!(!done.requested_by.expect("is kept").contains("canary"));
        assert_eq!(installation.read(&again).await.certificate, done.certificate, "it was the same person");
        assert!(!eraser.tick(&stop).await.expect("is idle"));

        let noted = installation.app.control.audit_entries(Some(installation.account.id), None, 2).await;
        for entry in noted.expect("is read") {
            assert_eq!((entry.action.as_str(), entry.actor), ("erasure.complete", would.actor.clone()));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nobody_erases_while_somebody_else_does() {
        let installation = Installation::new().await;
        let (eraser, stop) = (installation.eraser(0).await, CancellationToken::new());
        let ada = installation.ask(&["u:canary-ada"], false).await;
        let (control, now) = (&installation.app.control, installation.clock.now());
        let taken = control.acquire_lease("erasure", "other", Duration::from_secs(30), now).await;
        assert!(taken.expect("is taken"));
        control.start_erasure(&ada, now).await.expect("is kept");
        assert!(!eraser.tick(&stop).await.expect("is left alone"));
        assert_eq!(installation.read(&ada).await.state, ErasureState::Running);
        // The other has died.
        installation.clock.advance(TimeDelta::seconds(31));
        assert!(eraser.tick(&stop).await.expect("is erased"));
        assert_eq!(installation.read(&ada).await.state, ErasureState::Done);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn exports_lose_what_they_hold_of_the_person_and_those_of_others_nothing() {
        let installation = Installation::new().await;
        let (control, now) = (&installation.app.control, installation.clock.now());
        let other = control.create_account("other", "Other", now).await.expect("is created");
        let definition = serde_json::json!({
            "name": "events", "source": {"report": "events"}, "format": "csv", "destination": "file:both",
        });
        let definition = serde_json::from_value(definition).expect("is a definition");
        let mut files = Vec::new();
        for (account_id, number) in [(installation.account.id, 1), (other.id, 2)] {
            let tenant = Tenant { account_id, environment: Environment::Live };
            let (export, _) = control.create_export(tenant, &definition, 9, [7; 32], now).await.expect("is made");
            let run = control.queue_export_run(export.id, ExportTrigger::Manual, now, now).await.expect("waits");
            let run = control.begin_export_run(run.id, &format!("file:both/{number}"), now).await;
            run.expect("begins");
            let run_folder = installation.app.data_dir.exports().join(format!("both/{number}/day=2026-03-01"));
            std::fs::create_dir_all(&run_folder).expect("is made");
            for (name, text) in [("part-0.csv", "canary-phone,1\r\n"), ("part-1.csv", "friend,1\r\n")] {
                std::fs::write(run_folder.join(name), text).expect("is written");
                files.push(run_folder.join(name));
            }
        }
        let eraser = installation.eraser(0).await;
        let certificate = eraser.erase(installation.new_erasure(&["u:canary-ada"], false)).await.expect("is erased");
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
