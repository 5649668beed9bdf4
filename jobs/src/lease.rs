//! The lease of a job while it runs: taken, renewed, given back. And several of them, for whoever wants no job to run.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use touchline_schemas::clock::SharedClock;
use touchline_schemas::control::{ControlDb, ControlError};

/// Renewals within the life of a lease: two may fail before it is lost.
const RENEWALS_PER_TTL: u32 = 3;
/// A lease's life may be configured as zero, waiting for it may not.
const MIN_RENEWAL_INTERVAL: Duration = Duration::from_millis(10);
/// Between two looks at a lease that somebody else holds.
const POLL: Duration = Duration::from_millis(200);

/// A lease that this task holds.
#[derive(Debug)]
pub struct Lease {
    control: ControlDb,
    clock: SharedClock,
    name: String,
    holder: String,
    ttl: Duration,
}

impl Lease {
    /// Takes the lease `name`; `None` while somebody else holds it. `holder` must be this task's alone.
    pub async fn acquire(
        control: &ControlDb,
        clock: &SharedClock,
        name: String,
        holder: String,
        ttl: Duration,
    ) -> Result<Option<Self>, ControlError> {
        let acquired = control.acquire_lease(&name, &holder, ttl, clock.now()).await?;
        Ok(acquired.then(|| Self { control: control.clone(), clock: clock.clone(), name, holder, ttl }))
    }

    /// Renews the lease for as long as this is awaited, and returns when it is lost: somebody else has it, or it
    /// could not be renewed in its lifetime.
    pub async fn keep(&self) {
        let mut renewed_at = Instant::now();
        loop {
            tokio::time::sleep((self.ttl / RENEWALS_PER_TTL).max(MIN_RENEWAL_INTERVAL)).await;
            match self.control.renew_lease(&self.name, &self.holder, self.ttl, self.clock.now()).await {
                Ok(true) => renewed_at = Instant::now(),
                Ok(false) => return,
                Err(error) if renewed_at.elapsed() < self.ttl => {
                    tracing::warn!(lease = self.name, %error, "lease could not be renewed, trying again");
                }
                Err(error) => {
                    tracing::error!(lease = self.name, %error, "lease could not be renewed in its lifetime");
                    return;
                }
            }
        }
    }

    /// Gives the lease back. If that does not work it expires by itself.
    pub async fn release(&self) {
        match self.control.release_lease(&self.name, &self.holder).await {
            Ok(true) => {}
            Ok(false) => tracing::warn!(lease = self.name, "lease was lost before it was released"),
            Err(error) => tracing::warn!(lease = self.name, %error, "lease could not be released and will expire"),
        }
    }
}

/// Several leases, each of which is renewed from the moment at which it was taken.
#[derive(Debug, Default)]
pub struct Leases {
    taken: Vec<Arc<Lease>>,
    /// One for each lease: it ends when that is lost.
    keepers: JoinSet<()>,
}

/// A lease that was held is somebody else's now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a lease that was held is held by somebody else")]
pub struct LeaseLost;

/// Why leases could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LeasesError {
    /// The control database failed.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// One was lost while waiting for the next.
    #[error(transparent)]
    Lost(#[from] LeaseLost),
}

