//! Attempts as rows of `message_deliveries`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::SchemaRef;
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use touchline_schemas::tables::message_deliveries::{self as column, IDS, MEMBERS, PICKED};
use touchline_schemas::tables::{Table, money_type};

use super::conversions::{Conversion, Conversions, Journeys};
use super::delivery::{Delivery, Kinds};
use crate::event_sets::{Chosen, EventSets, SortedSets, list_of};
use crate::identities::People;
use crate::scan::scan_schema;

/// Rows of a batch: their columns then fit into the processor's cache.
const BATCH_ROWS: usize = 1 << 14;

/// Attempts with their events and people. What became of each is told when it is asked for: that takes less time than
/// the memory to keep it.
#[derive(Debug)]
pub struct Attempts {
    sets: SortedSets,
    kinds: Kinds,
    people: Arc<People>,
}

/// Some attempts.
struct Chunk<'a> {
    sets: &'a SortedSets,
    numbers: &'a [u32],
    deliveries: Vec<Delivery>,
    people: StringViewArray,
}

impl Attempts {
    /// What the events of `sets` tell. Long work for a processor, if there are many.
    pub fn of(sets: EventSets, people: &Arc<People>) -> Self {
        let sets = sets.finish();
        Self { kinds: Kinds::of(&sets), sets, people: Arc::clone(people) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Events of all of them.
    pub fn event_count(&self) -> usize {
        self.sets.event_count()
    }

    fn numbers(&self) -> Vec<u32> {
        (0..self.len() as u32).collect()
    }

    fn chunk<'a>(&'a self, numbers: &'a [u32]) -> Result<Chunk<'a>> {
        let sets = &self.sets;
        let deliveries: Vec<Delivery> =
            numbers.iter().map(|number| Delivery::of(sets.get(*number as usize), &self.kinds)).collect();
        let ids = |place: usize| -> ArrayRef {
            Arc::new(deliveries.iter().map(|delivery| sets.value(delivery.ids[place])).collect::<StringViewArray>())
        };
        let times = deliveries.iter().map(|delivery| delivery.identified_at_us.unwrap_or_default());
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"));
        let people = self.people.of_columns(&ids(0), &ids(1), &times)?;
        Ok(Chunk { sets, numbers, deliveries, people })
    }

    /// Shows the person, the id and the time of each attempt on which goals can follow. Long work, as above.
    pub fn exposures(&self, mut found: impl FnMut(&str, &str, i64)) -> Result<()> {
        for numbers in self.numbers().chunks(BATCH_ROWS) {
            let chunk = self.chunk(numbers)?;
            for ((number, person), delivery) in numbers.iter().zip(&chunk.people).zip(&chunk.deliveries) {
                if let (Some(person), Some(exposed_at_us)) = (person, delivery.exposed_at_us) {
                    found(person, &self.sets.get(*number as usize).key(), exposed_at_us);
                }
            }
        }
        Ok(())
    }

    /// Adds what goals may follow from. Long work, as above.
    pub fn add_to(&self, journeys: &mut Journeys) -> Result<()> {
        self.exposures(|person, attempt_id, at_us| journeys.add_exposure(person, at_us, attempt_id))
    }

    /// The rows, with all columns of a scan of `message_deliveries`.
    pub fn rows(&self, conversions: &Conversions) -> Result<Vec<RecordBatch>> {
        let mut rows = Vec::new();
        self.each_batch(conversions, &scan_schema(Table::MessageDeliveries), |batch| {
            rows.push(batch);
            Ok(())
        })?;
        Ok(rows)
    }

    /// Shows the rows, with some of these columns, a batch at a time.
    pub fn each_batch(
        &self,
        conversions: &Conversions,
        schema: &SchemaRef,
        mut found: impl FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        self.numbers().chunks(BATCH_ROWS).try_for_each(|numbers| found(self.chunk(numbers)?.rows(conversions, schema)?))
    }
}

impl Chunk<'_> {
    fn rows(&self, conversions: &Conversions, schema: &SchemaRef) -> Result<RecordBatch> {
        let Self { sets, numbers, deliveries, people } = self;
        let keys = || numbers.iter().map(|number| sets.get(*number as usize).key());
        let deliveries = || deliveries.iter();
        // Most lakes have none, and then no key need be put together.
        let reached: Vec<&[Conversion]> = if conversions.is_empty() {
            vec![&[]; numbers.len()]
        } else {
            keys().map(|key| conversions.of(&key)).collect()
        };
        let chosen = Chosen::new(sets, numbers);
        let columns = schema.fields().iter().map(|field| {
            let name = field.name().as_str();
            if let Some(lists) = chosen.list(name, &MEMBERS) {
                return lists;
            }
            if let Some(values) = of_conversions(name, &reached) {
                let lengths: Vec<usize> = reached.iter().map(|reached| reached.len()).collect();
                return list_of(values, &lengths);
            }
            Ok(match name {
                column::ATTEMPT_ID => Arc::new(keys().map(Some).collect::<StringViewArray>()),
                column::PERSON_ID => Arc::new(people.clone()),
                column::SYSTEM => {
                    Arc::new(deliveries().map(|delivery| Some(delivery.system)).collect::<StringViewArray>())
                }
                column::COST => {
                    let amounts = deliveries().map(|delivery| Some(i128::from(delivery.cost_e4)));
                    Arc::new(amounts.collect::<Decimal128Array>().with_data_type(money_type()))
                }
                column::IS_PENDING => flags(deliveries().map(|delivery| delivery.is_pending)),
                column::IS_ORPHAN => flags(deliveries().map(|delivery| delivery.is_orphan)),
                column::VIEWS => counts(deliveries().map(|delivery| delivery.views[0])),
                column::HUMAN_VIEWS => counts(deliveries().map(|delivery| delivery.views[1])),
                column::CLICKS => counts(deliveries().map(|delivery| delivery.clicks[0])),
                column::HUMAN_CLICKS => counts(deliveries().map(|delivery| delivery.clicks[1])),
                column::LAST_AT => {
                    let ends = reached.iter().map(|reached| reached.iter().map(|reached| reached.at_us).max());
                    instants(deliveries().zip(ends).map(|(delivery, end)| Some(delivery.last_at_us).max(end)))
                }
                name => match (text_of(name), time_of(name)) {
                    (Some(text), _) => {
                        let texts = deliveries().map(|delivery| sets.value(text(delivery)));
                        Arc::new(texts.collect::<StringViewArray>())
                    }
                    (None, Some(time)) => instants(deliveries().map(time)),
                    (None, None) => return Err(exec_datafusion_err!("attempts have no `{name}`")),
                },
            })
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }
}

/// The values of a list of conversions, one after the other.
fn of_conversions(name: &str, reached: &[&[Conversion]]) -> Option<ArrayRef> {
    let all = || reached.iter().copied().flatten();
    Some(match name {
        column::CONVERSION_GOAL => {
            Arc::new(all().map(|reached| Some(&*reached.goal)).collect::<arrow::array::StringArray>())
        }
        column::CONVERSION_EVENT_ID => {
            Arc::new(all().map(|reached| Some(&*reached.event_id)).collect::<arrow::array::StringArray>())
        }
        column::CONVERSION_OCCURRED_AT => instants(all().map(|reached| Some(reached.at_us))),
        column::CONVERSION_VALUE => {
            let values = all().map(|reached| reached.value_e4);
            Arc::new(values.collect::<Decimal128Array>().with_data_type(money_type()))
        }
        column::CONVERSION_IS_LAST_TOUCH => flags(all().map(|reached| reached.is_last_touch)),
        column::CONVERSION_IS_CREDITED => flags(all().map(|reached| reached.is_credited)),
        _ => return None,
    })
}

type Text = Box<dyn Fn(&Delivery) -> u32>;

fn text_of(name: &str) -> Option<Text> {
    if let Some(place) = PICKED.iter().position(|(picked, _)| *picked == name) {
        return Some(Box::new(move |delivery| delivery.picked[place]));
    }
    let place = IDS.iter().position(|id| *id == name)?;
    Some(Box::new(move |delivery| delivery.ids[place]))
}

fn time_of(name: &str) -> Option<fn(&Delivery) -> Option<i64>> {
    Some(match name {
        column::COHORT_AT => |delivery| Some(delivery.cohort_at_us),
        column::FIRST_AT => |delivery| Some(delivery.first_at_us),
        column::IDENTIFIED_AT => |delivery| delivery.identified_at_us,
        column::DECIDED_AT => |delivery| delivery.decided_at_us,
        column::SENT_AT => |delivery| delivery.sent_at_us,
        column::SUPPRESSED_AT => |delivery| delivery.suppressed_at_us,
        column::HOLDOUT_AT => |delivery| delivery.holdout_at_us,
        column::FAILED_AT => |delivery| delivery.failed_at_us,
        column::DELIVERED_AT => |delivery| delivery.delivered_at_us,
        column::FIRST_VIEWED_AT => |delivery| delivery.viewed_at_us[0],
        column::FIRST_HUMAN_VIEWED_AT => |delivery| delivery.viewed_at_us[1],
        column::FIRST_CLICKED_AT => |delivery| delivery.clicked_at_us[0],
        column::FIRST_HUMAN_CLICKED_AT => |delivery| delivery.clicked_at_us[1],
        column::EXPOSED_AT => |delivery| delivery.exposed_at_us,
        _ => return None,
    })
}

fn instants(times: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

fn flags(flags: impl Iterator<Item = bool>) -> ArrayRef {
    Arc::new(flags.map(Some).collect::<BooleanArray>())
}

fn counts(counts: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(counts))
}
