//! Reading a definition from the object that somebody sent: everything that is wrong with it is said at once, and where.

use std::fmt;

use chrono_tz::Tz;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{ExportDefinition, ExportMode, ExportSchedule, PathTemplate};

/// What is wrong with one field of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionField {
    /// JSON pointer (RFC 6901) to the field.
    pub pointer: String,
    /// The kind of mistake: `field_missing`, `unknown_field` or `invalid_value`.
    pub code: &'static str,
    /// What is wrong, in words.
    pub detail: String,
}

/// A definition that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidExport {
    /// Everything that is wrong, at least one thing.
    pub errors: Vec<DefinitionField>,
}

impl std::error::Error for InvalidExport {}

impl fmt::Display for InvalidExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the definition of the export cannot be used")?;
        self.errors.iter().try_for_each(|error| write!(f, "; {}: {}", error.pointer, error.detail))
    }
}

impl ExportDefinition {
    /// Reads a definition from the members of an object. `check_schedule` judges whether a schedule can be followed,
    /// which is known where runs are scheduled.
    pub fn read<T, E: fmt::Display>(
        members: Map<String, Value>,
        check_schedule: impl Fn(&ExportSchedule) -> Result<T, E>,
    ) -> Result<Self, InvalidExport> {
        let mut fields = Fields { members, errors: Vec::new() };
        let name = fields.required("name");
        let source = fields.required("source");
        let format = fields.required("format");
        let mode: Option<ExportMode> = fields.optional("mode");
        let last_days = fields.optional("last_days");
        let schedule: Option<ExportSchedule> = fields.optional("schedule");
        let destination = fields.required("destination");
        let path: Option<PathTemplate> = fields.optional("path");
        let webhook = fields.optional("webhook");
        let is_paused: Option<bool> = fields.optional("is_paused");
        // A time zone that there is not is refused below, at its own place.
        let in_a_zone = schedule.as_ref().filter(|schedule| schedule.time_zone.parse::<Tz>().is_ok());
        if let Some(Err(error)) = in_a_zone.map(check_schedule) {
            fields.refuse("schedule", "invalid_value", error.to_string());
        }
        let errors = fields.finish();
        let (Some(name), Some(source), Some(format), Some(destination)) = (name, source, format, destination) else {
            return Err(InvalidExport { errors });
        };
        let definition = Self {
            name,
            source,
            format,
            mode: mode.unwrap_or_default(),
            last_days,
            schedule,
            destination,
            path: path.unwrap_or_default(),
            webhook,
            is_paused: is_paused.unwrap_or_default(),
        };
        let errors: Vec<_> = errors.into_iter().chain(definition.mistakes()).collect();
        if errors.is_empty() { Ok(definition) } else { Err(InvalidExport { errors }) }
    }

    /// This definition with `changes` laid over it as a JSON merge patch (RFC 7396), to be read anew.
    pub fn patched(&self, changes: Map<String, Value>) -> Map<String, Value> {
        let mut members = match serde_json::to_value(self) {
            Ok(Value::Object(members)) => members,
            Ok(_) | Err(_) => Map::new(),
        };
        merge(&mut members, changes);
        members
    }
}

fn merge(members: &mut Map<String, Value>, changes: Map<String, Value>) {
    for (name, change) in changes {
        match (members.get_mut(&name), change) {
            (_, Value::Null) => {
                members.remove(&name);
            }
            // A source is replaced as a whole: half of a report and half of a statement make no question.
            (Some(Value::Object(inner)), Value::Object(change)) if name != "source" => merge(inner, change),
            (_, change) => {
                members.insert(name, change);
            }
        }
    }
}

struct Fields {
    members: Map<String, Value>,
    errors: Vec<DefinitionField>,
}

impl Fields {
    fn required<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        if matches!(self.members.get(name), None | Some(Value::Null)) {
            self.members.remove(name);
            self.refuse(name, "field_missing", format!("`{name}` is missing"));
            return None;
        }
        self.optional(name)
    }

    fn optional<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let value = self.members.remove(name).filter(|value| !value.is_null())?;
        match serde_json::from_value(value) {
            Ok(read) => Some(read),
            Err(error) => {
                self.refuse(name, "invalid_value", format!("`{name}`: {error}"));
                None
            }
        }
    }

    fn refuse(&mut self, name: &str, code: &'static str, detail: String) {
        let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        self.errors.push(DefinitionField { pointer, code, detail });
    }

    fn finish(mut self) -> Vec<DefinitionField> {
        for name in std::mem::take(&mut self.members).keys() {
            let name: String = name.chars().take(80).collect();
            self.refuse(&name, "unknown_field", format!("an export has no field `{name}`"));
        }
        self.errors
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<ExportDefinition, Vec<(String, &'static str)>> {
        let check = |schedule: &ExportSchedule| match schedule.cron.as_str() {
            "never" => Err("it never fires"),
            _ => Ok(()),
        };
        let members = value.as_object().unwrap().clone();
        ExportDefinition::read(members, check)
            .map_err(|invalid| invalid.errors.into_iter().map(|error| (error.pointer, error.code)).collect())
    }

    fn least() -> Value {
        json!({"name": "a", "source": {"report": "traffic"}, "format": "csv", "destination": "file:a"})
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let definition = read(least()).unwrap();
        assert_eq!(definition.mode, ExportMode::Snapshot);
        assert_eq!(definition.path, PathTemplate::default());
        assert!(!definition.is_paused);
        assert_eq!((definition.schedule, definition.webhook, definition.last_days), (None, None, None));
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let wrong = json!({
            "source": {"report": "traffic"}, "format": "xls", "destination": "file:/etc", "path": "{name}",
            "schedule": {"cron": "never"}, "is_paused": "no", "a/b": 1, "mode": null,
        });
        let expected = [
            ("/name", "field_missing"),
            ("/format", "invalid_value"),
            ("/destination", "invalid_value"),
            ("/path", "invalid_value"),
            ("/is_paused", "invalid_value"),
            ("/schedule", "invalid_value"),
            ("/a~1b", "unknown_field"),
        ];
        assert_eq!(read(wrong).unwrap_err(), expected.map(|(pointer, code)| (pointer.to_owned(), code)));
    }

    #[test]
    fn fields_are_judged_together_too() {
        let mut wrong = least();
        wrong["mode"] = json!("changes");
        wrong["last_days"] = json!(7);
        wrong["color"] = json!("red");
        let expected = [("/color", "unknown_field"), ("/last_days", "invalid_value")];
        assert_eq!(read(wrong).unwrap_err(), expected.map(|(pointer, code)| (pointer.to_owned(), code)));
    }

    #[test]
    fn a_patch_replaces_members_and_null_takes_them_back() {
        let mut first = least();
        first["schedule"] = json!({"cron": "0 0 6 * * *", "time_zone": "Europe/Vienna"});
        first["webhook"] = json!("https://hooks.example/");
        let definition = read(first).unwrap();
        let changes = json!({
            "webhook": null, "schedule": {"time_zone": "UTC"}, "source": {"sql": "SELECT 1"}, "is_paused": true,
        });
        let changed = read(Value::Object(definition.patched(changes.as_object().unwrap().clone()))).unwrap();
        let mut expected = least();
        expected["schedule"] = json!({"cron": "0 0 6 * * *", "time_zone": "UTC"});
        expected["source"] = json!({"sql": "SELECT 1"});
        expected["is_paused"] = json!(true);
        assert_eq!(changed, read(expected).unwrap());
    }
}
