//! The reports on messages say what SQL over the tables says, for any history, range and grouping.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use touchline_ingest::record::decode;
use touchline_pipeline::reports::messages::{self, Params, reasons, site_messages};
use touchline_pipeline::reports::{Answer, TimeRange};
use touchline_schemas::control::AccountSettings;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::Table;
use touchline_schemas::tables::message_rollups::COUNTS;
use touchline_schemas::{AccountId, Environment, MockClock, Tenant};
use touchline_tests::installation::Installation;
use touchline_tests::messages::{Sent, history, payload};
use touchline_tests::rows::{texts, value};

const GOALS: &str = "bought=purchase;window_days=1;credit=last_touch,home=page_view;where=path:/home;window_days=2";

fn at(text: &str) -> Option<DateTime<Utc>> {
    Some(text.parse().unwrap())
}

struct World {
    installation: Installation,
    account: AccountId,
    _folder: tempfile::TempDir,
}

impl World {
    async fn of(events: &[Sent]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = at("2026-04-01T00:00:00Z").unwrap();
        let installation = Installation::open(folder.path(), Arc::new(MockClock::at(now)), 2).await.unwrap();
        let account = installation.control.create_account("shop", "Shop", now).await.unwrap().id;
        let mut settings = AccountSettings::default();
        settings.set("goals", GOALS).unwrap();
        installation.control.set_account_settings(account, &settings, now).await.unwrap();
        let mut world = Self { installation, account, _folder: folder };
        let payloads: Vec<_> = events.iter().map(|sent| payload(world.tenant(), sent)).collect();
        let requests: Vec<_> = payloads.iter().map(|payload| decode(payload).unwrap()).collect();
        world.installation.writer.store(1, &requests).await.unwrap();
        for job in world.installation.jobs().iter().filter(|job| ["identities", "messages"].contains(&job.name())) {
            world.installation.run_job(&**job, false).await.unwrap();
        }
        world
    }

    fn tenant(&self) -> Tenant {
        Tenant { account_id: self.account, environment: Environment::Live }
    }

    async fn report(&self, params: &Params) -> Vec<String> {
        let Answer { batches, .. } = messages::query(&self.installation.engine, self.tenant(), params).await.unwrap();
        texts(&batches.try_collect::<Vec<_>>().await.unwrap()).unwrap()
    }

    /// Rows of a query over the tables `deliveries` and `rollups`.
    async fn sql(&self, sql: &str) -> Vec<String> {
        let engine = &self.installation.engine;
        let context = engine.context();
        for (name, table) in [("deliveries", Table::MessageDeliveries), ("rollups", Table::MessageRollups)] {
            let (scan, _) = engine.scan(table, self.tenant()).await.unwrap();
            context.register_table(name, Arc::new(scan)).unwrap();
        }
        texts(&context.sql(sql).await.unwrap().collect().await.unwrap()).unwrap()
    }
}

/// The values of `by` in a row, as one text, and what a column says.
fn by_group(rows: &[String], by: &str, column: &str) -> BTreeMap<String, i64> {
    let cell = |row: &str| {
        let group: Vec<&str> = by.split(',').map(|name| value(row, name)).collect();
        (group.join(" "), value(row, column).parse().unwrap())
    };
    rows.iter().map(|row| cell(row)).filter(|(_, count)| *count != 0).collect()
}

/// Of a count of people: when something happened to an attempt, and to which attempts it counts.
const PEOPLE: [(&str, &str, &str); 5] = [
    ("unique_viewers", "first_viewed_at", "sent_at is not null"),
    ("unique_human_viewers", "first_human_viewed_at", "sent_at is not null"),
    ("unique_clickers", "first_clicked_at", "sent_at is not null"),
    ("unique_human_clickers", "first_human_clicked_at", "sent_at is not null"),
    ("converters", "converted_at", "is_credited"),
];

#[tokio::test(flavor = "multi_thread")]
async fn any_grouping_and_range_counts_what_sql_counts() {
    let ranges = [(None, None), (at("2026-03-02T00:00:00Z"), at("2026-03-05T00:00:00Z"))];
    let groupings = ["message_id,variant", "channel", "day", "system,day", "day,system,message_id,variant,channel"];
    let mut seen = 0;
    for seed in 0..3 {
        let world = World::of(&history(&mut SmallRng::seed_from_u64(seed), 220)).await;
        for (calendar, (from, to), by) in questions(&ranges, &groupings) {
            let params = Params {
                range: TimeRange { from, to },
                by: by.to_owned(),
                calendar: calendar.to_owned(),
                filters: Vec::new(),
                limit: None,
            };
            let found = world.report(&params).await;
            let within = |time: &str| {
                let from = from.map(|from| format!("{time} >= timestamp '{from}'"));
                let to = to.map(|to| format!("{time} < timestamp '{to}'"));
                let bounds: Vec<String> = from.into_iter().chain(to).collect();
                if bounds.is_empty() { "true".to_owned() } else { bounds.join(" and ") }
            };
            let dimensions = |day: &str| by.replace("day", &format!("cast({day} as date) as day"));
            let about = format!("seed {seed}, {calendar}, {from:?}, {by}");

            let added_up: Vec<&str> =
                COUNTS.into_iter().filter(|name| PEOPLE.iter().all(|(people, ..)| people != name)).collect();
            let sums: Vec<String> = added_up.iter().map(|name| format!("sum({name}) as {name}")).collect();
            let sql = format!(
                "select {}, {} from rollups where calendar = '{calendar}' and {} group by {}",
                dimensions("day_at"),
                sums.join(", "),
                within("day_at"),
                by.replace("day", "cast(day_at as date)"),
            );
            let expected = world.sql(&sql).await;
            for name in added_up {
                let expected = by_group(&expected, by, name);
                assert_eq!(by_group(&found, by, name), expected, "{about}: {name}");
                seen += expected.len();
            }
            for (name, time, is_counted) in PEOPLE {
                let day = if calendar == "cohort" { "cohort_at" } else { time };
                let sql = format!(
                    "with attempts as (select *, unnest(conversions_occurred_at) as converted_at, \
                     unnest(conversions_is_credited) as is_credited from deliveries), \
                     things as (select {}, person_id from {} where {time} is not null and {is_counted} and {}) \
                     select {by}, count(distinct person_id) as n from things group by {by}",
                    dimensions(day),
                    if name == "converters" { "attempts" } else { "deliveries" },
                    within(day),
                );
                let expected = by_group(&world.sql(&sql).await, by, "n");
                assert_eq!(by_group(&found, by, name), expected, "{about}: {name}\n{sql}");
                seen += expected.len();
            }
        }
    }
    assert!(seen > 1_000, "{seen}");
}

