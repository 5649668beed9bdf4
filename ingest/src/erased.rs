//! People who were erased and must not come back: what ingest asks before it takes an event.
//!
//! A request asks the state of a moment ago, which is read again every few seconds; the lake writer asks the control
//! database itself, so that what was on its way in a log or an import is left out as well.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use touchline_schemas::control::{ControlDb, ControlError, Erasures};

/// The erased people as far as this process knows; clones share it.
#[derive(Debug, Clone, Default)]
pub struct ErasedIds(Arc<RwLock<Arc<Erasures>>>);

impl ErasedIds {
    /// How often the control database is asked. So long after an erasure was entered, nobody takes the ids any more.
    pub const REFRESHED_EVERY: Duration = Duration::from_secs(2);

    /// What is known now.
    pub fn current(&self) -> Arc<Erasures> {
        Arc::clone(&self.0.read())
    }

    /// Reads what is known.
    pub async fn refresh(&self, control: &ControlDb) -> Result<(), ControlError> {
        let erasures = control.erasures().await?;
        if *self.current() != erasures {
            *self.0.write() = Arc::new(erasures);
        }
        Ok(())
    }

    /// Reads it again and again, for as long as this is awaited.
    pub async fn keep_fresh(self, control: ControlDb) {
        loop {
            tokio::time::sleep(Self::REFRESHED_EVERY).await;
            if let Err(error) = self.refresh(&control).await {
                tracing::warn!(%error, "the erasures cannot be read; those known are refused");
            }
        }
    }
}
