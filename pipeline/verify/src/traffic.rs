//! Traffic rollups: facts with their day and device, grouped once for each calendar and dimension.
//!
//! Definition `traffic/1`.

use chrono::{DateTime, Days, Duration, NaiveDate};
use chrono_tz::Tz;
use polars::prelude::*;
use touchline_schemas::event::{PAGE_VIEW, SOURCE_CONVERSION, TextField};
use touchline_schemas::tables::traffic_rollups as column;
use touchline_schemas::tables::{events, sessions};

use crate::frame::{DAY_US, day_of, known_money, number, stack};

/// The columns of `traffic_rollups`.
pub const COLUMNS: [&str; 14] = [
    column::ROLLUP_DATE,
    column::DAY_AT,
    column::CALENDAR,
    column::DIMENSION,
    column::VALUE,
    column::VISITORS,
    column::SESSIONS,
    column::PAGE_VIEWS,
    column::EVENTS,
    column::BOUNCES,
    column::ENGAGED_SESSIONS,
    column::DURATION_S,
    column::CONVERSIONS,
    column::REVENUE,
];

/// The columns that tell rows apart.
pub const KEY: [&str; 4] = [column::CALENDAR, column::DIMENSION, column::VALUE, column::ROLLUP_DATE];

/// The columns of `events` that rollups are made of.
pub const EVENT_COLUMNS: [&str; 8] = [
    events::OCCURRED_AT,
    events::IS_BOT,
    events::REVENUE,
    TextField::EventType.column(),
    TextField::VisitorId.column(),
    TextField::UserId.column(),
    TextField::Path.column(),
    TextField::Source.column(),
];

/// Dimensions of sessions, and the columns with their values.
const OF_SESSIONS: [(&str, Option<&str>); 13] = [
    ("total", None),
    ("channel", Some(sessions::CHANNEL)),
    ("utm_source", Some(TextField::UtmSource.column())),
    ("utm_medium", Some(TextField::UtmMedium.column())),
    ("utm_campaign", Some(TextField::UtmCampaign.column())),
    ("utm_content", Some(TextField::UtmContent.column())),
    ("utm_term", Some(TextField::UtmTerm.column())),
    ("referrer_host", Some(TextField::ReferrerHost.column())),
    ("landing_page", Some(sessions::ENTRY_PAGE)),
    ("country", Some(TextField::Country.column())),
    ("device_type", Some(TextField::DeviceType.column())),
    ("browser", Some(TextField::Browser.column())),
    ("os", Some(TextField::Os.column())),
];
const PAGE: &str = "page";
const EVENT_TYPE: &str = "event_type";
/// Sums of a dimension's rows.
const SUMS: [&str; 8] = [
    column::SESSIONS,
    column::PAGE_VIEWS,
    column::EVENTS,
    column::BOUNCES,
    column::ENGAGED_SESSIONS,
    column::DURATION_S,
    column::CONVERSIONS,
    column::REVENUE,
];
/// What the dimensions of events leave empty.
const ONLY_OF_SESSIONS: [&str; 4] = [column::SESSIONS, column::BOUNCES, column::ENGAGED_SESSIONS, column::DURATION_S];
const DEVICE: &str = "device";
const UTC_DAY: &str = "utc_day";
const ACCOUNT_DAY: &str = "account_day";
const REVENUE_COUNT: &str = "revenue_count";

/// The rows of the dimensions of sessions.
pub fn of_sessions(rows: &DataFrame, zone: Tz) -> PolarsResult<DataFrame> {
    let flag = |name: &str| col(name).cast(DataType::Int64);
    let mut facts = vec![
        device(),
        number(1).alias(column::SESSIONS),
        col(sessions::PAGE_VIEW_COUNT).alias(column::PAGE_VIEWS),
        col(sessions::EVENT_COUNT).alias(column::EVENTS),
        flag(sessions::IS_BOUNCE).alias(column::BOUNCES),
        flag(sessions::IS_ENGAGED).alias(column::ENGAGED_SESSIONS),
        col(sessions::DURATION_S).alias(column::DURATION_S),
        col(sessions::CONVERSION_COUNT).alias(column::CONVERSIONS),
        col(sessions::REVENUE).alias(column::REVENUE),
        col(sessions::REVENUE).is_not_null().cast(DataType::Int64).alias(REVENUE_COUNT),
    ];
    facts.extend(days(sessions::STARTED_AT, zone));
    facts.extend(OF_SESSIONS.iter().filter_map(|(_, name)| Some(col((*name)?))));
    let facts = rows.clone().lazy().filter(col(sessions::IS_BOT).not()).select(facts).collect()?;
    let mut parts = Vec::new();
    for (dimension, name) in OF_SESSIONS {
        let value = name.map_or_else(|| lit(NULL).cast(DataType::String), col);
        parts.extend(in_calendars(&facts, dimension, value, zone)?);
    }
    stack(parts)
}

