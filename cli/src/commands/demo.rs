//! `touchline demo`: a month of a shop's traffic through the real server, and the first answers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use touchline_jobs::RunRequest;
use touchline_schemas::Environment;
use touchline_schemas::control::{AccountSettings, KeyKind, NewKey, RunStatus, Scope, Scopes};

use super::{Context, Outcome};
use crate::app::{App, CARETAKERS, JOB_NAMES};
use crate::demo::client::DemoClient;
use crate::demo::installation;
use crate::demo::proof::Proof;
use crate::demo::traffic::{self, Traffic, TrafficOptions};
use crate::output::{Output, count};
use crate::settings::Settings;
use crate::shutdown::{self, Shutdown};

const ACCOUNT_SLUG: &str = "demo";
const ACCOUNT_NAME: &str = "Lumen & Oak (demo)";
/// What the shop's messages are sent for.
const GOALS: &str = "bought=purchase;window_days=7";

/// What `demo` takes.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Address and port to listen on [default: 127.0.0.1:8000, or any free port when that is taken].
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// About how many events to generate.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(100..=20_000_000))]
    pub events: u64,
    /// The same seed generates the same shop.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Stops after the answers instead of serving on.
    #[arg(long)]
    pub exit: bool,
}

/// Plays the demo in a data directory of its own.
pub async fn run(args: DemoArgs, context: &Context) -> anyhow::Result<Outcome> {
    let settings = Settings::load(&context.global, &context.environment, installation::DEFAULT_DATA_DIR)?;
    let listener = listen(args.listen, settings.config.server.listen, context.output).await?;
    let address = reachable(listener.local_addr()?);
    installation::prepare(&settings.data_dir)?;
    let app = Arc::new(App::open(settings, context.clock.clone()).await?);
    let client = DemoClient::new(address, &create_key(&app).await?)?;

    let (trigger, stop) = Shutdown::channel();
    let mut server = tokio::spawn({
        let app = Arc::clone(&app);
        async move { app.serve_http(listener, stop).await }
    });
    let outcome = tokio::select! {
        played = play_and_serve(&args, context, &app, &client) => played,
        ended = &mut server => {
            ended.context("the server has died")??;
            bail!("the server has stopped by itself")
        }
        signal = shutdown::signal() => signal.map(|()| Outcome::Done).context("cannot wait for the signal to stop"),
    };
    trigger.stop();
    server.await.context("the server has died")??;
    outcome
}

/// Shows the answers; returns at once with `--exit`, else never.
async fn play_and_serve(args: &DemoArgs, context: &Context, app: &App, client: &DemoClient) -> anyhow::Result<Outcome> {
    let proof = play(args, context, app, client).await?;
    context.output.answer(&proof, &proof.text())?;
    if args.exit {
        return Ok(if proof.holds() { Outcome::Done } else { Outcome::Failed });
    }
    context.output.note("\nServing until Ctrl-C.");
    std::future::pending().await
}

async fn play(args: &DemoArgs, context: &Context, app: &App, client: &DemoClient) -> anyhow::Result<Proof> {
    let begun_at = context.clock.now();
    let options = TrafficOptions { seed: args.seed, end: begun_at, events: args.events };
    context.output.note(&format!("Generating 30 days of traffic, about {} events …", count(args.events)));
    let Traffic { batches, truth } = spawn_blocking(move || traffic::generate(options)).await?;

    let posting = progress("Posting", truth.sent)?;
    client.post_all(batches, &posting).await?;
    posting.finish();
    let storing = progress("Storing", truth.sent)?;
    let since = begun_at - chrono::Duration::hours(1);
    let sums = client.wait_until_settled(since, truth.sent, &storing).await?;
    storing.finish();
    run_jobs(app, context.output).await?;
    let answers = client.answers().await?;
    Ok(Proof::new(client.url(), client.key(), sums, truth, answers))
}

async fn run_jobs(app: &App, output: Output) -> anyhow::Result<()> {
    for job in JOB_NAMES.into_iter().filter(|job| !CARETAKERS.contains(job)) {
        output.note(&format!("Running the job {job} …"));
        let run = app.run_job(job, RunRequest::default(), Arc::default()).await?;
        if run.status != RunStatus::Succeeded {
            bail!("the job {job} has {}: {}", run.status.as_str(), run.error.unwrap_or_default());
        }
    }
    output.note("");
    Ok(())
}

async fn create_key(app: &App) -> anyhow::Result<String> {
    let now = app.clock.now();
    let account_id = app.control.create_account(ACCOUNT_SLUG, ACCOUNT_NAME, now).await?.id;
    let mut settings = AccountSettings::default();
    settings.set("goals", GOALS)?;
    app.control.set_account_settings(account_id, &settings, now).await?;
    let new = NewKey {
        account_id,
        environment: Environment::Live,
        kind: KeyKind::Secret,
        scopes: Scopes::new([Scope::Ingest, Scope::CanViewReports])?,
        name: Some("demo".to_owned()),
    };
    let (_, key) = app.control.create_key(new, rand::random(), now).await?;
    Ok(key.expose().to_owned())
}

/// Listens where it was asked to, or else where it is usual, or else anywhere.
async fn listen(asked: Option<SocketAddr>, usual: SocketAddr, output: Output) -> anyhow::Result<TcpListener> {
    let address = asked.unwrap_or(usual);
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && asked.is_none() => {
            output.note(&format!("{address} is taken, so the demo listens on another port."));
            Ok(TcpListener::bind(SocketAddr::new(address.ip(), 0)).await?)
        }
        Err(error) => Err(error).with_context(|| format!("cannot listen on {address}")),
    }
}

/// The address to reach a listener at that may listen on all of them.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
    } else {
        address
    }
}

fn progress(what: &'static str, events: u64) -> anyhow::Result<ProgressBar> {
    let style =
        ProgressStyle::with_template("{prefix:8} {bar:40} {human_pos}/{human_len} events, {per_sec}, {elapsed}")?;
    Ok(ProgressBar::new(events).with_style(style).with_prefix(what))
}
