//! What kind of site a campaign's source or a referring host is: the table `sites.csv`, by registrable domain.
//!
//! A host is what the most specific entry says that holds it, so that `mail.google.com` is e-mail although `google.*`
//! is a search engine. An entry holds the hosts below it, but only as far as they belong to the same registrable
//! domain: `someone.blogspot.com` is not Blogspot, because names under `blogspot.com` are given out to everybody.

use std::sync::LazyLock;

use hashbrown::HashMap;
use serde::Deserialize;

use super::hosts::{bare, national_suffix, registrable};

/// What kind of site it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub(super) enum Category {
    Search,
    Social,
    Video,
    Email,
    Ai,
    Shopping,
    Affiliate,
    Ads,
}

impl Category {
    const ALL: [(&'static str, Self); 8] = [
        ("search", Self::Search),
        ("social", Self::Social),
        ("video", Self::Video),
        ("email", Self::Email),
        ("ai", Self::Ai),
        ("shopping", Self::Shopping),
        ("affiliate", Self::Affiliate),
        ("ads", Self::Ads),
    ];

    fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(name, _)| *name == word).map(|(_, category)| category)
    }
}

/// Which column of the table a rule set goes by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Column {
    /// What the site is.
    #[default]
    Category,
    /// What Google's published table calls it; where that is silent, what it is.
    Ga4,
}

/// An entry's categories; a site may be known to be none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    category: Option<Category>,
    ga4: Option<Category>,
}

impl Entry {
    fn get(self, column: Column) -> Option<Category> {
        match column {
            Column::Category => self.category,
            Column::Ga4 => self.ga4,
        }
    }
}

/// Why a line of the table cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum SitesError {
    #[error("line {line} of the table of sites is not `site,category,ga4`")]
    Malformed { line: usize },
    #[error("line {line} of the table of sites names `{site}` a second time")]
    Twice { line: usize, site: String },
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Sites {
    /// Hosts, short names that campaigns use, and packages of Android apps.
    named: HashMap<&'static str, Entry>,
    /// What stands before the suffix in entries that hold under every national suffix: `google` of `google.*`.
    national: HashMap<&'static str, Entry>,
}

/// The embedded table. It cannot change while the program runs, and a test reads all of it: parsing it cannot fail in a
/// program that passed its tests.
static SITES: LazyLock<Sites> = LazyLock::new(|| Sites::parse(include_str!("sites.csv")).unwrap_or_default());

