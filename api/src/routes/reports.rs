//! Reports: each is one file. They share parameters, formats and paging through [`crate::report`].

use axum::Router;
use axum::routing::{MethodRouter, get};

use crate::AppState;
use crate::format::Format;

pub mod attribution;
pub mod first_touch;
pub mod funnel;
pub mod ingest;
pub mod messages;
pub mod paths;
pub mod retention;
pub mod sequences;
pub mod sessions;
pub mod traffic;

/// Every report once more for each format, under an address that a spreadsheet or a browser can keep:
/// `…/sessions.csv`.
pub fn with_suffixes() -> Router<AppState> {
    let reports: [(&str, MethodRouter<AppState>); 16] = [
        ("sessions", get(sessions::get_sessions)),
        ("first-touch", get(first_touch::get_first_touch)),
        ("traffic", get(traffic::get_traffic)),
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
