//! Sets in the columns of a table, and back.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, ListArray, RecordBatch,
    StringBuilder, StringViewArray, TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, Float64Type, Int64Type, TimestampMicrosecondType};
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use touchline_schemas::tables::event_sets::{EVENT_ID, EVENT_TYPE, IS_BOT, Member, MemberKind, OCCURRED_AT};
use touchline_schemas::tables::money_type;

use super::events::{text, text_values};
use super::sets::{Event, SortedSets};

/// The values of a list of numbers, in the units of [`Event::number`].
pub(super) enum Numbers {
    Whole(Int64Array),
    Instants(TimestampMicrosecondArray),
    Money(Decimal128Array),
    Fractions(Float64Array),
}

impl Numbers {
    fn of(values: &ArrayRef) -> Option<Self> {
        match values.data_type() {
            DataType::Int64 => values.as_primitive_opt::<Int64Type>().cloned().map(Self::Whole),
            DataType::Timestamp(..) => {
                values.as_primitive_opt::<TimestampMicrosecondType>().cloned().map(Self::Instants)
            }
            DataType::Decimal128(..) => values.as_primitive_opt::<Decimal128Type>().cloned().map(Self::Money),
            DataType::Float64 => values.as_primitive_opt::<Float64Type>().cloned().map(Self::Fractions),
            _ => None,
        }
    }

    pub fn get(&self, place: usize) -> Option<i64> {
        match self {
            Self::Whole(values) => values.is_valid(place).then(|| values.value(place)),
            Self::Instants(values) => values.is_valid(place).then(|| values.value(place)),
            Self::Money(values) => values.is_valid(place).then(|| i64::try_from(values.value(place)).ok()).flatten(),
            Self::Fractions(values) => values.is_valid(place).then(|| values.value(place).to_bits() as i64),
        }
    }
}

/// The sets of stored rows.
pub(super) struct Columns {
    keys: StringViewArray,
    offsets: OffsetBuffer<i32>,
    ids: StringViewArray,
    types: StringViewArray,
    times: TimestampMicrosecondArray,
    bots: BooleanArray,
    texts: Vec<(Member, StringViewArray)>,
    numbers: Vec<(Member, Numbers)>,
}

/// All members, in the order of their numbers.
const MEMBERS: [Member; Member::TEXTS + Member::NUMBERS] = [
    Member::VisitorId,
    Member::UserId,
    Member::DeliveryId,
    Member::MessageId,
    Member::Variant,
    Member::Channel,
    Member::RuleName,
    Member::SequenceId,
    Member::StepId,
    Member::Currency,
    Member::System,
    Member::Reason,
    Member::Element,
    Member::Outcome,
    Member::Arm,
    Member::Cost,
    Member::Propensity,
    Member::SequenceVersion,
    Member::DueAt,
    Member::SlaS,
];

impl Columns {
    pub fn of(rows: &RecordBatch, key: &str) -> Result<Self> {
        let missing = |name: &str| exec_datafusion_err!("there are no lists `{name}`");
        let lists = |name: &str| rows.column_by_name(name).and_then(|lists| lists.as_list_opt::<i32>());
        let list_of_texts =
            |name: &str| lists(name).and_then(|lists| text_values(lists.values())).ok_or_else(|| missing(name));
        let keys = rows.column_by_name(key).ok_or_else(|| missing(key))?;
        let keys = cast(keys, &DataType::Utf8View)?.as_string_view().clone();
        let times = lists(OCCURRED_AT).ok_or_else(|| missing(OCCURRED_AT))?;
        let bots = lists(IS_BOT).and_then(|lists| lists.values().as_boolean_opt()).ok_or_else(|| missing(IS_BOT))?;
        let (mut texts, mut numbers) = (Vec::new(), Vec::new());
        for member in MEMBERS {
            let Some(lists) = lists(member.column()) else { continue };
            if lists.value_offsets() != times.value_offsets() {
                return Err(exec_datafusion_err!("the lists `{}` have other lengths", member.column()));
            }
            match member.kind() {
                MemberKind::Text => texts.push((member, list_of_texts(member.column())?)),
                MemberKind::Whole | MemberKind::Money | MemberKind::Instant | MemberKind::Fraction => {
                    let values = Numbers::of(lists.values()).ok_or_else(|| missing(member.column()))?;
                    numbers.push((member, values));
                }
            }
        }
        Ok(Self {
            keys,
            offsets: times.offsets().clone(),
            ids: list_of_texts(EVENT_ID)?,
            types: list_of_texts(EVENT_TYPE)?,
            times: times
                .values()
                .as_primitive_opt::<TimestampMicrosecondType>()
                .cloned()
                .ok_or_else(|| missing(OCCURRED_AT))?,
            bots: bots.clone(),
            texts,
            numbers,
        })
    }

