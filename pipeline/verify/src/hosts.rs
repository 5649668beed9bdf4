//! Which referring hosts are a site's own.

/// An account's domains.
#[derive(Debug)]
pub struct OwnDomains(Vec<String>);

impl OwnDomains {
    /// Domains as the account names them.
    pub fn new(named: &[String]) -> Self {
        let domains = named.iter().map(|domain| domain.trim().trim_matches('.').to_ascii_lowercase());
        Self(domains.map(|domain| bare(&domain).to_owned()).filter(|domain| !domain.is_empty()).collect())
    }

    /// Whether a referrer lies on the page's host, under its registrable domain, or on one of the account's domains.
    pub fn is_internal(&self, referrer: &str, page: Option<&str>) -> bool {
        let is_same_site = page.is_some_and(|page| {
            let known = registrable(page);
            bare(page) == bare(referrer) || (known.is_some() && known == registrable(referrer))
        });
        is_same_site || self.0.iter().any(|domain| lies_on(bare(referrer), domain))
    }
}

/// Whether a host is a domain or lies below it. What lies below a public suffix belongs to others.
fn lies_on(host: &str, domain: &str) -> bool {
    let is_suffix = psl::suffix_str(domain) == Some(domain) && has_known_suffix(domain);
    host == domain || (!is_suffix && host.ends_with(&format!(".{domain}")))
}

fn bare(host: &str) -> &str {
    host.strip_prefix("www.").unwrap_or(host)
}

/// The registrable domain of a host whose suffix is known to be public.
fn registrable(host: &str) -> Option<&str> {
    psl::domain_str(host).filter(|_| has_known_suffix(host))
}

fn has_known_suffix(host: &str) -> bool {
    psl::suffix(host.as_bytes()).is_some_and(|suffix| suffix.is_known())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_are_told_apart_by_their_registrable_domain() {
        let own = OwnDomains::new(&["Other.example.".to_owned(), "github.io".to_owned()]);
        let check = |referrer: &str, page: &str, expected: bool| {
            assert_eq!(own.is_internal(referrer, Some(page)), expected, "{referrer} {page}");
        };
        check("www.shop.com", "shop.com", true);
        check("blog.shop.co.uk", "shop.co.uk", true);
        check("notshop.co.uk", "shop.co.uk", false);
        check("one.github.io", "two.github.io", false);
        check("github.io", "shop.com", true);
        check("mail.other.example", "shop.com", true);
        check("another.example", "shop.com", false);
        check("localhost", "localhost", true);
        check("10.0.0.1", "10.0.0.2", false);
        assert!(own.is_internal("other.example", None) && !own.is_internal("shop.com", None));
    }
}
