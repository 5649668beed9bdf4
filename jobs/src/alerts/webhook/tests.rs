//! Delivery to a server of our own.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use touchline_schemas::MockClock;

use super::*;
use crate::standard_webhooks::{WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP};

const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz";
const KEY: &[u8] = b"012345678901234567890123";

/// A request as it came in.
#[derive(Debug, Clone)]
pub struct Received {
    pub head: String,
    pub body: String,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

/// A receiver of alerts that answers as its script says, and 204 when the script is over.
pub struct Receiver {
    pub config: AlertsConfig,
    pub received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    pub async fn new(script: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/alerts?token=hunter2", listener.local_addr().unwrap());
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        tokio::spawn({
            let received = Arc::clone(&received);
            async move {
                let mut script = script.iter();
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let request = read(&mut stream).await;
                    received.lock().unwrap().push(request);
                    let answer = script.next().unwrap_or(&"204 No Content\r\n");
                    let answer = format!("HTTP/1.1 {answer}content-length: 0\r\nconnection: close\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        let config = AlertsConfig {
            webhook_url: Some(url.as_str().into()),
            secret: Some(SECRET.into()),
            ..AlertsConfig::default()
        };
        Self { config, received }
    }

    /// A webhook to this receiver that does not wait between attempts.
    pub fn webhook(&self) -> Webhook {
        let webhook = Webhook::new(&self.config, Arc::new(MockClock::at(at()))).unwrap().unwrap();
        Webhook { pauses: vec![Duration::ZERO; PAUSES_S.len()], ..webhook }
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

async fn read(stream: &mut TcpStream) -> Received {
    let mut bytes = Vec::new();
    loop {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "the request ends early");
        let text = String::from_utf8(bytes.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let received = Received { head: head.to_owned(), body: body.to_owned() };
        if received.header("content-length").unwrap().parse::<usize>().unwrap() == body.len() {
            return received;
        }
    }
}

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_772_366_400, 0).unwrap()
}

#[tokio::test]
async fn alert_arrives_signed() {
    let receiver = Receiver::new(&[]).await;
    receiver.webhook().deliver(&Alert::test(at())).await.unwrap();
    let received = receiver.received();
    let [request] = received.as_slice() else { panic!("{received:?}") };
    assert!(request.head.starts_with("POST /alerts?token=hunter2 HTTP/1.1\r\n"), "{}", request.head);
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.body, r#"{"type":"test","error":null,"run":null,"at":"2026-03-01T12:00:00Z","attempt":null}"#);
    assert_eq!(request.header(WEBHOOK_TIMESTAMP), Some("1772366400"));
    let message = Message { id: request.header(WEBHOOK_ID).unwrap().to_owned(), body: request.body.clone() };
    let expected = message.signature(&hmac::Key::new(hmac::HMAC_SHA256, KEY), at());
    assert_eq!(request.header(WEBHOOK_SIGNATURE), Some(expected.as_str()));
}

#[tokio::test]
async fn alert_without_a_secret_is_not_signed() {
    let mut receiver = Receiver::new(&[]).await;
    receiver.config.secret = None;
    receiver.webhook().send(&Alert::test(at())).await.unwrap();
    assert_eq!(receiver.received()[0].header(WEBHOOK_SIGNATURE), None);
}

#[tokio::test]
async fn alert_is_sent_again_under_the_same_id_until_it_is_taken() {
    let receiver = Receiver::new(&["500 Oops\r\n", "404 Not Found\r\n", "200 OK\r\n"]).await;
    receiver.webhook().deliver(&Alert::test(at())).await.unwrap();
    let ids: Vec<String> =
        receiver.received().iter().map(|request| request.header(WEBHOOK_ID).unwrap().to_owned()).collect();
    assert_eq!(ids, [ids[0].as_str(); 3]);
}

#[tokio::test]
async fn alert_that_nobody_takes_is_given_up() {
    let receiver = Receiver::new(&["503 Busy\r\n"; 10]).await;
    let delivered = receiver.webhook().deliver(&Alert::test(at())).await;
    assert_eq!(delivered, Err(SendError::Refused { status: 503 }));
    assert_eq!(receiver.received().len(), 1 + PAUSES_S.len());
}

#[tokio::test]
async fn redirection_is_a_refusal() {
    let receiver = Receiver::new(&["307 Elsewhere\r\nlocation: /other\r\n"]).await;
    assert_eq!(receiver.webhook().send(&Alert::test(at())).await, Err(SendError::Refused { status: 307 }));
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn error_does_not_tell_the_address() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{address}/alerts?token=hunter2");
    let config = AlertsConfig { webhook_url: Some(url.as_str().into()), ..AlertsConfig::default() };
    let webhook = Webhook::new(&config, Arc::new(MockClock::at(at()))).unwrap().unwrap();
    let message = webhook.send(&Alert::test(at())).await.unwrap_err().to_string();
    assert!(message.starts_with("the webhook's receiver did not answer: "), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
    assert!(!format!("{webhook:?}").contains("hunter2"), "{webhook:?}");
}

#[test]
fn nothing_configured_sends_nothing() {
    let webhook = Webhook::new(&AlertsConfig::default(), Arc::new(MockClock::at(at()))).unwrap();
    assert!(webhook.is_none());
}
