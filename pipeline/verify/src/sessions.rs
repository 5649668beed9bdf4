//! Sessions the textbook way: sort, compare each event with the one before, number the sessions, group.
//!
//! Definition `sessions/touchline/2`, without the channel.

use polars::prelude::*;
use touchline_schemas::event::{PAGE_VIEW, RESERVED_PREFIX, SESSION_START, SOURCE_CONVERSION, TextField};
use touchline_schemas::tables::sessions as column;
use touchline_schemas::tables::{Table, events};

use crate::frame::{ascending, day_of, known_money};
use crate::hosts::OwnDomains;

const US_PER_S: i64 = 1_000_000;
/// Sessions longer than this are engaged.
const ENGAGED_AFTER_US: i64 = 10_000_000;
/// Whose an event is, `v` and the visitor's id, else `u` and the user's.
const DEVICE: &str = "device";
const NUMBER: &str = "number";
const REVENUE_COUNT: &str = "revenue_count";

/// The account's choices.
#[derive(Debug, Clone)]
pub struct SessionRules {
    /// A longer pause begins a new session.
    pub timeout_us: i64,
    /// Event types that are conversions, besides events posted as conversions.
    pub conversion_types: Vec<String>,
    /// Domains whose referrals are internal, besides the page's own.
    pub own_domains: Vec<String>,
}

/// The columns of `events` that sessions are made of.
pub fn event_columns() -> Vec<&'static str> {
    let mut columns = vec![events::OCCURRED_AT, events::RECEIVED_AT, events::IS_BOT, events::REVENUE];
    let texts = [
        TextField::EventId,
        TextField::EventType,
        TextField::VisitorId,
        TextField::UserId,
        TextField::SessionId,
        TextField::Path,
        TextField::Host,
        TextField::Source,
    ];
    let texts =
        texts.iter().chain(&column::UTM_FIELDS).chain(&column::REFERRER_FIELDS).chain(&column::FIRST_EVENT_FIELDS);
    columns.extend(texts.map(|field| field.column()));
    columns
}

/// The columns of `sessions` that are computed here: all but the channel.
pub fn columns() -> Vec<String> {
    let fields = Table::Sessions.file_schema();
    let names = fields.fields().iter().map(|field| field.name().clone()).filter(|name| name != column::CHANNEL);
    std::iter::once(column::SESSION_DATE.to_owned()).chain(names).collect()
}

/// Whether an event of somebody is part of a session.
pub fn counts() -> Expr {
    let event_type = col(TextField::EventType.column());
    let is_reserved = event_type.clone().str().starts_with(lit(RESERVED_PREFIX.to_string()));
    let has_device = col(TextField::VisitorId.column()).is_not_null().or(col(TextField::UserId.column()).is_not_null());
    has_device.and(is_reserved.not().or(event_type.eq(lit(SESSION_START))).fill_null(lit(false)))
}

/// The sessions of `events`, which hold [`event_columns`] of one tenant.
pub fn sessions(mut events: DataFrame, rules: &SessionRules) -> PolarsResult<DataFrame> {
    external_referrers(&mut events, &rules.own_domains)?;
    let (visitor, user) = (TextField::VisitorId.column(), TextField::UserId.column());
    let at = || col(events::OCCURRED_AT);
    let changes = |name: &str| col(name).neq_missing(col(name).shift(lit(1)));
    let pauses = (at() - at().shift(lit(1))).gt(lit(rules.timeout_us)).fill_null(lit(true));
    let of_visitor = concat_str([lit("v"), col(visitor)], "", false);
    let of_user = concat_str([lit("u"), col(user)], "", false);
    let numbered = events
        .lazy()
        .filter(counts())
        .with_columns([coalesce(&[of_visitor, of_user]).alias(DEVICE), col(events::IS_BOT).fill_null(lit(false))])
        .sort([events::IS_BOT, DEVICE, events::OCCURRED_AT, TextField::EventId.column()], ascending())
        .with_column(changes(events::IS_BOT).or(changes(DEVICE)).or(pauses).alias(NUMBER))
        .with_column(col(NUMBER).cast(DataType::Int64).cum_sum(false));
    // Within a group the rows keep the order of the sort: by time, then by event id.
    let grouped = numbered.group_by([col(NUMBER)]).agg(aggregates(rules));
    let duration_us = || col(column::ENDED_AT) - col(column::STARTED_AT);
    let one_view = col(column::PAGE_VIEW_COUNT).eq(lit(1_i64));
    let is_engaged = duration_us()
        .gt(lit(ENGAGED_AFTER_US))
        .or(col(column::CONVERSION_COUNT).gt(lit(0_i64)))
        .or(col(column::PAGE_VIEW_COUNT).gt_eq(lit(2_i64)));
    let finished = grouped.with_columns([
        day_of(col(column::STARTED_AT)).alias(column::SESSION_DATE),
        (duration_us() / lit(US_PER_S)).alias(column::DURATION_S),
        one_view.and(col(column::INTERACTION_COUNT).eq(lit(0_i64))).alias(column::IS_BOUNCE),
        is_engaged.alias(column::IS_ENGAGED),
        known_money(column::REVENUE, REVENUE_COUNT),
    ]);
    finished.select(columns().iter().map(|name| col(name.as_str())).collect::<Vec<_>>()).collect()
}

