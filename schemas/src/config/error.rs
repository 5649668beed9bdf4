//! What can be wrong with a configuration, said so that the operator can put it right.

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not TOML, or has a setting that does not exist or is of another type.
    #[error("the configuration file cannot be used, line {line}: {reason}")]
    File {
        /// Its line, from 1. What stands there is not shown: it may be a secret.
        line: usize,
        /// Why.
        reason: String,
    },
    /// A value lies outside its limits.
    #[error("{field} must be {limit}, not {given}")]
    Limit {
        /// The setting's full name, `section.field`.
        field: String,
        /// What it may be.
        limit: String,
        /// What it is.
        given: String,
    },
    /// An environment variable names no setting.
    #[error("the environment variable {variable} names no setting{hint}")]
    UnknownVariable {
        /// The variable.
        variable: String,
        /// The setting that was probably meant, or nothing.
        hint: String,
    },
    /// An environment variable's value is of the wrong type.
    #[error("the environment variable {variable} must be {expected}, not `{given}`")]
    VariableType {
        /// The variable.
        variable: String,
        /// The type of the setting.
        expected: &'static str,
        /// The variable's value.
        given: String,
    },
    /// An environment variable's value cannot be used for its setting.
    #[error("the environment variable {variable} cannot be used: {reason}")]
    Variable {
        /// The variable.
        variable: String,
        /// Why.
        reason: String,
    },
    /// The configuration cannot be written as TOML.
    #[error("the configuration cannot be written as TOML: {source}")]
    Print {
        /// Why.
        source: Box<toml::ser::Error>,
    },
}

impl ConfigError {
    /// What is wrong with the file that is `text`. Of the line only its setting is told.
    pub(super) fn in_file(text: &str, error: &toml::de::Error) -> Self {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let index = before.matches('\n').count();
        let setting = text.lines().nth(index).and_then(|line| line.split_once('=')).map(|(setting, _)| setting.trim());
        let reason = match setting {
            Some(setting) => format!("`{setting}`: {}", error.message()),
            None => error.message().to_owned(),
        };
        Self::File { line: index + 1, reason }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn a_line_is_told_by_its_setting_and_not_by_what_it_says() {
        for (text, expected) in [
            ("[exports.s3]\nsecret_access_key = wJalr", "line 2: `secret_access_key`: "),
            ("[server]\n\nlisten = 'wJalr'", "line 3: `listen`: "),
            ("[server", "line 1: "),
            ("colour = 1", "line 1: `colour`: unknown field"),
        ] {
            let said = Config::from_toml(text).unwrap_err().to_string();
            assert!(said.contains(expected) && !said.contains("wJalr"), "{said}");
        }
    }
}
