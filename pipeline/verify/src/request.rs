//! What is asked of a verification.

use std::collections::BTreeMap;

use chrono::{Duration, NaiveDate};
use touchline_schemas::AccountId;
use touchline_schemas::control::AccountSettings;
use touchline_schemas::tables::Table;

/// What is verified, and by which settings.
#[derive(Debug, Clone)]
pub struct VerifyRequest {
    /// The tables; see [`VerifyRequest::TABLES`].
    pub tables: Vec<Table>,
    /// Only this account.
    pub account: Option<AccountId>,
    /// Only rows of this day and later ones, by the table's date column.
    pub from: Option<NaiveDate>,
    /// Only rows of days before this one.
    pub to: Option<NaiveDate>,
    /// The accounts' settings; an account that is not here has none.
    pub settings: BTreeMap<AccountId, AccountSettings>,
    /// The pause that ends a session of an account that has not decided otherwise.
    pub default_timeout: Duration,
    /// The most differing rows of a table that are reported in full. All are counted.
    pub max_examples: usize,
}

impl VerifyRequest {
    /// The tables that can be verified, in the order in which they follow from each other.
    pub const TABLES: [Table; 11] = [
        Table::Sessions,
        Table::IdentityEdges,
        Table::Identities,
        Table::Visitors,
        Table::Touchpoints,
        Table::Attribution,
        Table::TrafficRollups,
        Table::MessageDeliveries,
        Table::MessageRollups,
        Table::SequenceRuns,
        Table::SequenceMetrics,
    ];

    /// Whether rows of a day are to be compared.
    pub(crate) fn names_day(&self, day: NaiveDate) -> bool {
        self.from.is_none_or(|from| day >= from) && self.to.is_none_or(|to| day < to)
    }

    /// Whether rows of all days are to be compared.
    pub(crate) fn all_days(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    pub(crate) fn wants(&self, table: Table) -> bool {
        self.tables.contains(&table)
    }
}

impl Default for VerifyRequest {
    /// All tables of all accounts, with the usual settings.
    fn default() -> Self {
        Self {
            tables: Self::TABLES.to_vec(),
            account: None,
            from: None,
            to: None,
            settings: BTreeMap::new(),
            default_timeout: Duration::minutes(30),
            max_examples: 20,
        }
    }
}