/// What is kept of some events for the dimensions of events: little enough to be held of all of them.
pub fn event_facts(rows: DataFrame, conversion_types: &[String], zone: Tz) -> PolarsResult<DataFrame> {
    let event_type = || col(TextField::EventType.column());
    let posted = col(TextField::Source.column()).eq_missing(lit(SOURCE_CONVERSION));
    let is_conversion = conversion_types.iter().fold(posted, |any, known| any.or(event_type().eq(lit(known.as_str()))));
    let is_view = || event_type().eq(lit(PAGE_VIEW));
    let count = |flag: Expr, name: &str| flag.fill_null(lit(false)).cast(DataType::Int64).alias(name);
    let mut facts = vec![
        device(),
        event_type(),
        // Of other events the path does not matter.
        when(is_view()).then(col(TextField::Path.column())).otherwise(lit(NULL)).alias(TextField::Path.column()),
        number(0).alias(column::SESSIONS),
        count(is_view(), column::PAGE_VIEWS),
        number(1).alias(column::EVENTS),
        number(0).alias(column::BOUNCES),
        number(0).alias(column::ENGAGED_SESSIONS),
        number(0).alias(column::DURATION_S),
        count(is_conversion, column::CONVERSIONS),
        col(events::REVENUE).alias(column::REVENUE),
        col(events::REVENUE).is_not_null().cast(DataType::Int64).alias(REVENUE_COUNT),
    ];
    facts.extend(days(events::OCCURRED_AT, zone));
    let human = rows.lazy().filter(col(events::IS_BOT).fill_null(lit(false)).not());
    let facts = human.select(facts).filter(col(DEVICE).is_not_null());
    let alike = [DEVICE, TextField::EventType.column(), TextField::Path.column(), UTC_DAY, ACCOUNT_DAY];
    let sums = SUMS.iter().chain([&REVENUE_COUNT]).map(|name| col(*name).sum()).collect::<Vec<_>>();
    facts.group_by(alike.map(col)).agg(sums).collect()
}

/// The rows of the dimensions of events, from facts of all of them.
pub fn of_events(facts: &DataFrame, zone: Tz) -> PolarsResult<DataFrame> {
    let views = facts.clone().lazy().filter(col(column::PAGE_VIEWS).gt(lit(0_i64))).collect()?;
    let mut pages = Vec::new();
    for part in in_calendars(&views, PAGE, col(TextField::Path.column()), zone)? {
        pages.push(without(part, &[&ONLY_OF_SESSIONS[..], &[column::CONVERSIONS, column::REVENUE]].concat())?);
    }
    let mut types = Vec::new();
    for part in in_calendars(facts, EVENT_TYPE, col(TextField::EventType.column()), zone)? {
        types.push(without(part, &ONLY_OF_SESSIONS)?);
    }
    pages.extend(types);
    stack(pages)
}

fn without(rows: DataFrame, names: &[&str]) -> PolarsResult<DataFrame> {
    let nothing = names.iter().map(|name| lit(NULL).cast(DataType::Int64).alias(*name)).collect::<Vec<_>>();
    rows.lazy().with_columns(nothing).collect()
}

/// The visitor's id, else the user's; nothing if nobody did it.
fn device() -> Expr {
    let id = |prefix: &str, field: TextField| concat_str([lit(prefix.to_owned()), col(field.column())], "", false);
    coalesce(&[id("v", TextField::VisitorId), id("u", TextField::UserId)]).alias(DEVICE)
}

/// The days of both calendars on which an instant falls.
fn days(at: &str, zone: Tz) -> [Expr; 2] {
    let zone_name = TimeZone::from_chrono(&zone);
    let utc = col(at).cast(DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC)));
    let local = utc.dt().convert_time_zone(zone_name).dt().date().to_physical().cast(DataType::Int64);
    [day_of(col(at)).alias(UTC_DAY), local.alias(ACCOUNT_DAY)]
}

/// The rows of a dimension in both calendars, with the columns of the table.
fn in_calendars(facts: &DataFrame, dimension: &str, value: Expr, zone: Tz) -> PolarsResult<[DataFrame; 2]> {
    let rows = |calendar: &str, day: &str, zone: Tz| {
        let mut measures = vec![col(DEVICE).n_unique().cast(DataType::Int64).alias(column::VISITORS)];
        measures.extend(SUMS.iter().chain([&REVENUE_COUNT]).map(|name| col(*name).sum()));
        let grouped = facts
            .clone()
            .lazy()
            .with_columns([value.clone().alias(column::VALUE), col(day).alias(column::ROLLUP_DATE)])
            .group_by([col(column::ROLLUP_DATE), col(column::VALUE)])
            .agg(measures)
            .with_columns([
                lit(calendar.to_owned()).alias(column::CALENDAR),
                lit(dimension.to_owned()).alias(column::DIMENSION),
                known_money(column::REVENUE, REVENUE_COUNT),
            ])
            .collect()?;
        let begins = grouped.column(column::ROLLUP_DATE)?.i64()?.iter().map(|day| begins_us(day?, zone));
        let begins: Int64Chunked = begins.collect();
        let mut grouped = grouped;
        grouped.with_column(begins.with_name(column::DAY_AT.into()).into_column())?;
        grouped.select(COLUMNS)
    };
    Ok([rows(column::CALENDAR_UTC, UTC_DAY, Tz::UTC)?, rows(column::CALENDAR_ACCOUNT, ACCOUNT_DAY, zone)?])
}