fn questions<'a, R: Copy>(
    ranges: &'a [R],
    groupings: &'a [&'a str],
) -> impl Iterator<Item = (&'static str, R, &'a str)> {
    let ranges =
        ["cohort", "event"].into_iter().flat_map(|calendar| ranges.iter().map(move |range| (calendar, *range)));
    ranges.flat_map(|(calendar, range)| groupings.iter().map(move |by| (calendar, range, *by)))
}

fn sent(id: &str, event_type: &str, time: &str, person: &str, delivery: &str) -> Sent {
    let of_message = Sent::new(id, &format!("$message_{event_type}"), at(time).unwrap().timestamp_micros());
    of_message
        .with(TextField::MessageId, "banner")
        .with(TextField::Variant, "a")
        .with(TextField::Channel, "site")
        .with(TextField::UserId, person)
        .with(TextField::DeliveryId, delivery)
        .with(TextField::Properties, r#"{"system":"site_message","reason":"closed"}"#)
}

fn banner() -> Vec<Sent> {
    vec![
        sent("1", "sent", "2026-03-01T10:00:00Z", "ann", "d-1"),
        sent("2", "viewed", "2026-03-01T10:01:00Z", "ann", "d-1"),
        sent("3", "viewed", "2026-03-01T10:02:00Z", "ann", "d-1"),
        sent("4", "clicked", "2026-03-02T00:01:00Z", "ann", "d-1"),
        // The same person again, on the next day.
        sent("5", "sent", "2026-03-02T10:00:00Z", "ann", "d-2"),
        sent("6", "viewed", "2026-03-02T10:01:00Z", "ann", "d-2"),
        sent("7", "sent", "2026-03-02T10:00:00Z", "bob", "d-3"),
        sent("8", "dismissed", "2026-03-02T10:02:00Z", "bob", "d-3"),
        sent("9", "delivered", "2026-03-02T10:00:00Z", "bob", "d-3"),
    ]
}

fn all(by: &str) -> Params {
    let calendar = "cohort".to_owned();
    Params { range: TimeRange::default(), by: by.to_owned(), calendar, filters: Vec::new(), limit: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_of_two_days_is_one_and_rates_are_of_all_deliveries() {
    let world = World::of(&banner()).await;
    let found = world.report(&all("message_id,variant")).await;
    let cells = [
        ("message_id", "banner"),
        ("variant", "a"),
        ("delivered", "3"),
        ("views", "3"),
        ("unique_views", "2"),
        ("unique_viewers", "1"),
        ("clicks", "1"),
        ("dismissals", "1"),
        ("view_rate", "1.0"),
        ("click_rate", "0.3333"),
        ("ctr_in_app", "0.5"),
        ("failed_checks", "∅"),
    ];
    assert_eq!(found.len(), 1);
    for (column, expected) in cells {
        assert_eq!(value(&found[0], column), expected, "{column} in {}", found[0]);
    }
    let by_day = world.report(&all("day")).await;
    let viewers: Vec<_> = by_day.iter().map(|row| (value(row, "day"), value(row, "unique_viewers"))).collect();
    assert_eq!(viewers, [("2026-03-01", "1"), ("2026-03-02", "1")]);
    let filters = vec![("message_id".to_owned(), "another".to_owned())];
    assert!(world.report(&Params { filters, ..all("day") }).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_add_up_says_so() {
    // Held back, and sent all the same.
    let mut events = banner();
    events.push(sent("10", "suppressed", "2026-03-01T09:00:00Z", "ann", "d-1"));
    let found = World::of(&events).await.report(&all("system")).await;
    let failed = "failed_checks=decided = sent + suppressed + holdout + failed + pending";
    assert!(found[0].ends_with(failed), "{}", found[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reasons_are_counted_by_outcome() {
    let world = World::of(&banner()).await;
    let answer = reasons::query(&world.installation.engine, world.tenant(), &all("message_id")).await.unwrap();
    let rows = texts(&answer.batches.try_collect::<Vec<_>>().await.unwrap()).unwrap();
    assert_eq!(rows, ["message_id=banner outcome=dismissals reason=closed count=1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn site_messages_have_the_builders_columns() {
    let world = World::of(&banner()).await;
    for (message_id, expected) in [
        (None, &["site_message_id=banner variant=a delivered=3 views=3 clicks=1 view_rate=1.0 click_rate=0.3333"][..]),
        (Some("another".to_owned()), &[]),
    ] {
        let params = site_messages::Params { range: TimeRange::default(), message_id };
        let answer = site_messages::query(&world.installation.engine, world.tenant(), &params).await.unwrap();
        assert_eq!(texts(&answer.batches.try_collect::<Vec<_>>().await.unwrap()).unwrap(), expected);
    }
}
