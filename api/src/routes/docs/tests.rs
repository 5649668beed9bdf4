//! The page of our own description.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Request, header};

use super::operation::Operation;
use super::*;
use crate::test_support::{Answer, TestApi};

async fn shown() -> (Answer, Value) {
    let api = TestApi::new().await;
    let (_, description) = crate::router(api.state.clone());
    let answer = api.send(Request::get(PATH).body(Body::empty()).unwrap()).await;
    (answer, serde_json::to_value(&description).unwrap())
}

/// The values of an attribute.
fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!(" {name}=\"");
    page.split(&begin).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[tokio::test]
async fn every_operation_is_on_the_page_with_all_that_is_said_of_it() {
    let (answer, document) = shown().await;
    let page = &answer.body;
    let operations = Operation::all(&document);
    assert!(operations.len() > 60);
    for operation in &operations {
        let name = format!("{} {}", operation.method, operation.path);
        let begin = format!("<section id=\"{}\">", operation.anchor());
        let section = page.split(&begin).nth(1).unwrap_or_else(|| panic!("{name} is not there"));
        let section = section.split("</section>").next().unwrap();
        let heading = format!("<b>{}</b> {}", operation.method, Escaped(operation.path));
        assert!(section.contains(&heading) && section.contains("curl"), "{name}");
        let has = |text: String| assert!(section.contains(&text), "{name} lacks {text}");
        has(Sentence(text(operation.described, "summary")).to_string());
        has(Prose(text(operation.described, "description")).to_string());
        for parameter in list(operation.described, "parameters") {
            has(format!("<code>{}</code></th>", Escaped(text(parameter, "name"))));
            has(Sentence(text(parameter, "description")).to_string());
        }
        for (status, described) in members(operation.described, "responses") {
            has(format!("<th scope=\"row\">{status}</th>"));
            has(Sentence(text(described, "description")).to_string());
        }
        for (media_type, _) in members(&operation.described["requestBody"], "content") {
            has(format!("<code>{media_type}</code>"));
        }
        for scope in list(operation.described, "security").flat_map(|scheme| list(scheme, "key")) {
            has(format!("<code>{}</code>", scope.as_str().unwrap()));
        }
    }
    for (name, schema) in members(&document["components"], "schemas") {
        let section = page.split(&format!("<code>{name}</code></a></h3>")).nth(1).unwrap_or_else(|| panic!("{name}"));
        let section = section.split("</section>").next().unwrap();
        for (member, _) in members(schema, "properties") {
            assert!(section.contains(&format!("<code>{member}</code></th>")), "{name}.{member}");
        }
    }
}

#[tokio::test]
async fn the_page_loads_nothing_and_leads_nowhere_else() {
    let (answer, _) = shown().await;
    let page = &answer.body;
    let policy = answer.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
    for absent in ["<script", " style=", " src=", "<img", "@import", "javascript:"] {
        assert!(!page.contains(absent), "{absent}");
    }
    let ids = attributes(page, "id");
    let known: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), known.len(), "no two things have one name");
    for target in attributes(page, "href") {
        let is_ours = match target.strip_prefix('#') {
            Some(id) => known.contains(id),
            None => [STYLE_PATH, OPENAPI_PATH, home::PATH].contains(&target),
        };
        assert!(is_ours, "{target}");
    }
    assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
}

#[tokio::test]
async fn what_is_opened_is_closed() {
    const ALONE: [&str; 4] = ["!doctype", "meta", "link", "br"];
    let (answer, _) = shown().await;
    let mut open = Vec::new();
    for tag in answer.body.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap_or_else(|| panic!("{tag} has no end"));
        let name = tag.split(' ').next().unwrap();
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name)),
            None if ALONE.contains(&name) => {}
            None => open.push(name),
        }
    }
    assert_eq!(open, Vec::<&str>::new());
}

#[tokio::test]
async fn the_style_has_both_lights() {
    let api = TestApi::new().await;
    let style = api.send(Request::get(STYLE_PATH).body(Body::empty()).unwrap()).await;
    assert_eq!(style.headers[header::CONTENT_TYPE], "text/css; charset=utf-8");
    assert!(style.body.contains("color-scheme: light dark") && style.body.contains("prefers-color-scheme: dark"));
}
