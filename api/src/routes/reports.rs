//! Reports: each is one file. They share parameters, formats and paging through [`crate::report`].

use axum::Router;
use axum::routing::{MethodRouter, get};

use crate::AppState;
use crate::format::Format;

pub mod attribution;
pub mod first_touch;
pub mod funnel;
pub mod ingest;
pub mod paths;
pub mod retention;
pub mod sessions;
pub mod traffic;

/// Every report once more for each format, under an address that a spreadsheet or a browser can keep:
/// `…/sessions.csv`.
pub fn with_suffixes() -> Router<AppState> {
    let reports: [(&str, MethodRouter<AppState>); 8] = [
        ("sessions", get(sessions::get_sessions)),
        ("first-touch", get(first_touch::get_first_touch)),
        ("traffic", get(traffic::get_traffic)),
        ("attribution", get(attribution::get_attribution)),
        ("funnel", get(funnel::get_funnel)),
        ("retention", get(retention::get_retention)),
        ("paths", get(paths::get_paths)),
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
