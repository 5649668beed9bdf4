//! Whoever erases: one at a time in all processes, by the requests in the control database, which outlive a crash.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use touchline_lake::Lake;
use touchline_schemas::AccountId;
use touchline_schemas::clock::SharedClock;
use touchline_schemas::control::{ControlDb, ErasureRequest, ErasureState, NewErasure};
use touchline_schemas::paths::DataDir;
use uuid::Uuid;

use super::error::Outlook;
use super::{Certificate, EraseError, ErasureError, order};
use crate::Runner;
use crate::lease::{Lease, Leases};

/// The lease of whoever erases.
const LEASE: &str = "erasure";
/// Renewed while an erasure lasts; so long one waits that was cut off by a crash.
const LEASE_TTL: Duration = Duration::from_secs(30);
/// Between two looks for an erasure that is due.
const POLL: Duration = Duration::from_secs(1);
/// Between the first two attempts; each further pause is twice as long.
const FIRST_PAUSE: TimeDelta = TimeDelta::minutes(1);
/// The longest pause is the first one doubled so often: about an hour.
const MAX_DOUBLINGS: u32 = 6;

/// What an erasure needs of ingest, which cannot be seen from here.
pub trait ReceivedLog: fmt::Debug + Send + Sync {
    /// Returns when nothing that was received before the ids were refused is in the log any more.
    fn drain(&self) -> BoxFuture<'_, Result<(), Box<dyn std::error::Error + Send + Sync>>>;

    /// The account's records in a file, if that is a segment of the log of this data directory.
    fn unpack(&self, data_dir: &Path, path: &Path, bytes: &[u8], account_id: AccountId) -> Option<Vec<Vec<u8>>>;
}

/// Erases people.
#[derive(Debug, Clone)]
pub struct Eraser {
    /// Where the requests are.
    pub control: ControlDb,
    /// The time.
    pub clock: SharedClock,
    /// Whose rows and files go.
    pub lake: Lake,
    /// Everything else that is swept, but for exports.
    pub data_dir: DataDir,
    /// The directory below which exports write.
    pub exports: PathBuf,
    /// Computes anew what follows from the rows that are left.
    pub runner: Runner,
    /// Jobs of the runner that compute no table.
    pub caretakers: &'static [&'static str],
    /// What is received, and not yet in the lake.
    pub log: Arc<dyn ReceivedLog>,
    /// The salt of an installation that has none yet.
    pub random: fn() -> [u8; 32],
}

impl Eraser {
    /// Erases at once, after whoever erases now. What cannot be done now is left to whoever does the next.
    pub async fn erase(&self, new: NewErasure) -> Result<Certificate, ErasureError> {
        if new.is_dry_run {
            return order::try_out(self, &self.unrecorded(new)).await;
        }
        let mut leases = Leases::default();
        leases.take(&self.control, &self.clock, LEASE, &holder(), LEASE_TTL).await?;
        let erased = leases.hold_while(async {
            let request = self.control.request_erasure(new, self.clock.now()).await?;
            self.attempt(&request).await
        });
        let erased = erased.await;
        leases.release().await;
        erased?
    }

    /// A dry run at the command line changes nothing, and so leaves no line anywhere.
    fn unrecorded(&self, new: NewErasure) -> ErasureRequest {
        ErasureRequest {
            number: 0,
            id: Uuid::nil(),
            account_id: new.account_id,
            actor: String::new(),
            ids: new.ids,
            requested_by: new.requested_by,
            is_dry_run: new.is_dry_run,
            state: ErasureState::Running,
            attempts: 0,
            problem: None,
            requested_at: self.clock.now(),
            started_at: None,
            finished_at: None,
            certificate: None,
        }
    }

