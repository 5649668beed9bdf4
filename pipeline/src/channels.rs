//! Acquisition channels: ordered rules as data, the first that holds decides.
//!
//! A rule set is a file beside this module: `touchline.toml` and `ga4.toml`. What kind of site a source or a referring
//! host is stands in `sites.csv`. docs/definitions.md says what both mean, docs/extend.md how to change them.

mod hosts;
mod rules;
mod sites;

use std::fmt;
use std::sync::LazyLock;

use touchline_schemas::event::TextField;

pub(crate) use hosts::OwnSites;
use rules::Rules;

/// What is known of how a session came about. Texts may be in any case; an empty one is as good as none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Signals<'a> {
    /// `utm_source`
    pub source: Option<&'a str>,
    /// `utm_medium`
    pub medium: Option<&'a str>,
    /// `utm_campaign`
    pub campaign: Option<&'a str>,
    /// The click id that the first campaign event carried.
    pub click_id: Option<TextField>,
    /// The referring host, or the package of the referring Android app; none if the referrer is internal.
    pub referrer_host: Option<&'a str>,
}

/// There is no rule set of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there are no channel rules `{name}`, only `touchline` and `ga4`")]
pub struct UnknownRuleSet {
    /// The name.
    pub name: String,
}

/// A set of rules that gives every session a channel. Cheap to copy.
#[derive(Clone, Copy)]
pub struct RuleSet(&'static Rules);

// The embedded files cannot change while the program runs, and a test reads all of them: parsing them cannot fail in a
// program that passed its tests.
static TOUCHLINE: LazyLock<Rules> =
    LazyLock::new(|| Rules::parse(include_str!("channels/touchline.toml")).unwrap_or_default());
static GA4: LazyLock<Rules> = LazyLock::new(|| Rules::parse(include_str!("channels/ga4.toml")).unwrap_or_default());

impl RuleSet {
    /// Twelve channels of our own.
    pub fn touchline() -> Self {
        Self(&TOUCHLINE)
    }

    /// Google's default channel group, with its names.
    pub fn ga4() -> Self {
        Self(&GA4)
    }

    /// The rule set that an account's settings name.
    pub fn by_name(name: &str) -> Result<Self, UnknownRuleSet> {
        let known = [Self::touchline(), Self::ga4()].into_iter().find(|rules| rules.name() == name);
        known.ok_or_else(|| UnknownRuleSet { name: name.to_owned() })
    }

    /// Its name, as settings spell it.
    pub fn name(self) -> &'static str {
        &self.0.name
    }

    /// Names its definition in answers: `channels/touchline/2`.
    pub fn definition(self) -> String {
        format!("channels/{}/{}", self.0.name, self.0.version)
    }

    /// All channels that it can give.
    pub fn channels(self) -> impl Iterator<Item = &'static str> {
        self.0.channels.iter().map(String::as_str)
    }

    /// The channel of sessions that nothing is known of. In every set it is `direct` but for the case, so that a query can
    /// tell such sessions by `lower(channel)` without knowing the set.
    pub fn direct(self) -> &'static str {
        &self.0.direct
    }

    /// The channel of a session.
    pub fn channel(self, signals: &Signals<'_>) -> &'static str {
        self.0.channel(signals)
    }
}

/// The rule set of accounts that chose none.
impl Default for RuleSet {
    fn default() -> Self {
        Self::touchline()
    }
}

impl PartialEq for RuleSet {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for RuleSet {}

/// With the version: what is kept of the choices behind stored sessions must change with the rules.
impl fmt::Debug for RuleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RuleSet").field(&self.definition()).finish()
    }
}

/// The names of all rule sets.
pub fn names() -> [&'static str; 2] {
    [RuleSet::touchline().name(), RuleSet::ga4().name()]
}

#[cfg(test)]
mod tests;
