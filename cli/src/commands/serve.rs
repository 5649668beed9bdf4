//! `touchline serve`: ingest, jobs and API in one process.

use std::net::SocketAddr;

use anyhow::Context as _;
use clap::Args;
use tokio::net::TcpListener;

use super::{Context, Outcome};
use crate::app::App;
use crate::shutdown::{self, Shutdown};

/// What `serve` takes.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address and port to listen on [default: 127.0.0.1:8000]; port 0 lets the system choose.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
}

/// Serves until the process is told to stop.
pub async fn run(args: ServeArgs, context: &Context) -> anyhow::Result<Outcome> {
    let mut settings = context.settings()?;
    if let Some(listen) = args.listen {
        settings.config.server.listen = listen;
    }
    let listen = settings.config.server.listen;
    // The address first: a second server should say that it is taken, not that the log is locked.
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let app = App::open(settings, context.clock.clone()).await?;
    say_hello(&app, &listener).await?;
    let (trigger, stop) = Shutdown::channel();
    let serving = app.serve_http(listener, stop);
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return ended.map(|()| Outcome::Done),
        signal = shutdown::signal() => signal.context("cannot wait for the signal to stop")?,
    }
    tracing::info!("stopping");
    trigger.stop();
    serving.await?;
    tracing::info!("stopped");
    Ok(Outcome::Done)
}

async fn say_hello(app: &App, listener: &TcpListener) -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let url = format!("http://{}", listener.local_addr()?);
    tracing::info!(version, url, data_dir = %app.data_dir.root().display(), "serving");
    if app.control.accounts().await?.is_empty() {
        tracing::warn!("there is no account yet: see `touchline account create` and `touchline key create`");
    }
    Ok(())
}