fn aggregates(rules: &SessionRules) -> Vec<Expr> {
    let at = || col(events::OCCURRED_AT);
    let id = || col(TextField::EventId.column());
    let event_type = || col(TextField::EventType.column());
    let count = |which: Expr, name: &str| which.cast(DataType::Int64).sum().alias(name);
    let is_view = || event_type().eq(lit(PAGE_VIEW));
    let is_interaction = is_view().or(event_type().str().starts_with(lit(RESERVED_PREFIX.to_string()))).not();
    let posted = col(TextField::Source.column()).eq_missing(lit(SOURCE_CONVERSION));
    let is_conversion =
        rules.conversion_types.iter().fold(posted, |any, known| any.or(event_type().eq(lit(known.as_str()))));
    let by_arrival = [col(events::RECEIVED_AT), id()];
    let user = TextField::UserId.column();
    let client_session = TextField::SessionId.column();

    let mut aggregates = vec![
        id().sort_by(by_arrival, ascending()).first().alias(column::SESSION_ID),
        col(events::RECEIVED_AT).min().alias(column::ANCHOR_RECEIVED_AT),
        col(TextField::VisitorId.column()).first(),
        col(events::IS_BOT).first(),
        at().first().alias(column::STARTED_AT),
        id().first().alias(column::FIRST_EVENT_ID),
        at().last().alias(column::ENDED_AT),
        id().last().alias(column::LAST_EVENT_ID),
        len().cast(DataType::Int64).alias(column::EVENT_COUNT),
        count(is_view(), column::PAGE_VIEW_COUNT),
        count(is_interaction, column::INTERACTION_COUNT),
        count(is_conversion, column::CONVERSION_COUNT),
        col(events::REVENUE).sum().alias(column::REVENUE),
        col(events::REVENUE).count().alias(REVENUE_COUNT),
    ];
    aggregates.extend(column::FIRST_EVENT_FIELDS.iter().map(|field| col(field.column()).first()));
    let mut first_with =
        |which: Expr, instant: &'static str, event: &'static str, values: &[(&'static str, &'static str)]| {
            aggregates.push(at().filter(which.clone()).first().alias(instant));
            aggregates.push(id().filter(which.clone()).first().alias(event));
            let values = values.iter().map(|(from, to)| col(*from).filter(which.clone()).first().alias(*to));
            aggregates.extend(values);
        };
    let campaign: Vec<_> = column::UTM_FIELDS.iter().map(|field| (field.column(), field.column())).collect();
    first_with(carries_campaign(), column::UTM_AT, column::UTM_EVENT_ID, &campaign);
    // Hosts that are internal have been taken away.
    let is_external = col(TextField::ReferrerHost.column()).is_not_null();
    let referrer = column::REFERRER_FIELDS.map(|field| (field.column(), field.column()));
    first_with(is_external, column::REFERRER_AT, column::REFERRER_EVENT_ID, &referrer);
    let path = TextField::Path.column();
    first_with(is_view(), column::ENTRY_AT, column::ENTRY_EVENT_ID, &[(path, column::ENTRY_PAGE)]);
    first_with(col(user).is_not_null(), column::USER_AT, column::USER_EVENT_ID, &[(user, user)]);
    first_with(
        col(client_session).is_not_null(),
        column::CLIENT_SESSION_AT,
        column::CLIENT_SESSION_EVENT_ID,
        &[(client_session, column::CLIENT_SESSION_ID)],
    );
    aggregates.extend([
        at().filter(is_view()).last().alias(column::EXIT_AT),
        id().filter(is_view()).last().alias(column::EXIT_EVENT_ID),
        col(path).filter(is_view()).last().alias(column::EXIT_PAGE),
    ]);
    aggregates
}