/// The first instant of a day of a zone: its midnight, or where the clocks skip that, the first time that there is.
fn begins_us(day: i64, zone: Tz) -> Option<i64> {
    if zone == Tz::UTC {
        return Some(day * DAY_US);
    }
    let date = NaiveDate::default().checked_add_days(Days::new(u64::try_from(day).ok()?))?;
    let midnight = date.and_time(chrono::NaiveTime::MIN);
    let minutes = (0..24 * 60).map(|minute| midnight + Duration::minutes(minute));
    let mut instants = minutes.filter_map(|local| local.and_local_timezone(zone).earliest());
    instants.next().map(|instant: DateTime<Tz>| instant.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_when_the_zone_says_so() {
        let check = |day: &str, zone: Tz, expected: &str| {
            let day = crate::frame::day_number(day.parse().unwrap());
            let expected: DateTime<chrono::Utc> = expected.parse().unwrap();
            assert_eq!(begins_us(day, zone), Some(expected.timestamp_micros()), "{day} {zone}");
        };
        check("2026-03-01", Tz::UTC, "2026-03-01T00:00:00Z");
        check("2026-07-01", Tz::Europe__Berlin, "2026-06-30T22:00:00Z");
        check("2026-01-01", Tz::Asia__Kolkata, "2025-12-31T18:30:00Z");
        // The clocks went from midnight to one o'clock.
        check("2018-11-04", Tz::America__Sao_Paulo, "2018-11-04T03:00:00Z");
    }

    #[test]
    fn a_visitor_counts_once_a_day_and_value() {
        let rows = df!(
            "started_at" => [0, DAY_US / 4 * 3, DAY_US, 1],
            "is_bot" => [false, false, false, true],
            "visitor_id" => [Some("v"), Some("v"), None, Some("w")],
            "user_id" => [None, None, Some("v"), None::<&str>],
            "page_view_count" => [1_i64, 2, 3, 9], "event_count" => [1_i64, 2, 3, 9],
            "is_bounce" => [true, false, false, true], "is_engaged" => [false, true, true, false],
            "duration_s" => [0_i64, 10, 20, 0], "conversion_count" => [0_i64, 1, 0, 0],
            "revenue" => [None, Some(5_i64), None, None],
            "channel" => ["direct", "email", "direct", "direct"],
            "utm_source" => [None::<&str>; 4], "utm_medium" => [None::<&str>; 4], "utm_campaign" => [None::<&str>; 4],
            "utm_content" => [None::<&str>; 4], "utm_term" => [None::<&str>; 4], "referrer_host" => [None::<&str>; 4],
            "entry_page" => [None::<&str>; 4], "country" => [None::<&str>; 4], "device_type" => [None::<&str>; 4],
            "browser" => [None::<&str>; 4], "os" => [None::<&str>; 4],
        );
        let rollups = of_sessions(&rows.unwrap(), Tz::Asia__Tokyo).unwrap();
        let of = |calendar: &str, dimension: &str| {
            let chosen =
                col("calendar").eq(lit(calendar.to_owned())).and(col("dimension").eq(lit(dimension.to_owned())));
            let rows =
                rollups.clone().lazy().filter(chosen).sort(["rollup_date", "value"], SortMultipleOptions::default());
            let rows = rows.collect().unwrap();
            let numbers = |name: &str| rows.column(name).unwrap().i64().unwrap().iter().collect::<Vec<_>>();
            (numbers("rollup_date"), numbers("visitors"), numbers("sessions"), numbers("revenue"))
        };
        let some = |numbers: &[i64]| numbers.iter().copied().map(Some).collect::<Vec<_>>();
        assert_eq!(of("utc", "total"), (some(&[0, 1]), some(&[1, 1]), some(&[2, 1]), vec![Some(5), None]));
        // In Tokyo it was the next day nine hours earlier.
        assert_eq!(of("account", "total"), (some(&[0, 1]), some(&[1, 2]), some(&[1, 2]), vec![None, Some(5)]));
        assert_eq!(of("utc", "channel").1, some(&[1, 1, 1]));
    }
}
