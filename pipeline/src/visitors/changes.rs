//! Sessions that went and came over several commits.
//!
//! A session that one commit brought and a later one took away was in no stored visitor and is in none now. So change
//! files are read in the order of their commits, and it neither came nor went.

use std::collections::HashMap;

use arrow::array::{AsArray, BooleanArray, RecordBatch, StringViewArray};
use arrow::compute::{filter_record_batch, not};
use arrow::error::ArrowError;
use touchline_lake::{CHANGE_TYPE, ChangeKind};
use touchline_schemas::tables::sessions as session;

/// What change files of `sessions` come to.
#[derive(Debug, Default)]
pub struct SessionChanges {
    went: Vec<RecordBatch>,
    came: Vec<RecordBatch>,
    /// By session id the batch and row of `came`, as long as no later file has taken it away.
    pending: HashMap<String, (usize, usize)>,
}

impl SessionChanges {
    /// Takes up the rows of the next change file. Of a file, all that went did so before anything came.
    pub fn push(&mut self, file: &[RecordBatch]) -> Result<(), ArrowError> {
        let parts = file.iter().map(by_kind).collect::<Result<Vec<_>, _>>()?;
        for (went, _) in &parts {
            let was_stored: BooleanArray =
                ids(went)?.iter().map(|id| Some(id.is_some_and(|id| self.pending.remove(id).is_none()))).collect();
            self.went.push(filter_record_batch(went, &was_stored)?);
        }
        for (_, came) in parts {
            let batch = self.came.len();
            let rows = ids(&came)?.iter().enumerate();
            self.pending.extend(rows.filter_map(|(row, id)| Some((id?.to_owned(), (batch, row)))));
            self.came.push(came);
        }
        Ok(())
    }

    /// The rows that went and those that came, seen from before the first file to after the last.
    pub fn finish(self) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>), ArrowError> {
        let mut is_there: Vec<Vec<bool>> = self.came.iter().map(|rows| vec![false; rows.num_rows()]).collect();
        self.pending.into_values().for_each(|(batch, row)| is_there[batch][row] = true);
        let came = self.came.iter().zip(is_there);
        let came = came.map(|(rows, is_there)| filter_record_batch(rows, &BooleanArray::from(is_there)));
        Ok((self.went, came.collect::<Result<_, _>>()?))
    }
}

/// Rows of a change file that went, and those that came.
fn by_kind(changes: &RecordBatch) -> Result<(RecordBatch, RecordBatch), ArrowError> {
    let kinds = texts(changes, CHANGE_TYPE)?;
    let went: BooleanArray = kinds.iter().map(|kind| Some(kind == Some(ChangeKind::Delete.as_str()))).collect();
    Ok((filter_record_batch(changes, &went)?, filter_record_batch(changes, &not(&went)?)?))
}

fn ids(sessions: &RecordBatch) -> Result<&StringViewArray, ArrowError> {
    texts(sessions, session::SESSION_ID)
}

fn texts<'a>(changes: &'a RecordBatch, name: &str) -> Result<&'a StringViewArray, ArrowError> {
    let texts = changes.column_by_name(name).and_then(|values| values.as_string_view_opt());
    texts.ok_or_else(|| ArrowError::SchemaError(format!("change files of sessions have no text `{name}`")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    /// A change file: sessions that went and came.
    fn file(rows: &[(ChangeKind, &str)]) -> RecordBatch {
        let field = |name| Field::new(name, DataType::Utf8View, false);
        let schema = Schema::new(vec![field(CHANGE_TYPE), field(session::SESSION_ID)]);
        let kinds: StringViewArray = rows.iter().map(|(kind, _)| Some(kind.as_str())).collect();
        let ids: StringViewArray = rows.iter().map(|(_, id)| Some(*id)).collect();
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(kinds), Arc::new(ids)]).unwrap()
    }

    fn check(files: &[&[(ChangeKind, &str)]], went: &[&str], came: &[&str]) {
        let mut changes = SessionChanges::default();
        files.iter().for_each(|rows| changes.push(&[file(rows)]).unwrap());
        let (found_went, found_came) = changes.finish().unwrap();
        let texts = |batches: &[RecordBatch]| {
            let ids = batches.iter().flat_map(|rows| ids(rows).unwrap().iter().flatten().map(str::to_owned));
            ids.collect::<Vec<_>>()
        };
        assert_eq!((texts(&found_went), texts(&found_came)), (owned(went), owned(came)), "{files:?}");
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn what_came_and_went_did_neither() {
        use ChangeKind::{Delete, Insert};
        check(&[&[(Insert, "a")], &[(Delete, "a")]], &[], &[]);
        check(&[&[(Insert, "a")], &[(Delete, "a"), (Insert, "b")], &[(Delete, "b"), (Insert, "c")]], &[], &["c"]);
        // Extended twice: what is stored went, and the last came.
        check(&[&[(Delete, "a"), (Insert, "a")], &[(Delete, "a"), (Insert, "a")]], &["a"], &["a"]);
        check(&[&[(Delete, "a"), (Insert, "a")], &[(Delete, "a")]], &["a"], &[]);
        check(&[&[(Delete, "a"), (Delete, "b"), (Insert, "a")]], &["a", "b"], &["a"]);
    }
}
