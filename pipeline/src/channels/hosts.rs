//! Whose a host is: registrable domains by the public suffix list, and which referrers are the site's own.

/// The registrable domain of a host (`example.co.uk` of `shop.example.co.uk`): a public suffix and one label more.
///
/// Nothing for addresses, public suffixes themselves and names under no known suffix. Hosts are lower case.
pub(super) fn registrable(host: &str) -> Option<&str> {
    let domain = psl::domain(host.as_bytes())?;
    if !domain.suffix().is_known() {
        return None;
    }
    host.get(host.len().checked_sub(domain.as_bytes().len())?..)
}

/// The public suffix of a registrable domain if names are given out under it by country, or if it is `com`: the
/// suffixes under which one company has its national sites. `blogspot.com` is none, and neither is `zip`.
pub(super) fn national_suffix(domain: &str) -> Option<&str> {
    let suffix = psl::suffix(domain.as_bytes())?;
    if suffix.typ() != Some(psl::Type::Icann) {
        return None;
    }
    let suffix = domain.get(domain.len().checked_sub(suffix.as_bytes().len())?..)?;
    let top = suffix.rsplit('.').next()?;
    (suffix == "com" || top.len() == 2).then_some(suffix)
}

/// A host without `www.`, which tells nobody apart.
pub(super) fn bare(host: &str) -> &str {
    host.strip_prefix("www.").unwrap_or(host)
}

/// Which referrers are no way to a site, because they are the site itself.
#[derive(Debug)]
pub(crate) struct OwnSites {
    /// Domains of the account, lower case; with a flag whether what lies below them is its own, too.
    domains: Vec<(String, bool)>,
}

impl OwnSites {
    /// The account's own domains. Below a public suffix (`github.io`) lies what belongs to others.
    pub(crate) fn new(own_domains: &[String]) -> Self {
        let domains = own_domains.iter().map(|domain| {
            let domain = domain.trim().trim_matches('.').to_ascii_lowercase();
            let domain = bare(&domain).to_owned();
            let holds_others = is_public_suffix(&domain);
            (domain, !holds_others)
        });
        Self { domains: domains.filter(|(domain, _)| !domain.is_empty()).collect() }
    }

    /// Whether a referrer is internal for a page on `page_host`: it lies on one of the account's domains, on the page's
    /// own host, or under the page's registrable domain. Hosts are lower case.
    pub(crate) fn is_internal(&self, referrer_host: &str, page_host: Option<&str>) -> bool {
        page_host.is_some_and(|page_host| is_same_site(referrer_host, page_host)) || self.hold(referrer_host)
    }

    fn hold(&self, host: &str) -> bool {
        let host = bare(host);
        self.domains.iter().any(|(domain, with_subdomains)| match host.strip_suffix(domain.as_str()) {
            Some("") => true,
            Some(below) => *with_subdomains && below.ends_with('.'),
            None => false,
        })
    }
}

fn is_public_suffix(domain: &str) -> bool {
    psl::suffix(domain.as_bytes()).is_some_and(|suffix| suffix.is_known() && suffix.as_bytes().len() == domain.len())
}

/// Whether two hosts are the same or share a registrable domain.
///
/// Called for every event: hosts that share no more than a top-level domain are told apart without the suffix list.
fn is_same_site(one: &str, other: &str) -> bool {
    if bare(one) == bare(other) {
        return true;
    }
    let common = common_labels(one, other);
    common.contains('.') && registrable(one).is_some_and(|domain| domain.len() <= common.len())
}

/// The labels at the end of both hosts that are the same.
fn common_labels<'a>(one: &'a str, other: &str) -> &'a str {
    let (left, right) = (one.as_bytes(), other.as_bytes());
    let same = left.iter().rev().zip(right.iter().rev()).take_while(|(a, b)| a == b).count();
    let starts_label = |host: &[u8]| host.len() == same || host[host.len() - same - 1] == b'.';
    let start = one.len() - same;
    let start = if starts_label(left) && starts_label(right) {
        Some(start)
    } else {
        left[start..].iter().position(|byte| *byte == b'.').map(|dot| start + dot + 1)
    };
    start.and_then(|start| one.get(start..)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registrable_domains_follow_the_public_suffix_list() {
        let check = |host: &str, expected: Option<&str>| assert_eq!(registrable(host), expected, "{host}");
        check("www.google.com", Some("google.com"));
        check("shop.example.co.uk", Some("example.co.uk"));
        check("co.uk", None);
        check("someone.github.io", Some("someone.github.io"));
        check("a.someone.github.io", Some("someone.github.io"));
        check("github.io", None);
        check("10.0.0.1", None);
        check("2001:db8::1", None);
        check("localhost", None);
        check("intranet.corp-lan", None);
        check("", None);
    }

    #[test]
    fn national_suffixes_are_those_of_countries_and_com() {
        let check = |domain: &str, expected: Option<&str>| assert_eq!(national_suffix(domain), expected, "{domain}");
        check("google.com", Some("com"));
        check("google.de", Some("de"));
        check("google.co.uk", Some("co.uk"));
        check("google.com.br", Some("com.br"));
        check("google.zip", None);
        check("google.blogspot.com", None);
        check("google.github.io", None);
        check("google.nosuchsuffix", None);
    }

    #[test]
    fn referrers_under_the_pages_registrable_domain_are_internal() {
        let own = OwnSites::new(&[]);
        let check = |referrer: &str, page: &str, expected: bool| {
            assert_eq!(own.is_internal(referrer, Some(page)), expected, "{referrer} to {page}");
            assert_eq!(own.is_internal(page, Some(referrer)), expected, "{page} to {referrer}");
        };
        check("shop.example", "shop.example", true);
        check("www.shop.example.com", "shop.example.com", true);
        check("blog.example.com", "shop.example.com", true);
        check("example.co.uk", "shop.example.co.uk", true);
        check("one.co.uk", "other.co.uk", false);
        check("one.github.io", "other.github.io", false);
        check("one.github.io", "github.io", false);
        check("a.one.github.io", "one.github.io", true);
        check("notexample.com", "example.com", false);
        check("example.com.evil.example", "example.com", false);
        check("evil-example.com", "shop.example.com", false);
        check("1.2.3.4", "5.6.3.4", false);
        check("localhost", "localhost", true);
        check("bücher.de", "shop.bücher.de", true);
        check("bücher.de", "ücher.de", false);
    }

    #[test]
    fn own_domains_are_internal_with_what_lies_below_them() {
        let own = OwnSites::new(
            &["Example.com", " www.shop.example ", "help.partner.com", "github.io", "", "corp.internal"]
                .map(str::to_owned),
        );
        let check = |referrer: &str, expected: bool| {
            assert_eq!(own.is_internal(referrer, None), expected, "{referrer}");
            assert_eq!(own.is_internal(referrer, Some("pages.test")), expected, "{referrer}");
        };
        check("example.com", true);
        check("www.example.com", true);
        check("pay.example.com", true);
        check("shop.example", true);
        check("help.partner.com", true);
        check("partner.com", false);
        check("notexample.com", false);
        check("example.com.evil.example", false);
        check("github.io", true);
        check("someone.github.io", false);
        check("app.corp.internal", true);
        check("", false);
    }
}
