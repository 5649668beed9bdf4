//! What a definition's fields may be, each and together.

use chrono_tz::Tz;
use serde_json::Value;
use url::Url;

use super::{
    DefinitionField, ExportDefinition, ExportMode, ExportSource, InvalidExport, MAX_LAST_DAYS, MAX_NAME_CHARS,
    RANGE_PARAMS, ReportSource, SqlSource,
};
use crate::tables::Table;

/// Most characters of a report's name.
const MAX_REPORT_CHARS: usize = 200;
/// Most parameters of a source.
const MAX_PARAMS: usize = 50;
/// Most bytes of a parameter's name and text.
const MAX_PARAM_BYTES: usize = 2_048;
/// Most bytes of a statement, whatever the operator's limit is.
const MAX_SQL_BYTES: usize = 1_048_576;
/// Most characters of a webhook's address.
const MAX_WEBHOOK_CHARS: usize = 2_048;

/// Parameters of a report that the export decides itself: the form of the answer, its page, its version.
const OWN_PARAMS: [&str; 5] = ["format", "cursor", "as_of", "bom", "raw"];

impl ExportDefinition {
    /// Checks the definition, but for whether its report exists, its statement can be read and its schedule followed.
    pub fn validate(&self) -> Result<(), InvalidExport> {
        let errors = self.mistakes();
        if errors.is_empty() { Ok(()) } else { Err(InvalidExport { errors }) }
    }

    pub(super) fn mistakes(&self) -> Vec<DefinitionField> {
        let mut found = Mistakes::default();
        found.unless(is_name(&self.name), "/name", || {
            format!(
                "a name is 1 to {MAX_NAME_CHARS} lower-case letters, digits or hyphens and does not begin with a hyphen"
            )
        });
        if let Some(last_days) = self.last_days {
            let is_within = (1..=MAX_LAST_DAYS).contains(&last_days);
            found.unless(is_within, "/last_days", || {
                format!("`last_days` is between 1 and {MAX_LAST_DAYS}, not {last_days}")
            });
            found.unless(self.mode == ExportMode::Snapshot, "/last_days", || {
                "`last_days` belongs to snapshots: changes are asked for by the days that changed".to_owned()
            });
        }
        if let Some(schedule) = &self.schedule {
            let is_known = schedule.time_zone.parse::<Tz>().is_ok();
            found.unless(is_known, "/schedule/time_zone", || {
                format!("`{}` is not the IANA name of a time zone", short(&schedule.time_zone))
            });
        }
        if let Some(webhook) = &self.webhook {
            found.unless(is_webhook(webhook), "/webhook", || {
                format!(
                    "a webhook is an https address of at most {MAX_WEBHOOK_CHARS} characters without user, password \
                     and fragment"
                )
            });
        }
        match &self.source {
            ExportSource::Report(source) => self.check_report(source, &mut found),
            ExportSource::Sql(source) => self.check_sql(source, &mut found),
        }
        found.0
    }

    fn check_report(&self, source: &ReportSource, found: &mut Mistakes) {
        found.unless(is_report(&source.report), "/source/report", || {
            format!("`{}` is not the name of a report as in its address, such as `traffic`", short(&source.report))
        });
        found.check_params(source.params.iter().map(|(name, text)| (name, text.len())));
        for name in source.params.keys() {
            let pointer = param_pointer(name);
            found.unless(!OWN_PARAMS.contains(&name.as_str()), &pointer, || {
                format!("the export decides `{name}` itself")
            });
            found.unless(!self.gives(name), &pointer, || given(name));
        }
    }

    fn check_sql(&self, source: &SqlSource, found: &mut Mistakes) {
        let length_bytes = source.sql.len();
        found.unless((1..=MAX_SQL_BYTES).contains(&length_bytes), "/source/sql", || {
            format!("a statement has 1 to {MAX_SQL_BYTES} bytes, not {length_bytes}")
        });
        found.check_params(source.params.iter().map(|(name, value)| (name, text_bytes(value))));
        for (name, value) in &source.params {
            let pointer = param_pointer(name);
            found.unless(!matches!(value, Value::Array(_) | Value::Object(_)), &pointer, || {
                "a parameter is a text, a number, a truth value or null".to_owned()
            });
            found.unless(!self.gives(name), &pointer, || given(name));
        }
        for (number, name) in source.tables.iter().enumerate() {
            let is_table = Table::ALL.iter().any(|table| table.name() == name);
            found.unless(is_table, &format!("/source/tables/{number}"), || {
                format!("there is no table `{}`: `GET /api/v1/sql/schema` names them", short(name))
            });
        }
        found.unless(self.mode == ExportMode::Snapshot || !source.tables.is_empty(), "/source/tables", || {
            "changes of a statement need `tables`: those whose days decide which days are asked about anew".to_owned()
        });
        let asks_for_range = RANGE_PARAMS.iter().all(|name| source.has_placeholder(name));
        found.unless(!self.is_given_a_range() || asks_for_range, "/source/sql", || {
            "the statement must use `$from` and `$to`: the first day that it is asked about, and the one behind the \
             last"
                .to_owned()
        });
    }

