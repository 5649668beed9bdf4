//! The table of routes.

use axum::Router;
use axum::http::{HeaderMap, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::ApiError;
use crate::limits::{Kind, limited};
use crate::observe::observe;
use crate::{AppState, cors};

mod accounts;
mod audit;
mod compatible;
mod conversions;
mod data;
mod docs;
mod erasures;
mod events;
mod exports;
mod health;
mod healthz;
mod home;
mod identify;
mod jobs;
mod keys;
mod metrics;
mod people;
mod readyz;
mod rejected;
mod reports;
mod sessions;
mod settings;
mod snippet;
mod sql;
mod users;
mod validate;

/// Where the description of the API is served.
const OPENAPI_PATH: &str = "/api/openapi.json";
/// The name of the security scheme in the description.
const KEY_SCHEME: &str = "key";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Touchline",
        description = "First-party events in, sessions and first touches out. Times are RFC 3339, UTC. Errors are \
                       problem+json (RFC 9457). Every answer carries `X-Request-Id`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "ingest", description = "Sending events. A 2xx says that they are on disk."),
        (name = "reports", description = "Asking for numbers, in any of five formats from one query."),
        (name = "sql", description = "Asking the tables themselves."),
        (name = "exports", description = "Having answers written, on a schedule, to where others read them."),
        (name = "administration", description = "Keys, settings, users, accounts, erasures, jobs, refused events, and who changed what."),
        (name = "operations", description = "How the installation is.")
    ),
    components(schemas(
        crate::error::ProblemDetails,
        crate::error::ProblemItem,
        crate::report::answer::Envelope,
        crate::report::answer::Meta,
        crate::report::answer::Links,
        crate::report::explanation::Explanation,
        crate::report::explanation::ExplainedStatement,
        crate::report::explanation::ExplainedFile,
    )),
)]
struct Description;

/// All routes, and their description.
pub fn router(state: AppState) -> (Router, OpenApi) {
    let (routes, mut description) = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(reports::overview::get_overview))
        .routes(routes!(reports::sessions::get_sessions))
        .routes(routes!(reports::visitors::get_visitors))
        .routes(routes!(reports::first_touch::get_first_touch))
        .routes(routes!(reports::traffic::get_traffic))
        .routes(routes!(reports::utm::get_utm))
        .routes(routes!(reports::pages::get_pages))
        .routes(routes!(reports::events::get_events))
        .routes(routes!(reports::realtime::get_realtime))
        .routes(routes!(reports::attribution::get_attribution))
        .routes(routes!(reports::funnel::get_funnel))
        .routes(routes!(reports::retention::get_retention))
        .routes(routes!(reports::paths::get_paths))
        .routes(routes!(reports::messages::get_messages))
        .routes(routes!(reports::messages::reasons::get_reasons))
        .routes(routes!(reports::messages::frequency::get_frequency))
        .routes(routes!(reports::messages::overlap::get_overlap))
        .routes(routes!(reports::messages::site_messages::get_site_messages))
        .routes(routes!(reports::sequences::get_sequences))
        .routes(routes!(reports::sequences::steps::get_steps))
        .routes(routes!(reports::sequences::lift::get_lift))
        .routes(routes!(reports::sequences::branches::get_branches))
        .routes(routes!(reports::ingest::get_ingest))
        .routes(routes!(data::conversions::get_conversions))
        .routes(routes!(data::funnel::get_funnel))
        .routes(routes!(people::get_person))
        .routes(routes!(people::ids::get_ids))
        .routes(routes!(people::events::get_events))
        .routes(routes!(people::sessions::get_sessions))
        .routes(routes!(people::touches::get_touches))
        .routes(routes!(sql::post_sql))
        .routes(routes!(sql::schema::get_sql_schema))
        .routes(routes!(keys::get_keys, keys::post_keys))
        .routes(routes!(keys::rotate::post_rotate))
        .routes(routes!(keys::revoke::post_revoke))
        .routes(routes!(settings::get_settings, settings::patch_settings))
        .routes(routes!(accounts::get_accounts, accounts::post_accounts))
        .routes(routes!(accounts::suspend::post_suspend))
        .routes(routes!(accounts::resume::post_resume))
        .routes(routes!(users::get_users, users::post_users))
        .routes(routes!(users::user::patch_user, users::user::delete_user))
        .routes(routes!(audit::get_audit))
        .routes(routes!(erasures::get_erasures, erasures::post_erasures))
        .routes(routes!(erasures::erasure::get_erasure))
        .routes(routes!(rejected::get_rejected))
        .routes(routes!(rejected::reasons::get_rejected_reasons))
        .routes(routes!(rejected::event::get_rejected_event))
        .routes(routes!(rejected::replay::post_replay))
        .routes(routes!(jobs::get_jobs))
        .routes(routes!(jobs::run::post_run))
        .routes(routes!(jobs::history::get_history))
        .routes(routes!(exports::get_exports, exports::post_exports))
        .routes(routes!(exports::export::get_export, exports::export::patch_export, exports::export::delete_export))
        .routes(routes!(exports::run::post_export_run))
        .routes(routes!(exports::runs::get_runs))
        .routes(routes!(exports::secret::post_secret))
        .routes(routes!(healthz::get_healthz))
        .routes(routes!(readyz::get_readyz))
        .routes(routes!(metrics::get_metrics))
        .routes(routes!(home::get_home))
        .split_for_parts();
    let (ingest, described) = ingest();
    description.merge(described);
    describe_key(&mut description);

    let page = docs::page(&serde_json::to_value(&description).unwrap_or_default());
    let text = description.to_pretty_json().unwrap_or_default();
    let openapi = get(move || std::future::ready(([(header::CONTENT_TYPE, "application/json")], text.clone())));
    let snippet = snippet::Snippet::new();
    let snippet = get(move |asked: HeaderMap| std::future::ready(snippet.answer(&asked)));
    let router = routes
        .merge(reports::with_suffixes())
        .route(OPENAPI_PATH, openapi)
        .route(home::STYLE_PATH, get(home::get_style))
        .route(docs::PATH, get(move || std::future::ready(docs::answer(page.clone()))))
        .route(docs::STYLE_PATH, get(docs::get_style))
        .route(snippet::PATH, snippet)
        .layer(from_fn(|request, next| limited(Kind::Reading, request, next)))
        .merge(ingest)
        .fallback(|| std::future::ready(ApiError::NotFound))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(state.clone(), observe))
        .with_state(state);
    (router, description)
}

