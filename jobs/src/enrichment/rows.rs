//! Rows of events as they would be stored today.

use std::net::IpAddr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::error::ArrowError;
use touchline_enrich::{Device, Enricher, path};
use touchline_schemas::event::TextField;
use touchline_schemas::tables::events;

/// The same rows, judged once more; none if that changes nothing.
pub(super) fn judged(enricher: &Enricher, rows: &RecordBatch) -> Result<Option<RecordBatch>, ArrowError> {
    let text = |field: TextField| texts(rows, field.column());
    let devices: Vec<Option<Device>> =
        text(TextField::UserAgent)?.iter().map(|agent| Some(enricher.device(agent?))).collect();
    let by_device = |field: TextField, said: fn(&Device) -> &'static str| -> Result<ArrayRef, ArrowError> {
        let judged = devices.iter().zip(text(field)?).map(|(device, stored)| device.as_ref().map(said).or(stored));
        Ok(Arc::new(judged.collect::<StringArray>()))
    };
    let replaced = [
        (events::IS_BOT, bots(rows, &devices)?),
        (TextField::Browser.column(), by_device(TextField::Browser, |device| device.browser)?),
        (TextField::Os.column(), by_device(TextField::Os, |device| device.os)?),
        (TextField::DeviceType.column(), by_device(TextField::DeviceType, |device| device.device_type.as_str())?),
        (TextField::Country.column(), countries(enricher, text(TextField::Ip)?, text(TextField::Country)?)),
        (TextField::Path.column(), paths(text(TextField::Url)?, text(TextField::Path)?)),
    ];
    let mut columns = rows.columns().to_vec();
    let mut differs = false;
    for (name, judged) in replaced {
        let stored = &mut columns[rows.schema_ref().index_of(name)?];
        differs |= stored.to_data() != judged.to_data();
        *stored = judged;
    }
    if differs { RecordBatch::try_new(rows.schema(), columns).map(Some) } else { Ok(None) }
}

fn texts<'a>(rows: &'a RecordBatch, column: &str) -> Result<&'a StringArray, ArrowError> {
    let found = rows.column_by_name(column).and_then(|column| column.as_string_opt());
    found.ok_or_else(|| ArrowError::SchemaError(format!("events have no texts `{column}`")))
}

fn bots(rows: &RecordBatch, devices: &[Option<Device>]) -> Result<ArrayRef, ArrowError> {
    let stored = rows.column_by_name(events::IS_BOT).and_then(|bots| bots.as_boolean_opt());
    let stored = stored.ok_or_else(|| ArrowError::SchemaError(format!("events have no `{}`", events::IS_BOT)))?;
    let judged = devices.iter().zip(stored).map(|(device, stored)| device.map(|device| device.is_bot).or(stored));
    Ok(Arc::new(judged.collect::<BooleanArray>()))
}

/// Countries of the addresses as they were stored. Where the database has none for all of what was masked, the country
/// that was found by the whole address stays.
fn countries(enricher: &Enricher, addresses: &StringArray, stored: &StringArray) -> ArrayRef {
    let of = |address: Option<&str>| enricher.country_of_stored(address?.parse::<IpAddr>().ok()?);
    let judged = addresses.iter().zip(stored).map(|(address, stored)| match of(address) {
        Some(country) => Some(country.as_str().to_owned()),
        None => stored.map(str::to_owned),
    });
    Arc::new(judged.collect::<StringArray>())
}

/// Paths in their normal form, of events whose address still says how the path was sent.
fn paths(urls: &StringArray, stored: &StringArray) -> ArrayRef {
    let judged = urls.iter().zip(stored).map(|(url, stored)| match url {
        Some(_) => stored.map(path::normalized),
        None => stored.map(Into::into),
    });
    Arc::new(judged.collect::<StringArray>())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use arrow::array::new_null_array;
    use touchline_schemas::tables::Table;

    use super::*;

    const DATABASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/country/test.mmdb");
    const CURL: &str = "curl/8.0";

    /// A row of events with these texts, and what it is after it was judged: nothing if it stays.
    fn check(texts: &[(TextField, &str)], is_bot: bool, expected: Option<&[(TextField, Option<&str>)]>) {
        let enricher = Enricher::open(Some(Path::new(DATABASE))).unwrap();
        let schema = Table::Events.file_schema();
        let columns = schema.fields().iter().map(|field| -> ArrayRef {
            match texts.iter().find(|(text, _)| text.column() == field.name()) {
                Some((_, text)) => Arc::new(StringArray::from(vec![*text])),
                None if field.name() == events::IS_BOT => Arc::new(BooleanArray::from(vec![is_bot])),
                None => new_null_array(field.data_type(), 1),
            }
        });
        // Times are never null, and no judgement looks at them.
        let nullable: Vec<_> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let schema = Arc::new(arrow::datatypes::Schema::new(nullable));
        let rows = RecordBatch::try_new(schema, columns.collect()).unwrap();
        let found = judged(&enricher, &rows).unwrap();
        assert_eq!(found.is_some(), expected.is_some(), "{texts:?}");
        let (Some(found), Some(expected)) = (found, expected) else { return };
        for (field, text) in expected {
            let column = found.column_by_name(field.column()).unwrap().as_string::<i32>();
            assert_eq!(column.iter().next().unwrap(), *text, "{texts:?}, {}", field.column());
        }
        assert!(judged(&enricher, &found).unwrap().is_none(), "it is judged once: {texts:?}");
    }

    #[test]
    fn what_is_stored_becomes_what_would_be_stored_today() {
        use TextField::{Browser, Country, DeviceType, Ip, Os, Path, Url, UserAgent};
        let said_by_curl = [(Browser, Some("curl")), (Os, Some("Other")), (DeviceType, Some("other"))];
        check(&[(UserAgent, CURL)], false, Some(&said_by_curl));
        check(&[(UserAgent, CURL), (Browser, "Chrome")], true, Some(&said_by_curl));
        let as_today = [(UserAgent, CURL), (Browser, "curl"), (Os, "Other"), (DeviceType, "other")];
        check(&as_today, true, None);
        check(&as_today, false, Some(&said_by_curl));
        // Who sent no user agent, or whose address is not kept, keeps what was found then.
        check(&[(Browser, "Netscape"), (Country, "SE")], true, None);
        // A network in one country, one in several, one in none, and a whole address.
        check(&[(Ip, "203.0.113.0")], false, Some(&[(Country, Some("NZ"))]));
        check(&[(Ip, "198.51.100.0"), (Country, "AT")], false, None);
        check(&[(Ip, "192.0.2.0"), (Country, "FR")], false, None);
        check(&[(Ip, "198.51.100.77"), (Country, "DE")], false, Some(&[(Country, Some("AT"))]));
        // The path as it was sent stands in the address.
        check(&[(Url, "/a//b/"), (Path, "/a//b/")], false, Some(&[(Path, Some("/a/b"))]));
        check(&[(Path, "/a//b/")], false, None);
    }
}