    /// Whether the runner gives the parameter.
    fn gives(&self, name: &str) -> bool {
        self.is_given_a_range() && RANGE_PARAMS.contains(&name)
    }
}

#[derive(Default)]
struct Mistakes(Vec<DefinitionField>);

impl Mistakes {
    fn unless(&mut self, is_right: bool, pointer: &str, detail: impl FnOnce() -> String) {
        if !is_right {
            self.0.push(DefinitionField { pointer: pointer.to_owned(), code: "invalid_value", detail: detail() });
        }
    }

    fn check_params<'a>(&mut self, params: impl ExactSizeIterator<Item = (&'a String, usize)>) {
        let count = params.len();
        self.unless(count <= MAX_PARAMS, "/source/params", || {
            format!("a source has at most {MAX_PARAMS} parameters, not {count}")
        });
        for (name, text_bytes) in params {
            self.unless(!name.is_empty() && name.len() + text_bytes <= MAX_PARAM_BYTES, &param_pointer(name), || {
                format!("a parameter has a name, and at most {MAX_PARAM_BYTES} bytes with its text")
            });
        }
    }
}

fn given(name: &str) -> String {
    format!("`{name}` follows from `last_days`, or from the days that changed, and is not a parameter here")
}

fn param_pointer(name: &str) -> String {
    format!("/source/params/{}", short(name).replace('~', "~0").replace('/', "~1"))
}

/// What is repeated of a text that was refused.
fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

fn text_bytes(value: &Value) -> usize {
    value.as_str().map_or(0, str::len)
}

fn is_name(name: &str) -> bool {
    let is_plain = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    name.len() <= MAX_NAME_CHARS
        && name.starts_with(is_plain)
        && name.chars().all(|character| is_plain(character) || character == '-')
}

/// Names like `traffic` and `sequences/welcome-2.1/lift`: nothing that would be another address once it stands in one,
/// and no ending behind a dot, which would choose a format.
fn is_report(name: &str) -> bool {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.' | '~');
    let is_segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.chars().all(is_plain);
    let last = name.rsplit('/').next().unwrap_or_default();
    name.len() <= MAX_REPORT_CHARS && name.split('/').all(is_segment) && !last.contains('.')
}

