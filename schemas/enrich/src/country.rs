//! Countries of addresses, by a database that the operator supplies: any in MaxMind's format with `country.iso_code`, such
//! as GeoLite2 Country.
//!
//! The file is read into memory as a whole (GeoLite2 Country has about 9 MB), and again when it was replaced.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use maxminddb::{LookupResult, MaxMindDbError, PathElement, Reader, WithinOptions};
use parking_lot::RwLock;

/// Bits of an address that masking keeps.
const MASKED_BITS_V4: u8 = 24;
const MASKED_BITS_V6: u8 = 48;
/// So many networks are looked at before a database is taken for one that has no countries.
const NETWORKS_TRIED: usize = 10_000;

/// Why a database of countries cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CountryDatabaseError {
    /// The file cannot be read.
    #[error("the database of countries {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not in MaxMind's format.
    #[error("{path} is not a database in MaxMind's format: {source}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        source: MaxMindDbError,
    },
    /// It says nothing of countries.
    #[error("{path} is a {database_type} database, which has no countries", path = path.display())]
    NoCountries {
        /// The file.
        path: PathBuf,
        /// What it says of itself.
        database_type: String,
    },
}

/// ISO 3166-1 code of a country: two capital letters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CountryCode([u8; 2]);

impl CountryCode {
    /// The code in this text, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        let code: [u8; 2] = text.as_bytes().try_into().ok()?;
        code.iter().all(u8::is_ascii_uppercase).then_some(Self(code))
    }

    /// The two letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The countries of addresses.
pub struct Countries {
    path: PathBuf,
    current: RwLock<Arc<Loaded>>,
}

struct Loaded {
    reader: Reader<Vec<u8>>,
    stamp: Stamp,
}

/// By what a file is known to be another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified_at: Option<SystemTime>,
    size_bytes: u64,
}

impl fmt::Debug for Countries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Countries").field("path", &self.path).field("version", &self.version()).finish()
    }
}

impl Countries {
    /// How often somebody should look whether the file was replaced.
    pub const REFRESHED_EVERY: Duration = Duration::from_secs(60);

    /// Reads the database.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is no database of countries.
    pub fn open(path: &Path) -> Result<Self, CountryDatabaseError> {
        let current = RwLock::new(Arc::new(Loaded::read(path)?));
        Ok(Self { path: path.to_owned(), current })
    }

    /// Reads the database again if its file is another than the one that was read. Says whether it was.
    ///
    /// # Errors
    ///
    /// As of [`Countries::open`]; the database that was read before stays in use.
    pub fn refresh(&self) -> Result<bool, CountryDatabaseError> {
        if Stamp::of(&self.path)? == self.loaded().stamp {
            return Ok(false);
        }
        let loaded = Loaded::read(&self.path)?;
        *self.current.write() = Arc::new(loaded);
        Ok(true)
    }

    /// Looks again and again whether the file was replaced, for as long as this is awaited; not at all without one.
    pub async fn keep_fresh(enricher: Arc<crate::Enricher>) {
        if enricher.countries().is_none() {
            return;
        }
        loop {
            tokio::time::sleep(Self::REFRESHED_EVERY).await;
            let enricher = Arc::clone(&enricher);
            // Reading it takes milliseconds, for which requests shall not wait.
            let refreshed = tokio::task::spawn_blocking(move || match enricher.countries() {
                Some(countries) => countries.refresh().map(|is_new| is_new.then(|| countries.version())),
                None => Ok(None),
            });
            match refreshed.await {
                Ok(Ok(Some(version))) => tracing::info!(version, "the database of countries was replaced"),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the one that was read before stays in use"),
                Err(error) => tracing::error!(%error, "the database of countries was not looked at"),
            }
        }
    }

    /// The country of an address.
    pub fn of_address(&self, address: IpAddr) -> Option<CountryCode> {
        self.loaded().country(address).map(|(code, _)| code)
    }

    /// The country of an address that may have been masked: then only if the database says the same of the whole network.
    pub fn of_stored(&self, address: IpAddr) -> Option<CountryCode> {
        let (code, known_bits) = self.loaded().country(address)?;
        let is_exact = match address {
            IpAddr::V4(v4) => v4.octets()[3] != 0 || known_bits <= MASKED_BITS_V4,
            IpAddr::V6(v6) => v6.segments()[3..] != [0; 5] || known_bits <= MASKED_BITS_V6,
        };
        is_exact.then_some(code)
    }

    /// What the database is, and of which day: `GeoLite2-Country 2026-11-03`.
    pub fn version(&self) -> String {
        let loaded = self.loaded();
        let metadata = loaded.reader.metadata();
        let built_at = metadata.build_time().map(DateTime::<Utc>::from).unwrap_or_default();
        format!("{} {}", metadata.database_type, built_at.format("%Y-%m-%d"))
    }

    fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.current.read())
    }
}

