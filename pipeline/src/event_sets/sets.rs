//! Sets of events in memory: columns of events, each with the number of its key, and in the end an order in which those
//! of one key stand together.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::error::Result;
use touchline_schemas::event::properties::MessagingProperties;
use touchline_schemas::tables::event_sets::Member;

use super::events::{EventColumns, EventRow, Key, TEXT_FIELDS, key_text, text};
use super::read::Source;
use super::stored;
use crate::intern::{TextList, Texts, Values};

/// Stands for a number that is not there.
const NO_NUMBER: i64 = i64::MIN;

/// A column that costs nothing as long as nobody says anything.
#[derive(Debug, Default)]
struct Sparse<T>(Vec<T>);

impl<T: Copy> Sparse<T> {
    /// Sets the value at a place behind all that were set.
    fn set(&mut self, place: usize, value: T, nothing: T) {
        self.0.resize(place, nothing);
        self.0.push(value);
    }

    fn get(&self, place: usize) -> Option<T> {
        self.0.get(place).copied()
    }
}

/// Sets of events, while events are added to them.
#[derive(Debug, Default)]
pub struct EventSets {
    keys: Texts,
    key_of: Vec<u32>,
    occurred_at_us: Vec<i64>,
    is_bot: Vec<bool>,
    ids: TextList,
    types: Vec<u32>,
    values: Values,
    texts: [Sparse<u32>; Member::TEXTS],
    numbers: [Sparse<i64>; Member::NUMBERS],
}

impl EventSets {
    /// Events that were added; those that were added twice count twice.
    pub fn event_count(&self) -> usize {
        self.key_of.len()
    }

