//! Rule sets as data: ordered rules, the first that holds names the channel.
//!
//! A rule holds if any of its cases does, and a case if all of its conditions do. Conditions that several rules share
//! are named under `[conditions]` and asked for with `is`. Texts are compared trimmed and in lower case; an empty one is
//! absent. The files are `touchline.toml` and `ga4.toml`.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;

use serde::Deserialize;
use touchline_schemas::event::TextField;

use super::Signals;
use super::sites::{Category, Column, Sites};

/// Why a rule set cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum RulesError {
    #[error("the rules cannot be read: {0}")]
    Malformed(#[from] toml::de::Error),
    #[error("a case of `{of}` has no condition, so that it would always hold")]
    Empty { of: String },
    #[error("`{of}` asks for `{is}`, which `[conditions]` does not define")]
    Undefined { of: String, is: String },
    #[error("`{channel}` is not among the channels of the set")]
    UnknownChannel { channel: String },
    #[error("there are more than {MAX_CONDITIONS} named conditions")]
    TooManyConditions,
}

/// What a file holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    version: u32,
    sites: Column,
    channels: Vec<String>,
    direct: String,
    otherwise: String,
    #[serde(default)]
    conditions: BTreeMap<String, Vec<Case>>,
    rule: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    channel: String,
    any: Vec<Case>,
}

/// Conditions that must all hold; what is not mentioned may be anything.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Case {
    /// Named conditions.
    is: Vec<String>,
    /// Where they stand among the named conditions.
    #[serde(skip)]
    places: Vec<usize>,
    /// What must be there; at last also what the other conditions need to be there.
    present: Parts,
    absent: Parts,
    click_id: ClickIds,
    /// The kind of site that the source is.
    source_site: Categories,
    /// The kind of site that the referrer is.
    referrer_site: Categories,
    /// The kind of site that the source is, else the referrer.
    site: Categories,
    source: Vec<Pattern>,
    medium: Vec<Pattern>,
    campaign: Vec<Pattern>,
}

/// What of a signal is there.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
enum Part {
    Source,
    Medium,
    Campaign,
    ClickId,
    Referrer,
}

/// A set of parts, a bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Vec<Part>")]
struct Parts(u8);

impl Parts {
    fn with(self, part: Part, is_needed: bool) -> Self {
        Self(self.0 | u8::from(is_needed) << part as u8)
    }
}

impl From<Vec<Part>> for Parts {
    fn from(parts: Vec<Part>) -> Self {
        Self(parts.into_iter().fold(0, |bits, part| bits | 1 << part as u8))
    }
}

/// A set of categories, a bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Vec<Category>")]
struct Categories(u16);

impl From<Vec<Category>> for Categories {
    fn from(categories: Vec<Category>) -> Self {
        Self(categories.into_iter().fold(0, |bits, category| bits | 1 << category as u8))
    }
}

impl Categories {
    fn is_any(self) -> bool {
        self.0 == 0
    }

    /// Whether there is no such condition, or it holds.
    fn admits(self, category: Option<Category>) -> bool {
        self.is_any() || category.is_some_and(|category| self.0 & (1 << category as u8) != 0)
    }
}

/// A set of click ids, a bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
struct ClickIds(u64);

impl TryFrom<Vec<String>> for ClickIds {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, Self::Error> {
        names.iter().try_fold(Self::default(), |Self(bits), name| {
            let field = TextField::ALL.into_iter().find(|field| field.column() == name);
            field.map(|field| Self(bits | 1 << field as u8)).ok_or_else(|| format!("`{name}` is no click id"))
        })
    }
}

impl ClickIds {
    fn is_any(self) -> bool {
        self.0 == 0
    }

    fn admits(self, click_id: Option<TextField>) -> bool {
        self.is_any() || click_id.is_some_and(|field| self.0 & (1 << field as u8) != 0)
    }
}

/// A condition on a text.
#[derive(Debug, Deserialize)]
#[serde(try_from = "PatternText")]
enum Pattern {
    Is(String),
    StartsWith(String),
    EndsWith(String),
    Contains(String),
    ContainsNotAfter { text: String, letters: String },
}

