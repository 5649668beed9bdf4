//! The query string of a route of administration: every parameter is known, or the request is refused.

use std::collections::BTreeMap;

use axum::http::Uri;
use url::form_urlencoded;

use super::list::decode;
use crate::error::{ApiError, ProblemItem};

/// Whose things.
pub const ACCOUNT_ID: &str = "account_id";
/// Rows of a page.
pub const LIMIT: &str = "limit";
/// Where the page begins.
pub const CURSOR: &str = "cursor";

/// A query string that was understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    given: BTreeMap<&'static str, String>,
}

impl Parameters {
    /// Reads the query of `uri`, of which the parameters `known` are taken. Everything that is wrong is said at once.
    pub fn read(uri: &Uri, known: &[&'static str]) -> Result<Self, ApiError> {
        let mut given = BTreeMap::new();
        let mut errors = Vec::new();
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            let said: String = name.chars().take(80).collect();
            match known.iter().find(|known| **known == name) {
                None => {
                    let detail = format!("this route has no parameter `{said}`");
                    errors.push(ProblemItem::parameter(said, "unknown_parameter", detail));
                }
                Some(known) => {
                    if given.insert(*known, value.into_owned()).is_some() {
                        let detail = format!("`{known}` is given more than once");
                        errors.push(ProblemItem::parameter(*known, "repeated", detail));
                    }
                }
            }
        }
        if errors.is_empty() { Ok(Self { given }) } else { Err(ApiError::Query(errors)) }
    }

    /// A parameter's text, if it is given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str)
    }

    /// The account that is meant, if one is named.
    pub fn account(&self) -> Option<&str> {
        self.get(ACCOUNT_ID)
    }

    /// Rows of a page: `limit=`, which may be at most `max`, else `default`.
    pub fn limit(&self, default: usize, max: usize) -> Result<usize, ApiError> {
        let Some(text) = self.get(LIMIT) else { return Ok(default) };
        let limit = text.parse().ok().filter(|limit| (1..=max).contains(limit));
        limit.ok_or_else(|| invalid(LIMIT, format!("`limit` must be a whole number from 1 to {max}")))
    }

    /// The number behind which the page begins.
    pub fn cursor(&self) -> Result<Option<i64>, ApiError> {
        let decoded = self.get(CURSOR).map(|text| {
            decode(text).ok_or_else(|| invalid(CURSOR, "`cursor` must be one that a link of this list gave".to_owned()))
        });
        decoded.transpose()
    }
}

fn invalid(name: &str, detail: String) -> ApiError {
    ApiError::Query(vec![ProblemItem::parameter(name, "invalid_value", detail)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Parameters, Vec<&'static str>> {
        let uri: Uri = format!("/x?{query}").parse().unwrap();
        Parameters::read(&uri, &[ACCOUNT_ID, LIMIT, CURSOR]).map_err(|error| match error {
            ApiError::Query(items) => items.into_iter().map(|item| item.code).collect(),
            other => panic!("{other}"),
        })
    }

    #[test]
    fn parameters_are_known_and_given_once() {
        assert_eq!(read("limit=3").unwrap().get(LIMIT), Some("3"));
        assert_eq!(read("").unwrap(), Parameters::default());
        assert_eq!(read("color=red"), Err(vec!["unknown_parameter"]));
        assert_eq!(read("limit=1&limit=2&x=1"), Err(vec!["repeated", "unknown_parameter"]));
    }

    #[test]
    fn limits_are_whole_numbers_within_what_the_operator_allows() {
        for (query, expected) in [
            ("", Some(10)),
            ("limit=1", Some(1)),
            ("limit=20", Some(20)),
            ("limit=21", None),
            ("limit=0", None),
            ("limit=x", None),
        ] {
            assert_eq!(read(query).unwrap().limit(10, 20).ok(), expected, "{query}");
        }
        assert!(read("cursor=nonsense").unwrap().cursor().is_err());
    }
}
