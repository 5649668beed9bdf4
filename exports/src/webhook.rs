//! Tells an account's receiver that a run has ended, without being led where only this machine gets.
//!
//! The host is resolved here, every address of it is checked, and the connection goes to these addresses and no other:
//! a name that is looked up again could lead elsewhere by then. No redirection is followed, no proxy asked.

pub mod addresses;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::{Certificate, Client, Url};
use ring::hmac;
use touchline_jobs::standard_webhooks::{self, Message, SendError, TIMEOUT};
use touchline_schemas::clock::SharedClock;
use touchline_schemas::config::Network;
use url::Host;

use addresses::refusal;

const HTTPS_PORT: u16 = 443;

/// Looks names up.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// All addresses of a host.
    async fn resolve(&self, host: &str) -> std::io::Result<Vec<IpAddr>>;
}

/// The resolver of the operating system.
#[derive(Debug, Clone, Copy)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str) -> std::io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((host, HTTPS_PORT)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// Why nobody was told. Neither the address nor where it leads is part of it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// The address is of another kind.
    #[error("a webhook is an https address without a name or password in it")]
    Url,
    /// The host leads to where no webhook may go.
    #[error("the webhook's host leads to an address that is not public ({reason})")]
    Address {
        /// What kind of address it is.
        reason: &'static str,
    },
    /// There is no such host.
    #[error("the webhook's host has no address")]
    NoAddress,
    /// There is no HTTP client to be had.
    #[error("the client that would send webhooks cannot be made: {reason}")]
    Client {
        /// Why.
        reason: String,
    },
    /// It was sent, or was to be.
    #[error(transparent)]
    Send(#[from] SendError),
}

impl WebhookError {
    /// Whether another attempt may do better.
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::NoAddress | Self::Send(SendError::NoAnswer { .. } | SendError::Refused { .. }) => true,
            Self::Url | Self::Address { .. } | Self::Client { .. } | Self::Send(SendError::Body { .. }) => false,
        }
    }
}

/// Sends webhooks.
#[derive(Clone)]
pub struct Announcer {
    resolver: Arc<dyn Resolver>,
    allowed: Vec<Network>,
    authorities: Vec<Certificate>,
    clock: SharedClock,
}

impl std::fmt::Debug for Announcer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Announcer").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl Announcer {
    /// An announcer that also reaches the networks `allowed`, and trusts the authorities in `ca_pem` besides those of the
    /// system.
    ///
    /// # Errors
    ///
    /// [`WebhookError::Client`]: the certificates cannot be read.
    pub fn new(
        resolver: Arc<dyn Resolver>,
        allowed: Vec<Network>,
        ca_pem: Option<&[u8]>,
        clock: SharedClock,
    ) -> Result<Self, WebhookError> {
        let authorities = ca_pem.map(Certificate::from_pem_bundle).transpose().map_err(client_error)?;
        Ok(Self { resolver, allowed, authorities: authorities.unwrap_or_default(), clock })
    }

    /// Sends a message once.
    ///
    /// # Errors
    ///
    /// It did not arrive, was refused, or may not be sent there.
    pub async fn send(&self, url: &str, key: &hmac::Key, message: &Message) -> Result<(), WebhookError> {
        let url = usable(url)?;
        let addresses = self.addresses(&url).await?;
        let http = self.client(&url, &addresses)?;
        Ok(message.post(&http, &url, Some(key), self.clock.now()).await?)
    }

    /// The addresses of a host, all of which may be reached.
    async fn addresses(&self, url: &Url) -> Result<Vec<IpAddr>, WebhookError> {
        let addresses = match url.host().ok_or(WebhookError::Url)? {
            Host::Ipv4(address) => vec![address.into()],
            Host::Ipv6(address) => vec![address.into()],
            Host::Domain(name) => {
                let found = tokio::time::timeout(TIMEOUT, self.resolver.resolve(name)).await;
                found.ok().and_then(Result::ok).unwrap_or_default()
            }
        };
        if addresses.is_empty() {
            return Err(WebhookError::NoAddress);
        }
        match addresses.iter().find_map(|address| refusal(*address, &self.allowed)) {
            Some(reason) => Err(WebhookError::Address { reason }),
            None => Ok(addresses),
        }
    }

    fn client(&self, url: &Url, addresses: &[IpAddr]) -> Result<Client, WebhookError> {
        let port = url.port_or_known_default().unwrap_or(HTTPS_PORT);
        let sockets: Vec<SocketAddr> = addresses.iter().map(|address| SocketAddr::new(*address, port)).collect();
        let builder = standard_webhooks::client().https_only(true).no_proxy();
        let builder = builder.tls_certs_merge(self.authorities.iter().cloned());
        let host = url.host_str().unwrap_or_default();
        builder.resolve_to_addrs(host, &sockets).build().map_err(client_error)
    }
}

