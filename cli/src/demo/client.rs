//! The demo's client: posts the traffic over real HTTP, as an SDK would, and asks for the answers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::{DateTime, SecondsFormat, Utc};
use indicatif::ProgressBar;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::proof::{Answers, Sums};
use super::traffic::Batch;

/// Requests that are under way at the same time.
const CONCURRENCY: usize = 4;
/// How often a request is repeated that the server put off.
const MAX_ATTEMPTS: u32 = 60;
const DEFAULT_RETRY_S: u64 = 1;
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// When the lake has not moved for so many polls, it never will.
const MAX_IDLE_POLLS: u32 = 240;

/// A client of one server with one key.
#[derive(Debug, Clone)]
pub struct DemoClient {
    http: Client,
    url: String,
    key: String,
}

/// The envelope of every report.
#[derive(Deserialize)]
struct Envelope<R> {
    data: Vec<R>,
}

/// What is read of a row of the report `messages`.
#[derive(Deserialize)]
struct MessagesRow {
    sent: u64,
}

/// What is read of a row of the report `sequences`.
#[derive(Deserialize)]
struct SequencesRow {
    entries: u64,
}

impl DemoClient {
    /// A client of the server at `address`.
    pub fn new(address: SocketAddr, key: &str) -> anyhow::Result<Self> {
        let http = Client::builder().no_proxy().build()?;
        Ok(Self { http, url: format!("http://{address}"), key: key.to_owned() })
    }

