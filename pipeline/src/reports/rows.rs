//! What a caller may ask of the rows of several reports: which ones, in which order, from where on.

use arrow::datatypes::DataType;
use chrono::{DateTime, Utc};
use datafusion::functions_aggregate::expr_fn::count_distinct;
use datafusion::logical_expr::{SortExpr, cast, lit, when};
use datafusion::prelude::{DataFrame, Expr, col};
use touchline_schemas::event::TextField;

use super::instant;
use crate::PipelineError;

/// By what a list that comes in pages is ordered: newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListKey {
    /// The column of its time.
    pub at: &'static str,
    /// The column of its id, which decides among rows of one time.
    pub id: &'static str,
}

/// Which rows of a list are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Time and id of the last row that the caller has.
    pub after: Option<(DateTime<Utc>, String)>,
    /// At most so many rows.
    pub limit: Option<usize>,
}

impl ListKey {
    /// A page of the rows of `frame`.
    pub(super) fn page(self, frame: DataFrame, page: &Page) -> Result<DataFrame, PipelineError> {
        let (at, id) = (col(self.at), col(self.id));
        let frame = match &page.after {
            Some((time, last)) => {
                let earlier = at.clone().lt(instant(*time));
                let same_time = at.clone().eq(instant(*time)).and(id.clone().lt(lit(last.as_str())));
                frame.filter(earlier.or(same_time))?
            }
            None => frame,
        };
        Ok(frame.sort(vec![at.sort(false, false), id.sort(false, false)])?.limit(0, page.limit)?)
    }
}

/// What holds for the rows for which all `given` filters hold: column and value, of columns that are `allowed`.
pub(super) fn filters<S: AsRef<str>>(given: &[(String, String)], allowed: &[S]) -> Result<Vec<Expr>, PipelineError> {
    let filter = |(name, value): &(String, String)| match allowed.iter().any(|known| known.as_ref() == name) {
        true => Ok(cast(col(name), DataType::Utf8View).eq(lit(value.as_str()))),
        false => Err(none_of("filter", name, allowed)),
    };
    given.iter().map(filter).collect()
}

fn none_of<S: AsRef<str>>(parameter: &'static str, given: &str, allowed: &[S]) -> PipelineError {
    let allowed: Vec<&str> = allowed.iter().map(AsRef::as_ref).collect();
    PipelineError::BadParameter { name: parameter, detail: format!("`{given}` is none of {}", allowed.join(", ")) }
}

/// The rows for which all filters hold.
pub(super) fn filtered(frame: DataFrame, filters: Vec<Expr>) -> Result<DataFrame, PipelineError> {
    filters.into_iter().try_fold(frame, |frame, filter| Ok(frame.filter(filter)?))
}

/// Rows in the order of the column that `sort` names, descending if it begins with `-`, null last; equals, and all rows
/// without `sort`, in their `own` order.
pub(super) fn sorted(frame: DataFrame, sort: Option<&str>, own: Vec<SortExpr>) -> Result<DataFrame, PipelineError> {
    let mut order = Vec::new();
    if let Some(sort) = sort {
        let name = sort.strip_prefix('-').unwrap_or(sort);
        let names: Vec<&str> = frame.schema().fields().iter().map(|field| field.name().as_str()).collect();
        if !names.contains(&name) {
            return Err(none_of("sort", name, &names));
        }
        order.push(col(name).sort(!sort.starts_with('-'), false));
    }
    order.extend(own);
    Ok(frame.sort(order)?)
}

/// Distinct visitors among rows of events or sessions, as measures: of those with a visitor id, and of the others by their
/// user id. What reads alike in both is two.
pub(super) fn devices() -> Result<[Expr; 2], PipelineError> {
    let [visitor, user] = [TextField::VisitorId, TextField::UserId].map(|field| col(field.column()));
    let users = when(visitor.clone().is_null(), user).end()?;
    Ok([count_distinct(visitor).alias(DEVICES[0]), count_distinct(users).alias(DEVICES[1])])
}

/// The visitors that [`devices`] counted.
pub(super) fn visitors() -> Expr {
    (col(DEVICES[0]) + col(DEVICES[1])).alias("visitors")
}

/// Of rows of events: those that somebody did.
pub(super) fn of_somebody() -> Expr {
    let [visitor, user] = [TextField::VisitorId, TextField::UserId].map(|field| col(field.column()));
    visitor.is_not_null().or(user.is_not_null())
}

const DEVICES: [&str; 2] = ["devices_with_visitor_id", "devices_without_visitor_id"];