fn is_webhook(address: &str) -> bool {
    let is_right = |url: Url| {
        let is_anonymous = url.username().is_empty() && url.password().is_none();
        url.scheme() == "https" && url.has_host() && is_anonymous && url.fragment().is_none()
    };
    address.chars().count() <= MAX_WEBHOOK_CHARS && Url::parse(address).is_ok_and(is_right)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The least definition with `change` over it, and where it is refused.
    #[track_caller]
    fn check(change: Value, expected: &[&str]) {
        let mut value = json!({"name": "a", "source": {"report": "traffic"}, "format": "csv", "destination": "file:a"});
        for (name, member) in change.as_object().unwrap() {
            value[name] = member.clone();
        }
        let definition: ExportDefinition = serde_json::from_value(value).unwrap();
        let errors = definition.validate().err().map_or_else(Vec::new, |invalid| invalid.errors);
        let pointers: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, expected, "{change}");
    }

    fn changes_of(source: Value) -> Value {
        json!({"mode": "changes", "source": source})
    }

    #[test]
    fn names_are_slugs() {
        for name in ["a", "0", "daily-sales-2", &"a".repeat(63)] {
            check(json!({ "name": name }), &[]);
        }
        for name in ["", "-a", "A", "a_b", "a b", "ä", "a/b", &"a".repeat(64)] {
            check(json!({ "name": name }), &["/name"]);
        }
    }

    #[test]
    fn last_days_are_for_snapshots_and_have_limits() {
        check(json!({"last_days": 1}), &[]);
        check(json!({"last_days": 3660}), &[]);
        check(json!({"last_days": 0}), &["/last_days"]);
        check(json!({"last_days": 3661}), &["/last_days"]);
        check(json!({"last_days": 7, "mode": "changes"}), &["/last_days"]);
    }

    #[test]
    fn a_report_is_named_as_in_its_address() {
        for report in ["traffic", "messages/reasons", "sequences/welcome-2.1/lift"] {
            check(json!({"source": {"report": report}}), &[]);
        }
        for report in ["", "/traffic", "traffic/", "a//b", "../sql", "traffic.csv", "traffic?by=x", "a%2Fb", "a b"] {
            check(json!({"source": {"report": report}}), &["/source/report"]);
        }
    }

    #[test]
    fn parameters_are_left_to_the_report_but_for_those_of_the_export() {
        let of = |params: Value| json!({"source": {"report": "traffic", "params": params}});
        check(of(json!({"by": "channel", "limit": "5", "filter[channel]": "x", "from": "2026-01-01"})), &[]);
        check(of(json!({"as_of": "3", "format": "csv"})), &["/source/params/as_of", "/source/params/format"]);
        check(
            of(json!({"bom": "1", "cursor": "x", "raw": "1"})),
            &["/source/params/bom", "/source/params/cursor", "/source/params/raw"],
        );
        check(of(json!({"": "x"})), &["/source/params/"]);
        check(of(json!({"by": "x".repeat(2_047)})), &["/source/params/by"]);
        let many: serde_json::Map<_, _> = (0..51).map(|number| (format!("p{number}"), json!("x"))).collect();
        check(of(Value::Object(many)), &["/source/params"]);
    }

    #[test]
    fn a_range_is_given_by_one_side_only() {
        let params = json!({"from": "2026-01-01", "to": "2026-02-01"});
        let report = json!({"report": "traffic", "params": params});
        let both = ["/source/params/from", "/source/params/to"];
        check(json!({ "source": report }), &[]);
        check(json!({"source": report, "last_days": 7}), &both);
        check(changes_of(report), &both);
        let sql = json!({"sql": "SELECT $from, $to", "params": params});
        check(json!({ "source": sql }), &[]);
        check(json!({"source": sql, "last_days": 7}), &both);
    }

    #[test]
    fn a_statement_that_is_given_a_range_uses_it() {
        check(json!({"source": {"sql": "SELECT 1"}}), &[]);
        check(json!({"source": {"sql": "SELECT 1"}, "last_days": 7}), &["/source/sql"]);
        check(json!({"source": {"sql": "SELECT $from, $to"}, "last_days": 7}), &[]);
        check(changes_of(json!({"sql": "SELECT $from, $to", "tables": ["events", "sessions"]})), &[]);
        check(changes_of(json!({"sql": "SELECT $from, $to"})), &["/source/tables"]);
        check(changes_of(json!({"sql": "SELECT $from", "tables": ["events"]})), &["/source/sql"]);
        check(changes_of(json!({"sql": "SELECT $from, $to", "tables": ["events", "users"]})), &["/source/tables/1"]);
    }

    #[test]
    fn a_statement_and_its_values_have_limits() {
        check(json!({"source": {"sql": ""}}), &["/source/sql"]);
        check(json!({"source": {"sql": " ".repeat(MAX_SQL_BYTES + 1)}}), &["/source/sql"]);
        check(json!({"source": {"sql": "SELECT $x", "params": {"x": [1]}}}), &["/source/params/x"]);
        check(json!({"source": {"sql": "SELECT $x", "params": {"x": null, "y": 1.5, "z": true}}}), &[]);
    }

    #[test]
    fn a_schedule_is_in_a_time_zone_that_there_is() {
        check(json!({"schedule": {"cron": "0 0 6 * * *"}}), &[]);
        check(json!({"schedule": {"cron": "0 0 6 * * *", "time_zone": "Mars/Base"}}), &["/schedule/time_zone"]);
    }

    #[test]
    fn webhooks_are_https() {
        for address in ["https://hooks.example/x?y=1", "https://10.0.0.7:8443/"] {
            check(json!({ "webhook": address }), &[]);
        }
        for address in [
            "http://hooks.example/",
            "https://",
            "hooks.example",
            "https://user@hooks.example/",
            "https://:secret@hooks.example/",
            "https://hooks.example/#x",
            "file:///etc/passwd",
            &format!("https://hooks.example/{}", "x".repeat(2_048)),
        ] {
            check(json!({ "webhook": address }), &["/webhook"]);
        }
    }
}
