//! The one check that nearly every setting needs.

use std::fmt::Display;
use std::ops::RangeInclusive;

use super::ConfigError;

/// Refuses a value outside `limits`.
pub(super) fn within<T: PartialOrd + Display>(
    field: &str,
    given: T,
    limits: RangeInclusive<T>,
) -> Result<(), ConfigError> {
    if limits.contains(&given) {
        return Ok(());
    }
    Err(ConfigError::Limit {
        field: field.to_owned(),
        limit: format!("between {} and {}", limits.start(), limits.end()),
        given: given.to_string(),
    })
}
