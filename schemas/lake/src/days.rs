//! On which days of a table rows came or went between two versions, for jobs that compute whole days anew.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use chrono::NaiveDate;
use deltalake_core::kernel::Action;
use touchline_schemas::Tenant;

use crate::LakeError;
use crate::open::LakeTable;

impl LakeTable {
    /// The days of each tenant whose files versions `after + 1 ..= through` added or took out; rewrites of the same
    /// rows are left out. `None` when an entry of that range is no longer in the log, or does not say where a file lay,
    /// so that any day may have changed.
    pub async fn days_changed(
        &self,
        after: i64,
        through: i64,
    ) -> Result<Option<BTreeMap<Tenant, BTreeSet<NaiveDate>>>, LakeError> {
        let [_, _, day] = self.table().partition_columns();
        let mut changed: BTreeMap<Tenant, BTreeSet<NaiveDate>> = BTreeMap::new();
        for version in after + 1..=through {
            let Some(actions) = self.actions(version).await? else { return Ok(None) };
            for action in actions {
                let values = match &action {
                    Action::Add(add) if add.data_change => Some(&add.partition_values),
                    Action::Remove(remove) if remove.data_change => remove.partition_values.as_ref(),
                    _ => continue,
                };
                let Some(values) = values else { return Ok(None) };
                let date = values.get(day).and_then(Option::as_deref).and_then(|date| NaiveDate::from_str(date).ok());
                let Some(date) = date else { return Ok(None) };
                changed.entry(self.tenant(version, values)?).or_default().insert(date);
            }
        }
        Ok(Some(changed))
    }
}
