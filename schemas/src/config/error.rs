//! What can be wrong with a configuration, said so that the operator can put it right.

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not TOML, or has a setting that does not exist or is of another type.
    #[error("the configuration file cannot be used: {source}")]
    File {
        /// Where and why.
        source: Box<toml::de::Error>,
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
    #[error("the environment variable {variable} cannot be used: {source}")]
    Variable {
        /// The variable.
        variable: String,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// The configuration cannot be written as TOML.
    #[error("the configuration cannot be written as TOML: {source}")]
    Print {
        /// Why.
        source: Box<toml::ser::Error>,
    },
}
