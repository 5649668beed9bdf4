//! One connection: who is at its other end, and whether it is waiting for a request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;

use crate::serve::TimedListener;

/// The other end of a connection. Part of every request that came over one.
#[derive(Debug, Clone)]
pub struct Peer {
    address: SocketAddr,
    activity: Arc<Activity>,
}

impl Peer {
    /// The other end of a connection on this machine.
    #[cfg(test)]
    pub(crate) fn local() -> Self {
        Self { address: ([127, 0, 0, 1], 1).into(), activity: Arc::default() }
    }

    /// The other end's address.
    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// Marks the connection as at work until the guard is dropped.
    pub fn begin(&self) -> AtWork {
        self.activity.begun.fetch_add(1, Ordering::Relaxed);
        AtWork(self.activity.clone())
    }
}

impl Connected<IncomingStream<'_, TimedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TimedListener>) -> Self {
        Self { address: *stream.remote_addr(), activity: stream.io().activity() }
    }
}

/// How many requests of a connection were begun and finished.
#[derive(Debug, Default)]
pub struct Activity {
    begun: AtomicU64,
    finished: AtomicU64,
}

impl Activity {
    /// The number of finished requests, if no other is running.
    pub fn idle_after(&self) -> Option<u64> {
        let finished = self.finished.load(Ordering::Relaxed);
        (self.begun.load(Ordering::Relaxed) == finished).then_some(finished)
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub struct AtWork(Arc<Activity>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.finished.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_idle_between_requests() {
        let activity = Arc::new(Activity::default());
        let peer = Peer { address: ([127, 0, 0, 1], 1).into(), activity: activity.clone() };
        assert_eq!(activity.idle_after(), Some(0));
        let guard = peer.begin();
        assert_eq!(activity.idle_after(), None);
        drop(guard);
        assert_eq!(activity.idle_after(), Some(1));
    }
}
