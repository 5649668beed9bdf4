//! Reports: each is one file. They share parameters, formats and paging through [`crate::report`].

use axum::Router;
use axum::routing::{MethodRouter, get};

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

/// Every report once more for each format, under an address that a spreadsheet or a browser can keep:
/// `…/sessions.csv`.
pub fn with_suffixes() -> Router<AppState> {
    let reports: [(&str, MethodRouter<AppState>); 22] = [
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
    ];
    let mut router = Router::new();
    for (name, handler) in reports {
        for format in Format::ALL {
            router = router.route(&format!("/api/v1/reports/{name}.{}", format.word()), handler.clone());
        }
    }
    router
}
