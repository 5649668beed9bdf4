use super::reader::instant;
use super::*;

const ALL: [Parameter; 10] = [
    Parameter::By,
    Parameter::Bots,
    Parameter::Filter,
    Parameter::Limit,
    Parameter::Cursor,
    Parameter::Model,
    Parameter::Order,
    Parameter::EventType,
    Parameter::LookbackDays,
    Parameter::Own("depth"),
];

fn now() -> DateTime<Utc> {
    instant("2026-03-31T15:30:00Z").unwrap()
}

fn parse(query: &str, taken: &[Parameter]) -> Result<ReportQuery, Vec<(String, &'static str)>> {
    ReportQuery::parse(query, taken, 1_000, now()).map_err(|error| match error {
        ApiError::Query(items) => {
            items.into_iter().map(|item| (item.parameter.unwrap_or_default(), item.code)).collect()
        }
        other => panic!("{other}"),
    })
}

#[test]
fn ranges_are_read_and_defaulted() {
    for (query, from, to) in [
        ("", "2026-03-01", None),
        ("from=2026-01-01", "2026-01-01", None),
        ("to=2026-01-31T12:00:00Z", "2026-01-01", Some("2026-01-31T12:00:00Z")),
        ("from=2026-01-01&to=2026-01-01", "2026-01-01", Some("2026-01-01")),
        ("from=2026-01-01T02:00:00%2B02:00&to=2026-02-01T00:00:00+00:00", "2026-01-01", Some("2026-02-01")),
    ] {
        let range = parse(query, &[]).unwrap().range;
        assert_eq!(range, TimeRange { from: instant(from), to: to.and_then(instant) }, "{query}");
    }
}

#[test]
fn a_report_may_look_at_all_time_or_at_the_last_minutes() {
    assert_eq!(parse("", &[Parameter::AllTime]).unwrap().range, TimeRange::default());
    let from = instant("2026-01-01");
    let range = parse("from=2026-01-01", &[Parameter::AllTime]).unwrap().range;
    assert_eq!(range, TimeRange { from, to: None });
    let backwards = parse("from=2026-02-01&to=2026-01-01", &[Parameter::AllTime]);
    assert_eq!(backwards, Err(vec![("to".to_owned(), "invalid_value")]));

    let last = [Parameter::LastMinutes(30)];
    let range = parse("", &last).unwrap().range;
    assert_eq!(range, TimeRange { from: instant("2026-03-31T15:00:00Z"), to: Some(now()) });
    assert_eq!(parse("from=2026-01-01", &last), Err(vec![("from".to_owned(), "unknown_parameter")]));
}

#[test]
fn a_state_of_the_lake_is_a_version_or_a_time() {
    let time = |text: &str| AsOf::Time(instant(text).unwrap());
    for (query, expected) in [
        ("", AsOf::Newest),
        ("as_of=0", AsOf::Version(0)),
        ("as_of=2026", AsOf::Version(2026)),
        ("as_of=2026-01-02", time("2026-01-02T00:00:00Z")),
        ("as_of=2026-01-02T03:04:05%2B01:00", time("2026-01-02T02:04:05Z")),
    ] {
        assert_eq!(parse(query, &[]).unwrap().as_of, expected, "{query}");
    }
}

#[test]
fn one_question_has_one_spelling() {
    let normal = |query: &str| parse(query, &ALL).unwrap().normal_form(query);
    let expected = "bots=only&by=a+b&from=2026-03-01T00%3A00%3A00.000000Z";
    for query in ["bots=only&by=a%20b", "by=a+b&bots=only&format=csv", "from=2026-03-01&by=a%20b&bots=only"] {
        assert_eq!(normal(query), expected, "{query}");
    }
    assert_ne!(normal("bots=only&by=a%20b&to=2026-03-31"), expected);
}

