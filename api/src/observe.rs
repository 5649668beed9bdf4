//! The one layer around every route: request id, access log, metrics, panics, and the rendering of problems.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::{FutureExt, StreamExt};

use crate::AppState;
use crate::error::{ApiError, Problem};
use crate::http_metrics::UNMATCHED;
use crate::peer::Peer;
use crate::request_id::{RequestId, X_REQUEST_ID};

/// Wraps the handling of one request.
pub async fn observe(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let arrived = Instant::now();
    let request_id = RequestId::of(request.headers(), state.clock.now());
    let at_work = request.extensions().get::<ConnectInfo<Peer>>().map(|ConnectInfo(peer)| peer.begin());
    let seen = Seen::of(&request);

    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answered.unwrap_or_else(|panic| after_panic(&*panic));
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = render(response, &problem, &request_id);
    }

    let duration_s = arrived.elapsed().as_secs_f64();
    state.http_metrics.record(seen.route(), &seen.method, response.status(), duration_s);
    seen.log(response.status(), duration_s, &request_id);
    response.headers_mut().insert(X_REQUEST_ID, request_id.into_header());
    hold_while_streaming(response, at_work)
}

/// What is noted of a request before it is given away. No query, no header, and of the path only which route it took: they
/// may hold what logs must not, such as the address of a person who is erased tomorrow.
struct Seen {
    method: Method,
    route: Option<MatchedPath>,
}

impl Seen {
    fn of(request: &Request) -> Self {
        Self { method: request.method().clone(), route: request.extensions().get::<MatchedPath>().cloned() }
    }

    fn route(&self) -> Option<&str> {
        self.route.as_ref().map(MatchedPath::as_str)
    }

    /// What comes in great numbers is only counted: a line for each would cost more than the work it tells of.
    fn log(&self, status: StatusCode, duration_s: f64, request_id: &RequestId) {
        let duration_ms = duration_s * 1000.0;
        let route = self.route().unwrap_or(UNMATCHED);
        let (method, status_code, request_id) = (self.method.as_str(), status.as_u16(), request_id.as_str());
        let is_frequent = matches!(self.method, Method::POST | Method::OPTIONS) || is_frequent(route);
        if status == StatusCode::TOO_MANY_REQUESTS || (status.is_success() && is_frequent) {
            tracing::debug!(method, route, status = status_code, duration_ms, request_id, "answered");
        } else {
            tracing::info!(method, route, status = status_code, duration_ms, request_id, "answered");
        }
    }
}

/// Probes, and what pages of other sites load.
fn is_frequent(route: &str) -> bool {
    matches!(route, "/healthz" | "/readyz" | "/metrics" | "/api/v1/health" | "/t.js") || route.starts_with("/pixel/")
}

fn after_panic(panic: &(dyn Any + Send)) -> Response {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("panic");
    tracing::error!(panic = text, "a handler panicked");
    ApiError::Internal("a handler panicked").into_response()
}

/// Puts the problem's body under the head that its error made.
fn render(response: Response, problem: &Problem, request_id: &RequestId) -> Response {
    let (mut head, _) = response.into_parts();
    let (rendered, body) = problem.render(request_id.as_str()).into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.extend(rendered.headers);
    head.headers.insert(header::CACHE_CONTROL, axum::http::HeaderValue::from_static("no-store"));
    Response::from_parts(head, body)
}

/// Holds what belongs to a request until a streamed body has been sent. Others are sent at once.
pub fn hold_while_streaming<T: Send + 'static>(response: Response, held: Option<T>) -> Response {
    if held.is_none() || response.body().size_hint().exact().is_some() {
        return response;
    }
    response.map(|body| {
        Body::from_stream(body.into_data_stream().inspect(move |_| {
            let _held = &held;
        }))
    })
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::to_bytes;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;
    use crate::test_support::TestApi;

    async fn panicking() -> &'static str {
        panic!("secret detail")
    }

    #[tokio::test]
    async fn a_panic_becomes_a_problem_that_keeps_it_inside() {
        let api = TestApi::new().await;
        let router: Router =
            Router::new().route("/panic", get(panicking)).layer(from_fn_with_state(api.state.clone(), observe));
        let request = Request::get("/panic").header(X_REQUEST_ID, "r-1").body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()[X_REQUEST_ID], "r-1");
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["instance"], "r-1");
        assert!(!String::from_utf8_lossy(&body).contains("secret"));
    }
}