    pub fn keys(&self) -> &StringViewArray {
        &self.keys
    }

    pub fn types(&self) -> &StringViewArray {
        &self.types
    }

    pub fn texts(&self) -> &[(Member, StringViewArray)] {
        &self.texts
    }

    pub fn numbers(&self) -> &[(Member, Numbers)] {
        &self.numbers
    }

    /// The places of a row's events in the values of the lists.
    pub fn events_of(&self, row: usize) -> Range<usize> {
        self.offsets[row] as usize..self.offsets[row + 1] as usize
    }

    pub fn all_events(&self) -> Range<usize> {
        let bound = |offset: Option<&i32>| offset.map_or(0, |offset| *offset as usize);
        bound(self.offsets.first())..bound(self.offsets.last())
    }

    pub fn id(&self, place: usize) -> &str {
        text(&self.ids, place).unwrap_or_default()
    }

    pub fn occurred_at_us(&self, place: usize) -> i64 {
        self.times.value(place)
    }

    pub fn is_bot(&self, place: usize) -> bool {
        self.bots.is_valid(place) && self.bots.value(place)
    }
}

/// The lists of some sets: ids, types, times, bots, then `members`.
pub(super) fn lists(sets: &SortedSets, numbers: &[u32], members: &[Member]) -> Result<Vec<ArrayRef>> {
    let chosen = || numbers.iter().map(|number| sets.get(*number as usize));
    let events = || chosen().flat_map(|set| set.events());
    let lengths: Vec<usize> = chosen().map(|set| set.len()).collect();
    let texts = |of: &dyn Fn(Event<'_>) -> Option<u32>| -> ArrayRef {
        let mut builder = StringBuilder::new();
        events().for_each(|event| match of(event) {
            Some(number) => builder.append_option(sets.value(number)),
            None => builder.append_value(event.id()),
        });
        Arc::new(builder.finish())
    };
    let instants = |of: &dyn Fn(Event<'_>) -> Option<i64>| -> ArrayRef {
        Arc::new(events().map(of).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    let mut values = vec![
        texts(&|_| None),
        texts(&|event| Some(event.type_number())),
        instants(&|event| Some(event.occurred_at_us())),
        Arc::new(BooleanArray::from(events().map(|event| event.is_bot()).collect::<Vec<_>>())),
    ];
    for member in members {
        values.push(match member.kind() {
            MemberKind::Text => texts(&|event| Some(event.text_number(*member))),
            MemberKind::Whole => Arc::new(events().map(|event| event.number(*member)).collect::<Int64Array>()),
            MemberKind::Instant => instants(&|event| event.number(*member)),
            MemberKind::Money => {
                let amounts = events().map(|event| event.number(*member).map(i128::from));
                Arc::new(amounts.collect::<Decimal128Array>().with_data_type(money_type()))
            }
            MemberKind::Fraction => Arc::new(events().map(|event| event.fraction(*member)).collect::<Float64Array>()),
        });
    }
    let lists = values.into_iter().map(|values| list_of(values, &lengths));
    lists.collect()
}

/// Lists of these lengths, of values one after the other.
pub(crate) fn list_of(values: ArrayRef, lengths: &[usize]) -> Result<ArrayRef> {
    let field = Arc::new(Field::new("element", values.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    Ok(Arc::new(ListArray::try_new(field, offsets, values, None)?))
}