fn carries_campaign() -> Expr {
    let present = column::UTM_FIELDS.iter().map(|field| col(field.column()).is_not_null());
    present.reduce(Expr::or).unwrap_or_else(|| lit(false))
}

/// Takes away referring hosts that are internal: moving about on a site is no way to come to it.
fn external_referrers(events: &mut DataFrame, own_domains: &[String]) -> PolarsResult<()> {
    let own = OwnDomains::new(own_domains);
    let referrer = TextField::ReferrerHost.column();
    let (referrers, pages) = (events.column(referrer)?.str()?, events.column(TextField::Host.column())?.str()?);
    let external = referrers
        .iter()
        .zip(pages.iter())
        .map(|(referrer, page)| referrer.filter(|referrer| !own.is_internal(referrer, page)));
    let external: StringChunked = external.collect();
    events.with_column(external.with_name(referrer.into()).into_column())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::empty;

    const MINUTE_US: i64 = 60_000_000;

    /// Events as (minute, id, type, visitor), in the order of arrival.
    fn events(rows: &[(i64, &str, &str, &str)]) -> DataFrame {
        let nothing = empty(Table::Events, &event_columns()).unwrap();
        let columns = nothing.columns().iter().map(|column| {
            let texts = |place: fn(&(i64, &str, &str, &str)) -> String| {
                Column::new(column.name().clone(), rows.iter().map(place).collect::<Vec<_>>())
            };
            let numbers = |numbers: Vec<i64>| Column::new(column.name().clone(), numbers);
            match column.name().as_str() {
                events::OCCURRED_AT => numbers(rows.iter().map(|row| row.0 * MINUTE_US).collect()),
                events::RECEIVED_AT => numbers((0..rows.len() as i64).collect()),
                "event_id" => texts(|row| row.1.to_owned()),
                "event_type" => texts(|row| row.2.to_owned()),
                "visitor_id" => texts(|row| row.3.to_owned()),
                _ => Column::full_null(column.name().clone(), rows.len(), column.dtype()),
            }
        });
        DataFrame::new(rows.len(), columns.collect()).unwrap()
    }

    #[track_caller]
    fn check(rows: &[(i64, &str, &str, &str)], expected: &[(&str, i64)]) {
        let rules = SessionRules {
            timeout_us: 30 * MINUTE_US,
            conversion_types: vec!["purchase".to_owned()],
            own_domains: Vec::new(),
        };
        let found = sessions(events(rows), &rules).unwrap();
        let found = found.sort([column::STARTED_AT, column::SESSION_ID], ascending()).unwrap();
        let ids = found.column(column::SESSION_ID).unwrap().str().unwrap().clone();
        let counts = found.column(column::EVENT_COUNT).unwrap().i64().unwrap().clone();
        let found: Vec<_> = ids.iter().zip(counts.iter()).map(|(id, count)| (id.unwrap(), count.unwrap())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_pause_of_exactly_the_timeout_stays_in_the_session() {
        check(&[(0, "a", "page_view", "v"), (30, "b", "page_view", "v")], &[("a", 2)]);
        check(&[(0, "a", "page_view", "v"), (31, "b", "page_view", "v")], &[("a", 1), ("b", 1)]);
    }

    #[test]
    fn visitors_do_not_share_sessions() {
        check(&[(0, "a", "page_view", "v"), (1, "b", "page_view", "w")], &[("a", 1), ("b", 1)]);
    }

    #[test]
    fn the_event_that_arrived_first_gives_the_id() {
        check(&[(9, "z", "page_view", "v"), (3, "a", "page_view", "v")], &[("z", 2)]);
    }

    #[test]
    fn reserved_types_do_not_count_but_session_start() {
        check(&[(0, "a", "$message_viewed", "v"), (5, "b", "$session_start", "v")], &[("b", 1)]);
    }
}
