//! What a verification found.

use serde::Serialize;
use touchline_schemas::Tenant;

/// Everything that a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Table by table.
    pub tables: Vec<TableReport>,
    /// Sums that must be equal.
    pub checks: Vec<Check>,
    /// Differing rows of all tables, and checks that failed.
    pub differences: u64,
    /// The examples of all tables and the failed checks, each a line for people.
    pub summary: Vec<String>,
}

/// What was found in one table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TableReport {
    /// The table.
    pub table: &'static str,
    /// Rows that were compared.
    pub rows: u64,
    /// Rows that differ, are missing, or should not be there.
    pub differences: u64,
    /// Differing cells of the first of these rows.
    pub examples: Vec<Difference>,
    /// What could not be compared.
    pub skipped: Vec<Skipped>,
}

/// A cell that differs, or a row that only one side has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Whose row.
    pub tenant: Tenant,
    /// What tells the row apart: `session_id=…`.
    pub row: String,
    /// The column; none if one side does not have the row.
    pub column: Option<String>,
    /// What stands in the table; none for nothing or for no such row.
    pub stored: Option<String>,
    /// What was computed from raw data; none for nothing or for no such row.
    pub computed: Option<String>,
}

/// Something that could not be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Whose rows, if not everybody's.
    pub tenant: Option<Tenant>,
    /// Why.
    pub reason: String,
}

/// Two sums that must be equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Whose.
    pub tenant: Tenant,
    /// What is conserved.
    pub name: &'static str,
    /// One side, as text.
    pub left: String,
    /// The other side.
    pub right: String,
}

impl Check {
    /// Whether the sums are equal.
    pub fn holds(&self) -> bool {
        self.left == self.right
    }
}

impl Report {
    /// Whether everything that was compared is equal. What could not be compared is no difference: a table that no job
    /// has written yet, or sessions by rules that are not computed a second time, would be one for ever.
    pub fn is_clean(&self) -> bool {
        self.differences == 0
    }

    /// The report for people, a line for each fact.
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        for table in &self.tables {
            lines.push(format!("{}: {} rows, {} differ", table.table, table.rows, table.differences));
            lines.extend(table.skipped.iter().map(|skipped| match skipped.tenant {
                Some(tenant) => format!("  not verified: {tenant}: {}", skipped.reason),
                None => format!("  not verified: {}", skipped.reason),
            }));
        }
        lines.extend(self.checks.iter().filter(|check| check.holds()).map(Check::text));
        lines.extend(self.summary.iter().cloned());
        let not_verified: usize = self.tables.iter().map(|table| table.skipped.len()).sum();
        lines.push(match not_verified {
            0 => format!("{} differences", self.differences),
            _ => format!("{} differences, {not_verified} not verified", self.differences),
        });
        lines.join("\n")
    }

    pub(crate) fn finish(mut self) -> Self {
        let failed: Vec<_> = self.checks.iter().filter(|check| !check.holds()).map(Check::text).collect();
        self.differences = failed.len() as u64 + self.tables.iter().map(|table| table.differences).sum::<u64>();
        let examples =
            self.tables.iter().flat_map(|table| table.examples.iter().map(|example| example.text(table.table)));
        self.summary = examples.chain(failed).collect();
        self
    }
}

impl Check {
    fn text(&self) -> String {
        let Self { tenant, name, left, right } = self;
        let verdict = if self.holds() { "holds" } else { "FAILS" };
        format!("{tenant} {name} {verdict}: {left}, {right}")
    }
}

impl Difference {
    fn text(&self, table: &str) -> String {
        let Self { tenant, row, column, stored, computed } = self;
        let [was, should] = [stored, computed].map(|cell| cell.as_deref().unwrap_or("nothing"));
        match column {
            Some(column) => format!("{table} {tenant} {row} {column}: stored {was}, computed {should}"),
            None if stored.is_some() => format!("{table} {tenant} {row}: stored, and should not be there"),
            None => format!("{table} {tenant} {row}: missing"),
        }
    }
}