/// An address that a webhook may have.
///
/// # Errors
///
/// [`WebhookError::Url`].
fn usable(text: &str) -> Result<Url, WebhookError> {
    let url = Url::parse(text).map_err(|_| WebhookError::Url)?;
    let is_usable = url.scheme() == "https" && url.has_host() && url.username().is_empty() && url.password().is_none();
    if is_usable { Ok(url) } else { Err(WebhookError::Url) }
}

fn client_error(error: reqwest::Error) -> WebhookError {
    WebhookError::Client { reason: standard_webhooks::reason(error) }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use touchline_schemas::MockClock;

    use super::*;

    /// Knows one host.
    struct Fixed(Vec<IpAddr>);

    #[async_trait]
    impl Resolver for Fixed {
        async fn resolve(&self, host: &str) -> std::io::Result<Vec<IpAddr>> {
            if host == "known.example" { Ok(self.0.clone()) } else { Err(std::io::Error::other("no such host")) }
        }
    }

    fn announcer(addresses: &[&str], allowed: &[&str]) -> Announcer {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let allowed = allowed.iter().map(|network| network.parse().unwrap()).collect();
        let clock = Arc::new(MockClock::at(DateTime::from_timestamp(1_772_366_400, 0).unwrap()));
        Announcer::new(Arc::new(Fixed(addresses)), allowed, None, clock).unwrap()
    }

    async fn send(announcer: &Announcer, url: &str) -> Result<(), WebhookError> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"0123");
        announcer.send(url, &key, &Message::of(&serde_json::json!({})).unwrap()).await
    }

    #[tokio::test]
    async fn no_webhook_goes_to_an_address_that_is_not_public() {
        let check = async |url: &str, addresses: &[&str], reason: &'static str| {
            let announcer = announcer(addresses, &["10.1.0.0/16"]);
            assert_eq!(send(&announcer, url).await, Err(WebhookError::Address { reason }), "{url}");
        };
        check("https://127.0.0.1/hook", &[], "this machine").await;
        check("https://[::1]:8443/hook", &[], "this machine").await;
        check("https://2130706433/hook", &[], "this machine").await;
        check("https://[::ffff:169.254.169.254]/", &[], "link-local").await;
        check("https://known.example/", &["192.168.0.7"], "private").await;
        // One bad address among good ones is enough: which would be taken is nobody's to say.
        check("https://known.example/", &["93.184.215.14", "fd00::1"], "private").await;
        check("https://known.example/", &["10.1.0.7", "10.2.0.7"], "private").await;
    }

    #[tokio::test]
    async fn what_may_pass_is_worth_another_attempt() {
        let check = async |url: &str, addresses: &[&str], expected: bool| {
            assert_eq!(send(&announcer(addresses, &[]), url).await.unwrap_err().may_pass(), expected, "{url}");
        };
        check("https://known.example/", &["10.0.0.1"], false).await;
        check("https://unknown.example/", &[], true).await;
        check("http://known.example/", &[], false).await;
    }

    #[tokio::test]
    async fn a_webhook_is_an_address_with_https() {
        let announcer = announcer(&["93.184.215.14"], &[]);
        for url in
            ["http://known.example/", "ftp://known.example/", "https://me:secret@known.example/", "known.example"]
        {
            assert_eq!(send(&announcer, url).await, Err(WebhookError::Url), "{url}");
        }
    }

    #[tokio::test]
    async fn an_allowed_address_is_connected_to_and_the_error_does_not_tell_it() {
        // A port on which nobody listens.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let announcer = announcer(&["127.0.0.1"], &["127.0.0.1/32"]);
        let error = send(&announcer, &format!("https://known.example:{port}/?token=hunter2")).await.unwrap_err();
        assert!(matches!(error, WebhookError::Send(SendError::NoAnswer { .. })), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
