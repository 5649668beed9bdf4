//! Environment variables over a configuration: `TOUCHLINE_SECTION__FIELD=value`.

use toml::{Table, Value};

use super::{Config, ConfigError};

const PREFIX: &str = "TOUCHLINE_";
const SEPARATOR: &str = "__";

/// Lays `variables` over `config`, in the order of their names so that the result does not depend on the platform's.
pub(super) fn apply(config: Config, variables: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
    let mut ours: Vec<(String, String)> = variables.filter(|(name, _)| name.starts_with(PREFIX)).collect();
    ours.sort();
    ours.into_iter().try_fold(config, |config, (variable, value)| {
        let path = variable[PREFIX.len()..].to_ascii_lowercase();
        if path.contains(SEPARATOR) {
            set(&config, variable, &path, value)
        } else {
            refuse_near_miss(&config, variable, &path)?;
            Ok(config)
        }
    })
}

fn set(config: &Config, variable: String, path: &str, given: String) -> Result<Config, ConfigError> {
    let mut table = to_table(config)?;
    let segments: Vec<&str> = path.split(SEPARATOR).collect();
    let Some((field, sections)) = segments.split_last() else {
        return Err(unknown(variable, String::new()));
    };
    let mut section = &mut table;
    for name in sections {
        section = match section.get_mut(*name) {
            Some(Value::Table(inner)) => inner,
            Some(_) | None => return Err(unknown(variable, String::new())),
        };
    }
    let value = parse(section.get(*field), &variable, given)?;
    section.insert((*field).to_owned(), value);
    table.try_into().map_err(|source| ConfigError::Variable { variable, reason: source.message().to_owned() })
}

/// Reads `given` as what the setting is now. A setting that is absent is an optional text, or does not exist, which
/// the types will say.
fn parse(current: Option<&Value>, variable: &str, given: String) -> Result<Value, ConfigError> {
    let wrong = |expected: &'static str, given: &str| ConfigError::VariableType {
        variable: variable.to_owned(),
        expected,
        given: given.to_owned(),
    };
    match current {
        Some(Value::Integer(_)) => match given.replace('_', "").parse() {
            Ok(number) => Ok(Value::Integer(number)),
            Err(_) => Err(wrong("a whole number", &given)),
        },
        Some(Value::Boolean(_)) => match given.parse() {
            Ok(truth) => Ok(Value::Boolean(truth)),
            Err(_) => Err(wrong("`true` or `false`", &given)),
        },
        Some(Value::Array(_)) => {
            let elements = given.split(',').map(str::trim).filter(|element| !element.is_empty());
            Ok(Value::Array(elements.map(|element| Value::String(element.to_owned())).collect()))
        }
        Some(Value::Table(_)) => Err(unknown(variable.to_owned(), " but a section".to_owned())),
        Some(Value::String(_) | Value::Float(_) | Value::Datetime(_)) | None => Ok(Value::String(given)),
    }
}

fn refuse_near_miss(config: &Config, variable: String, path: &str) -> Result<(), ConfigError> {
    match settings(&to_table(config)?, "").into_iter().find(|name| name.replace(SEPARATOR, "_") == path) {
        Some(name) => Err(unknown(variable, format!(": did you mean {PREFIX}{}?", name.to_ascii_uppercase()))),
        None => Ok(()),
    }
}

/// The names of all settings below `table`, as variables spell them.
fn settings(table: &Table, prefix: &str) -> Vec<String> {
    table
        .iter()
        .flat_map(|(name, value)| match value {
            Value::Table(inner) => settings(inner, &format!("{prefix}{name}{SEPARATOR}")),
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_) => vec![format!("{prefix}{name}")],
        })
        .collect()
}

fn to_table(config: &Config) -> Result<Table, ConfigError> {
    Table::try_from(config).map_err(|source| ConfigError::Print { source: Box::new(source) })
}

fn unknown(variable: String, hint: String) -> ConfigError {
    ConfigError::UnknownVariable { variable, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> Result<Config, ConfigError> {
        Config::default().apply_env([(name.to_owned(), value.to_owned())].into_iter())
    }

    #[test]
    fn variables_set_every_type_of_field() {
        assert_eq!(with("TOUCHLINE_SERVER__LISTEN", "0.0.0.0:80").unwrap().server.listen.port(), 80);
        assert_eq!(with("TOUCHLINE_LOG__QUOTA_BYTES", "1_000_000_000").unwrap().log.quota_bytes, 1_000_000_000);
        assert!(!with("TOUCHLINE_INGEST__MASK_IP", "false").unwrap().ingest.mask_ip);
        assert_eq!(with("TOUCHLINE_LAKE__URI", "123").unwrap().lake.uri.as_deref(), Some("123"));
        let visitors = with("TOUCHLINE_JOBS__VISITORS__SCHEDULE", "0 0 3 * * *").unwrap().jobs.visitors;
        assert_eq!(visitors.schedule, "0 0 3 * * *");
        let networks = with("TOUCHLINE_EXPORTS__WEBHOOK_NETWORKS", "10.0.0.0/8, fd00::/8").unwrap().exports;
        let expected = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap());
        assert_eq!(networks.webhook_networks, expected);
        let ingest = with("TOUCHLINE_INGEST__MIN_TIMESTAMP", "2020-01-01T00:00:00Z").unwrap().ingest;
        assert_eq!(ingest.min_timestamp.timestamp(), 1_577_836_800);
    }

    #[test]
    fn variables_of_others_are_left_alone() {
        for name in ["PATH", "TOUCHLINE_CONFIG", "TOUCHLINE_PORT_8000_TCP", "TOUCHLINE_LOG"] {
            assert_eq!(with(name, "x").unwrap(), Config::default(), "{name}");
        }
    }

    #[track_caller]
    fn check_refused(name: &str, value: &str, expected: &str) {
        let message = with(name, value).unwrap_err().to_string();
        assert!(message.contains(expected), "`{message}` does not contain `{expected}`");
    }

    #[test]
    fn variables_that_name_no_setting_are_refused() {
        check_refused("TOUCHLINE_SERVER__LISTN", "x", "unknown field `listn`");
        check_refused("TOUCHLINE_SEVER__LISTEN", "x", "TOUCHLINE_SEVER__LISTEN names no setting");
        check_refused("TOUCHLINE_SERVER__LISTEN__X", "x", "names no setting");
        check_refused("TOUCHLINE_JOBS__SESSIONS", "x", "names no setting but a section");
        check_refused("TOUCHLINE_SERVER_LISTEN", "x", "did you mean TOUCHLINE_SERVER__LISTEN?");
    }

    #[test]
    fn variables_with_unusable_values_are_refused() {
        check_refused("TOUCHLINE_QUERY__THREADS", "many", "must be a whole number, not `many`");
        check_refused("TOUCHLINE_JOBS__ENABLED", "yes", "must be `true` or `false`, not `yes`");
        check_refused("TOUCHLINE_SERVER__LISTEN", "nowhere", "TOUCHLINE_SERVER__LISTEN cannot be used");
        check_refused("TOUCHLINE_SESSIONS__TIMEOUT_MINUTES", "476", "sessions.timeout_minutes");
    }
}
