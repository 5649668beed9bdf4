//! How buckets are reached.

use object_store::aws::{AmazonS3, AmazonS3Builder};
use touchline_schemas::config::{S3Config, Secret};

use super::DestinationError;

/// Endpoint and credentials of buckets.
#[derive(Clone, Default)]
pub struct S3Access {
    /// The address of a store that is not Amazon's.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Whose key.
    pub access_key_id: Option<String>,
    /// The key.
    pub secret_access_key: Option<String>,
    /// The token of a key that does not last.
    pub session_token: Option<String>,
    /// Whether the endpoint may be reached without TLS.
    pub is_http_allowed: bool,
}

/// Without the key.
impl std::fmt::Debug for S3Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Access")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

impl From<&S3Config> for S3Access {
    fn from(config: &S3Config) -> Self {
        let text = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
        Self {
            endpoint: config.endpoint.clone(),
            region: config.region.clone(),
            access_key_id: config.access_key_id.clone(),
            secret_access_key: text(&config.secret_access_key),
            session_token: text(&config.session_token),
            is_http_allowed: config.allow_http,
        }
    }
}

impl S3Access {
    /// A bucket.
    pub(super) fn bucket(&self, bucket: &str) -> Result<AmazonS3, DestinationError> {
        // Without them the client would take those of the machine, which are not meant for whoever defines exports.
        if self.access_key_id.is_none() || self.secret_access_key.is_none() {
            let reason =
                "it has no credentials: `exports.s3.access_key_id` and `exports.s3.secret_access_key`".to_owned();
            return Err(DestinationError::Bucket { reason });
        }
        let mut builder = AmazonS3Builder::new().with_bucket_name(bucket).with_allow_http(self.is_http_allowed);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        if let Some(key) = &self.access_key_id {
            builder = builder.with_access_key_id(key);
        }
        if let Some(key) = &self.secret_access_key {
            builder = builder.with_secret_access_key(key);
        }
        if let Some(token) = &self.session_token {
            builder = builder.with_token(token);
        }
        builder.build().map_err(|error| DestinationError::Bucket { reason: error.to_string() })
    }
}
