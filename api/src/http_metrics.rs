//! Counting requests without building a metric's key for each.

use std::collections::HashMap;

use axum::http::{Method, StatusCode};
use metrics::{Counter, Histogram, counter, describe_counter, describe_histogram, histogram};
use parking_lot::RwLock;

/// Requests that were answered, by route, method and status.
const REQUESTS_TOTAL: &str = "touchline_http_requests_total";
/// Seconds from a request's head to its answer's head, by route.
const DURATION_SECONDS: &str = "touchline_http_request_duration_seconds";
/// The route of requests that match none: one label, however many addresses are tried.
pub const UNMATCHED: &str = "unmatched";

/// The request metrics. Handles are kept per route, so this must be made after the recorder is installed.
#[derive(Debug, Default)]
pub struct HttpMetrics {
    routes: RwLock<HashMap<String, RouteMetrics>>,
}

#[derive(Debug)]
struct RouteMetrics {
    duration_s: Histogram,
    /// A route sees a handful of these: looking through them beats hashing.
    requests: Vec<(Method, StatusCode, Counter)>,
}

impl HttpMetrics {
    /// Nothing counted yet.
    pub fn new() -> Self {
        describe_counter!(REQUESTS_TOTAL, "Requests that were answered");
        describe_histogram!(
            DURATION_SECONDS,
            metrics::Unit::Seconds,
            "Time from a request's head to its answer's head"
        );
        Self::default()
    }

    /// Counts one answer.
    pub fn record(&self, route: Option<&str>, method: &Method, status: StatusCode, duration_s: f64) {
        let route = route.unwrap_or(UNMATCHED);
        if !self.record_known(route, method, status, duration_s) {
            self.register(route, method, status);
            self.record_known(route, method, status, duration_s);
        }
    }

    fn record_known(&self, route: &str, method: &Method, status: StatusCode, duration_s: f64) -> bool {
        let routes = self.routes.read();
        let Some(known) = routes.get(route) else { return false };
        let same = |entry: &&(Method, StatusCode, Counter)| entry.1 == status && same_label(&entry.0, method);
        let Some((_, _, requests)) = known.requests.iter().find(same) else { return false };
        requests.increment(1);
        known.duration_s.record(duration_s);
        true
    }

    fn register(&self, route: &str, method: &Method, status: StatusCode) {
        let mut routes = self.routes.write();
        let metrics = routes.entry(route.to_owned()).or_insert_with(|| RouteMetrics {
            duration_s: histogram!(DURATION_SECONDS, "route" => route.to_owned()),
            requests: Vec::new(),
        });
        let requests = counter!(
            REQUESTS_TOTAL,
            "route" => route.to_owned(),
            "method" => label(method).to_owned(),
            "status" => status.as_str().to_owned()
        );
        metrics.requests.push((method.clone(), status, requests));
    }
}

/// Methods that a client invents are one label, or the client could fill our memory with them.
fn label(method: &Method) -> &str {
    match *method {
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE | Method::OPTIONS => {
            method.as_str()
        }
        _ => "other",
    }
}

fn same_label(one: &Method, other: &Method) -> bool {
    label(one) == label(other)
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn answers_are_counted_by_route_method_and_status() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let metrics = HttpMetrics::new();
            for status in [StatusCode::OK, StatusCode::OK, StatusCode::NOT_FOUND] {
                metrics.record(Some("/x"), &Method::GET, status, 0.001);
            }
            metrics.record(None, &Method::from_bytes(b"BREW").unwrap(), StatusCode::NOT_FOUND, 0.001);
            metrics.record(None, &Method::from_bytes(b"STIR").unwrap(), StatusCode::NOT_FOUND, 0.001);
        });
        let text = recorder.handle().render();
        for line in [
            r#"touchline_http_requests_total{route="/x",method="GET",status="200"} 2"#,
            r#"touchline_http_requests_total{route="/x",method="GET",status="404"} 1"#,
            r#"touchline_http_requests_total{route="unmatched",method="other",status="404"} 2"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
