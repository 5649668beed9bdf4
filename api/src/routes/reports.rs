//! Reports: each is one file. They share parameters, formats and paging through [`crate::report`].

use axum::Router;
use axum::routing::{MethodRouter, get};

use super::people;
use crate::AppState;
use crate::format::Format;

pub mod attribution;
pub mod events;
pub mod first_touch;
pub mod funnel;
pub mod ingest;
pub mod messages;
pub mod overview;
pub mod pages;
pub mod paths;
pub mod realtime;
pub mod retention;
pub mod sequences;
pub mod sessions;
pub mod traffic;
pub mod utm;
pub mod visitors;

/// Every report.
fn all() -> [(&'static str, MethodRouter<AppState>); 22] {
    [
        ("overview", get(overview::get_overview)),
        ("sessions", get(sessions::get_sessions)),
        ("visitors", get(visitors::get_visitors)),
        ("first-touch", get(first_touch::get_first_touch)),
        ("traffic", get(traffic::get_traffic)),
        ("utm", get(utm::get_utm)),
        ("pages", get(pages::get_pages)),
        ("events", get(events::get_events)),
        ("realtime", get(realtime::get_realtime)),
        ("attribution", get(attribution::get_attribution)),
        ("funnel", get(funnel::get_funnel)),
        ("retention", get(retention::get_retention)),
        ("paths", get(paths::get_paths)),
        ("messages", get(messages::get_messages)),
        ("messages/reasons", get(messages::reasons::get_reasons)),
        ("messages/frequency", get(messages::frequency::get_frequency)),
        ("messages/overlap", get(messages::overlap::get_overlap)),
        ("messages/site-messages", get(messages::site_messages::get_site_messages)),
        ("sequences", get(sequences::get_sequences)),
        ("sequences/{id}/lift", get(sequences::lift::get_lift)),
        ("sequences/{id}/branches", get(sequences::branches::get_branches)),
        ("ingest", get(ingest::get_ingest)),
    ]
}

/// Every report under its address.
pub fn without_suffixes() -> Router<AppState> {
    let steps = ("sequences/{id}", get(sequences::steps::get_steps));
    all()
        .into_iter()
        .chain([steps])
        .fold(Router::new(), |router, (name, handler)| router.route(&format!("/api/v1/reports/{name}"), handler))
}

/// Every report once more for each format, under an address that a spreadsheet or a browser can keep:
/// `…/sessions.csv`.
pub fn with_suffixes() -> Router<AppState> {
    let people: [(&str, MethodRouter<AppState>); 4] = [
        ("ids", get(people::ids::get_ids)),
        ("events", get(people::events::get_events)),
        ("sessions", get(people::sessions::get_sessions)),
        ("touches", get(people::touches::get_touches)),
    ];
    let reports = all().into_iter().map(|(name, handler)| (format!("reports/{name}"), handler));
    let people = people.into_iter().map(|(name, handler)| (format!("people/{{id}}/{name}"), handler));
    let mut router = Router::new();
    for (name, handler) in reports.chain(people) {
        for format in Format::ALL {
            router = router.route(&format!("/api/v1/{name}.{}", format.word()), handler.clone());
        }
    }
    router
}

/// The id at the end of an address, which may have the suffix of a format behind it.
pub fn without_suffix(id: &str) -> String {
    let named = Format::from_suffix(id).map(|format| format!(".{}", format.word()));
    named.and_then(|suffix| id.strip_suffix(&suffix)).unwrap_or(id).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffix_of_a_format_is_no_part_of_an_id() {
        for (id, expected) in [
            ("welcome", "welcome"),
            ("welcome.csv", "welcome"),
            ("v1.2", "v1.2"),
            ("a.json.csv", "a.json"),
            (".csv", ""),
        ] {
            assert_eq!(without_suffix(id), expected);
        }
    }
}
