//! Parameters that reports share, for the description of the API.

use utoipa::IntoParams;

/// Which range, of reports that look at the last days unless they are told otherwise.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct RangeParams {
    /// Begin of the range, included: RFC 3339, or `YYYY-MM-DD` for midnight UTC. Default: midnight UTC 30 days
    /// before `to`, or before now.
    #[param(example = "2026-01-01")]
    pub from: Option<String>,
    /// End of the range, excluded: RFC 3339, or `YYYY-MM-DD` for midnight UTC. Default: open.
    #[param(example = "2026-02-01T00:00:00Z")]
    pub to: Option<String>,
}

/// Which range, of reports that look at all time unless they are told otherwise.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct AllTimeParams {
    /// Begin of the range, included: RFC 3339, or `YYYY-MM-DD` for midnight UTC. Default: open.
    #[param(example = "2026-01-01")]
    pub from: Option<String>,
    /// End of the range, excluded: RFC 3339, or `YYYY-MM-DD` for midnight UTC. Default: open.
    #[param(example = "2026-02-01T00:00:00Z")]
    pub to: Option<String>,
}

/// Parameters that every report takes.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct AnswerParams {
    /// Answers as then known: a version of the report's table (`meta.lake_version`), or a time, RFC 3339 or
    /// `YYYY-MM-DD`. Versions can be asked for as long as the lake keeps them, two days at least. Default: now.
    #[param(example = "2026-01-15T12:00:00Z")]
    pub as_of: Option<String>,
    /// `sql`: instead of the rows, which SQL was asked of the tables, and which files that plans to read. As JSON only.
    #[param(example = "sql")]
    pub explain: Option<String>,
    /// `json`, `ndjson`, `csv`, `parquet` or `arrow`; before the path's suffix and `Accept`.
    #[param(example = "csv")]
    pub format: Option<String>,
    /// `1`: CSV begins with a byte order mark, as Excel wants it.
    pub bom: Option<String>,
    /// `1`: texts in CSV that begin with `=`, `+`, `-`, `@`, TAB or CR are not guarded by an apostrophe.
    pub raw: Option<String>,
}

/// Whose days.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct TimeZoneParam {
    /// IANA name of the time zone whose days count. Default: the account's.
    #[param(example = "Europe/Berlin")]
    pub tz: Option<String>,
}

/// Whether bots are counted.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct BotsParam {
    /// `exclude` (default), `only` or `include`.
    #[param(example = "exclude")]
    pub bots: Option<String>,
}

/// How many rows.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct LimitParam {
    /// Most rows of the answer, from 1 to the operator's `query.max_limit`.
    #[param(example = 100, minimum = 1)]
    pub limit: Option<u64>,
}

/// By which column rows are ordered.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct SortParam {
    /// A column of the answer; with `-` in front, descending. Null comes last.
    #[param(example = "-visitors")]
    pub sort: Option<String>,
}

/// Which rows are counted.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct FilterParam {
    /// `filter[column]=value`: only rows with this value in this column; may be given for several columns.
    #[param(rename = "filter[column]", example = "google")]
    pub filter: Option<String>,
}

/// Whether the range is cut into parts.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct IntervalParam {
    /// `hour` (of UTC), `day`, `week` (from Monday) or `month` (of `tz`): rows for each that has sessions, in order;
    /// `interval_at` is the instant at which it begins.
    #[param(example = "week")]
    pub interval: Option<String>,
}

/// What stands beside.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct CompareParam {
    /// `previous`: beside each column, in one whose name begins with `previous_`, what it is in the range of the same
    /// length that ends where this one begins. Needs `to`.
    #[param(example = "previous")]
    pub compare: Option<String>,
}

/// Which page, of reports whose rows are listed one by one.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct PageParams {
    /// Rows of a page, from 1 to the operator's `query.max_limit`. Without it JSON holds the first
    /// `query.default_limit` rows, and the other formats all.
    #[param(example = 100, minimum = 1)]
    pub limit: Option<u64>,
    /// Where the page begins: the `cursor` of the link to it.
    pub cursor: Option<String>,
    /// `filter[column]=value`: only rows with this value in this column; may be given for several columns.
    #[param(rename = "filter[column]", example = "google")]
    pub filter: Option<String>,
}
