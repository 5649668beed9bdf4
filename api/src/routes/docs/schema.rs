//! Schemas on the page: types in words, a table for each object, and examples made of them.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::operation::{example, table};
use super::{list, members, text};
use crate::html::{Escaped, Prose, Sentence};

/// Where references to schemas begin.
const COMPONENTS: &str = "#/components/schemas/";
/// How deep examples go: no schema of ours is deeper, and one that holds itself would have no end.
const MAX_DEPTH: usize = 8;

/// The schemas of a description.
pub(super) struct Schemas<'a>(&'a Value);

impl<'a> Schemas<'a> {
    pub fn of(document: &'a Value) -> Self {
        Self(&document["components"])
    }

    /// A section for each.
    pub fn sections(&self) -> String {
        let mut sections = String::new();
        for (name, schema) in members(self.0, "schemas") {
            // Writing to a `String` cannot fail.
            let _ = writeln!(
                sections,
                "<section id=\"{0}\">\n<h3><a href=\"#{0}\"><code>{1}</code></a></h3>\n{2}\n{3}</section>",
                anchor(name),
                Escaped(name),
                Prose(text(schema, "description")),
                self.table(schema),
            );
        }
        sections
    }

    /// The members of an object, also of one that is put together from others.
    fn table(&self, schema: &Value) -> String {
        let mut tables = String::new();
        for part in list(schema, "allOf") {
            tables.push_str(&match named(part) {
                Some(_) => format!("<p>Everything in {}, and:</p>\n", self.kind(part)),
                None => self.table(part),
            });
        }
        let needed: Vec<&str> = list(schema, "required").filter_map(Value::as_str).collect();
        let mut rows = String::new();
        for (name, member) in members(schema, "properties") {
            // Writing to a `String` cannot fail.
            let _ = writeln!(
                rows,
                "<tr><th scope=\"row\"><code>{}</code></th><td>{}{}</td><td>{}{}</td></tr>",
                Escaped(name),
                self.kind(member),
                if needed.contains(&name) { ", always there" } else { "" },
                Sentence(text(member, "description")),
                example(member),
            );
        }
        tables.push_str(&table("Members", &["Name", "Type", "Meaning"], &rows));
        if tables.is_empty() { format!("<p>{}</p>\n", self.kind(schema)) } else { tables }
    }

    /// A type in words, with links to those that have a section.
    pub fn kind(&self, schema: &Value) -> String {
        if let Some(name) = named(schema) {
            return format!("<a href=\"#{}\"><code>{}</code></a>", anchor(name), Escaped(name));
        }
        let choices = ["oneOf", "anyOf", "allOf"].into_iter().find(|name| schema[*name].is_array());
        if let Some(choices) = choices {
            let kinds: Vec<String> = list(schema, choices).map(|part| self.kind(part)).collect();
            return kinds.join(if choices == "allOf" { " and " } else { " or " });
        }
        let words = match &schema["type"] {
            Value::String(word) => self.word(word, schema),
            Value::Array(words) => {
                let words = words.iter().filter_map(Value::as_str).map(|word| self.word(word, schema));
                words.collect::<Vec<_>>().join(" or ")
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
        };
        let values: Vec<String> =
            list(schema, "enum").map(|value| format!("<code>{}</code>", Escaped(value))).collect();
        if values.is_empty() { words } else { format!("{words}: {}", values.join(", ")) }
    }

    fn word(&self, word: &str, schema: &Value) -> String {
        match (word, text(schema, "format")) {
            ("array", _) => {
                let items = self.kind(&schema["items"]);
                if items.is_empty() { "list".to_owned() } else { format!("list of {items}") }
            }
            ("null", _) | (_, "") => Escaped(word).to_string(),
            (word, format) => format!("{} ({})", Escaped(word), Escaped(format)),
        }
    }

    /// A value of this form: what it gives as an example, else the members that are needed or have one.
    pub fn example(&self, schema: &Value) -> Value {
        self.example_at(schema, 0)
    }

    fn example_at(&self, schema: &Value, depth: usize) -> Value {
        let given = [&schema["example"], &schema["examples"][0]];
        if let Some(given) = given.into_iter().find(|example| !example.is_null()) {
            return given.clone();
        }
        if depth == MAX_DEPTH {
            return Value::Null;
        }
        if let Some(name) = named(schema) {
            return self.example_at(&self.0["schemas"][name], depth + 1);
        }
        let is_something = |part: &&Value| part["type"] != "null";
        if let Some(choice) = list(schema, "oneOf").chain(list(schema, "anyOf")).find(is_something) {
            return self.example_at(choice, depth + 1);
        }
        let mut object = Map::new();
        for part in list(schema, "allOf") {
            if let Value::Object(members) = self.example_at(part, depth + 1) {
                object.extend(members);
            }
        }
        let needed: Vec<&str> = list(schema, "required").filter_map(Value::as_str).collect();
        for (name, member) in members(schema, "properties") {
            if needed.contains(&name) || member.get("example").is_some() || member.get("examples").is_some() {
                object.insert(name.to_owned(), self.example_at(member, depth + 1));
            }
        }
        if !object.is_empty() {
            return Value::Object(object);
        }
        let words = list(schema, "type").chain([&schema["type"]]).filter_map(Value::as_str);
        match (words.into_iter().find(|word| *word != "null"), text(schema, "format")) {
            (Some("array"), _) => json!([self.example_at(&schema["items"], depth + 1)]),
            (Some("object"), _) => json!({}),
            (Some("integer"), _) => json!(1),
            (Some("number"), _) => json!(1.5),
            (Some("boolean"), _) => json!(true),
            (Some("string"), "uuid") => json!("00000000-0000-7000-8000-000000000000"),
            (Some("string"), "date") => json!("2026-01-31"),
            (Some("string"), "date-time") => json!("2026-01-31T00:00:00Z"),
            (Some(_), _) => json!("text"),
            (None, _) => Value::Null,
        }
    }
}

/// The name of the schema that is referred to.
fn named(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix(COMPONENTS)
}

fn anchor(name: &str) -> String {
    let letters = name.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '-' });
    format!("schema-{}", letters.collect::<String>())
}
