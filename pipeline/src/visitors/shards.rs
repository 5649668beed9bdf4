//! Visitors while they are merged, kept apart by person.
//!
//! People come back, so that what is merged of some sessions at a time comes to far more rows than there are people.
//! Here rows gather in shards, and a shard is merged anew when half as many rows have come as it had. So it takes the
//! memory of its people, whatever the number of their sessions, and merging takes that of one shard besides.

use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow::array::{RecordBatch, UInt32Array};
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryReservation;
use touchline_schemas::tables::Table;

use super::{hash, merge};
use crate::lean::{concat_lean, own_bytes, take_lean};
use crate::scan::scan_schema;

/// How many shards there are.
pub(super) const SHARDS: usize = 32;

/// Visitors by person.
pub(super) struct Shards(Vec<Mutex<Shard>>);

impl Shards {
    /// Empty shards, which count towards `memory` and merge no fewer rows than `merge_at_rows`.
    pub(super) fn new(memory: &MemoryReservation, merge_at_rows: usize) -> Self {
        let shard =
            || Shard { rows: Vec::new(), merged_rows: 0, gathered_rows: 0, merge_at_rows, memory: memory.new_empty() };
        Self((0..SHARDS).map(|_| Mutex::new(shard())).collect())
    }

    /// Takes up rows of any people.
    pub(super) fn add(&self, visitors: &RecordBatch) -> Result<()> {
        let mut of_shards: Vec<Vec<u32>> = vec![Vec::new(); SHARDS];
        for (row, person) in merge::people(visitors)?.iter().enumerate() {
            // The lower bits choose among the parts of everybody, so that these must choose otherwise.
            let shard = (hash(person.unwrap_or_default()) >> 32) as usize % SHARDS;
            of_shards[shard].push(row as u32);
        }
        for (number, rows) in of_shards.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            let rows = UInt32Array::from(rows);
            let columns = visitors.columns().iter().map(|values| take_lean(values, &rows));
            let theirs = RecordBatch::try_new(visitors.schema(), columns.collect::<Result<_, _>>()?)?;
            self.lock(number).add(theirs)?;
        }
        Ok(())
    }

    /// The visitors of a shard, which is empty then.
    pub(super) fn finish(&self, number: usize) -> Result<RecordBatch> {
        let mut shard = self.lock(number);
        shard.merge()?;
        match shard.rows.pop() {
            Some(merged) => Ok(merge::finish(&merged)?),
            None => Ok(RecordBatch::new_empty(scan_schema(Table::Visitors))),
        }
    }

    fn lock(&self, number: usize) -> MutexGuard<'_, Shard> {
        self.0[number].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Shard {
    rows: Vec<RecordBatch>,
    /// Rows when it was last merged.
    merged_rows: usize,
    /// Rows that have come since.
    gathered_rows: usize,
    merge_at_rows: usize,
    memory: MemoryReservation,
}

impl Shard {
    fn add(&mut self, rows: RecordBatch) -> Result<()> {
        self.memory.try_grow(own_bytes(&rows))?;
        self.gathered_rows += rows.num_rows();
        self.rows.push(rows);
        if self.gathered_rows >= self.merge_at_rows.max(self.merged_rows / 2) { self.merge() } else { Ok(()) }
    }

    fn merge(&mut self) -> Result<()> {
        if self.gathered_rows == 0 {
            return Ok(());
        }
        let merged = merge::merge(&concat_lean(&scan_schema(Table::Visitors), &std::mem::take(&mut self.rows))?)?;
        self.memory.try_resize(own_bytes(&merged))?;
        (self.merged_rows, self.gathered_rows) = (merged.num_rows(), 0);
        self.rows.push(merged);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, Decimal128Array, Int64Array, StringViewArray, TimestampMicrosecondArray, new_null_array,
    };
    use arrow::compute::{concat_batches, sort_to_indices, take_record_batch};
    use arrow::datatypes::DataType;
    use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryPool};
    use proptest::prelude::*;
    use touchline_schemas::tables::visitors as column;

    use super::*;

    /// Visitors of one session each, given as person and session.
    fn visitors(sessions: &[(u8, u32)]) -> RecordBatch {
        let schema = scan_schema(Table::Visitors);
        let texts = |of: &dyn Fn(&(u8, u32)) -> String| -> ArrayRef {
            Arc::new(sessions.iter().map(|session| Some(of(session))).collect::<StringViewArray>())
        };
        let columns = schema.fields().iter().map(|field| match (field.name().as_str(), field.data_type()) {
            (column::PERSON_ID, _) => texts(&|(person, _)| format!("v:{person}")),
            (name, DataType::Utf8View) if name.ends_with("session_id") => {
                texts(&|(_, session)| format!("a session with a long id {session}"))
            }
            (_, DataType::Utf8View) => new_null_array(field.data_type(), sessions.len()),
            (_, DataType::Int64) => Arc::new(Int64Array::from_value(1, sessions.len())),
            (_, DataType::Decimal128(precision, scale)) => {
                let amounts = sessions.iter().map(|(_, session)| Some(i128::from(*session)));
                Arc::new(amounts.collect::<Decimal128Array>().with_precision_and_scale(*precision, *scale).unwrap())
            }
            (_, _) => {
                let times = sessions.iter().map(|(_, session)| i64::from(*session));
                Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
            }
        });
        RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
    }

    fn by_person(visitors: &RecordBatch) -> RecordBatch {
        let people = visitors.column_by_name(column::PERSON_ID).unwrap();
        take_record_batch(visitors, &sort_to_indices(people, None, None).unwrap()).unwrap()
    }

    fn memory(limit_bytes: usize) -> (Arc<dyn MemoryPool>, MemoryReservation) {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(limit_bytes));
        let reservation = MemoryConsumer::new("visitors").register(&pool);
        (pool, reservation)
    }

    fn sharded(parts: &[Vec<(u8, u32)>]) -> RecordBatch {
        let shards = Shards::new(&memory(1 << 20).1, 2);
        parts.iter().for_each(|part| shards.add(&visitors(part)).unwrap());
        let merged: Vec<_> = (0..SHARDS).map(|number| shards.finish(number).unwrap()).collect();
        concat_batches(&merged[0].schema(), &merged).unwrap()
    }

    proptest! {
        #[test]
        fn shards_merge_as_all_rows_at_once_do(
            parts in proptest::collection::vec(proptest::collection::vec((0..9_u8, 0..1_000_u32), 0..20), 1..6),
        ) {
            let at_once = merge::merge(&visitors(&parts.concat())).unwrap();
            prop_assert_eq!(by_person(&sharded(&parts)), by_person(&at_once));
        }
    }

    #[test]
    fn memory_is_that_of_people() {
        let (pool, reservation) = memory(1 << 20);
        let shards = Shards::new(&reservation, 2);
        let everybody: Vec<(u8, u32)> = (0..40).map(|person| (person, 7)).collect();
        let size_of_all = own_bytes(&visitors(&everybody));
        for _ in 0..50 {
            shards.add(&visitors(&everybody)).unwrap();
            assert!(pool.reserved() <= 3 * size_of_all, "{} of {size_of_all}", pool.reserved());
        }
    }
}
