//! Printing a configuration without giving away what is secret in it.

use toml::{Table, Value};

use super::{Config, ConfigError};

const REDACTED: &str = "***";

/// Endings of the names of settings that are never printed, so that a secret added later is covered by its name.
const SECRET_ENDINGS: [&str; 5] = ["secret", "password", "token", "_key", "database_url"];

/// The configuration as TOML without its secrets.
pub(super) fn to_toml(config: &Config) -> Result<String, ConfigError> {
    let print_error = |source| ConfigError::Print { source: Box::new(source) };
    let mut table = Table::try_from(config).map_err(print_error)?;
    redact(&mut table);
    toml::to_string(&table).map_err(print_error)
}

fn redact(table: &mut Table) {
    for (name, value) in table.iter_mut() {
        match value {
            Value::Table(inner) => redact(inner),
            Value::String(content) if SECRET_ENDINGS.iter().any(|ending| name.ends_with(ending)) => {
                *content = REDACTED.to_owned();
            }
            Value::String(content) if name.ends_with("webhook_url") => *content = origin(content),
            Value::String(content) => *content = text(content),
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) => {}
        }
    }
}

/// An address without its user, password and query; any other text as it is.
pub(super) fn text(content: &str) -> String {
    let Some((scheme, rest)) = content.split_once("://") else {
        return content.to_owned();
    };
    let (address, query) = match rest.split_once('?') {
        Some((address, _)) => (address, format!("?{REDACTED}")),
        None => (rest, String::new()),
    };
    let (authority, path) = address.split_at(address.find('/').unwrap_or(address.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{REDACTED}@{host}{path}{query}"),
        None => format!("{scheme}://{address}{query}"),
    }
}

/// The scheme, host and port of an address: many services put the secret of a webhook into its path.
fn origin(content: &str) -> String {
    match url::Url::parse(content).map(|url| url.origin()) {
        Ok(origin) if origin.is_tuple() => format!("{}/{REDACTED}", origin.ascii_serialization()),
        Ok(_) | Err(_) => REDACTED.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_credentials() {
        let check = |input: &str, expected: &str| assert_eq!(text(input), expected);
        check("/var/lib/lake", "/var/lib/lake");
        check("s3://bucket/prefix", "s3://bucket/prefix");
        check("s3://id:secret@bucket/prefix", "s3://***@bucket/prefix");
        check("s3://bucket/p@th", "s3://bucket/p@th");
        check("s3://id:se@cret@bucket?token=1", "s3://***@bucket?***");
    }

    #[test]
    fn webhooks_show_only_their_origin() {
        let check = |input: &str, expected: &str| assert_eq!(origin(input), expected);
        check("https://hooks.example/services/T0/B0/secret", "https://hooks.example/***");
        check("https://id:secret@hooks.example:8443/?key=1", "https://hooks.example:8443/***");
        check("hooks.example/secret", "***");
    }

    #[test]
    fn settings_named_as_secrets_are_not_printed() {
        let mut table: Table =
            toml::from_str("[a]\nsigning_key = 'x'\nlisten = 'y'\nwebhook_url = 'https://z/x'").unwrap();
        redact(&mut table);
        assert_eq!(
            table,
            toml::from_str::<Table>("[a]\nsigning_key = '***'\nlisten = 'y'\nwebhook_url = 'https://z/***'").unwrap()
        );
    }
}