/// How a condition on a text is written.
#[derive(Deserialize)]
#[serde(untagged)]
enum PatternText {
    /// `text`, `text*`, `*text` or `*text*`.
    Glob(String),
    /// Contains the text somewhere where none of these letters stands before it.
    NotAfter { contains: String, not_after: String },
}

impl TryFrom<PatternText> for Pattern {
    type Error = String;

    fn try_from(written: PatternText) -> Result<Self, Self::Error> {
        let pattern = match written {
            PatternText::NotAfter { contains, not_after } => {
                Self::ContainsNotAfter { text: contains, letters: not_after }
            }
            PatternText::Glob(glob) => {
                let begun = glob.strip_prefix('*');
                let text = begun.unwrap_or(&glob);
                match (begun, text.strip_suffix('*')) {
                    (None, None) => Self::Is(text.to_owned()),
                    (None, Some(text)) => Self::StartsWith(text.to_owned()),
                    (Some(text), None) => Self::EndsWith(text.to_owned()),
                    (Some(_), Some(text)) => Self::Contains(text.to_owned()),
                }
            }
        };
        let text = pattern.text();
        if text.is_empty() || text.contains('*') || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(format!("`{text}` must be lower case, with `*` at its ends only"));
        }
        Ok(pattern)
    }
}

impl Pattern {
    fn text(&self) -> &str {
        match self {
            Self::Is(text) | Self::StartsWith(text) | Self::EndsWith(text) | Self::Contains(text) => text,
            Self::ContainsNotAfter { text, .. } => text,
        }
    }

    fn matches(&self, given: &str) -> bool {
        match self {
            Self::Is(text) => given == text,
            Self::StartsWith(text) => given.starts_with(text.as_str()),
            Self::EndsWith(text) => given.ends_with(text.as_str()),
            Self::Contains(text) => given.contains(text.as_str()),
            Self::ContainsNotAfter { text, letters } => given.match_indices(text.as_str()).any(|(start, _)| {
                let before = given[..start].chars().next_back();
                !before.is_some_and(|before| letters.contains(before))
            }),
        }
    }
}

fn any_matches(patterns: &[Pattern], given: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(given))
}

/// Named conditions whose answers fit into a word.
const MAX_CONDITIONS: usize = 32;

/// A set that can be applied.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) name: String,
    pub(super) version: u32,
    pub(super) channels: Vec<String>,
    pub(super) direct: String,
    column: Column,
    otherwise: String,
    conditions: Vec<Vec<Case>>,
    rules: Vec<Rule>,
}

impl Rules {
    /// Reads a file and checks that every rule of it can be applied.
    pub(super) fn parse(text: &str) -> Result<Self, RulesError> {
        let file: File = toml::from_str(text)?;
        let names: Vec<String> = file.conditions.keys().cloned().collect();
        if names.len() > MAX_CONDITIONS {
            return Err(RulesError::TooManyConditions);
        }
        // A named condition may not ask for another: the answers would have to be found in some order.
        let conditions = file.conditions.into_iter().map(|(name, cases)| resolve(cases, &name, &[]));
        let conditions = conditions.collect::<Result<Vec<_>, _>>()?;
        let rules = file.rule.into_iter().map(|rule| {
            let any = resolve(rule.any, &rule.channel, &names)?;
            Ok(Rule { channel: rule.channel, any })
        });
        let rules = rules.collect::<Result<Vec<_>, RulesError>>()?;
        let named = rules.iter().map(|rule| &rule.channel).chain([&file.direct, &file.otherwise]);
        for channel in named {
            if !file.channels.contains(channel) {
                return Err(RulesError::UnknownChannel { channel: channel.clone() });
            }
        }
        Ok(Self {
            name: file.name,
            version: file.version,
            channels: file.channels,
            direct: file.direct,
            column: file.sites,
            otherwise: file.otherwise,
            conditions,
            rules,
        })
    }

    /// The channel of the first rule that holds.
    pub(super) fn channel(&self, signals: &Signals<'_>) -> &str {
        let facts = Facts::new(signals, self.column);
        let rule = self.rules.iter().find(|rule| rule.any.iter().any(|case| case.holds(&facts, &self.conditions)));
        rule.map_or(&self.otherwise, |rule| &rule.channel)
    }
}

