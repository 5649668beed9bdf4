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
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
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
    let listener = TimedListener {
        inner: listener,
        limit: Duration::from_secs(config.request_read_timeout_s),
        room: Arc::new(Semaphore::new(config.max_connections)),
    };
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

/// A listener whose connections are no more than there is room for, and do not wait for ever.
#[derive(Debug)]
pub struct TimedListener {
    inner: TcpListener,
    limit: Duration,
    room: Arc<Semaphore>,
}

impl Listener for TimedListener {
    type Io = TimedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TimedStream, SocketAddr) {
        // Never closed. Whoever finds no room waits in the system's queue.
        let place = self.room.clone().acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.inner).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY is not available");
        }
        (TimedStream::new(stream, self.limit, place), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A connection that breaks off when, between two requests, the head of the next is not complete within a limit, or when
/// the client takes nothing of an answer for as long.
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
    /// Since when the client has taken nothing of what there is for it.
    stalled: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl TimedStream {
    fn new(inner: TcpStream, limit: Duration, place: Option<OwnedSemaphorePermit>) -> Self {
        let alarm = Box::pin(sleep(limit));
        Self { inner, limit, activity: Arc::default(), waiting: None, stalled: None, alarm, _place: place }
    }

    /// What the connection's requests report to.
    pub(crate) fn activity(&self) -> Arc<Activity> {
        self.activity.clone()
    }

    /// Ready when the wait has lasted too long.
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
        self.poll_alarm(since, context)
    }

    /// Ready when the limit has passed since then. The alarm is only moved when it rings: most waits are short, and moving
    /// it for each request would cost more than a rare needless wake-up.
    fn poll_alarm(&mut self, since: Instant, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.alarm.as_mut().poll(context));
            let overdue_at = since + self.limit;
            if Instant::now() >= overdue_at {
                return Poll::Ready(());
            }
            self.alarm.as_mut().reset(overdue_at);
        }
    }

    /// What came of writing: an error if the client has taken nothing for too long.
    fn poll_written(&mut self, written: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            // As long as the last answer is being taken, the wait for the next request has not begun.
            self.waiting = None;
            return written;
        }
        let since = *self.stalled.get_or_insert_with(Instant::now);
        ready!(self.poll_alarm(since, context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
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
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.poll_written(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.poll_written(written, context)
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
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::Body;
    use axum::routing::get;
    use bytes::Bytes;
    use futures::stream;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn started(
        config: ServerConfig,
    ) -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<io::Result<()>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { "ok" })).route("/endless", get(endless));
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

    /// How many endless answers are being sent.
    static ENDLESS: AtomicUsize = AtomicUsize::new(0);

    struct Counted;

    impl Drop for Counted {
        fn drop(&mut self) {
            ENDLESS.fetch_sub(1, Ordering::SeqCst);
        }
    }

    async fn endless() -> Body {
        ENDLESS.fetch_add(1, Ordering::SeqCst);
        let counted = Counted;
        Body::from_stream(stream::repeat_with(move || {
            let _counted = &counted;
            Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 65_536]))
        }))
    }

    #[tokio::test]
    async fn whoever_takes_nothing_of_an_answer_is_not_waited_for_for_ever() {
        let config = ServerConfig { request_read_timeout_s: 1, ..ServerConfig::default() };
        let (address, _stop, _server) = started(config).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        assert_eq!(ENDLESS.load(Ordering::SeqCst), 1);
        // What fills the buffers is sent at once; then nothing goes on.
        while ENDLESS.load(Ordering::SeqCst) == 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn no_more_connections_are_taken_than_there_is_room_for() {
        let config = ServerConfig { max_connections: 1, ..ServerConfig::default() };
        let (address, _stop, _server) = started(config).await;
        let ask = async |stream: &mut TcpStream| {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            stream.read_exact(&mut [0; 12]).await.unwrap();
        };
        let mut first = TcpStream::connect(address).await.unwrap();
        ask(&mut first).await;
        let mut second = TcpStream::connect(address).await.unwrap();
        let answered = ask(&mut second);
        tokio::pin!(answered);
        assert!(futures::poll!(&mut answered).is_pending());
        drop(first);
        answered.await;
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
