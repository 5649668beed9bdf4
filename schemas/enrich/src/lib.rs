//! What is known of an event beyond what was sent: the browser behind a user agent, the country behind an address, and the
//! page behind a path.
//!
//! Ingest looks it up when an event comes, and the job `enrichment` once more for events that are stored. Both must say the
//! same of the same event, so it stands below both.

pub mod country;
pub mod path;
mod user_agent;

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use country::{Countries, CountryCode, CountryDatabaseError};
use user_agent::UserAgents;
pub use user_agent::{Device, DeviceType, LISTS};

/// Looks things up. One for a process: it remembers user agents, and holds the database of countries in memory.
#[derive(Debug, Default)]
pub struct Enricher {
    user_agents: UserAgents,
    countries: Option<Countries>,
}

impl Enricher {
    /// With the operator's database of countries, if there is one. Without it nothing has a country.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is no database of countries.
    pub fn open(country_database: Option<&Path>) -> Result<Self, CountryDatabaseError> {
        let countries = country_database.map(Countries::open).transpose()?;
        Ok(Self { user_agents: UserAgents::default(), countries })
    }

    /// What a user agent says of the device, and whether it is a crawler's or a tool's.
    pub fn device(&self, user_agent: &str) -> Device {
        self.user_agents.judge(user_agent)
    }

    /// The country of a client's address, as it was before it was masked.
    pub fn country(&self, address: IpAddr) -> Option<CountryCode> {
        self.countries.as_ref()?.of_address(address)
    }

    /// The country of an address as it was stored: of one that was masked only if all addresses that it may have been are
    /// in that country.
    pub fn country_of_stored(&self, address: IpAddr) -> Option<CountryCode> {
        self.countries.as_ref()?.of_stored(address)
    }

    /// The database of countries.
    pub fn countries(&self) -> Option<&Countries> {
        self.countries.as_ref()
    }

    /// Compiles the patterns, for which the first event would wait otherwise.
    pub fn warm_up(&self) {
        self.user_agents.judge("");
    }

    /// What judges: lists with their versions, and the database of countries with its date.
    pub fn versions(&self) -> Versions {
        Versions { lists: LISTS, country_database: self.countries.as_ref().map(Countries::version) }
    }
}

/// By what events were judged.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Versions {
    /// The lists of user agents.
    pub lists: &'static str,
    /// The database of countries.
    pub country_database: Option<String>,
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, ", self.lists)?;
        match &self.country_database {
            Some(version) => write!(f, "countries by {version}"),
            None => f.write_str("no database of countries"),
        }
    }
}
