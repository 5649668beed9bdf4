//! `GET /healthz`: is this process alive?

/// Says that the process is alive
///
/// Asks nothing else: a process that waits for its disk must not be restarted for it.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "operations",
    responses((status = 200, description = "It is", body = String, content_type = "text/plain")),
)]
pub async fn get_healthz() -> &'static str {
    "ok\n"
}
