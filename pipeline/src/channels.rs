//! Acquisition channels: ordered rules, the first that matches decides. Rule set `touchline`, version 1.

use touchline_schemas::event::TextField;

/// What is known of how a session came about.
#[derive(Debug, Clone, Copy, Default)]
pub struct Signals<'a> {
    /// `utm_source`
    pub source: Option<&'a str>,
    /// `utm_medium`
    pub medium: Option<&'a str>,
    /// `utm_campaign`
    pub campaign: Option<&'a str>,
    /// The click id that the first campaign event carried.
    pub click_id: Option<TextField>,
    /// The referring host, lower case.
    pub referrer_host: Option<&'a str>,
}

/// What kind of site a source or referring host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Site {
    Search,
    Social,
    Video,
    Email,
    Ai,
}

/// Registrable domains, and the short names that campaigns use for them.
const SITES: &[(Site, &[&str])] = &[
    (
        Site::Search,
        &[
            "google",
            "google.com",
            "google.de",
            "google.co.uk",
            "google.fr",
            "google.es",
            "google.it",
            "google.nl",
            "google.ca",
            "google.com.au",
            "google.com.br",
            "google.co.in",
            "google.co.jp",
            "google.pl",
            "google.be",
            "google.at",
            "google.ch",
            "google.se",
            "google.ru",
            "google.com.tr",
            "google.com.mx",
            "bing",
            "bing.com",
            "yahoo",
            "search.yahoo.com",
            "yahoo.com",
            "duckduckgo",
            "duckduckgo.com",
            "ecosia",
            "ecosia.org",
            "baidu",
            "baidu.com",
            "yandex",
            "yandex.ru",
            "yandex.com",
            "ya.ru",
            "naver",
            "naver.com",
            "seznam",
            "seznam.cz",
            "startpage",
            "startpage.com",
            "qwant",
            "qwant.com",
            "search.brave.com",
            "kagi.com",
            "ask.com",
            "aol.com",
        ],
    ),
    (
        Site::Social,
        &[
            "facebook",
            "facebook.com",
            "fb",
            "fb.com",
            "fb.me",
            "instagram",
            "instagram.com",
            "ig",
            "threads.net",
            "twitter",
            "twitter.com",
            "x.com",
            "t.co",
            "linkedin",
            "linkedin.com",
            "lnkd.in",
            "pinterest",
            "pinterest.com",
            "reddit",
            "reddit.com",
            "tiktok",
            "tiktok.com",
            "snapchat",
            "snapchat.com",
            "vk.com",
            "quora.com",
            "tumblr.com",
            "news.ycombinator.com",
            "bsky.app",
            "mastodon.social",
            "telegram",
            "t.me",
            "whatsapp",
            "whatsapp.com",
            "discord.com",
            "plus.google.com",
        ],
    ),
    (
        Site::Video,
        &["youtube", "youtube.com", "youtu.be", "vimeo", "vimeo.com", "twitch", "twitch.tv", "dailymotion.com"],
    ),
    (
        Site::Email,
        &[
            "newsletter",
            "email",
            "mail.google.com",
            "outlook.live.com",
            "mail.yahoo.com",
            "mail.proton.me",
            "mailchimp",
        ],
    ),
    (
        Site::Ai,
        &[
            "chatgpt",
            "chatgpt.com",
            "chat.openai.com",
            "openai.com",
            "perplexity",
            "perplexity.ai",
            "claude.ai",
            "gemini.google.com",
            "copilot.microsoft.com",
            "you.com",
            "chat.deepseek.com",
            "chat.mistral.ai",
            "grok.com",
        ],
    ),
];

/// The site behind a host or a campaign's source. A host matches its own domain and those it is a subdomain of, the
/// most specific first, so that `mail.google.com` is no search engine and `notgoogle.com` is nothing.
fn site(name: &str) -> Option<Site> {
    let name = name.trim();
    let lower;
    let mut rest = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        lower = name.to_ascii_lowercase();
        lower.as_str()
    } else {
        name
    };
    loop {
        if let Some((site, _)) = SITES.iter().find(|(_, names)| names.contains(&rest)) {
            return Some(*site);
        }
        rest = rest.split_once('.')?.1;
        if !rest.contains('.') {
            return None;
        }
    }
}

