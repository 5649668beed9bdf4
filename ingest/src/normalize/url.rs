//! The parts of an address, as sent: nothing is refused and nothing rewritten but the case of the host.
//!
//! A strict parser would reject or normalise addresses that browsers report every day; here the raw text is the truth
//! and the parts only serve grouping.

use std::borrow::Cow;

/// The parts of an address; each is absent when the address has none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UrlParts<'a> {
    /// Host, lower case, without user, port and trailing dot.
    pub host: Option<Cow<'a, str>>,
    /// Path, beginning with `/`.
    pub path: Option<&'a str>,
    /// Query, without `?`.
    pub query: Option<&'a str>,
}

/// Splits `scheme://host/path?query#fragment`, `//host/…` or `/path?query`.
pub fn split(url: &str) -> UrlParts<'_> {
    let url = url.trim();
    let (url, _fragment) = cut(url, '#');
    let (before_query, query) = cut(url, '?');
    let after_scheme = before_query
        .find("://")
        .filter(|&end| before_query[..end].bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)))
        .map(|end| &before_query[end + 3..])
        .or_else(|| before_query.strip_prefix("//"));
    let (host, path) = match after_scheme {
        Some(rest) => {
            let slash = rest.find(['/', '\\']).unwrap_or(rest.len());
            (host_of(&rest[..slash]), if slash < rest.len() { &rest[slash..] } else { "/" })
        }
        None => (None, before_query),
    };
    UrlParts { host, path: path.starts_with('/').then_some(path), query: query.filter(|query| !query.is_empty()) }
}

fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn host_of(authority: &str) -> Option<Cow<'_, str>> {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split_once(']').map_or(v6, |(address, _)| address),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let host = host.trim_end_matches('.');
    if host.is_empty() {
        return None;
    }
    Some(if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, host: Option<&str>, path: Option<&str>, query: Option<&str>) {
        let parts = split(url);
        assert_eq!((parts.host.as_deref(), parts.path, parts.query), (host, path, query), "{url}");
    }

    #[test]
    fn addresses_are_split_as_browsers_mean_them() {
        check("https://Shop.Example/a/b?x=1&y=2#top", Some("shop.example"), Some("/a/b"), Some("x=1&y=2"));
        check("https://shop.example", Some("shop.example"), Some("/"), None);
        check("https://shop.example?utm_source=a", Some("shop.example"), Some("/"), Some("utm_source=a"));
        check("http://user:pw@shop.example:8080/", Some("shop.example"), Some("/"), None);
        check("http://[2001:db8::1]:80/x", Some("2001:db8::1"), Some("/x"), None);
        check("//cdn.example/x", Some("cdn.example"), Some("/x"), None);
        check("/pricing?plan=pro", None, Some("/pricing"), Some("plan=pro"));
        check("android-app://com.example.app/", Some("com.example.app"), Some("/"), None);
        check("/redirect?to=https://other.example/x", None, Some("/redirect"), Some("to=https://other.example/x"));
        check("https://www.google.com:443/", Some("www.google.com"), Some("/"), None);
        check("HTTPS://WWW.Google.com", Some("www.google.com"), Some("/"), None);
        check(
            "android-app://com.google.android.gm/https/a.example/x",
            Some("com.google.android.gm"),
            Some("/https/a.example/x"),
            None,
        );
        check("https://shop.example./", Some("shop.example"), Some("/"), None);
        check("about:blank", None, None, None);
        check("not a url", None, None, None);
        check("", None, None, None);
        check("https://", None, Some("/"), None);
    }
}
