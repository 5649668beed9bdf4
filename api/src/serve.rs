//! Serving connections: no delay, no connection that waits for ever, an orderly end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep};
use touchline_schemas::config::ServerConfig;

use crate::peer::{Activity, Peer};

/// Serves `router` until `shutdown` is ready; then takes no more connections, and gives running requests
/// `server.shutdown_grace_s` to finish.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: &ServerConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stopping, stopped) = oneshot::channel();
    let signal = async move {
        shutdown.await;
        // The receiver only goes away together with the server.
        let _ = stopping.send(());
    };
    let listener = TimedListener { inner: listener, limit: Duration::from_secs(config.request_read_timeout_s) };
    let service = router.into_make_service_with_connect_info::<Peer>();
    let server = axum::serve(listener, service).with_graceful_shutdown(signal);
    let grace = Duration::from_secs(config.shutdown_grace_s);
    tokio::select! {
        served = server => served,
        () = out_of_grace(stopped, grace) => {
            tracing::warn!(grace_s = grace.as_secs(), "requests still running at the end of the grace time are dropped");
            Ok(())
        }
    }
}

async fn out_of_grace(stopped: oneshot::Receiver<()>, grace: Duration) {
    match stopped.await {
        Ok(()) => sleep(grace).await,
        Err(_) => std::future::pending().await,
    }
}

/// A listener whose connections do not wait for a request's head for ever.
#[derive(Debug)]
pub struct TimedListener {
    inner: TcpListener,
    limit: Duration,
}

impl Listener for TimedListener {
    type Io = TimedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TimedStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.inner).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY is not available");
        }
        (TimedStream::new(stream, self.limit), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A connection that breaks off when, between two requests, the head of the next is not complete within a limit.
///
/// The time runs from the end of the last answer, whatever trickles in meanwhile, and stands still while a request
/// is being answered. A body has a limit of its own.
#[derive(Debug)]
pub struct TimedStream {
    inner: TcpStream,
    limit: Duration,
    activity: Arc<Activity>,
    /// Requests finished when the wait began, and when that was.
    waiting: Option<(u64, Instant)>,
    alarm: Pin<Box<Sleep>>,
}

impl TimedStream {
    fn new(inner: TcpStream, limit: Duration) -> Self {
        Self { inner, limit, activity: Arc::default(), waiting: None, alarm: Box::pin(sleep(limit)) }
    }

    /// What the connection's requests report to.
    pub(crate) fn activity(&self) -> Arc<Activity> {
        self.activity.clone()
    }

    /// Ready when the wait has lasted too long. The alarm is only moved when it rings: most waits are short, and
    /// moving it for each request would cost more than a rare needless wake-up.
    fn poll_overdue(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(finished) = self.activity.idle_after() else {
            self.waiting = None;
            return Poll::Pending;
        };
        let since = match self.waiting {
            Some((count, since)) if count == finished => since,
            Some(_) | None => Instant::now(),
        };
        self.waiting = Some((finished, since));
        loop {
            ready!(self.alarm.as_mut().poll(context));
            let overdue_at = since + self.limit;
            if Instant::now() >= overdue_at {
                return Poll::Ready(());
            }
            self.alarm.as_mut().reset(overdue_at);
        }
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.inner).poll_read(context, buffer) {
            return Poll::Ready(read);
        }
        ready!(self.poll_overdue(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn started(
        config: ServerConfig,
    ) -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<io::Result<()>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { "ok" }));
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(async move {
            serve(listener, router, &config, async move {
                let _ = stopped.await;
            })
            .await
        });
        (address, stop, server)
    }

    #[tokio::test]
    async fn half_a_head_is_not_waited_for_for_ever() {
        let config = ServerConfig { request_read_timeout_s: 1, ..ServerConfig::default() };
        let (address, _stop, _server) = started(config).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x").await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    }

    #[tokio::test]
    async fn the_signal_ends_the_server() {
        let (address, stop, server) = started(ServerConfig::default()).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
    }
}
