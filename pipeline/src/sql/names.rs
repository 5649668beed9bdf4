//! Which names a query may read from: the tables, what it has defined itself, and functions that make rows of nothing.

use std::collections::HashSet;

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart, TableFactor, With};
use touchline_schemas::tables::Table;

use super::SqlError;

/// Functions that may stand where tables do.
const TABLE_FUNCTIONS: [&str; 3] = ["generate_series", "range", "unnest"];
/// Characters of a name that are said back.
const SAID_CHARS: usize = 80;

/// The names that a query has defined so far.
#[derive(Debug, Default)]
pub(super) struct Names {
    defined: HashSet<String>,
}

impl Names {
    /// Takes up the names of a `WITH`. Where each of them can be seen is left to the planner.
    pub(super) fn define(&mut self, with: &With) {
        self.defined.extend(with.cte_tables.iter().map(|table| written(&table.alias.name)));
    }

    /// Refuses what reads from elsewhere.
    pub(super) fn check(&self, factor: &TableFactor) -> Result<(), SqlError> {
        match factor {
            TableFactor::Table { name, args: None, .. } => self.table(name),
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => function(name),
            TableFactor::Derived { .. } | TableFactor::NestedJoin { .. } | TableFactor::UNNEST { .. } => Ok(()),
            _ => Err(SqlError::refused("only tables, subqueries and joins can stand after FROM")),
        }
    }

    fn table(&self, name: &ObjectName) -> Result<(), SqlError> {
        let Some(ident) = single(name) else {
            return Err(SqlError::refused(format!("`{}`: names of tables have no catalog or schema", said(name))));
        };
        let written = written(ident);
        if self.defined.contains(&written) || Table::ALL.iter().any(|table| table.name() == written) {
            return Ok(());
        }
        let tables = Table::ALL.map(Table::name).join(", ");
        Err(SqlError::refused(format!("there is no table `{}`; there are {tables}", said(name))))
    }
}

fn function(name: &ObjectName) -> Result<(), SqlError> {
    match single(name).map(written) {
        Some(written) if TABLE_FUNCTIONS.contains(&written.as_str()) => Ok(()),
        Some(_) | None => {
            let allowed = TABLE_FUNCTIONS.join(", ");
            Err(SqlError::refused(format!("`{}` cannot stand after FROM; {allowed} can", said(name))))
        }
    }
}

fn single(name: &ObjectName) -> Option<&Ident> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Some(ident),
        _ => None,
    }
}

/// A name as the planner reads it: without quotes it is lower case.
fn written(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_ascii_lowercase(),
    }
}

fn said(name: &ObjectName) -> String {
    name.to_string().chars().filter(|c| !c.is_control()).take(SAID_CHARS).collect()
}