/// What clients send to: open to the pages of every site, and counted apart.
fn ingest() -> (Router<AppState>, OpenApi) {
    let (routes, description) = OpenApiRouter::new()
        .routes(routes!(events::post_events))
        .routes(routes!(sessions::post_session))
        .routes(routes!(conversions::post_conversion))
        .routes(routes!(identify::post_identify))
        .routes(routes!(compatible::segment::post_segment))
        .routes(routes!(compatible::segment::post_beacon))
        .routes(routes!(compatible::segment::get_settings))
        .routes(routes!(compatible::pixel::get_pixel))
        .routes(routes!(compatible::posthog::post_posthog))
        .routes(routes!(compatible::plausible::post_plausible))
        .routes(routes!(compatible::umami::post_umami))
        .routes(routes!(validate::get_validate))
        .routes(routes!(health::get_health))
        .split_for_parts();
    let routes = routes
        .merge(compatible::posthog::elsewhere())
        // Here, so that pages can read this refusal as well, and `OPTIONS` is none.
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn(|request, next| limited(Kind::Ingest, request, next)))
        .layer(cors::open());
    (routes, description)
}

async fn method_not_allowed() -> ApiError {
    ApiError::MethodNotAllowed
}

/// The routes that an export can ask: reports and statements. Nobody observes them, and no network reaches them.
pub(crate) fn questions(state: AppState) -> Router {
    reports::without_suffixes()
        .route("/api/v1/sql", post(sql::post_sql))
        .fallback(|| std::future::ready(ApiError::NotFound))
        .with_state(state)
}

fn describe_key(description: &mut OpenApi) {
    let mut scheme = Http::new(HttpAuthScheme::Bearer);
    scheme.description = Some("`Authorization: Bearer sk_live_…`".to_owned());
    description.components.get_or_insert_default().add_security_scheme(KEY_SCHEME, SecurityScheme::Http(scheme));
}

#[cfg(test)]
mod tests;
