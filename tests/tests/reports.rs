//! The reports on sessions, events and people say what SQL over the tables says, for any range and grouping.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use touchline_ingest::record::decode;
use touchline_pipeline::reports::compared::Compare;
use touchline_pipeline::reports::data::conversions::Credit;
use touchline_pipeline::reports::data::funnel::Happening;
use touchline_pipeline::reports::data::{self, Campaign};
use touchline_pipeline::reports::rows::Page;
use touchline_pipeline::reports::{Bots, TimeRange, events, overview, pages, realtime, traffic, utm, visitors};
use touchline_pipeline::{Answer, PipelineError};
use touchline_schemas::control::AccountSettings;
use touchline_schemas::event::DEFAULT_CONVERSION_EVENT_TYPES;
use touchline_schemas::tables::Table;
use touchline_schemas::{Environment, MockClock, Tenant};
use touchline_tests::installation::Installation;
use touchline_tests::rows::{texts, value};
use touchline_tests::shop::Shop;

const BEGIN: &str = "2026-03-01T00:00:00Z";
const DAYS: u32 = 10;

fn at(text: &str) -> Option<DateTime<Utc>> {
    Some(text.parse().unwrap())
}

fn ranges() -> [TimeRange; 3] {
    [
        TimeRange::default(),
        TimeRange { from: at("2026-03-03T00:00:00Z"), to: at("2026-03-05T12:34:56Z") },
        TimeRange { from: at("2027-01-01T00:00:00Z"), to: None },
    ]
}

struct World {
    installation: Installation,
    tenant: Tenant,
    _folder: tempfile::TempDir,
}

impl World {
    /// A shop's events of ten days, from which all tables were computed.
    async fn of(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = at("2026-03-11T00:00:00Z").unwrap();
        let mut installation = Installation::open(folder.path(), Arc::new(MockClock::at(now)), 2).await.unwrap();
        let account = installation.control.create_account("shop", "Shop", now).await.unwrap();
        let tenant = Tenant { account_id: account.id, environment: Environment::Live };
        let mut shop = Shop::new(seed, tenant, 120, at(BEGIN).unwrap(), DAYS);
        let (payload, _) = shop.request(2_000, 0.0, 1.0);
        installation.writer.store(1, &[decode(&payload).unwrap()]).await.unwrap();
        installation.run_jobs(false).await.unwrap();
        Self { installation, tenant, _folder: folder }
    }

    /// Rows of a query over the tables.
    async fn sql(&self, sql: &str) -> Vec<String> {
        let engine = &self.installation.engine;
        let context = engine.context();
        for table in [Table::Events, Table::Sessions, Table::Visitors, Table::Attribution, Table::Touchpoints] {
            let (scan, _) = engine.scan(table, self.tenant).await.unwrap();
            context.register_table(table.name(), Arc::new(scan)).unwrap();
        }
        texts(&context.sql(sql).await.unwrap().collect().await.unwrap()).unwrap()
    }

    async fn overview(&self, params: &overview::Params) -> Vec<String> {
        rows(overview::query(&self.installation.engine, self.tenant, params).await).await
    }

    async fn traffic(&self, params: &traffic::Params) -> Vec<String> {
        rows(traffic::query(&self.installation.engine, self.tenant, params).await).await
    }
}

async fn rows(answer: Result<Answer, PipelineError>) -> Vec<String> {
    texts(&answer.unwrap().batches.try_collect::<Vec<_>>().await.unwrap()).unwrap()
}

/// A condition that holds for people's rows of a range.
fn within(time: &str, range: TimeRange) -> String {
    let from = range.from.map(|from| format!(" and {time} >= timestamp '{from}'"));
    let to = range.to.map(|to| format!(" and {time} < timestamp '{to}'"));
    format!("is_bot is not true{}{}", from.unwrap_or_default(), to.unwrap_or_default())
}

const VISITORS: &str = "count(distinct coalesce('v' || visitor_id, 'u' || user_id)) as visitors";

const SUMS: &str = "count(*) as sessions, coalesce(sum(event_count), 0) as events, \
    coalesce(sum(page_view_count), 0) as page_views, count(*) filter (where is_bounce) as bounces, \
    count(*) filter (where is_engaged) as engaged_sessions, coalesce(sum(duration_s), 0) as duration_s, \
    coalesce(sum(conversion_count), 0) as conversions, sum(revenue) as revenue";