    /// The keys, as they are stored.
    pub fn keys(&self) -> impl Iterator<Item = Cow<'_, str>> {
        (0..self.keys.len()).map(|number| {
            let (kind, id) = self.keys.get(number as u32);
            // Only texts went in.
            key_text(kind, std::str::from_utf8(id).unwrap_or_default())
        })
    }

    /// Adds the events of a batch; `source` says what their keys are.
    pub(super) fn push_events(&mut self, columns: &EventColumns<'_>, source: &Source) {
        let first = self.key_of.len();
        let mut rows: Vec<u32> = Vec::with_capacity(columns.len());
        for row in 0..columns.len() {
            let event = EventRow { columns, row };
            let Some(key) = (source.key)(&event) else { continue };
            rows.push(row as u32);
            self.key_of.push(self.keys.number(key.kind, key.id.as_bytes()));
            self.occurred_at_us.push(columns.times.value(row));
            self.is_bot.push(columns.bots.is_valid(row) && columns.bots.value(row));
            self.ids.push(event.id().as_bytes());
        }
        self.types.extend(self.values.numbers(columns.types, &rows));
        for (array, (_, member)) in columns.texts.iter().zip(TEXT_FIELDS) {
            if array.null_count() < array.len() {
                let numbers = self.values.numbers(array, &rows);
                self.set_texts(member, first, &numbers);
            }
        }
        for (place, row) in rows.iter().enumerate() {
            if let Some(json) = text(columns.properties, *row as usize) {
                self.set_properties(first + place, &MessagingProperties::read(json));
            }
        }
    }

    fn set_texts(&mut self, member: Member, first: usize, numbers: &[u32]) {
        let column = &mut self.texts[member.index()];
        for (place, number) in numbers.iter().enumerate().filter(|(_, number)| **number != Values::NULL) {
            column.set(first + place, *number, Values::NULL);
        }
    }

    fn set_properties(&mut self, place: usize, said: &MessagingProperties<'_>) {
        let texts = [
            (Member::System, said.system),
            (Member::Reason, said.reason.as_deref()),
            (Member::Element, said.element.as_deref()),
            (Member::Outcome, said.outcome.as_deref()),
            (Member::Arm, said.arm.as_deref()),
        ];
        for (member, value) in texts.into_iter().filter_map(|(member, value)| Some((member, value?))) {
            let number = self.values.number(Some(value));
            self.texts[member.index()].set(place, number, Values::NULL);
        }
        let numbers = [
            (Member::Cost, said.cost_e4),
            (Member::Propensity, said.propensity.map(|propensity| propensity.to_bits() as i64)),
            (Member::SequenceVersion, said.sequence_version.map(i64::from)),
            (Member::DueAt, said.due_at_us),
            (Member::SlaS, said.sla_s.map(i64::from)),
        ];
        for (member, value) in numbers.into_iter().filter_map(|(member, value)| Some((member, value?))) {
            self.numbers[member.index() - Member::TEXTS].set(place, value, NO_NUMBER);
        }
    }

    /// Adds the sets of stored rows. `key` is the column of their keys, `has_kind` whether these begin with a kind.
    pub fn push_rows(&mut self, rows: &RecordBatch, key: &str, has_kind: bool) -> Result<()> {
        let stored = stored::Columns::of(rows, key)?;
        let first = self.key_of.len();
        for row in 0..rows.num_rows() {
            let key = Key::read(text(stored.keys(), row).unwrap_or_default(), has_kind);
            let number = self.keys.number(key.kind, key.id.as_bytes());
            let events = stored.events_of(row);
            self.key_of.extend(std::iter::repeat_n(number, events.len()));
            for place in events {
                self.occurred_at_us.push(stored.occurred_at_us(place));
                self.is_bot.push(stored.is_bot(place));
                self.ids.push(stored.id(place).as_bytes());
            }
        }
        let places: Vec<u32> = stored.all_events().map(|place| place as u32).collect();
        self.types.extend(self.values.numbers(stored.types(), &places));
        for (member, array) in stored.texts() {
            if array.null_count() < array.len() {
                let numbers = self.values.numbers(array, &places);
                self.set_texts(*member, first, &numbers);
            }
        }
        for (member, array) in stored.numbers() {
            let column = &mut self.numbers[member.index() - Member::TEXTS];
            for (place, at) in places.iter().enumerate() {
                if let Some(value) = array.get(*at as usize) {
                    column.set(first + place, value, NO_NUMBER);
                }
            }
        }
        Ok(())
    }

    /// Bytes of memory that they take.
    pub fn size_bytes(&self) -> usize {
        let columns: usize = self.texts.iter().map(|column| column.0.capacity()).sum::<usize>() * size_of::<u32>()
            + self.numbers.iter().map(|column| column.0.capacity()).sum::<usize>() * size_of::<i64>();
        let each = 2 * size_of::<u32>() + size_of::<i64>() + size_of::<bool>();
        self.key_of.capacity() * each
            + columns
            + self.keys.size_bytes()
            + self.ids.size_bytes()
            + self.values.size_bytes()
    }

    /// The sets, each with its events in order and once.
    pub fn finish(self) -> SortedSets {
        // Keys are numbered without gaps, so that counting them says where each one's events begin.
        let mut starts = vec![0_u32; self.keys.len() + 1];
        for key in &self.key_of {
            starts[*key as usize + 1] += 1;
        }
        for key in 1..starts.len() {
            starts[key] += starts[key - 1];
        }
        let mut next = starts.clone();
        let mut order = vec![0_u32; self.key_of.len()];
        for (place, key) in self.key_of.iter().enumerate() {
            let next = &mut next[*key as usize];
            order[*next as usize] = place as u32;
            *next += 1;
        }
        let (mut kept, mut ends) = (0, Vec::with_capacity(self.keys.len()));
        for bounds in starts.windows(2) {
            let (from, to) = (bounds[0] as usize, bounds[1] as usize);
            let rank = |place: u32| (self.occurred_at_us[place as usize], self.ids.get(place));
            order[from..to].sort_unstable_by(|a, b| rank(*a).cmp(&rank(*b)));
            let begin = kept;
            for place in from..to {
                let event = order[place];
                if kept > begin && self.ids.get(order[kept - 1]) == self.ids.get(event) {
                    continue;
                }
                order[kept] = event;
                kept += 1;
            }
            ends.push(kept as u32);
        }
        order.truncate(kept);
        SortedSets { sets: self, order, ends }
    }
}

/// Sets of events, numbered from 0.
#[derive(Debug)]
pub struct SortedSets {
    sets: EventSets,
    order: Vec<u32>,
    ends: Vec<u32>,
}

impl SortedSets {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Events of all sets.
    pub fn event_count(&self) -> usize {
        self.order.len()
    }