    /// Does what is asked for, one after the other, until `stop`.
    pub async fn serve(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(POLL) => {}
            }
            match self.tick(&stop).await {
                Ok(_) => {}
                Err(ErasureError::ShuttingDown) => return,
                // Its request says so too.
                Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "erasure failed"),
            }
        }
    }

    /// Does the oldest erasure that is due, and says whether there was one that nobody else does.
    pub async fn tick(&self, stop: &CancellationToken) -> Result<bool, ErasureError> {
        if self.control.due_erasure(self.clock.now()).await?.is_none() {
            return Ok(false);
        }
        let lease = Lease::acquire(&self.control, &self.clock, LEASE.to_owned(), holder(), LEASE_TTL).await?;
        let Some(lease) = lease else { return Ok(false) };
        let done = tokio::select! {
            done = self.attempt_due() => done,
            () = lease.keep() => Err(crate::lease::LeaseLost.into()),
            () = stop.cancelled() => Err(ErasureError::ShuttingDown),
        };
        lease.release().await;
        done
    }

    /// Before the lease was taken, another process may have done it.
    async fn attempt_due(&self) -> Result<bool, ErasureError> {
        let Some(request) = self.control.due_erasure(self.clock.now()).await? else { return Ok(false) };
        tracing::info!(erasure_id = %request.id, attempt = request.attempts + 1, "erasing a person");
        self.attempt(&request).await?;
        Ok(true)
    }

    /// Does it, and writes down what came of it.
    async fn attempt(&self, request: &ErasureRequest) -> Result<Certificate, ErasureError> {
        self.control.start_erasure(request, self.clock.now()).await?;
        let done = if request.ids.is_empty() {
            Err(ErasureError::NotCertified)
        } else if request.is_dry_run {
            self.try_out(request).await
        } else {
            order::erase(self, request).await
        };
        if let Err(error) = &done {
            self.keep_failure(request, error).await?;
        }
        done
    }

    async fn try_out(&self, request: &ErasureRequest) -> Result<Certificate, ErasureError> {
        let certificate = order::try_out(self, request).await?;
        let text = serde_json::to_string(&certificate).map_err(ErasureError::Text)?;
        self.control.end_erasure(request, ErasureState::Done, None, Some(&text), self.clock.now()).await?;
        Ok(certificate)
    }

    async fn keep_failure(&self, request: &ErasureRequest, error: &ErasureError) -> Result<(), ErasureError> {
        let (told, now) = (error.told(), self.clock.now());
        let end = |state| self.control.end_erasure(request, state, Some(&told), None, now);
        match error.outlook() {
            Outlook::Again => self.control.postpone_erasure(request, &told, now + pause(request.attempts)).await?,
            Outlook::Never => end(ErasureState::Refused).await?,
            Outlook::Done => end(ErasureState::Incomplete).await?,
        }
        Ok(())
    }

    pub(super) fn canonical_data_dir(&self) -> Result<PathBuf, EraseError> {
        let root = self.data_dir.root();
        root.canonicalize().map_err(|source| EraseError::File { path: root.to_owned(), source })
    }

    /// The folders in which nothing of the person may be left.
    pub(super) fn roots(&self) -> Result<[PathBuf; 3], EraseError> {
        Ok([self.canonical_data_dir()?, self.lake.root().to_owned(), self.canonical_exports()])
    }

    /// A directory that is not there holds nothing.
    pub(super) fn canonical_exports(&self) -> PathBuf {
        self.exports.canonicalize().unwrap_or_else(|_| self.exports.clone())
    }
}

/// How long to wait after this many attempts before the one that has failed.
fn pause(attempts: u32) -> TimeDelta {
    FIRST_PAUSE * (1 << attempts.min(MAX_DOUBLINGS))
}

fn holder() -> String {
    format!("erase-{}-{}", std::process::id(), Uuid::now_v7().simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_about_an_hour() {
        for (attempts, minutes) in [(0, 1), (1, 2), (5, 32), (6, 64), (7, 64), (u32::MAX, 64)] {
            assert_eq!(pause(attempts), TimeDelta::minutes(minutes), "{attempts}");
        }
    }
}