    /// The server's URL, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The key that it presents.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Posts all batches, a few at a time, in about the order given.
    pub async fn post_all(&self, batches: Vec<Batch>, progress: &ProgressBar) -> anyhow::Result<()> {
        let waiting = Arc::new(Mutex::new(batches.into_iter()));
        let mut workers = JoinSet::new();
        for _ in 0..CONCURRENCY {
            let (client, waiting, progress) = (self.clone(), Arc::clone(&waiting), progress.clone());
            workers.spawn(async move {
                while let Some(batch) = next(&waiting) {
                    client.post(&batch).await?;
                    progress.inc(u64::from(batch.sent));
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = workers.join_next().await {
            ended.context("a posting task has died")??;
        }
        Ok(())
    }

    /// Waits until `sent` events are accounted for, and returns how.
    pub async fn wait_until_settled(
        &self,
        since: DateTime<Utc>,
        sent: u64,
        progress: &ProgressBar,
    ) -> anyhow::Result<Sums> {
        let mut idle_polls = 0;
        let mut settled = 0;
        loop {
            let sums = self.sums(since, sent).await?;
            progress.set_position(sums.settled());
            if sums.settled() >= sent {
                return Ok(sums);
            }
            idle_polls = if sums.settled() > settled { 0 } else { idle_polls + 1 };
            settled = sums.settled();
            if idle_polls > MAX_IDLE_POLLS {
                bail!("of {sent} events sent, only {settled} are accounted for, and no more come");
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// What the reports say of all that was posted.
    pub async fn answers(&self) -> anyhow::Result<Answers> {
        let messages: Vec<MessagesRow> = self.report("messages", &[("by", "channel")]).await?;
        let sequences: Vec<SequencesRow> = self.report("sequences", &[]).await?;
        Ok(Answers {
            first_touch: self.report("first-touch", &[("by", "channel")]).await?,
            messages_sent: messages.iter().map(|row| row.sent).sum(),
            runs: sequences.iter().map(|row| row.entries).sum(),
        })
    }

    async fn sums(&self, since: DateTime<Utc>, sent: u64) -> anyhow::Result<Sums> {
        let from = since.to_rfc3339_opts(SecondsFormat::Secs, true);
        let hours: Vec<Sums> = self.report("ingest", &[("from", &from)]).await?;
        let start = Sums { sent, ..Sums::default() };
        Ok(hours.iter().fold(start, |sum, hour| Sums {
            sent,
            stored: sum.stored + hour.stored,
            duplicates: sum.duplicates + hour.duplicates,
            rejected: sum.rejected + hour.rejected,
        }))
    }

    async fn report<R: DeserializeOwned>(&self, name: &str, query: &[(&str, &str)]) -> anyhow::Result<Vec<R>> {
        let url = report_url(&self.url, name, query);
        let response = self.http.get(&url).bearer_auth(&self.key).send().await?;
        if response.status() != StatusCode::OK {
            bail!("{}", refusal(&url, response).await);
        }
        let envelope: Envelope<R> = response.json().await.with_context(|| format!("the answer of {url}"))?;
        Ok(envelope.data)
    }

    /// Posts one batch. Refused events are part of the demo; a refused request is not.
    async fn post(&self, batch: &Batch) -> anyhow::Result<()> {
        let url = format!("{}{}", self.url, batch.endpoint);
        for _ in 0..MAX_ATTEMPTS {
            let request = self.http.post(&url).bearer_auth(&self.key);
            let request = request.header("content-type", "application/json").body(batch.body.clone());
            let response = request.send().await?;
            match response.status() {
                StatusCode::OK | StatusCode::CREATED | StatusCode::ACCEPTED | StatusCode::UNPROCESSABLE_ENTITY => {
                    // Read to the end, so that the connection can be used again.
                    response.bytes().await?;
                    return Ok(());
                }
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => sleep(retry_after(&response)).await,
                _ => bail!("{}", refusal(&url, response).await),
            }
        }
        bail!("{url} put the same request off {MAX_ATTEMPTS} times")
    }
}

fn next(waiting: &Mutex<std::vec::IntoIter<Batch>>) -> Option<Batch> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).next()
}

fn retry_after(response: &Response) -> Duration {
    let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    Duration::from_secs(header.and_then(|seconds| seconds.parse().ok()).unwrap_or(DEFAULT_RETRY_S))
}

async fn refusal(url: &str, response: Response) -> String {
    let status = response.status();
    let body = response.text().await.unwrap_or_default();
    format!("{url} answered {status}: {}", body.chars().take(500).collect::<String>())
}

/// The address of a report. Values are words, and times in `Z`: nothing in them means anything in an address.
fn report_url(url: &str, name: &str, query: &[(&str, &str)]) -> String {
    let parameters: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{url}/api/v1/reports/{name}?{}", parameters.join("&"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const TRY_AGAIN: &str = "503 Service Unavailable\r\nRetry-After: 0";

    /// A server that gives one answer after the other, the last one for ever: status (with headers) and body.
    async fn client_of(answers: &'static [(&'static str, &'static str)]) -> (DemoClient, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let client = DemoClient::new(listener.local_addr().expect("bound"), "sk_test_x").expect("a client");
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let (status, body) = answers[number.min(answers.len() - 1)];
                answer(stream, status, body).await;
            }
        });
        (client, requests)
    }

    async fn answer(stream: TcpStream, status: &str, body: &str) {
        let mut stream = BufReader::new(stream);
        let mut length_bytes = 0;
        let mut line = String::new();
        while stream.read_line(&mut line).await.is_ok_and(|size| size > 2) {
            if let Some(length) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length_bytes = length.trim().parse().expect("a number");
            }
            line.clear();
        }
        let mut request = vec![0; length_bytes];
        stream.read_exact(&mut request).await.expect("a body");
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await.expect("written");
    }

    fn batches(number: usize) -> Vec<Batch> {
        vec![Batch { endpoint: "/api/v1/events", body: b"{}".to_vec(), sent: 2 }; number]
    }

    #[tokio::test]
    async fn a_request_that_is_put_off_is_posted_again() {
        let (client, requests) = client_of(&[(TRY_AGAIN, ""), (TRY_AGAIN, ""), ("202 Accepted", "{}")]).await;
        let progress = ProgressBar::hidden();
        client.post_all(batches(5), &progress).await.expect("posted");
        assert_eq!(progress.position(), 10);
        assert_eq!(requests.load(Ordering::SeqCst), 7);
    }

    #[tokio::test]
    async fn refused_events_are_no_failure_but_a_refused_request_is() {
        let (client, _) = client_of(&[("422 Unprocessable Entity", "{}")]).await;
        client.post_all(batches(3), &ProgressBar::hidden()).await.expect("posted");
        let (client, _) = client_of(&[("401 Unauthorized", "revoked key")]).await;
        let error = client.post_all(batches(3), &ProgressBar::hidden()).await.expect_err("refused");
        assert!(error.to_string().contains("revoked key"), "{error}");
    }

    #[tokio::test]
    async fn the_lake_is_asked_until_every_event_is_accounted_for() {
        let (client, requests) = client_of(&[
            ("200 OK", r#"{"data":[]}"#),
            ("200 OK", r#"{"data":[{"hour":"x","stored":2,"duplicates":1,"rejected":0}]}"#),
            (
                "200 OK",
                r#"{"data":[{"stored":3,"duplicates":1,"rejected":0},{"stored":4,"duplicates":0,"rejected":2}],"meta":{}}"#,
            ),
        ])
        .await;
        let sums = client.wait_until_settled(DateTime::UNIX_EPOCH, 10, &ProgressBar::hidden()).await.expect("settled");
        assert_eq!(sums, Sums { sent: 10, stored: 7, duplicates: 1, rejected: 2 });
        assert_eq!(requests.load(Ordering::SeqCst), 3);
    }
}
