//! Settings that are changed by a JSON merge patch.

use serde_json::{Map, Value};

use super::{AccountSettings, ControlError, invalid, known};

impl AccountSettings {
    /// These settings with the changes of a JSON merge patch (RFC 7396): a setting that is null is taken back, lists and
    /// maps are replaced as a whole. Values have the form in which settings are stored.
    ///
    /// # Errors
    ///
    /// [`ControlError::Settings`] has everything that is wrong, in the order of the names; nothing is changed then.
    pub fn patched(&self, changes: &Map<String, Value>) -> Result<Self, ControlError> {
        let mut patched = self.clone();
        let mut errors = Vec::new();
        for (field, value) in changes {
            match patched.with(field, value) {
                Ok(changed) => patched = changed,
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(patched) } else { Err(ControlError::Settings { errors }) }
    }

    fn with(&self, field: &str, value: &Value) -> Result<Self, ControlError> {
        let field = known(field)?;
        if value.is_null() {
            let mut changed = self.clone();
            changed.unset(field)?;
            return Ok(changed);
        }
        let refused = |limit: &str| invalid(field, limit, &value.to_string());
        let mut stored = self.to_json()?;
        stored[field] = value.clone();
        let changed: Self =
            serde_json::from_value(stored).map_err(|error| refused(&format!("another value ({error})")))?;
        changed.validate()?;
        if changed.get(field).is_none_or(|text| text.is_empty()) {
            return Err(refused("something: to take a setting back, set it to null"));
        }
        // What a newer version may have stored is kept silently; what a caller misspells is not.
        if !holds(&changed.to_json()?[field], value) {
            return Err(refused("without members that are not known"));
        }
        Ok(changed)
    }
}

/// Whether every member of `given` is among those of `kept`. A member that is null says nothing.
fn holds(kept: &Value, given: &Value) -> bool {
    match given {
        Value::Object(members) => members
            .iter()
            .all(|(name, member)| member.is_null() || kept.get(name).is_some_and(|kept| holds(kept, member))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => true,
    }
}