const RATES: &str = "case when count(*) > 0 then count(*) filter (where is_bounce) / cast(count(*) as double) end as bounce_rate, \
    case when count(*) > 0 then count(*) filter (where is_engaged) / cast(count(*) as double) end as engagement_rate, \
    case when count(*) > 0 then sum(duration_s) / cast(count(*) as double) end as average_duration_s";

fn whole(range: TimeRange) -> overview::Params {
    overview::Params { range, interval: None, bots: Bots::Exclude, time_zone: "UTC".to_owned(), compare: None }
}

fn by(by: &str, range: TimeRange) -> traffic::Params {
    traffic::Params {
        range,
        by: by.to_owned(),
        interval: None,
        bots: Bots::Exclude,
        filters: Vec::new(),
        time_zone: "UTC".to_owned(),
        compare: None,
        sort: None,
        limit: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overview_is_what_the_sessions_sum_up_to() {
    let world = World::of(1).await;
    for range in ranges() {
        let is_in = within("started_at", range);
        let sql = format!("select {VISITORS}, {SUMS}, {RATES} from sessions where {is_in}");
        let expected = world.sql(&sql).await;
        assert_eq!(world.overview(&whole(range)).await, expected, "{range:?}");
        for interval in overview_intervals() {
            let sql = format!(
                "select date_trunc('{interval}', started_at) as interval_at, {VISITORS}, {SUMS}, {RATES} from sessions \
                 where {is_in} group by 1 order by 1"
            );
            let params = overview::Params { interval: Some(interval.to_owned()), ..whole(range) };
            assert_eq!(world.overview(&params).await, world.sql(&sql).await, "{range:?} {interval}");
        }
    }
}

fn overview_intervals() -> [&'static str; 4] {
    touchline_pipeline::reports::compared::INTERVALS
}

#[tokio::test(flavor = "multi_thread")]
async fn the_range_before_stands_beside_the_overview() {
    let world = World::of(2).await;
    let range = TimeRange { from: at("2026-03-05T00:00:00Z"), to: at("2026-03-08T00:00:00Z") };
    let before = TimeRange { from: at("2026-03-02T00:00:00Z"), to: at("2026-03-05T00:00:00Z") };
    for interval in [None, Some("day".to_owned())] {
        let of = |range| overview::Params { interval: interval.clone(), ..whole(range) };
        let (now, then) = (world.overview(&of(range)).await, world.overview(&of(before)).await);
        let both = world.overview(&overview::Params { compare: Some(Compare::Previous), ..of(range) }).await;
        assert_eq!((now.len(), then.len()), (both.len(), both.len()));
        assert_ne!(now, then);
        for ((now, then), both) in now.iter().zip(&then).zip(&both) {
            let then = then.split(' ').filter(|cell| !cell.starts_with("interval_at="));
            let then: Vec<String> = then.map(|cell| format!("previous_{cell}")).collect();
            assert_eq!(*both, format!("{now} {}", then.join(" ")));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_takes_intervals_filters_and_an_order() {
    let world = World::of(3).await;
    for range in ranges() {
        let is_in = within("started_at", range);
        let sql = format!(
            "select date_trunc('week', started_at) as interval_at, channel, {VISITORS}, {SUMS} from sessions where {is_in} \
             group by 1, 2 order by interval_at, sessions desc, channel nulls first"
        );
        let params = traffic::Params { interval: Some("week".to_owned()), ..by("channel", range) };
        assert_eq!(world.traffic(&params).await, world.sql(&sql).await, "{range:?}");

        for (sort, order) in [
            ("duration_s", "duration_s, landing_page nulls first"),
            ("-revenue", "revenue desc nulls last, landing_page nulls first"),
            ("landing_page", "landing_page nulls last"),
        ] {
            let sql = format!(
                "select entry_page as landing_page, {VISITORS}, {SUMS} from sessions where {is_in} \
                 and utm_source = 'google' and utm_medium = 'cpc' group by 1 order by {order} limit 4"
            );
            let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            let filters = vec![pair("utm_source", "google"), pair("utm_medium", "cpc")];
            let sort = Some(sort.to_owned());
            let params = traffic::Params { filters, sort, limit: Some(4), ..by("landing_page", range) };
            assert_eq!(world.traffic(&params).await, world.sql(&sql).await, "{range:?} {order}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_come_page_by_page() {
    let world = World::of(4).await;
    for range in ranges() {
        let is_in = within("first_seen_at", range).replace("is_bot is not true", "true");
        let columns = visitors::columns().join(", ");
        let sql = format!("select {columns} from visitors where {is_in} order by first_seen_at desc, person_id desc");
        let expected = world.sql(&sql).await;
        let (mut found, mut page) = (Vec::new(), Page { after: None, limit: Some(7) });
        loop {
            let params = visitors::Params { range, filters: Vec::new(), page: page.clone() };
            let rows = rows(visitors::query(&world.installation.engine, world.tenant, &params).await).await;
            let Some(last) = rows.last() else { break };
            page.after = Some((value(last, "first_seen_at").parse().unwrap(), value(last, "person_id").to_owned()));
            found.extend(rows);
        }
        assert_eq!(found, expected, "{range:?}");
    }
    let filters = vec![("first_touch_utm_source".to_owned(), "bing".to_owned())];
    let params = visitors::Params { filters, ..visitors::Params::default() };
    let found = rows(visitors::query(&world.installation.engine, world.tenant, &params).await).await;
    let expected = world.sql("select person_id from visitors where first_touch_utm_source = 'bing'").await;
    assert!(!found.is_empty() && found.len() == expected.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_viewed_entered_and_left() {
    let world = World::of(5).await;
    for range in ranges() {
        let (seen, began) = (within("occurred_at", range), within("started_at", range));
        let sql = format!(
            "select page, sum(views) as views, sum(visitors) as visitors, sum(entries) as entries, sum(exits) as exits, \
             sum(bounces) as bounces from ( \
             select path as page, count(*) as views, {VISITORS}, 0 as entries, 0 as exits, 0 as bounces from events \
             where event_type = 'page_view' and {seen} group by path \
             union all select entry_page, 0, 0, count(*), 0, count(*) filter (where is_bounce) from sessions \
             where {began} group by entry_page \
             union all select exit_page, 0, 0, 0, count(*), 0 from sessions where {began} group by exit_page) \
             where page is not null group by page"
        );
        let query = async |params: pages::Params| {
            rows(pages::query(&world.installation.engine, world.tenant, &params).await).await
        };
        let params = pages::Params { range, ..pages::Params::default() };
        assert_eq!(
            query(params.clone()).await,
            world.sql(&format!("{sql} order by views desc, page")).await,
            "{range:?}"
        );
        let sorted = pages::Params { sort: Some("-bounces".to_owned()), limit: Some(3), ..params.clone() };
        let order = "order by bounces desc, views desc, page limit 3";
        assert_eq!(query(sorted).await, world.sql(&format!("{sql} {order}")).await, "{range:?}");
        let filters = vec![("page".to_owned(), "/cart".to_owned())];
        let sql = format!("select * from ({sql}) where page = '/cart'");
        assert_eq!(query(pages::Params { filters, ..params }).await, world.sql(&sql).await, "{range:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_counted_by_type() {
    let world = World::of(6).await;
    for (range, filter) in ranges().into_iter().zip([None, Some("/checkout"), None]) {
        let seen = within("occurred_at", range);
        let path = filter.map(|path| format!("and path = '{path}'")).unwrap_or_default();
        let sql = format!(
            "select event_type, count(*) as events, {VISITORS}, max(occurred_at) as last_occurred_at from events \
             where {seen} {path} group by event_type order by events desc, event_type"
        );
        let filters = filter.map(|path| ("path".to_owned(), path.to_owned())).into_iter().collect();
        let params = events::Params { range, filters, ..events::Params::default() };
        let found = rows(events::query(&world.installation.engine, world.tenant, &params).await).await;
        assert_eq!(found, world.sql(&sql).await, "{range:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn campaigns_are_counted_by_any_of_their_words() {
    let world = World::of(7).await;
    let all = utm::DIMENSIONS.join(",");
    for range in ranges() {
        for by in [None, Some("utm_medium"), Some("utm_campaign,utm_source")] {
            let began = within("started_at", range);
            let names = by.unwrap_or(&all);
            let order: Vec<String> = names.split(',').map(|name| format!("{name} nulls first")).collect();
            let sql = format!(
                "select {names}, {VISITORS}, count(*) as sessions, sum(conversion_count) as conversions, \
                 sum(revenue) as revenue from sessions where {began} group by {names} order by sessions desc, {}",
                order.join(", ")
            );
            let params = utm::Params { range, by: by.map(str::to_owned), ..utm::Params::default() };
            let found = rows(utm::query(&world.installation.engine, world.tenant, &params).await).await;
            assert_eq!(found, world.sql(&sql).await, "{range:?} {names}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn realtime_sees_the_events_of_the_last_half_hour() {
    let world = World::of(8).await;
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for hours in 0..24 {
        // Halves of minutes, so that the first and the last minute are cut.
        let now = at(BEGIN).unwrap() + TimeDelta::seconds(hours * 7_000 + 30);
        let is_in = within("occurred_at", realtime::range(now));
        let measures =
            format!("count(*) as events, count(*) filter (where event_type = 'page_view') as page_views, {VISITORS}");
        for (by, column, order, which) in [
            (None, "", "", ""),
            (Some("minute"), "date_trunc('minute', occurred_at) as minute, ", "order by minute", ""),
            (Some("page"), "path as page, ", "order by events desc, page", "and event_type = 'page_view'"),
            (
                Some("source"),
                "coalesce(utm_source, case when host is null or host <> referrer_host then referrer_host end) as source, ",
                "order by events desc, source nulls first",
                "",
            ),
        ] {
            let group = if by.is_some() { "group by 1" } else { "" };
            let lag = "timestamp '2026-03-11T00:00:00Z' as watermark";
            let lag = if by.is_some() { String::new() } else { format!(", {lag}") };
            let sql = format!("select {column}{measures}{lag} from events where {is_in} {which} {group} {order}");
            let params = realtime::Params { now, by: by.map(str::to_owned), bots: Bots::Exclude, limit: None };
            let mut found = rows(realtime::query(&world.installation.engine, world.tenant, &params).await).await;
            if by.is_none() {
                let lag_s = value(&found[0], "lag_s").to_owned();
                // What was taken in later than `now` lags by nothing.
                assert_eq!(lag_s, "0");
                found[0] = found[0].replace(&format!(" lag_s={lag_s}"), "");
            }
            *seen.entry(by.unwrap_or_default()).or_default() += found.len();
            let found: Vec<String> = found.iter().map(|row| row.replace("Z", "")).collect();
            let expected: Vec<String> = world.sql(&sql).await.iter().map(|row| row.replace("Z", "")).collect();
            assert_eq!(found, expected, "{now} {by:?}");
        }
    }
    assert!(seen.values().all(|rows| *rows > 20), "{seen:?}");
    let now = at("2026-03-11T00:01:40Z").unwrap();
    let params = realtime::Params { now, by: None, bots: Bots::Exclude, limit: None };
    let found = rows(realtime::query(&world.installation.engine, world.tenant, &params).await).await;
    assert_eq!(value(&found[0], "lag_s"), "100", "the last events were received at midnight");
}

/// Rows of a page that holds all.
const ALL: data::Page = data::Page { number: 1, size: 1_000_000 };

/// All pages of `size` rows, one after the other; each says of how many rows it is.
async fn pages<T>(size: usize, page: impl AsyncFn(data::Page) -> data::Found<T>) -> Vec<T> {
    let mut rows = Vec::new();
    for number in 1.. {
        let found = page(data::Page { number, size }).await;
        assert!(found.rows.len() <= size);
        let is_last = found.rows.is_empty();
        rows.extend(found.rows);
        if is_last {
            assert_eq!(rows.len(), found.total_count);
            break;
        }
    }
    rows
}

/// A text in ten-thousandths, as SQL shows amounts.
fn amount(e4: Option<i128>) -> String {
    e4.map_or("∅".to_owned(), |e4| format!("{}.{:04}", e4 / 10_000, e4 % 10_000))
}

fn cell(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or("∅")
}

#[tokio::test(flavor = "multi_thread")]
async fn credits_come_one_by_one_with_their_journeys() {
    let world = World::of(5).await;
    // Purchases alone are few.
    let types = Some(vec!["add_to_cart".to_owned(), "page_view".to_owned(), "purchase".to_owned()]);
    let settings = AccountSettings { conversion_event_types: types, ..AccountSettings::default() };
    let (control, now) = (&world.installation.control, at(BEGIN).unwrap());
    control.set_account_settings(world.tenant.account_id, &settings, now).await.unwrap();
    world.installation.run_jobs(false).await.unwrap();
    let query = async |range, model: &str, channels: &[&str], page| -> data::Found<Credit> {
        let channels = channels.iter().map(|channel| (*channel).to_owned()).collect();
        let params = data::conversions::Params { range, model: model.to_owned(), channels, page };
        data::conversions::query(&world.installation.engine, world.tenant, &params).await.unwrap()
    };
    for range in ranges() {
        for model in ["linear", "last_non_direct"] {
            let expected = format!(
                "select a.conversion_id, a.position, a.credit, a.value, t.value as worth, t.touch_count, t.channel, \
                 e.properties is not null as has_properties from attribution a \
                 join touchpoints t on t.conversion_id = a.conversion_id and t.position = a.position \
                 join events e on e.event_id = a.conversion_id where a.model = '{model}'{} \
                 order by a.converted_at, a.conversion_id, a.position",
                within("a.converted_at", range).trim_start_matches("is_bot is not true"),
            );
            let expected = world.sql(&expected).await;
            let rows = query(range, model, &[], ALL).await.rows;
            let told = rows.iter().map(|row| {
                format!(
                    "conversion_id={} position={} credit={} value={} worth={} touch_count={} channel={} has_properties={}",
                    row.conversion_id,
                    row.position,
                    amount(row.credit_e4),
                    amount(row.credited_value_e4),
                    amount(row.value_e4),
                    row.touch_count.map_or("∅".to_owned(), |touches| touches.to_string()),
                    cell(&row.campaign.channel),
                    row.properties.is_some(),
                )
            });
            assert_eq!(told.collect::<Vec<_>>(), expected, "{model} {range:?}");
            assert_eq!(pages(499, async |page| query(range, model, &[], page).await).await, rows);
            let direct: Vec<Credit> =
                rows.into_iter().filter(|row| row.campaign.channel.as_deref() == Some("direct")).collect();
            assert_eq!(query(range, model, &["direct"], ALL).await.rows, direct);
        }
    }
    assert!(query(TimeRange::default(), "linear", &[], ALL).await.total_count > 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn visits_and_what_happened_in_them_come_one_by_one() {
    let world = World::of(6).await;
    let query = async |range, channels: &[&str], page| -> data::Found<Happening> {
        let channels = channels.iter().map(|channel| (*channel).to_owned()).collect();
        let conversion_event_types = DEFAULT_CONVERSION_EVENT_TYPES.map(str::to_owned).to_vec();
        let params = data::funnel::Params { range, conversion_event_types, channels, page };
        data::funnel::query(&world.installation.engine, world.tenant, &params).await.unwrap()
    };
    const DEVICE: &str = "coalesce('v' || visitor_id, 'u' || user_id)";
    for range in ranges() {
        let expected = format!(
            "select 'visit' as kind, session_id as id, started_at as at, channel, utm_source, \
             cast(null as decimal(18, 4)) as revenue from sessions where {} union all \
             select case when event_type in ('{}') or source = 'conversion' then 'conversion' else 'event' end, event_id, \
             occurred_at, s.channel, s.utm_source, \
             case when event_type in ('{}') or source = 'conversion' then revenue end from events e left join \
             (select {DEVICE} as device, started_at, ended_at, channel, utm_source from sessions where is_bot is not true) s \
             on s.device = {DEVICE} and e.occurred_at between s.started_at and s.ended_at \
             where event_type not like '$%' and {}",
            within("started_at", range),
            DEFAULT_CONVERSION_EVENT_TYPES.join("', '"),
            DEFAULT_CONVERSION_EVENT_TYPES.join("', '"),
            within("occurred_at", range),
        );
        let expected = format!("select kind, id, channel, utm_source, revenue from ({expected}) order by kind, id");
        let rows = query(range, &[], ALL).await.rows;
        let mut told: Vec<(&str, String)> = Vec::new();
        for row in &rows {
            let Campaign { channel, source, .. } = &row.campaign;
            let (kind, id) = (row.kind.as_str(), &row.id);
            let (channel, source, revenue) = (cell(channel), cell(source), amount(row.revenue_e4));
            told.push((kind, format!("kind={kind} id={id} channel={channel} utm_source={source} revenue={revenue}")));
        }
        told.sort();
        assert_eq!(told.into_iter().map(|(_, text)| text).collect::<Vec<_>>(), world.sql(&expected).await, "{range:?}");

        assert!(rows.is_sorted_by_key(|row| (row.at_us, row.kind, row.id.clone())));
        assert_eq!(pages(333, async |page| query(range, &[], page).await).await, rows);
        let of_channels = |row: &Happening| matches!(row.campaign.channel.as_deref(), Some("direct" | "email"));
        let expected: Vec<Happening> = rows.into_iter().filter(of_channels).collect();
        assert_eq!(query(range, &["direct", "email"], ALL).await.rows, expected);
    }
    assert!(query(TimeRange::default(), &[], ALL).await.total_count > 1_000);
}
