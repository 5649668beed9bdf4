//! Attempts as rows of `message_deliveries`.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::SchemaRef;
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use touchline_schemas::tables::message_deliveries::{self as column, IDS, MEMBERS, PICKED};
use touchline_schemas::tables::{Table, event_sets, money_type};

use super::conversions::{Conversion, Conversions, Journeys};
use super::delivery::Delivery;
use crate::event_sets::{EventSets, SortedSets, list_of};
use crate::identities::People;
use crate::scan::scan_schema;

/// Rows of a batch.
const BATCH_ROWS: usize = 1 << 16;

/// Attempts with their events and people.
#[derive(Debug)]
pub struct Attempts {
    sets: SortedSets,
    deliveries: Vec<Delivery>,
    people: StringViewArray,
}

impl Attempts {
    /// What the events of `sets` tell. Long work for a processor, if there are many.
    pub fn of(sets: EventSets, people: &People) -> Result<Self> {
        let sets = sets.finish();
        let deliveries: Vec<Delivery> = sets.iter().map(Delivery::of).collect();
        let ids = |place: usize| -> ArrayRef {
            Arc::new(deliveries.iter().map(|delivery| sets.value(delivery.ids[place])).collect::<StringViewArray>())
        };
        let times = deliveries.iter().map(|delivery| delivery.identified_at_us.unwrap_or_default());
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"));
        let people = people.of_columns(&ids(0), &ids(1), &times)?;
        Ok(Self { sets, deliveries, people })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.deliveries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Events of all of them.
    pub fn event_count(&self) -> usize {
        self.sets.event_count()
    }

    /// The person of each that has one, and from when on goals count, if they do.
    pub fn exposures(&self) -> impl Iterator<Item = (&str, Option<i64>)> {
        let people = self.people.iter().zip(&self.deliveries);
        people.filter_map(|(person, delivery)| Some((person?, delivery.exposed_at_us)))
    }

    /// Adds what goals may follow from.
    pub fn add_to(&self, journeys: &mut Journeys) {
        for (number, (person, delivery)) in self.people.iter().zip(&self.deliveries).enumerate() {
            if let (Some(person), Some(exposed_at_us)) = (person, delivery.exposed_at_us) {
                journeys.add_exposure(person, exposed_at_us, &self.sets.get(number).key());
            }
        }
    }

    /// The rows, with all columns of a scan of `message_deliveries`.
    pub fn rows(&self, conversions: &Conversions) -> Result<Vec<RecordBatch>> {
        self.rows_of(conversions, &scan_schema(Table::MessageDeliveries))
    }

    /// The rows, with some of these columns.
    pub fn rows_of(&self, conversions: &Conversions, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
        let numbers: Vec<u32> = (0..self.len() as u32).collect();
        numbers.chunks(BATCH_ROWS).map(|chunk| self.batch(chunk, conversions, schema)).collect()
    }

    fn batch(&self, numbers: &[u32], conversions: &Conversions, schema: &SchemaRef) -> Result<RecordBatch> {
        let deliveries = || numbers.iter().map(|number| &self.deliveries[*number as usize]);
        let reached: Vec<&[Conversion]> =
            numbers.iter().map(|number| conversions.of(&self.sets.get(*number as usize).key())).collect();
        let event_lists = event_sets::fields(&MEMBERS);
        let wanted: Vec<_> =
            MEMBERS.into_iter().filter(|member| schema.column_with_name(member.column()).is_some()).collect();
        let lists = self.sets.lists(numbers, &wanted)?;
        let list = |name: &str| {
            let always = event_lists.len() - MEMBERS.len();
            let names = event_lists[..always].iter().map(|field| field.name().as_str());
            let place = names.chain(wanted.iter().map(|member| member.column())).position(|known| known == name)?;
            lists.get(place).cloned()
        };
        let columns = schema.fields().iter().map(|field| {
            let name = field.name().as_str();
            if let Some(lists) = list(name) {
                return Ok(lists);
            }
            if let Some(values) = of_conversions(name, &reached) {
                let lengths: Vec<usize> = reached.iter().map(|reached| reached.len()).collect();
                return list_of(values, &lengths);
            }
            Ok(match name {
                column::ATTEMPT_ID => {
                    let keys = numbers.iter().map(|number| Some(self.sets.get(*number as usize).key()));
                    Arc::new(keys.collect::<StringViewArray>())
                }
                column::PERSON_ID => {
                    let people = numbers.iter().map(|number| *number as usize);
                    let people = people.map(|place| self.people.is_valid(place).then(|| self.people.value(place)));
                    Arc::new(people.collect::<StringViewArray>())
                }
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
                        let texts = deliveries().map(|delivery| self.sets.value(text(delivery)));
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