fn resolve(mut cases: Vec<Case>, of: &str, names: &[String]) -> Result<Vec<Case>, RulesError> {
    for case in &mut cases {
        let places = case.is.iter().map(|is| {
            let place = names.iter().position(|name| name == is);
            place.ok_or_else(|| RulesError::Undefined { of: of.to_owned(), is: is.clone() })
        });
        case.places = places.collect::<Result<_, _>>()?;
        if case.is_empty() {
            return Err(RulesError::Empty { of: of.to_owned() });
        }
        case.present = case.needed();
    }
    if cases.is_empty() { Err(RulesError::Empty { of: of.to_owned() }) } else { Ok(cases) }
}

/// Signals in the form in which they are compared.
struct Facts<'a> {
    present: Parts,
    click_id: Option<TextField>,
    source: Cow<'a, str>,
    medium: Cow<'a, str>,
    campaign: Cow<'a, str>,
    source_site: Option<Category>,
    referrer_site: Option<Category>,
    /// Which named conditions have been answered, and which of them hold.
    answered: Cell<u32>,
    held: Cell<u32>,
}

impl<'a> Facts<'a> {
    fn new(signals: &Signals<'a>, column: Column) -> Self {
        let (source, medium, campaign) = (folded(signals.source), folded(signals.medium), folded(signals.campaign));
        let referrer = folded(signals.referrer_host);
        let site = |name: &str| (!name.is_empty()).then(|| Sites::shipped().category(name, column)).flatten();
        Self {
            present: Parts::default()
                .with(Part::Source, !source.is_empty())
                .with(Part::Medium, !medium.is_empty())
                .with(Part::Campaign, !campaign.is_empty())
                .with(Part::ClickId, signals.click_id.is_some())
                .with(Part::Referrer, !referrer.is_empty()),
            click_id: signals.click_id,
            source_site: site(&source),
            referrer_site: site(&referrer),
            source,
            medium,
            campaign,
            answered: Cell::new(0),
            held: Cell::new(0),
        }
    }

    fn holds(&self, condition: usize, conditions: &[Vec<Case>]) -> bool {
        let bit = 1_u32 << condition;
        if self.answered.get() & bit == 0 {
            self.answered.set(self.answered.get() | bit);
            if conditions[condition].iter().any(|case| case.holds(self, conditions)) {
                self.held.set(self.held.get() | bit);
            }
        }
        self.held.get() & bit != 0
    }
}

/// Trimmed, in lower case, empty if absent.
fn folded(text: Option<&str>) -> Cow<'_, str> {
    let text = text.unwrap_or_default().trim();
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

impl Case {
    fn is_empty(&self) -> bool {
        let texts = [&self.source, &self.medium, &self.campaign];
        self.is.is_empty()
            && self.present.0 == 0
            && self.absent.0 == 0
            && self.click_id.is_any()
            && [self.source_site, self.referrer_site, self.site].into_iter().all(Categories::is_any)
            && texts.iter().all(|patterns| patterns.is_empty())
    }

    /// The parts without which it cannot hold: asking for them first leaves out most cases at once.
    fn needed(&self) -> Parts {
        self.present
            .with(Part::Source, !self.source.is_empty() || !self.source_site.is_any())
            .with(Part::Medium, !self.medium.is_empty())
            .with(Part::Campaign, !self.campaign.is_empty())
            .with(Part::ClickId, !self.click_id.is_any())
            .with(Part::Referrer, !self.referrer_site.is_any())
    }

