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

/// Some sets, as rows of a table.
#[derive(Debug)]
pub struct Chosen<'a> {
    sets: &'a SortedSets,
    numbers: &'a [u32],
    offsets: OffsetBuffer<i32>,
}

impl<'a> Chosen<'a> {
    /// The sets of these numbers.
    pub fn new(sets: &'a SortedSets, numbers: &'a [u32]) -> Self {
        let lengths = numbers.iter().map(|number| sets.get(*number as usize).len());
        Self { sets, numbers, offsets: OffsetBuffer::from_lengths(lengths) }
    }

    /// The column of lists of this name, if it is one of those of sets that keep `members`.
    pub fn list(&self, name: &str, members: &[Member]) -> Option<Result<ArrayRef>> {
        let values: ArrayRef = match name {
            EVENT_ID => self.texts(|event| Some(event.id())),
            EVENT_TYPE => self.texts(|event| Some(event.event_type())),
            OCCURRED_AT => self.instants(|event| Some(event.occurred_at_us())),
            IS_BOT => Arc::new(BooleanArray::from(self.events().map(|event| event.is_bot()).collect::<Vec<_>>())),
            _ => self.member(members.iter().copied().find(|member| member.column() == name)?),
        };
        Some(list_at(values, self.offsets.clone()))
    }

    fn member(&self, member: Member) -> ArrayRef {
        match member.kind() {
            MemberKind::Text => self.texts(|event| event.text(member)),
            MemberKind::Whole => Arc::new(self.events().map(|event| event.number(member)).collect::<Int64Array>()),
            MemberKind::Instant => self.instants(|event| event.number(member)),
            MemberKind::Money => {
                let amounts = self.events().map(|event| event.number(member).map(i128::from));
                Arc::new(amounts.collect::<Decimal128Array>().with_data_type(money_type()))
            }
            MemberKind::Fraction => {
                Arc::new(self.events().map(|event| event.fraction(member)).collect::<Float64Array>())
            }
        }
    }

    fn events(&self) -> impl Iterator<Item = Event<'a>> {
        let sets = self.sets;
        self.numbers.iter().flat_map(move |number| sets.get(*number as usize).events())
    }

    fn texts(&self, of: impl Fn(Event<'a>) -> Option<&'a str>) -> ArrayRef {
        let mut builder = StringBuilder::new();
        self.events().for_each(|event| builder.append_option(of(event)));
        Arc::new(builder.finish())
    }

    fn instants(&self, of: impl Fn(Event<'a>) -> Option<i64>) -> ArrayRef {
        Arc::new(self.events().map(of).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    }
}

/// Lists of these lengths, of values one after the other.
pub(crate) fn list_of(values: ArrayRef, lengths: &[usize]) -> Result<ArrayRef> {
    list_at(values, OffsetBuffer::from_lengths(lengths.iter().copied()))
}

fn list_at(values: ArrayRef, offsets: OffsetBuffer<i32>) -> Result<ArrayRef> {
    let field = Arc::new(Field::new("element", values.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(field, offsets, values, None)?))
}
