//! What tests run exports with: a lake of numbers by day, a bucket that fails when it is told to, and a reader who
//! follows manifests.

mod bucket;
mod numbers;
mod reader;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use object_store::path::Path;
use serde_json::{Value, json};
use touchline_schemas::clock::SharedClock;
use touchline_schemas::control::{ControlDb, Export, ExportRun, ExportTrigger};
use touchline_schemas::export::{Destination, ExportDefinition};
use touchline_schemas::{Environment, MockClock, Tenant};

use crate::destination::{DestinationError, Folder, Places};
use crate::run::Workshop;

pub use bucket::{Bucket, Trouble};
pub use numbers::{NumberLake, day};
pub use reader::Reader;

/// 2026-03-05T00:00:00Z.
pub fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_772_668_800, 0).unwrap()
}

/// All destinations lie in one bucket.
#[derive(Debug)]
pub struct InBucket(pub Arc<Bucket>);

impl Places for InBucket {
    fn open(&self, destination: &Destination) -> Result<Folder, DestinationError> {
        let Destination::File { folder } = destination else { return Err(DestinationError::Folder) };
        Ok(Folder::in_store(self.0.clone(), Path::from(folder.as_str())))
    }
}

/// An installation with one account and one export.
pub struct Fixture {
    pub control: ControlDb,
    pub clock: Arc<MockClock>,
    pub lake: Arc<NumberLake>,
    pub bucket: Arc<Bucket>,
    pub places: Arc<InBucket>,
    pub export: Export,
    shared_clock: SharedClock,
}

impl Fixture {
    /// An export of all numbers whose definition has these fields besides.
    pub async fn new(fields: Value) -> Self {
        let control = ControlDb::open_in_memory().await.unwrap();
        let account = control.create_account("acme", "Acme", start()).await.unwrap();
        let tenant = Tenant { account_id: account.id, environment: Environment::Live };
        let export = control.create_export(tenant, &definition(fields), 10, [7; 32], start()).await.unwrap().0;
        let clock = Arc::new(MockClock::at(start()));
        let bucket = Arc::<Bucket>::default();
        let (lake, places) = (Arc::default(), Arc::new(InBucket(bucket.clone())));
        Self { control, shared_clock: clock.clone(), clock, lake, bucket, places, export }
    }

    pub fn workshop(&self) -> Workshop<'_> {
        Workshop {
            control: &self.control,
            clock: &self.shared_clock,
            questions: &*self.lake,
            tables: &*self.lake,
            places: &*self.places,
        }
    }

    /// A run that was asked for.
    pub async fn queue(&self) -> ExportRun {
        self.clock.advance(TimeDelta::minutes(1));
        let now = self.shared_clock.now();
        self.control.queue_export_run(self.export.id, ExportTrigger::Manual, now, now).await.unwrap()
    }

    /// The run's next attempt.
    pub async fn begin(&self, run: &ExportRun) -> ExportRun {
        let export = self.control.export(None, run.export_id).await.unwrap();
        let base = self.control.export_base(&export).await.unwrap();
        let folder = self.workshop().destination(&export, run, &base).await.unwrap();
        self.control.begin_export_run(run.id, &folder.to_string(), self.shared_clock.now()).await.unwrap()
    }

    /// What becomes of a run whose process died: another attempt.
    pub async fn reclaim(&self) -> ExportRun {
        let now = self.shared_clock.now();
        let [run] = &self.control.reclaim_export_runs(u16::MAX, now, now).await.unwrap()[..] else {
            panic!("one run was under way");
        };
        self.begin(run).await
    }

    /// A run that has a destination without troubles.
    pub async fn run(&self) -> ExportRun {
        let run = self.queue().await;
        let run = self.begin(&run).await;
        self.workshop().attempt(&run).await.unwrap()
    }

    /// A reader of the export.
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(self)
    }
}

fn definition(fields: Value) -> ExportDefinition {
    let mut definition = json!({
        "name": "numbers",
        "source": {"report": "numbers"},
        "format": "csv",
        "destination": "file:out",
    });
    definition.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(definition).unwrap()
}
