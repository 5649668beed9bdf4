//! Stopping: one signal, heard by everything that runs.

use std::io;

use tokio::sync::watch;

/// Asks everything that listens to stop, at the latest when it is dropped.
#[derive(Debug)]
pub struct StopTrigger(watch::Sender<bool>);

impl StopTrigger {
    /// Asks to stop.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// Says when to stop; clones hear the same.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// A trigger and those that hear it.
    pub fn channel() -> (StopTrigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (StopTrigger(sender), Self(receiver))
    }

    /// Ready when it is time to stop.
    pub async fn requested(mut self) {
        // An error means that the trigger is gone, and with it any reason to go on.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// Ready when the process is told to stop: by Ctrl-C, or by SIGTERM where there is such a thing.
#[cfg(unix)]
pub async fn signal() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed,
        _ = terminate.recv() => Ok(()),
    }
}

/// Ready when the process is told to stop: by Ctrl-C.
#[cfg(not(unix))]
pub async fn signal() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}
