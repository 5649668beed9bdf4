//! `GET /docs`: the API for people. The page is written from the description of the API when the server starts, so that
//! it says neither more nor less, and loads nothing but its style sheet, so that it can be read without a network.

use std::fmt::Write as _;

use axum::http::header;
use axum::response::{Html, IntoResponse};
use bytes::Bytes;
use serde_json::Value;

use super::{OPENAPI_PATH, home};
use crate::VERSION;
use crate::html::{Escaped, GUARDS, Prose, Sentence};

mod curl;
mod operation;
mod schema;

use operation::Operation;
use schema::Schemas;

/// Where the page is.
pub const PATH: &str = "/docs";
/// Where its style lies: in a file of its own, as the pages' policy wants it.
pub const STYLE_PATH: &str = "/docs.css";

const STYLE: &str = include_str!("docs/style.css");

/// The page as an answer.
pub fn answer(page: Bytes) -> impl IntoResponse {
    (GUARDS, Html(page))
}

/// The page's style.
pub async fn get_style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE)
}

/// The page of a description, which is an OpenAPI document.
pub fn page(document: &Value) -> Bytes {
    let schemas = Schemas::of(document);
    let operations = Operation::all(document);
    let mut contents = String::new();
    let mut sections = String::new();
    for tag in list(document, "tags") {
        let (name, about) = (text(tag, "name"), text(tag, "description"));
        let of_tag: Vec<&Operation<'_>> = operations.iter().filter(|operation| operation.tag() == name).collect();
        // Writing to a `String` cannot fail.
        let _ = writeln!(contents, "<li><a href=\"#{0}\">{0}</a>\n<ul>", Escaped(name));
        let _ = writeln!(sections, "<h2 id=\"{0}\">{0}</h2>\n<p>{1}</p>", Escaped(name), Sentence(about));
        for operation in of_tag {
            let _ = writeln!(contents, "<li>{}</li>", operation.link());
            sections.push_str(&operation.section(&schemas));
        }
        contents.push_str("</ul>\n</li>\n");
    }
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Touchline API</title>\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<link rel=\"stylesheet\" href=\"{STYLE_PATH}\">\n\
         </head>\n<body>\n<header>\n<h1>Touchline API</h1>\n<p>Version {version}. The same for programs: \
         <a href=\"{OPENAPI_PATH}\"><code>{OPENAPI_PATH}</code></a>. <a href=\"{home}\">What runs here</a>.</p>\n\
         {about}\n{usage}</header>\n<nav aria-label=\"Contents\">\n<ul>\n{contents}\
         <li><a href=\"#schemas\">schemas</a></li>\n</ul>\n</nav>\n<main>\n{sections}\
         <h2 id=\"schemas\">schemas</h2>\n{schemas}</main>\n</body>\n</html>\n",
        version = Escaped(VERSION),
        home = home::PATH,
        about = Prose(text(&document["info"], "description")),
        usage = curl::USAGE,
        schemas = schemas.sections(),
    );
    page.into()
}

/// A member that is a text, or nothing.
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// The items of a member that is a list, or none.
fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}

/// The members of a member that is an object, or none.
fn members<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    value[name].as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

#[cfg(test)]
mod tests;