#[test]
fn every_parameter_arrives() {
    let cursor = Cursor { at: now(), id: "s1".to_owned() };
    let query = format!(
        "model=markov&order=2&event_type=sign%20up&lookback_days=7&by=utm_source&bots=only&filter%5Bchannel%5D=a%26b&filter[country]=DE&limit=5&cursor={}&depth=3&format=csv&bom=1&raw=1&as_of=17&explain=sql",
        cursor.encode()
    );
    let parsed = parse(&query, &ALL).unwrap();
    let pair = |column: &str, value: &str| (column.to_owned(), value.to_owned());
    assert_eq!(
        parsed,
        ReportQuery {
            range: parsed.range,
            as_of: AsOf::Version(17),
            by: Some("utm_source".to_owned()),
            bots: Bots::Only,
            filters: vec![pair("channel", "a&b"), pair("country", "DE")],
            limit: Some(5),
            after: Some(cursor),
            model: Some("markov".to_owned()),
            order: Some(2),
            is_explained: true,
            event_type: Some("sign up".to_owned()),
            lookback_days: Some(7),
            own: BTreeMap::from([("depth", "3".to_owned())]),
            format: Some(Format::Csv),
            csv: CsvOptions { byte_order_mark: true, raw: true },
        }
    );
}

#[test]
fn what_is_wrong_is_named() {
    for (query, taken, expected) in [
        ("form=2026-01-01", &ALL[..], ("form", "unknown_parameter")),
        ("by=channel", &[][..], ("by", "unknown_parameter")),
        ("depth=3", &[][..], ("depth", "unknown_parameter")),
        ("filter[x]=1", &[][..], ("filter[x]", "unknown_parameter")),
        ("filter=1", &ALL[..], ("filter", "unknown_parameter")),
        ("from=yesterday", &ALL[..], ("from", "invalid_value")),
        ("from=2026-02-30", &ALL[..], ("from", "invalid_value")),
        ("from=+12026-02-03", &ALL[..], ("from", "invalid_value")),
        ("from=2026-02-01&to=2026-01-01", &ALL[..], ("to", "invalid_value")),
        ("limit=0", &ALL[..], ("limit", "invalid_value")),
        ("limit=1001", &ALL[..], ("limit", "invalid_value")),
        ("limit=-1", &ALL[..], ("limit", "invalid_value")),
        ("limit=1&limit=2", &ALL[..], ("limit", "repeated")),
        ("cursor=x", &ALL[..], ("cursor", "invalid_value")),
        ("format=xml", &ALL[..], ("format", "invalid_value")),
        ("bots=maybe", &ALL[..], ("bots", "invalid_value")),
        ("bom=yes", &ALL[..], ("bom", "invalid_value")),
        ("model=linear", &[][..], ("model", "unknown_parameter")),
        ("order=4", &ALL[..], ("order", "invalid_value")),
        ("as_of=-1", &[][..], ("as_of", "invalid_value")),
        ("as_of=yesterday", &[][..], ("as_of", "invalid_value")),
        ("lookback_days=0", &ALL[..], ("lookback_days", "invalid_value")),
        ("lookback_days=366", &ALL[..], ("lookback_days", "invalid_value")),
    ] {
        assert_eq!(parse(query, taken), Err(vec![(expected.0.to_owned(), expected.1)]), "{query}");
    }
    assert_eq!(parse("a=1&b=2", &ALL).unwrap_err().len(), 2);
}

#[test]
fn the_next_page_keeps_the_question_and_pins_the_range() {
    let query = "filter%5Bchannel%5D=paid%20search&limit=5&cursor=old&format=json";
    let parsed = ReportQuery::parse("filter%5Bchannel%5D=paid%20search&limit=5", &ALL, 10, now()).unwrap();
    let cursor = Cursor { at: now(), id: "s1".to_owned() };
    assert_eq!(
        parsed.next_page(query, &cursor),
        format!(
            "filter%5Bchannel%5D=paid+search&limit=5&format=json&from=2026-03-01T00%3A00%3A00.000000Z&cursor={}",
            cursor.encode()
        )
    );
}