    /// One of them.
    pub fn get(&self, number: usize) -> SetRef<'_> {
        let from = number.checked_sub(1).map_or(0, |before| self.ends[before]) as usize;
        SetRef { all: self, number, from, to: self.ends[number] as usize }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = SetRef<'_>> {
        (0..self.len()).map(|number| self.get(number))
    }

    /// The text of a number that [`Event::text_number`] gave.
    pub fn value(&self, number: u32) -> Option<&str> {
        self.sets.values.get(number)
    }

    /// How many numbers of texts there are: they are smaller than this.
    pub fn value_count(&self) -> usize {
        self.sets.values.len()
    }

    /// The lists of some sets, for the columns of `touchline_schemas::tables::event_sets::fields(members)`.
    pub fn lists(&self, numbers: &[u32], members: &[Member]) -> Result<Vec<ArrayRef>> {
        stored::lists(self, numbers, members)
    }
}

/// One set.
#[derive(Debug, Clone, Copy)]
pub struct SetRef<'a> {
    all: &'a SortedSets,
    number: usize,
    from: usize,
    to: usize,
}

impl<'a> SetRef<'a> {
    /// The text of its key, as it is stored.
    pub fn key(&self) -> Cow<'a, str> {
        let (kind, id) = self.all.sets.keys.get(self.number as u32);
        // Only texts went in.
        key_text(kind, std::str::from_utf8(id).unwrap_or_default())
    }

    /// The text of a number that one of its events gave.
    pub fn value(&self, number: u32) -> Option<&'a str> {
        self.all.value(number)
    }

    /// How many events it has.
    pub fn len(&self) -> usize {
        self.to - self.from
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// Its events, by time and id.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = Event<'a>> + Clone + use<'a> {
        let sets = &self.all.sets;
        self.all.order[self.from..self.to].iter().map(move |place| Event { sets, place: *place })
    }
}

/// An event of a set.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    sets: &'a EventSets,
    place: u32,
}