impl Sites {
    /// The embedded table.
    pub(super) fn shipped() -> &'static Self {
        &SITES
    }

    /// Reads lines `site,category,ga4`. Category `-` is a site that is none of them; an empty `ga4` is the same as the
    /// category. Lines that begin with `#` are remarks.
    fn parse(text: &'static str) -> Result<Self, SitesError> {
        let mut sites = Self::default();
        for (index, text) in text.lines().enumerate().skip(1).filter(|(_, text)| !text.starts_with('#')) {
            let line = index + 1;
            let malformed = || SitesError::Malformed { line };
            let mut fields = text.split(',');
            let (Some(site), Some(category), Some(ga4), None) =
                (fields.next(), fields.next(), fields.next(), fields.next())
            else {
                return Err(malformed());
            };
            let read = |word: &str| match word {
                "-" => Ok(None),
                word => Category::read(word).map(Some).ok_or_else(malformed),
            };
            let category = read(category)?;
            let entry = Entry { category, ga4: if ga4.is_empty() { category } else { read(ga4)? } };
            if site.is_empty() || site != site.trim() || site.bytes().any(|byte| byte.is_ascii_uppercase()) {
                return Err(malformed());
            }
            let before = match site.strip_suffix(".*") {
                Some(prefix) => sites.national.insert(prefix, entry),
                None => sites.named.insert(site, entry),
            };
            if before.is_some() {
                return Err(SitesError::Twice { line, site: site.to_owned() });
            }
        }
        Ok(sites)
    }

    /// The category of a source or host, lower case and trimmed.
    pub(super) fn category(&self, name: &str, column: Column) -> Option<Category> {
        self.entry(bare(name))?.get(column)
    }

    fn entry(&self, name: &str) -> Option<Entry> {
        if let Some(entry) = self.named.get(name) {
            return Some(*entry);
        }
        if !name.contains('.') {
            return None;
        }
        let domain = registrable(name)?;
        let suffix = national_suffix(domain);
        let mut rest = name;
        loop {
            let national = || self.national.get(rest.strip_suffix(suffix?)?.strip_suffix('.')?);
            if let Some(entry) = self.named.get(rest).or_else(national) {
                return Some(*entry);
            }
            if rest.len() <= domain.len() {
                return None;
            }
            rest = rest.split_once('.')?.1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&str], expected: Option<Category>) {
        for name in names {
            assert_eq!(Sites::shipped().category(name, Column::Category), expected, "{name}");
        }
    }

    #[test]
    fn the_embedded_table_is_read_whole() {
        let text = include_str!("sites.csv");
        let sites = Sites::parse(text).unwrap();
        assert_eq!(text.lines().next(), Some("site,category,ga4"));
        let lines = text.lines().skip(1).filter(|line| !line.starts_with('#')).count();
        assert_eq!(sites.named.len() + sites.national.len(), lines);
        assert!(lines > 1_000, "{lines}");
    }

    #[test]
    fn an_entry_that_adds_nothing_to_a_wider_one_is_not_in_the_table() {
        let mut sites = Sites::parse(include_str!("sites.csv")).unwrap();
        let mut needless = Vec::new();
        for (site, entry) in sites.named.clone() {
            sites.named.remove(site);
            if sites.entry(site) == Some(entry) {
                needless.push(site);
            }
            sites.named.insert(site, entry);
        }
        assert_eq!(needless, [""; 0]);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named() {
        let check = |text: &'static str, expected: SitesError| assert_eq!(Sites::parse(text).unwrap_err(), expected);
        check("site,category,ga4\na.com,search", SitesError::Malformed { line: 2 });
        check("site,category,ga4\na.com,serch,", SitesError::Malformed { line: 2 });
        check("site,category,ga4\n# remark\nA.com,search,", SitesError::Malformed { line: 3 });
        check("site,category,ga4\na.com,,", SitesError::Malformed { line: 2 });
        let twice = SitesError::Twice { line: 3, site: "a.com".to_owned() };
        check("site,category,ga4\na.com,search,\na.com,social,", twice);
    }

    #[test]
    fn the_most_specific_entry_decides() {
        check(&["google.com", "www.google.com", "news.google.com", "google"], Some(Category::Search));
        check(&["mail.google.com"], Some(Category::Email));
        check(&["gemini.google.com"], Some(Category::Ai));
        check(&["docs.google.com", "accounts.google.com"], None);
        check(&["groups.google.com"], Some(Category::Social));
        check(&["yahoo.com", "de.search.yahoo.com"], Some(Category::Search));
        check(&["mail.yahoo.com", "uk.mail.yahoo.com", "mail.yahoo.co.jp"], Some(Category::Email));
        check(&["m.facebook.com", "l.facebook.com", "lm.facebook.com"], Some(Category::Social));
        check(&["kagi.com"], Some(Category::Search));
        check(&["assistant.kagi.com"], Some(Category::Ai));
        check(&["eur02.safelinks.protection.outlook.com"], Some(Category::Email));
    }

    #[test]
    fn national_domains_are_held_by_one_entry() {
        check(&["google.de", "google.co.uk", "www.google.com.br", "google.com.af"], Some(Category::Search));
        check(&["images.google.fr", "google.cat"], Some(Category::Search));
        check(&["amazon.de", "smile.amazon.co.uk", "ebay.com.au"], Some(Category::Shopping));
        check(&["pinterest.at", "de.pinterest.com"], Some(Category::Social));
    }

    #[test]
    fn look_alikes_and_other_peoples_names_are_no_sites() {
        check(&["notgoogle.com", "google.com.evil.example", "myfacebook.com", "google.zip", "google.xyz"], None);
        check(&["google.blogspot.com", "facebook.github.io", "someone.blogspot.com", "x.someone.blogspot.com"], None);
        check(&["wordpress.com", "www.blogspot.com"], Some(Category::Social));
        check(
            &["google-com.net", "google.com-login.net", "xn--gogle-jua.com", "co.uk", "com", "", ".", "google."],
            None,
        );
    }

    #[test]
    fn apps_are_known_by_their_package() {
        check(&["com.google.android.gm", "com.microsoft.office.outlook"], Some(Category::Email));
        check(&["com.google.android.googlequicksearchbox"], Some(Category::Search));
        check(&["com.linkedin.android", "com.reddit.frontpage", "org.telegram.messenger"], Some(Category::Social));
        check(&["com.openai.chatgpt", "ai.perplexity.app.android"], Some(Category::Ai));
        check(&["com.google.android.youtube"], Some(Category::Video));
        check(&["com.example.app"], None);
    }

    #[test]
    fn googles_published_table_is_the_column_ga4() {
        let published = include_str!("../../../tests/data/ga4-channels/ga4_source_categories.csv");
        let mut count = 0;
        for line in published.lines().skip(1) {
            let (source, category) = line.split_once(',').unwrap();
            let category = category.strip_prefix("SOURCE_CATEGORY_").unwrap().to_ascii_lowercase();
            let known = Sites::shipped().category(&source.to_ascii_lowercase(), Column::Ga4);
            assert_eq!(known, Category::read(&category), "{source}");
            count += 1;
        }
        assert_eq!(count, 819);
    }
}
