//! `GET /api/v1/reports/paths`: which page follows which.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::paths;
use utoipa::IntoParams;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{AnswerParams, Parameter, RangeParams};
use crate::report::{Asked, Meta, ReportRows};

const START: &str = "start";
const DEPTH: &str = "depth";
const TAKEN: [Parameter; 3] = [Parameter::Own(START), Parameter::Own(DEPTH), Parameter::Limit];

/// The tree.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct PathsParams {
    /// The path of the page from which on. Default: the page with which each session begins.
    #[param(example = "/")]
    pub start: Option<String>,
    /// Levels of the tree, the start's included, 1 to 10. Default 3.
    #[param(example = 3, minimum = 1, maximum = 10)]
    pub depth: Option<u64>,
    /// Most nodes of a level, from 1 to the operator's `query.max_limit`. Default 20. What is left is `(other)`.
    #[param(example = 20, minimum = 1)]
    pub limit: Option<u64>,
}

/// Shows which page follows which
///
/// Needs the scope `can_view_reports`. Sessions that began in the range, by the pages that they viewed one after the
/// other: a tree whose nodes name the one above them. A page that is loaded again counts once.
#[utoipa::path(
    get,
    path = "/api/v1/reports/paths",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(RangeParams, AnswerParams, PathsParams),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_paths(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let params = paths::Params {
        range: asked.query.range,
        start: asked.query.own(START),
        depth: asked.query.own(DEPTH),
        limit: asked.query.limit,
    };
    let engine = asked.engine(&state, &caller, &paths::TABLES).await?;
    let compute = async {
        let found = paths::query(&engine, caller.tenant(), &params).await?;
        let meta = Meta::of(&found.meta, &asked.query);
        answer::all(&asked, &found.schema, found.batches, &meta).await
    };
    asked.once(&state, paths::DEFINITION, compute).await
}