    /// Whether all conditions hold; those that cost least are asked first.
    fn holds(&self, facts: &Facts<'_>, conditions: &[Vec<Case>]) -> bool {
        facts.present.0 & self.present.0 == self.present.0
            && facts.present.0 & self.absent.0 == 0
            && self.click_id.admits(facts.click_id)
            && self.source_site.admits(facts.source_site)
            && self.referrer_site.admits(facts.referrer_site)
            && self.site.admits(facts.source_site.or(facts.referrer_site))
            && self.places.iter().all(|condition| facts.holds(*condition, conditions))
            && any_matches(&self.source, &facts.source)
            && any_matches(&self.medium, &facts.medium)
            && any_matches(&self.campaign, &facts.campaign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#"
        name = "small"
        version = 1
        sites = "category"
        channels = ["a", "b", "none"]
        direct = "none"
        otherwise = "none"
    "#;

    fn read(rules: &str) -> Result<Rules, RulesError> {
        Rules::parse(&format!("{HEAD}{rules}"))
    }

    #[test]
    fn patterns_compare_whole_texts_or_their_ends() {
        let check = |pattern: &str, given: &str, expected: bool| {
            let pattern = Pattern::try_from(PatternText::Glob(pattern.to_owned())).unwrap();
            assert_eq!(pattern.matches(given), expected, "{pattern:?} {given}");
        };
        check("ppc", "ppc", true);
        check("ppc", "xppc", false);
        check("paid*", "paid", true);
        check("paid*", "paid-social", true);
        check("paid*", "unpaid", false);
        check("*push", "web-push", true);
        check("*push", "pushed", false);
        check("*cp*", "cpc", true);
        check("*cp*", "ecpm", true);
        check("*cp*", "ppc", false);
    }

    #[test]
    fn a_text_may_not_stand_behind_certain_letters() {
        let pattern = Pattern::ContainsNotAfter { text: "shop".to_owned(), letters: "abcdf".to_owned() };
        let check = |given: &str, expected: bool| assert_eq!(pattern.matches(given), expected, "{given}");
        check("shop", true);
        check("eshop", true);
        check("e-shop", true);
        check("bshop", false);
        check("bshop-shop", true);
        check("übershöp", false);
        check("üshop", true);
    }

    #[test]
    fn the_first_rule_that_holds_decides() {
        let rules = read(
            r#"
            conditions.paid = [{ medium = ["cpc"] }, { click_id = ["gclid"] }]
            [[rule]]
            channel = "a"
            any = [{ is = ["paid"], source = ["x*"] }]
            [[rule]]
            channel = "b"
            any = [{ is = ["paid"] }, { absent = ["source"], present = ["campaign"] }]
            "#,
        )
        .unwrap();
        let check = |source: &str, medium: &str, campaign: &str, click_id: Option<TextField>, expected: &str| {
            let signals = Signals {
                source: Some(source),
                medium: Some(medium),
                campaign: Some(campaign),
                click_id,
                referrer_host: None,
            };
            assert_eq!(rules.channel(&signals), expected, "{signals:?}");
        };
        check("x1", "cpc", "", None, "a");
        check(" X1 ", "CPC", "", None, "a");
        check("x1", "", "", Some(TextField::Gclid), "a");
        check("y", "cpc", "", None, "b");
        check("", "", "spring", None, "b");
        check(" ", "", "spring", Some(TextField::Fbclid), "b");
        check("y", "", "spring", None, "none");
    }

    #[test]
    fn rules_that_cannot_be_applied_are_refused() {
        let check = |rules: &str, expected: &str| {
            let error = read(rules).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("[[rule]]\nchannel = \"a\"\nany = [{}]", "no condition");
        check("[[rule]]\nchannel = \"a\"\nany = []", "no condition");
        check("[[rule]]\nchannel = \"c\"\nany = [{ medium = [\"x\"] }]", "`c` is not among");
        check("[[rule]]\nchannel = \"a\"\nany = [{ is = [\"paid\"] }]", "asks for `paid`");
        check("conditions.x = [{ is = [\"x\"] }]\n[[rule]]\nchannel = \"a\"\nany = [{ is = [\"x\"] }]", "asks for `x`");
        check("[[rule]]\nchannel = \"a\"\nany = [{ medium = [\"a*b\"] }]", "cannot be read");
        check("[[rule]]\nchannel = \"a\"\nany = [{ medium = [\"CPC\"] }]", "cannot be read");
        check("[[rule]]\nchannel = \"a\"\nany = [{ mediums = [\"x\"] }]", "cannot be read");
        check("[[rule]]\nchannel = \"a\"\nany = [{ click_id = [\"xclid\"] }]", "cannot be read");
        check("[[rule]]\nchannel = \"a\"\nany = [{ site = [\"serch\"] }]", "cannot be read");
    }
}