impl Leases {
    /// Takes one more lease as soon as nobody else holds it. All who take several do so in the same order, or two of them
    /// wait for each other.
    pub async fn take(
        &mut self,
        control: &ControlDb,
        clock: &SharedClock,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<(), LeasesError> {
        let waiting = async {
            loop {
                match Lease::acquire(control, clock, name.to_owned(), holder.to_owned(), ttl).await? {
                    Some(lease) => return Ok::<_, ControlError>(Arc::new(lease)),
                    None => tokio::time::sleep(POLL).await,
                }
            }
        };
        let lease = self.hold_while(waiting).await??;
        self.keepers.spawn({
            let lease = Arc::clone(&lease);
            async move { lease.keep().await }
        });
        self.taken.push(lease);
        Ok(())
    }

    /// Does `work` as long as all leases are held.
    pub async fn hold_while<T>(&mut self, work: impl Future<Output = T>) -> Result<T, LeaseLost> {
        tokio::select! {
            done = work => Ok(done),
            Some(_) = self.keepers.join_next() => Err(LeaseLost),
        }
    }

    /// Gives all of them back.
    pub async fn release(mut self) {
        self.keepers.shutdown().await;
        for lease in &self.taken {
            lease.release().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::{DateTime, TimeDelta};
    use touchline_schemas::MockClock;

    use super::*;

    struct Fixture {
        control: ControlDb,
        clock: Arc<MockClock>,
    }

    impl Fixture {
        async fn new() -> Self {
            let clock = Arc::new(MockClock::at(DateTime::from_timestamp(1_772_366_400, 0).unwrap()));
            Self { control: ControlDb::open_in_memory().await.unwrap(), clock }
        }

        async fn acquire(&self, holder: &str, ttl: Duration) -> Option<Lease> {
            let clock: SharedClock = self.clock.clone();
            Lease::acquire(&self.control, &clock, "job:a".to_owned(), holder.to_owned(), ttl).await.unwrap()
        }
    }

    #[tokio::test]
    async fn lease_is_held_until_it_is_released() {
        let fixture = Fixture::new().await;
        let lease = fixture.acquire("one", Duration::from_secs(60)).await.unwrap();
        assert!(fixture.acquire("two", Duration::from_secs(60)).await.is_none());
        lease.release().await;
        assert!(fixture.acquire("two", Duration::from_secs(60)).await.is_some());
    }

    #[tokio::test]
    async fn keeping_ends_when_somebody_else_took_the_lease() {
        let fixture = Fixture::new().await;
        let lease = fixture.acquire("one", Duration::from_millis(30)).await.unwrap();
        fixture.clock.advance(TimeDelta::seconds(1));
        assert!(fixture.acquire("two", Duration::from_secs(60)).await.is_some());
        lease.keep().await;
    }

    #[tokio::test]
    async fn kept_lease_does_not_expire() {
        let fixture = Fixture::new().await;
        let lease = fixture.acquire("one", Duration::from_millis(30)).await.unwrap();
        fixture.clock.advance(TimeDelta::milliseconds(29));
        let first = fixture.control.lease("job:a").await.unwrap();
        let renewed = async { while fixture.control.lease("job:a").await.unwrap() == first {} };
        tokio::select! {
            () = lease.keep() => panic!("the lease was lost"),
            () = renewed => {}
        }
        fixture.clock.advance(TimeDelta::milliseconds(29));
        assert!(fixture.acquire("two", Duration::from_secs(60)).await.is_none());
    }

    #[tokio::test]
    async fn of_several_leases_the_first_is_kept_while_the_last_is_waited_for() {
        let fixture = Fixture::new().await;
        let ttl = Duration::from_millis(30);
        let clock: SharedClock = fixture.clock.clone();
        let other = fixture.control.acquire_lease("job:b", "other", Duration::from_secs(60), clock.now()).await;
        assert!(other.unwrap());
        let mut leases = Leases::default();
        leases.take(&fixture.control, &clock, "job:a", "one", ttl).await.unwrap();
        let first = fixture.control.lease("job:a").await.unwrap();
        fixture.clock.advance(TimeDelta::milliseconds(29));
        let renewed = async { while fixture.control.lease("job:a").await.unwrap() == first {} };
        let waiting = leases.take(&fixture.control, &clock, "job:b", "one", ttl);
        tokio::select! {
            taken = waiting => panic!("somebody else holds it: {taken:?}"),
            () = renewed => {}
        }
        fixture.clock.advance(TimeDelta::milliseconds(29));
        assert!(fixture.acquire("two", Duration::from_secs(60)).await.is_none());
        leases.release().await;
        assert!(fixture.acquire("two", Duration::from_secs(60)).await.is_some());
    }

    #[tokio::test]
    async fn work_ends_when_one_of_several_leases_is_lost() {
        let fixture = Fixture::new().await;
        let clock: SharedClock = fixture.clock.clone();
        let mut leases = Leases::default();
        for name in ["job:a", "job:b"] {
            leases.take(&fixture.control, &clock, name, "one", Duration::from_millis(30)).await.unwrap();
        }
        fixture.clock.advance(TimeDelta::seconds(1));
        assert!(fixture.acquire("two", Duration::from_secs(60)).await.is_some());
        assert_eq!(leases.hold_while(std::future::pending::<()>()).await, Err(LeaseLost));
        leases.release().await;
    }
}