impl<'a> Event<'a> {
    /// Its id.
    pub fn id(&self) -> &'a str {
        std::str::from_utf8(self.sets.ids.get(self.place)).unwrap_or_default()
    }

    /// Its type.
    pub fn event_type(&self) -> &'a str {
        self.sets.values.get(self.type_number()).unwrap_or_default()
    }

    /// The number of its type among the texts of all sets: of equal types the same.
    pub fn type_number(&self) -> u32 {
        self.sets.types[self.place as usize]
    }

    /// When it happened, µs since 1970.
    pub fn occurred_at_us(&self) -> i64 {
        self.sets.occurred_at_us[self.place as usize]
    }

    /// Whether a bot made it.
    pub fn is_bot(&self) -> bool {
        self.sets.is_bot[self.place as usize]
    }

    /// A member that is text.
    pub fn text(&self, member: Member) -> Option<&'a str> {
        self.sets.values.get(self.text_number(member))
    }

    /// The number of a member's text among those of all sets: 0 for none, and of equal texts the same.
    pub fn text_number(&self, member: Member) -> u32 {
        let column = self.sets.texts.get(member.index());
        column.and_then(|column| column.get(self.place as usize)).unwrap_or(Values::NULL)
    }

    /// A member that is a number: µs of instants, ten-thousandths of money, the bits of a fraction.
    pub fn number(&self, member: Member) -> Option<i64> {
        let column = member.index().checked_sub(Member::TEXTS).and_then(|place| self.sets.numbers.get(place));
        column.and_then(|column| column.get(self.place as usize)).filter(|value| *value != NO_NUMBER)
    }

    /// A member that is a fraction.
    pub fn fraction(&self, member: Member) -> Option<f64> {
        self.number(member).map(|bits| f64::from_bits(bits as u64))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Decimal128Array, StringViewArray, TimestampMicrosecondArray};
    use arrow::datatypes::{Field, Schema};
    use std::sync::Arc;
    use touchline_schemas::event::TextField;
    use touchline_schemas::tables::{Table, event_sets, events};

    use super::*;
    use crate::scan::scan_schema;

    const MEMBERS: [Member; 4] = [Member::UserId, Member::Reason, Member::Cost, Member::Propensity];
    const SOURCE: Source =
        Source { event_types: &[], key: |event| event.text(Member::DeliveryId).map(|id| Key::of(b'd', id)) };

    /// Events as (id, time, delivery, properties).
    type Said<'a> = (&'a str, i64, Option<&'a str>, &'a str);

    fn batch(said: &[Said<'_>]) -> RecordBatch {
        let schema = scan_schema(Table::Events);
        let columns = schema.fields().iter().map(|field| -> ArrayRef {
            let texts = |of: &dyn Fn(&Said<'_>) -> Option<String>| -> ArrayRef {
                Arc::new(said.iter().map(of).collect::<StringViewArray>())
            };
            match field.name().as_str() {
                events::OCCURRED_AT | events::RECEIVED_AT => {
                    let times = said.iter().map(|said| said.1);
                    Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
                }
                events::IS_BOT => Arc::new(BooleanArray::from(vec![false; said.len()])),
                events::REVENUE => {
                    Arc::new(Decimal128Array::from(vec![None; said.len()]).with_data_type(field.data_type().clone()))
                }
                name if name == TextField::EventId.column() => texts(&|said| Some(said.0.to_owned())),
                name if name == TextField::EventType.column() => texts(&|_| Some("$message_sent".to_owned())),
                name if name == TextField::UserId.column() => texts(&|said| Some(format!("user of {}", said.0))),
                name if name == TextField::DeliveryId.column() => texts(&|said| said.2.map(str::to_owned)),
                name if name == TextField::Properties.column() => texts(&|said| Some(said.3.to_owned())),
                _ => texts(&|_| None),
            }
        });
        RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
    }

    fn said(sets: &SortedSets) -> Vec<String> {
        let mut said: Vec<_> = sets
            .iter()
            .map(|set| {
                let events = set.events().map(|event| {
                    let (reason, cost) = (event.text(Member::Reason), event.number(Member::Cost));
                    format!("{}@{} {reason:?} {cost:?}", event.id(), event.occurred_at_us())
                });
                format!("{}: {}", set.key(), events.collect::<Vec<_>>().join(", "))
            })
            .collect();
        said.sort();
        said
    }

    /// The sets as rows of a table, and read from there.
    fn stored(sets: &SortedSets) -> RecordBatch {
        let numbers: Vec<u32> = (0..sets.len() as u32).collect();
        let keys: StringViewArray = sets.iter().map(|set| Some(set.key().into_owned())).collect();
        let mut fields = vec![Field::new("key", arrow::datatypes::DataType::Utf8View, true)];
        fields.extend(event_sets::fields(&MEMBERS));
        let mut columns: Vec<ArrayRef> = vec![Arc::new(keys)];
        columns.extend(sets.lists(&numbers, &MEMBERS).unwrap());
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    #[test]
    fn a_set_holds_each_event_once_and_in_order_whatever_way_it_came() {
        let all: [Said<'_>; 6] = [
            ("c", 30, Some("1"), r#"{"reason":"full","cost":0.5}"#),
            ("a", 10, Some("1"), "{}"),
            ("x", 5, None, "{}"),
            ("b", 10, Some("1"), r#"{"propensity":0.25}"#),
            ("c", 30, Some("1"), r#"{"reason":"full","cost":0.5}"#),
            ("d", 1, Some("2"), r#"{"cost":2}"#),
        ];
        let expected =
            [r#"d:1: a@10 None None, b@10 None None, c@30 Some("full") Some(5000)"#, "d:2: d@1 None Some(20000)"];
        let read = |said: &[Said<'_>], sets: &mut EventSets| {
            let batch = batch(said);
            sets.push_events(&EventColumns::of(&batch).unwrap(), &SOURCE);
        };
        let mut at_once = EventSets::default();
        read(&all, &mut at_once);
        assert_eq!(at_once.event_count(), 5);
        let at_once = at_once.finish();
        assert_eq!(said(&at_once), expected);

        // The first some events, stored; then all, of which some are known; sliced, so that lists begin somewhere.
        for known in 0..all.len() {
            let mut first = EventSets::default();
            read(&all[..known], &mut first);
            let rows = stored(&first.finish());
            let mut sets = EventSets::default();
            for row in (0..rows.num_rows()).rev() {
                sets.push_rows(&rows.slice(row, 1), "key", true).unwrap();
            }
            read(&all, &mut sets);
            assert_eq!(said(&sets.finish()), expected, "{known}");
        }
        let fraction = at_once.iter().flat_map(|set| set.events()).find_map(|event| event.fraction(Member::Propensity));
        assert_eq!(fraction, Some(0.25));
    }
}
