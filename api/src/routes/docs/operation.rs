//! One operation on the page: who may, what it takes, what it answers, and how to try it.

use std::fmt::Write as _;

use serde_json::Value;

use super::schema::Schemas;
use super::{curl, list, members, text};
use crate::html::{Escaped, Prose, Sentence};

/// An operation of the description.
pub(super) struct Operation<'a> {
    pub method: String,
    pub path: &'a str,
    pub described: &'a Value,
}

impl<'a> Operation<'a> {
    /// All of them, by path.
    pub fn all(document: &'a Value) -> Vec<Self> {
        let of_path = |(path, item): (&'a str, &'a Value)| {
            let item = item.as_object().into_iter().flatten();
            item.map(move |(method, described)| Self { method: method.to_uppercase(), path, described })
        };
        members(document, "paths").flat_map(of_path).collect()
    }

    /// The section in which it stands.
    pub fn tag(&self) -> &'a str {
        self.described["tags"][0].as_str().unwrap_or_default()
    }

    /// Its name in addresses of this page.
    pub fn anchor(&self) -> String {
        let words = self.path.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
        let words: Vec<&str> = std::iter::once(self.method.as_str()).chain(words).collect();
        words.join("-").to_lowercase()
    }

    /// A line of the contents.
    pub fn link(&self) -> String {
        let summary = Sentence(text(self.described, "summary"));
        format!("<a href=\"#{}\"><code>{} {}</code></a> {summary}", self.anchor(), self.method, Escaped(self.path))
    }

    /// Everything about it.
    pub fn section(&self, schemas: &Schemas<'_>) -> String {
        let mut section = format!(
            "<section id=\"{0}\">\n<h3><a href=\"#{0}\"><code><b>{1}</b> {2}</code></a></h3>\n<p><strong>{3}</strong></p>\n\
             {4}\n<p class=\"scope\">{5}</p>\n",
            self.anchor(),
            self.method,
            Escaped(self.path),
            Sentence(text(self.described, "summary")),
            Prose(text(self.described, "description")),
            self.scopes(),
        );
        section.push_str(&self.parameters(schemas));
        section.push_str(&self.body(schemas));
        section.push_str(&self.answers(schemas));
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            section,
            "<pre tabindex=\"0\"><code>{}</code></pre>\n</section>",
            Escaped(curl::command(self, schemas))
        );
        section
    }

    /// Whether it needs a key.
    pub fn needs_key(&self) -> bool {
        list(self.described, "security").next().is_some()
    }

    fn scopes(&self) -> String {
        if !self.needs_key() {
            return "Needs no key.".to_owned();
        }
        let scopes = list(self.described, "security").flat_map(|scheme| list(scheme, "key")).filter_map(Value::as_str);
        let scopes: Vec<String> = scopes.map(|scope| format!("<code>{}</code>", Escaped(scope))).collect();
        match scopes.as_slice() {
            [] => "Needs a key of any scope.".to_owned(),
            scopes => format!("Needs a key with {}.", scopes.join(" and ")),
        }
    }

    fn parameters(&self, schemas: &Schemas<'_>) -> String {
        let mut rows = String::new();
        for parameter in list(self.described, "parameters") {
            let is_needed = parameter["required"] == true;
            // Writing to a `String` cannot fail.
            let _ = writeln!(
                rows,
                "<tr><th scope=\"row\"><code>{}</code></th><td>{}{}</td><td>{}</td><td>{}{}</td></tr>",
                Escaped(text(parameter, "name")),
                Escaped(text(parameter, "in")),
                if is_needed { ", needed" } else { "" },
                schemas.kind(&parameter["schema"]),
                Sentence(text(parameter, "description")),
                example(parameter),
            );
        }
        table("Parameters", &["Name", "In", "Type", "Meaning"], &rows)
    }

    fn body(&self, schemas: &Schemas<'_>) -> String {
        let body = &self.described["requestBody"];
        let mut rows = String::new();
        for (media_type, content) in members(body, "content") {
            // Writing to a `String` cannot fail.
            let _ = writeln!(
                rows,
                "<tr><th scope=\"row\"><code>{}</code></th><td>{}</td><td>{}</td></tr>",
                Escaped(media_type),
                schemas.kind(&content["schema"]),
                Sentence(text(body, "description")),
            );
        }
        table("Body", &["Media type", "Form", "Meaning"], &rows)
    }

    fn answers(&self, schemas: &Schemas<'_>) -> String {
        let mut rows = String::new();
        for (status, answer) in members(self.described, "responses") {
            let content = members(answer, "content").map(|(media_type, content)| {
                let kind = schemas.kind(&content["schema"]);
                format!("<code>{}</code>{}{kind}", Escaped(media_type), if kind.is_empty() { "" } else { ": " })
            });
            let headers = members(answer, "headers").map(|(name, header)| {
                format!("<code>{}</code>: {}", Escaped(name), Sentence(text(header, "description")))
            });
            // Writing to a `String` cannot fail.
            let _ = writeln!(
                rows,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td></tr>",
                Escaped(status),
                Sentence(text(answer, "description")),
                content.collect::<Vec<_>>().join("<br>"),
                headers.collect::<Vec<_>>().join("<br>"),
            );
        }
        table("Answers", &["Status", "Meaning", "Content", "Headers"], &rows)
    }
}

/// A table with a caption, or nothing if it has no rows.
pub(super) fn table(caption: &str, headings: &[&str], rows: &str) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let headings: String = headings.iter().map(|heading| format!("<th scope=\"col\">{heading}</th>")).collect();
    format!(
        "<table>\n<caption>{caption}</caption>\n<thead><tr>{headings}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n"
    )
}

/// The example of a parameter or a member, if it has one.
pub(super) fn example(described: &Value) -> String {
    let schema = &described["schema"];
    let given = [&described["example"], &described["examples"][0], &schema["example"], &schema["examples"][0]];
    match given.into_iter().find(|example| !example.is_null()) {
        Some(Value::String(text)) => format!(" Example: <code>{}</code>", Escaped(text)),
        Some(other) => format!(" Example: <code>{}</code>", Escaped(other)),
        None => String::new(),
    }
}