impl Loaded {
    fn read(path: &Path) -> Result<Self, CountryDatabaseError> {
        // The stamp first: a file that is replaced while it is read is read again.
        let stamp = Stamp::of(path)?;
        let failed = |source| CountryDatabaseError::File { path: path.to_owned(), source };
        let bytes = std::fs::read(path).map_err(failed)?;
        let malformed = |source| CountryDatabaseError::Format { path: path.to_owned(), source };
        let reader = Reader::from_source(bytes).map_err(malformed)?;
        let networks = reader.networks(WithinOptions::default()).map_err(malformed)?;
        if !networks.take(NETWORKS_TRIED).any(|network| network.is_ok_and(|network| code_of(&network).is_some())) {
            let database_type = reader.metadata().database_type.clone();
            return Err(CountryDatabaseError::NoCountries { path: path.to_owned(), database_type });
        }
        Ok(Self { reader, stamp })
    }

    /// The country of an address, and how many bits of the address it follows from.
    fn country(&self, address: IpAddr) -> Option<(CountryCode, u8)> {
        let address = address.to_canonical();
        // What cannot be decoded is as good as unknown: an event is never refused for it.
        let found = self.reader.lookup(address).ok()?;
        let code = code_of(&found)?;
        let network = found.network().ok()?;
        // A database that knows all IPv4 addresses as one speaks of them as of a network of IPv6.
        let bits = if network.is_ipv6() == address.is_ipv6() { network.prefix() } else { 0 };
        Some((code, bits))
    }
}

fn code_of(found: &LookupResult<'_, Vec<u8>>) -> Option<CountryCode> {
    let code = found.decode_path(&[PathElement::Key("country"), PathElement::Key("iso_code")]);
    CountryCode::parse(code.ok()??)
}

impl Stamp {
    fn of(path: &Path) -> Result<Self, CountryDatabaseError> {
        let failed = |source| CountryDatabaseError::File { path: path.to_owned(), source };
        let metadata = std::fs::metadata(path).map_err(failed)?;
        Ok(Self { modified_at: metadata.modified().ok(), size_bytes: metadata.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATABASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/country/test.mmdb");

    #[test]
    fn addresses_have_countries_and_masked_ones_only_if_all_lie_in_one() {
        let countries = Countries::open(Path::new(DATABASE)).unwrap();
        for (address, country, of_stored) in [
            ("203.0.113.77", Some("NZ"), Some("NZ")),
            ("203.0.113.0", Some("NZ"), Some("NZ")),
            ("::ffff:203.0.113.77", Some("NZ"), Some("NZ")),
            ("198.51.100.7", Some("DE"), Some("DE")),
            ("198.51.100.77", Some("AT"), Some("AT")),
            ("198.51.100.0", Some("DE"), None),
            ("198.51.100.200", None, None),
            ("192.0.2.1", None, None),
            ("2001:db8::1", Some("SE"), Some("SE")),
            ("2001:db8::", Some("SE"), Some("SE")),
            ("2001:db8:ffff:8000::1", Some("FI"), Some("FI")),
            ("2001:db8:ffff::", Some("SE"), None),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let found = |code: Option<CountryCode>| code.map(|code| code.as_str().to_owned());
            assert_eq!(found(countries.of_address(address)).as_deref(), country, "{address}");
            assert_eq!(found(countries.of_stored(address)).as_deref(), of_stored, "{address}, stored");
        }
        assert_eq!(countries.version(), "Touchline-Test-Country 2026-03-01");
    }

    #[test]
    fn a_file_that_is_replaced_is_read_again_and_a_broken_one_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("countries.mmdb");
        let error = |opened: Result<Countries, CountryDatabaseError>| opened.map(drop).unwrap_err().to_string();
        assert!(error(Countries::open(&path)).contains("countries.mmdb"), "a missing file is named");
        std::fs::write(&path, "no database").unwrap();
        assert!(error(Countries::open(&path)).contains("is not a database in MaxMind's format"));

        let database = std::fs::read(DATABASE).unwrap();
        std::fs::write(&path, &database).unwrap();
        let countries = Countries::open(&path).unwrap();
        assert!(!countries.refresh().unwrap(), "it is the same");
        let of = |address: &str| countries.of_address(address.parse().unwrap()).map(|code| code.as_str().to_owned());
        let at = database.windows(2).position(|letters| letters == b"NZ").unwrap();
        let mut other = database;
        other[at..at + 2].copy_from_slice(b"AU");
        other.extend_from_slice(b" ");
        std::fs::write(&path, &other).unwrap();
        assert!(countries.refresh().unwrap());
        assert_eq!(of("203.0.113.77").as_deref(), Some("AU"));
        std::fs::write(&path, "broken").unwrap();
        assert!(countries.refresh().is_err());
        assert_eq!(of("203.0.113.77").as_deref(), Some("AU"), "what was read stays in use");
    }

    #[test]
    fn a_database_without_countries_is_refused() {
        let mut database = std::fs::read(DATABASE).unwrap();
        let (wanted, other) = (b"iso_code", b"asn_code");
        while let Some(at) = database.windows(wanted.len()).position(|bytes| bytes == wanted) {
            database[at..at + wanted.len()].copy_from_slice(other);
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("networks.mmdb");
        std::fs::write(&path, &database).unwrap();
        let error = Countries::open(&path).map(drop).unwrap_err();
        assert!(error.to_string().contains("Touchline-Test-Country database, which has no countries"), "{error}");
    }
}