/// The channel of a session.
pub fn touchline(signals: &Signals<'_>) -> &'static str {
    let medium = signals.medium.map(str::to_ascii_lowercase).unwrap_or_default();
    let medium = medium.as_str();
    let by_source = signals.source.and_then(site);
    let by_referrer = signals.referrer_host.and_then(site);
    let is_paid = is_paid_medium(medium);
    let from = by_source.or(by_referrer);

    if medium == "affiliate" || medium == "affiliates" {
        return "affiliate";
    }
    if is_one_of(medium, &["email", "e-mail", "e_mail", "e mail", "newsletter"]) || by_source == Some(Site::Email) {
        return "email";
    }
    if is_one_of(medium, &["display", "banner", "cpm", "expandable", "interstitial"])
        || signals.click_id == Some(TextField::Dclid)
    {
        return "display";
    }
    if is_paid || is_ad_click(signals.click_id) {
        return match from.or(site_of_click(signals.click_id)) {
            Some(Site::Social) => "paid_social",
            Some(Site::Video) => "video",
            Some(Site::Search) => "paid_search",
            _ if medium.contains("social") => "paid_social",
            _ if is_one_of(medium, &["cpc", "ppc"]) || is_search_click(signals.click_id) => "paid_search",
            _ => "display",
        };
    }
    if from == Some(Site::Ai) {
        return "ai";
    }
    if medium.contains("video") || from == Some(Site::Video) {
        return "video";
    }
    if medium == "organic" || from == Some(Site::Search) {
        return "organic_search";
    }
    if is_one_of(medium, &["social", "social-network", "social-media", "sm", "social network", "social media"])
        || from == Some(Site::Social)
        || signals.click_id == Some(TextField::Fbclid)
    {
        return "organic_social";
    }
    if from == Some(Site::Email) {
        return "email";
    }
    if medium == "referral" || (signals.referrer_host.is_some() && signals.source.is_none()) {
        return "referral";
    }
    if signals.source.is_some() || signals.campaign.is_some() || !medium.is_empty() {
        return "other";
    }
    "direct"
}

fn is_one_of(medium: &str, names: &[&str]) -> bool {
    names.contains(&medium)
}

fn is_paid_medium(medium: &str) -> bool {
    is_one_of(medium, &["cpc", "ppc", "cpv", "cpa", "retargeting", "sem"]) || medium.starts_with("paid")
}

/// Click ids that only advertisements carry; Meta's is on unpaid links as well.
fn is_ad_click(click_id: Option<TextField>) -> bool {
    click_id.is_some_and(|field| field != TextField::Fbclid)
}

fn is_search_click(click_id: Option<TextField>) -> bool {
    site_of_click(click_id) == Some(Site::Search)
}

fn site_of_click(click_id: Option<TextField>) -> Option<Site> {
    match click_id? {
        TextField::Gclid | TextField::Gbraid | TextField::Wbraid | TextField::Msclkid => Some(Site::Search),
        TextField::Fbclid | TextField::Ttclid | TextField::LiFatId => Some(Site::Social),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, medium: &str, referrer_host: &str, click_id: Option<TextField>, expected: &str) {
        let some = |text: &'static str| Some(text).filter(|text| !text.is_empty());
        let leak = |text: &str| some(String::leak(text.to_owned()));
        let signals = Signals {
            source: leak(source),
            medium: leak(medium),
            campaign: None,
            click_id,
            referrer_host: leak(referrer_host),
        };
        assert_eq!(touchline(&signals), expected, "{source}/{medium} from {referrer_host} {click_id:?}");
    }

    #[test]
    fn the_first_rule_that_matches_names_the_channel() {
        check("google", "cpc", "", None, "paid_search");
        check("", "", "www.google.com", Some(TextField::Gclid), "paid_search");
        check("", "", "www.google.com", None, "organic_search");
        check("bing", "organic", "", None, "organic_search");
        check("facebook", "paid_social", "", None, "paid_social");
        check("facebook", "cpc", "l.facebook.com", None, "paid_social");
        check("tiktok", "", "", Some(TextField::Ttclid), "paid_social");
        check("", "", "t.co", None, "organic_social");
        check("", "", "www.youtube.com", None, "video");
        check("newsletter", "email", "", None, "email");
        check("", "", "mail.google.com", None, "email");
        check("partner", "affiliate", "", None, "affiliate");
        check("adnet", "banner", "", None, "display");
        check("", "", "chatgpt.com", None, "ai");
        check("chatgpt.com", "", "", None, "ai");
        check("", "", "gemini.google.com", None, "ai");
        check("", "", "blog.example.org", None, "referral");
        check("flyer", "print", "", None, "other");
        check("", "", "", None, "direct");
    }

    #[test]
    fn look_alike_hosts_are_referrals() {
        for host in ["notgoogle.com", "google.com.evil.example", "myfacebook.com", "com"] {
            check("", "", host, None, "referral");
        }
    }
}
