//! Lists: the rows, and the link to those that follow.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use url::form_urlencoded;
use utoipa::ToSchema;

use super::parameters::CURSOR;
use crate::error::ApiError;
use crate::report::base64url;

/// Which form the text of a cursor has, so that a later form can be told from it.
const FORM: &str = "n1";

/// Rows, and where to go on.
#[derive(Debug, Serialize, ToSchema)]
pub struct Listed<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Where to go on.
    pub links: NextPage,
}

/// The way to the rows that follow.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct NextPage {
    /// Address of the next page; null when this is the last.
    #[schema(example = "/api/v1/audit?limit=100&cursor=bjE6NDI")]
    pub next: Option<String>,
}

/// A row that has a number, by which the list goes down.
pub trait Numbered {
    /// The number.
    fn number(&self) -> i64;
}

impl<T: Serialize> Listed<T> {
    /// A list that is shown as a whole.
    pub fn all(data: Vec<T>) -> Self {
        Self { data, links: NextPage::default() }
    }

    /// The first `limit` of `rows`, of which there is one more if another page follows.
    pub fn page(mut rows: Vec<T>, limit: usize, uri: &Uri) -> Self
    where
        T: Numbered,
    {
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| has_more).map(Numbered::number);
        Self { links: NextPage { next: last.map(|last| address(uri, last)) }, data: rows }
    }

    /// The list as an answer, with the header `Link` if a page follows.
    pub fn answer(self) -> Result<Response, ApiError> {
        let mut headers = HeaderMap::new();
        if let Some(next) = &self.links.next {
            let link = HeaderValue::try_from(format!("<{next}>; rel=\"next\""));
            headers.insert(header::LINK, link.map_err(|_| ApiError::Internal("an address cannot stand in a header"))?);
        }
        Ok((headers, Json(self)).into_response())
    }
}

fn address(uri: &Uri, last: i64) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let given = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    query.extend_pairs(given.filter(|(name, _)| name != CURSOR));
    query.append_pair(CURSOR, &encode(last));
    format!("{}?{}", uri.path(), query.finish())
}

fn encode(number: i64) -> String {
    base64url::encode(format!("{FORM}:{number}").as_bytes())
}

/// The number behind which a page begins; `None` for a text that no link of ours had.
pub(super) fn decode(text: &str) -> Option<i64> {
    let text = String::from_utf8(base64url::decode(text)?).ok()?;
    let (form, number) = text.split_once(':')?;
    (form == FORM).then(|| number.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Numbered for i64 {
        fn number(&self) -> i64 {
            *self
        }
    }

    #[test]
    fn a_page_links_to_the_next_behind_its_last_row() {
        let uri: Uri = "/api/v1/audit?limit=2&cursor=old".parse().unwrap();
        for (rows, kept, last) in
            [(vec![9, 7, 4], vec![9, 7], Some(7)), (vec![9, 7], vec![9, 7], None), (vec![], vec![], None)]
        {
            let page = Listed::page(rows, 2, &uri);
            assert_eq!(page.data, kept);
            let next = page.links.next;
            assert_eq!(next, last.map(|last| format!("/api/v1/audit?limit=2&cursor={}", encode(last))));
        }
    }

    #[test]
    fn cursors_are_read_back_and_nothing_else_is() {
        for number in [0, 1, i64::MAX] {
            assert_eq!(decode(&encode(number)), Some(number));
        }
        for text in ["", "x", "%%%", &base64url::encode(b"1:1:x"), &base64url::encode(b"n1:x")] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
