//! What tables and columns hold, in words, for people who ask the tables themselves.
//!
//! The words are those of the comments in the files beside this one, which are read as text: so there is one place
//! where a column is explained.

use std::collections::HashMap;

use super::Table;
use crate::event::TextField;

const TABLES: &str = include_str!("../tables.rs");
const EVENT: &str = include_str!("../event.rs");
const EVENT_SETS: &str = include_str!("event_sets.rs");

impl Table {
    /// What its rows are, in a sentence.
    pub fn description(self) -> String {
        let variant = format!("{self:?},");
        let comment = commented(TABLES).find_map(|(line, comment)| (line == variant).then_some(comment));
        sentence(&comment.unwrap_or_default()).to_owned()
    }

    /// What its columns hold, in a sentence each. A column that is explained nowhere is missing.
    pub fn column_descriptions(self) -> HashMap<String, String> {
        let explained = text_fields().chain(constants(EVENT_SETS)).chain(constants(self.source()));
        let explained: HashMap<&str, String> =
            explained.map(|(name, text)| (name, sentence(&text).to_owned())).collect();
        let schema = self.file_schema();
        let columns = schema.fields().iter().map(|field| field.name());
        columns.filter_map(|column| Some((column.clone(), explained.get(column.as_str())?.clone()))).collect()
    }

    const fn source(self) -> &'static str {
        match self {
            Table::Events => include_str!("events.rs"),
            Table::RejectedEvents => include_str!("rejected_events.rs"),
            Table::Sessions => include_str!("sessions.rs"),
            Table::Visitors => include_str!("visitors.rs"),
            Table::IdentityEdges => include_str!("identity_edges.rs"),
            Table::Identities => include_str!("identities.rs"),
            Table::SessionRevisions => include_str!("session_revisions.rs"),
            Table::Touchpoints => include_str!("touchpoints.rs"),
            Table::Attribution => include_str!("attribution.rs"),
            Table::TrafficRollups => include_str!("traffic_rollups.rs"),
            Table::MessageDeliveries => include_str!("message_deliveries.rs"),
            Table::MessageRollups => include_str!("message_rollups.rs"),
            Table::SequenceRuns => include_str!("sequence_runs.rs"),
            Table::SequenceMetrics => include_str!("sequence_metrics.rs"),
        }
    }
}

/// The fields that events have, and tables made from them.
fn text_fields() -> impl Iterator<Item = (&'static str, String)> {
    let comments: HashMap<&str, String> =
        commented(EVENT).filter_map(|(line, comment)| Some((line.strip_suffix(',')?, comment))).collect();
    TextField::ALL.into_iter().filter_map(move |field| {
        let comment = comments.get(format!("{field:?}").as_str())?;
        Some((field.column(), comment.clone()))
    })
}

/// The columns that a file names as constants.
fn constants(source: &'static str) -> impl Iterator<Item = (&'static str, String)> {
    commented(source).filter_map(|(line, comment)| {
        let (_, value) = line.strip_prefix("pub const ")?.split_once(": &str = \"")?;
        Some((value.strip_suffix("\";")?, comment))
    })
}

/// Every line that has a comment above it, without its indentation.
fn commented(source: &'static str) -> impl Iterator<Item = (&'static str, String)> {
    let mut comment = String::new();
    source.lines().map(str::trim).filter_map(move |line| {
        if let Some(text) = line.strip_prefix("/// ") {
            if !comment.is_empty() {
                comment.push(' ');
            }
            comment.push_str(text);
            return None;
        }
        let comment = std::mem::take(&mut comment);
        (!comment.is_empty()).then_some((line, comment))
    })
}

fn sentence(text: &str) -> &str {
    let end = text.find(". ").unwrap_or(text.len());
    text[..end].trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_columns_are_explained_by_their_comments() {
        assert_eq!(Table::Visitors.description(), "One row per person");
        for (table, column, expected) in [
            (Table::Events, "occurred_at", "The client's time, corrected for skew; UTC"),
            (Table::Events, "utm_source", "Campaign source"),
            (Table::Sessions, "duration_s", "Whole seconds from the first to the last event"),
            (Table::Sessions, "visitor_id", "Anonymous id"),
            (Table::MessageDeliveries, "events_id", "Ids of the events"),
            (Table::Visitors, "user_id", "The user id that was seen first"),
        ] {
            assert_eq!(table.column_descriptions().get(column).map(String::as_str), Some(expected), "{column}");
        }
    }

    #[test]
    fn every_table_is_explained() {
        for table in Table::ALL {
            assert!(table.description().starts_with("One row per "), "{}: {}", table.name(), table.description());
            assert!(!table.column_descriptions().is_empty(), "{}", table.name());
        }
    }
}
