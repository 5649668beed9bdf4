//! `GET /`: what runs here, how fresh it is, and where to go.

use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use chrono::{DateTime, Utc};
use touchline_schemas::control::JobRun;

use crate::html::{Escaped, GUARDS};
use crate::report::params::instant_text;
use crate::{AppState, VERSION};

/// Where the page is.
pub const PATH: &str = "/";
/// Where its style lies: in a file of its own, so that the pages' policy needs no exception.
pub const STYLE_PATH: &str = "/home.css";

/// Jobs whose tables the reports read, in the order in which data flows through them.
const JOBS: [&str; 3] = ["sessions", "visitors", "attribution"];

/// Addresses that the page leads to, and what is there.
const LINKS: [(&str, &str); 7] = [
    (super::docs::PATH, "how to use the API"),
    ("/api/openapi.json", "the same for programs (OpenAPI)"),
    ("/api/v1/reports/sessions.csv", "sessions as CSV (needs a key with can_view_reports)"),
    ("/api/v1/reports/first-touch?by=utm_source", "visitors by first touch"),
    ("/api/v1/reports/traffic?by=channel", "sessions by channel"),
    ("/api/v1/reports/ingest", "what came in, per hour"),
    ("/metrics", "metrics for Prometheus"),
];

/// A page that says what runs here
///
/// For people. Names no account and no number of anybody's.
#[utoipa::path(
    get,
    path = "/",
    tag = "operations",
    responses((status = 200, description = "The page", body = String, content_type = "text/html")),
)]
pub async fn get_home(State(state): State<AppState>) -> impl IntoResponse {
    let mut freshness = Vec::with_capacity(JOBS.len());
    for job in JOBS {
        // The page must come even when the database does not answer: that is when people look at it.
        let last = state.control.last_success(job).await.inspect_err(|error| {
            tracing::warn!(error = error as &dyn std::error::Error, job, "freshness is not known");
        });
        freshness.push((job, last.ok().flatten()));
    }
    let can_keep = state.ingest.health().is_ok();
    (GUARDS, Html(page(&freshness, can_keep, state.clock.now())))
}

/// The page's style.
pub async fn get_style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE)
}

const STYLE: &str = "\
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
body { max-width: 46rem; margin: 3rem auto; padding: 0 1rem }
h1 { margin-bottom: 0 }
table { border-collapse: collapse }
th, td { text-align: left; padding: .25rem 1.5rem .25rem 0; border-bottom: 1px solid; vertical-align: top }
code { font-family: ui-monospace, monospace }
";

fn page(freshness: &[(&str, Option<JobRun>)], can_keep: bool, now: DateTime<Utc>) -> String {
    let state =
        if can_keep { "Events are being taken." } else { "Events cannot be kept now: the log cannot be written." };
    let rows: String = freshness.iter().map(|(job, run)| row(job, run.as_ref(), now)).collect();
    let links: String = LINKS
        .iter()
        .map(|(address, what)| {
            format!("<li><a href=\"{0}\"><code>{0}</code></a>: {1}</li>\n", Escaped(address), Escaped(what))
        })
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Touchline</title>\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<link rel=\"stylesheet\" href=\"{STYLE_PATH}\">\n\
         </head>\n<body>\n<h1>Touchline</h1>\n<p>Version {version}. {state} \
         It is {now} (UTC).</p>\n\
         <h2>How fresh the reports are</h2>\n<table>\n<thead><tr><th scope=\"col\">Table</th>\
         <th scope=\"col\">Holds what arrived before</th><th scope=\"col\">Computed</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table>\n<h2>Where to go</h2>\n<ul>\n{links}</ul>\n\
         <p>Events are posted to <code>/api/v1/events</code> with the header \
         <code>Authorization: Bearer &lt;key&gt;</code>.</p>\n</body>\n</html>\n",
        version = Escaped(VERSION),
        state = Escaped(state),
        now = Escaped(now.format("%Y-%m-%d %H:%M:%S")),
    )
}

fn row(job: &str, run: Option<&JobRun>, now: DateTime<Utc>) -> String {
    let never = || "never".to_owned();
    let watermark = run.and_then(|run| run.watermark).map_or_else(never, instant_text);
    let computed = run
        .and_then(|run| run.finished_at)
        .map_or_else(never, |at| format!("{} s ago", (now - at).num_seconds().max(0)));
    format!(
        "<tr><th scope=\"row\"><code>{}</code></th><td>{}</td><td>{}</td></tr>\n",
        Escaped(job),
        Escaped(watermark),
        Escaped(computed)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_was_never_computed_says_so() {
        let html = page(&[("sessions", None)], false, DateTime::UNIX_EPOCH);
        assert!(html.contains("<td>never</td>") && html.contains("cannot be kept"));
    }
}
