//! Which pages of other sites may ask us: all may send events, without credentials of the browser's. The rest is closed to
//! them, as it is where nothing is said.

use std::time::Duration;

use axum::http::{HeaderName, Method, header};
use tower_http::cors::{AllowHeaders, Any, CorsLayer, Vary};

use crate::limits::{RATELIMIT, RATELIMIT_POLICY};
use crate::request_id::X_REQUEST_ID;

/// For how long a browser may remember that it may send. Browsers have shorter limits of their own.
const PREFLIGHT_AGE: Duration = Duration::from_secs(86_400);
/// What a page may read of an answer, besides what it always may.
const EXPOSED: [HeaderName; 4] = [X_REQUEST_ID, header::RETRY_AFTER, RATELIMIT_POLICY, RATELIMIT];

/// Around the routes that every page may ask. It answers `OPTIONS` itself.
pub fn open() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        // `*` would not mean `Authorization`.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(EXPOSED)
        .max_age(PREFLIGHT_AGE)
        // The answer to everybody is the same, but for preflights, which nobody caches by address.
        .vary(Vary::list([]))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, StatusCode};

    use super::*;
    use crate::test_support::{Answer, TestApi};

    const INGEST: [(&str, &str); 14] = [
        ("POST", "/api/v1/events"),
        ("POST", "/api/v1/sessions"),
        ("POST", "/api/v1/conversions"),
        ("POST", "/api/v1/identify"),
        ("POST", "/v1/batch"),
        ("GET", "/v1/projects/pk_live_1/settings"),
        ("POST", "/beacon/v1/batch"),
        ("GET", "/pixel/v1/page"),
        ("POST", "/batch/"),
        ("POST", "/i/v0/e/"),
        ("POST", "/api/event"),
        ("POST", "/api/send"),
        ("GET", "/api/v1/validate"),
        ("GET", "/api/v1/health"),
    ];

    async fn ask(api: &TestApi, method: &str, path: &str, headers: &[(HeaderName, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(header::ORIGIN, "https://shop.example");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        api.send(request.body(Body::empty()).unwrap()).await
    }

    async fn preflight(api: &TestApi, method: &str, path: &str) -> Answer {
        let headers = [
            (header::ACCESS_CONTROL_REQUEST_METHOD, method),
            (header::ACCESS_CONTROL_REQUEST_HEADERS, "authorization,content-type"),
        ];
        ask(api, "OPTIONS", path, &headers).await
    }

    fn said(answer: &Answer, name: &HeaderName) -> String {
        answer.headers.get(name).map(|value| value.to_str().unwrap().to_ascii_lowercase()).unwrap_or_default()
    }

    #[tokio::test]
    async fn every_page_may_send() {
        let api = TestApi::new().await;
        for (method, path) in INGEST {
            let answer = preflight(&api, method, path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            assert_eq!(said(&answer, &header::ACCESS_CONTROL_ALLOW_ORIGIN), "*", "{path}");
            assert!(said(&answer, &header::ACCESS_CONTROL_ALLOW_METHODS).contains(&method.to_lowercase()), "{path}");
            assert_eq!(said(&answer, &header::ACCESS_CONTROL_ALLOW_HEADERS), "authorization,content-type", "{path}");
            assert_eq!(said(&answer, &header::ACCESS_CONTROL_MAX_AGE), "86400", "{path}");
            assert_eq!(said(&answer, &header::ACCESS_CONTROL_ALLOW_CREDENTIALS), "", "{path}");
        }
    }

    #[tokio::test]
    async fn pages_can_read_why_they_were_refused() {
        let api = TestApi::new().await;
        for (method, path, status) in [("POST", "/api/v1/events", 401), ("GET", "/api/v1/events", 405)] {
            let answer = ask(&api, method, path, &[]).await;
            assert_eq!(answer.status, status);
            assert_eq!(said(&answer, &header::ACCESS_CONTROL_ALLOW_ORIGIN), "*");
            let exposed = said(&answer, &header::ACCESS_CONTROL_EXPOSE_HEADERS);
            for name in ["x-request-id", "retry-after", "ratelimit", "ratelimit-policy"] {
                assert!(exposed.split(',').any(|exposed| exposed.trim() == name), "{exposed}");
            }
        }
    }

    #[tokio::test]
    async fn no_page_may_ask_for_anything_else() {
        let api = TestApi::new().await;
        let key = api.key("admin").await;
        let bearer = format!("Bearer {key}");
        for path in ["/api/v1/reports/overview", "/api/v1/reports/overview.csv", "/api/v1/keys", "/", "/nowhere"] {
            for answer in
                [preflight(&api, "GET", path).await, ask(&api, "GET", path, &[(header::AUTHORIZATION, &bearer)]).await]
            {
                let cors = answer.headers.keys().filter(|name| name.as_str().starts_with("access-control"));
                assert_eq!(cors.count(), 0, "{path}");
            }
            assert!(!preflight(&api, "GET", path).await.status.is_success(), "{path}");
        }
    }
}
