//! Sets of events in memory: columns of events, each with the number of its key, and in the end an order in which those
//! of one key stand together.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::error::Result;
use touchline_schemas::event::properties::MessagingProperties;
use touchline_schemas::tables::event_sets::{Member, fields};

use super::events::{EventColumns, EventRow, Key, TEXT_FIELDS, key_text, text};
use super::read::Source;
use super::stored::{self, Chosen};
use crate::intern::{TextList, Values};
use crate::paged::Paged;

/// Stands for a number that is not there.
const NO_NUMBER: i64 = i64::MIN;

/// Keys, numbered from 0. Their ids stand among the values of events, where most of them stand anyway.
#[derive(Debug, Default)]
struct Keys {
    /// Kind, and number of the value that is the id.
    all: Vec<(u8, u32)>,
    /// For each kind, by the number of the value, one more than the number of the key; 0 where there is none.
    of_kinds: Vec<(u8, Vec<u32>)>,
}

impl Keys {
    fn number(&mut self, kind: u8, value: u32) -> u32 {
        let place = self.of_kinds.iter().position(|(known, _)| *known == kind).unwrap_or_else(|| {
            self.of_kinds.push((kind, Vec::new()));
            self.of_kinds.len() - 1
        });
        let numbers = &mut self.of_kinds[place].1;
        let value_place = value as usize;
        if numbers.len() <= value_place {
            numbers.resize(value_place + 1, 0);
        }
        if numbers[value_place] == 0 {
            self.all.push((kind, value));
            numbers[value_place] = self.all.len() as u32;
        }
        numbers[value_place] - 1
    }

    fn size_bytes(&self) -> usize {
        let numbers: usize = self.of_kinds.iter().map(|(_, numbers)| numbers.capacity()).sum();
        self.all.capacity() * size_of::<(u8, u32)>() + numbers * size_of::<u32>()
    }
}

/// Sets of events, while events are added to them.
#[derive(Debug, Default)]
pub struct EventSets {
    keys: Keys,
    key_of: Paged<u32>,
    occurred_at_us: Paged<i64>,
    is_bot: Paged<bool>,
    ids: TextList,
    types: Values,
    type_of: Paged<u32>,
    values: Values,
    /// These cost nothing as long as no event says anything, and end with the last that does.
    texts: [Paged<u32>; Member::TEXTS],
    numbers: [Paged<i64>; Member::NUMBERS],
}

/// Sets the value at a place behind all that were set.
fn set<T: Copy>(column: &mut Paged<T>, place: usize, value: T, nothing: T) {
    column.fill(place, nothing);
    column.push(value);
}

impl EventSets {
    /// Events that were added; those that were added twice count twice.
    pub fn event_count(&self) -> usize {
        self.key_of.len()
    }

    /// The keys, as they are stored.
    pub fn keys(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.keys.all.iter().map(|(kind, id)| key_text(*kind, self.values.get(*id).unwrap_or_default()))
    }

    /// Adds the events of a batch; `source` says what their keys are.
    pub(super) fn push_events(&mut self, columns: &EventColumns<'_>, source: &Source) {
        let first = self.key_of.len();
        let (mut rows, mut keys) = (Vec::with_capacity(columns.len()), Vec::with_capacity(columns.len()));
        for row in 0..columns.len() {
            let event = EventRow { columns, row };
            let Some(key) = (source.key)(&event) else { continue };
            rows.push(row as u32);
            keys.push(key);
            self.occurred_at_us.push(columns.times.value(row));
            self.is_bot.push(columns.bots.is_valid(row) && columns.bots.value(row));
            self.ids.push(event.id().as_bytes());
        }
        self.types.numbers(columns.types, &rows).into_iter().for_each(|number| self.type_of.push(number));
        let mut deliveries = None;
        for (array, (_, member)) in columns.texts.iter().zip(TEXT_FIELDS) {
            if array.null_count() < array.len() {
                let numbers = self.values.numbers(array, &rows);
                self.set_texts(member, first, &numbers);
                if member == Member::DeliveryId {
                    deliveries = Some((array, numbers));
                }
            }
        }
        for (place, key) in keys.into_iter().enumerate() {
            // Most keys are deliveries, whose numbers are known.
            let known = deliveries.as_ref().and_then(|(array, numbers)| {
                let is_it = text(array, rows[place] as usize) == Some(&*key.id);
                is_it.then(|| numbers[place])
            });
            let id = known.unwrap_or_else(|| self.values.number(Some(&key.id)));
            self.key_of.push(self.keys.number(key.kind, id));
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
            set(column, first + place, *number, Values::NULL);
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
            set(&mut self.texts[member.index()], place, number, Values::NULL);
        }
        let numbers = [
            (Member::Cost, said.cost_e4),
            (Member::Propensity, said.propensity.map(|propensity| propensity.to_bits() as i64)),
            (Member::SequenceVersion, said.sequence_version.map(i64::from)),
            (Member::DueAt, said.due_at_us),
            (Member::SlaS, said.sla_s.map(i64::from)),
        ];
        for (member, value) in numbers.into_iter().filter_map(|(member, value)| Some((member, value?))) {
            set(&mut self.numbers[member.index() - Member::TEXTS], place, value, NO_NUMBER);
        }
    }

    /// Adds the sets of stored rows. `key` is the column of their keys, `has_kind` whether these begin with a kind.
    pub fn push_rows(&mut self, rows: &RecordBatch, key: &str, has_kind: bool) -> Result<()> {
        let stored = stored::Columns::of(rows, key)?;
        let first = self.key_of.len();
        for row in 0..rows.num_rows() {
            let key = Key::read(text(stored.keys(), row).unwrap_or_default(), has_kind);
            let id = self.values.number(Some(&key.id));
            let number = self.keys.number(key.kind, id);
            for place in stored.events_of(row) {
                self.key_of.push(number);
                self.occurred_at_us.push(stored.occurred_at_us(place));
                self.is_bot.push(stored.is_bot(place));
                self.ids.push(stored.id(place).as_bytes());
            }
        }
        let places: Vec<u32> = stored.all_events().map(|place| place as u32).collect();
        self.types.numbers(stored.types(), &places).into_iter().for_each(|number| self.type_of.push(number));
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
                    set(column, first + place, value, NO_NUMBER);
                }
            }
        }
        Ok(())
    }

    /// Bytes of memory that they take.
    pub fn size_bytes(&self) -> usize {
        self.keys.size_bytes()
            + self.key_of.size_bytes()
            + self.occurred_at_us.size_bytes()
            + self.is_bot.size_bytes()
            + self.ids.size_bytes()
            + self.type_of.size_bytes()
            + self.values.size_bytes()
            + self.texts.iter().map(Paged::size_bytes).sum::<usize>()
            + self.numbers.iter().map(Paged::size_bytes).sum::<usize>()
    }

    /// The sets, each with its events in order and once.
    pub fn finish(self) -> SortedSets {
        // Keys are numbered without gaps, so that counting them says where each one's events begin.
        let mut starts = vec![0_u32; self.keys.all.len() + 1];
        for key in self.key_of.iter() {
            starts[key as usize + 1] += 1;
        }
        for key in 1..starts.len() {
            starts[key] += starts[key - 1];
        }
        let mut next = starts.clone();
        let mut order = vec![0_u32; self.key_of.len()];
        for (place, key) in self.key_of.iter().enumerate() {
            let next = &mut next[key as usize];
            order[*next as usize] = place as u32;
            *next += 1;
        }
        drop(next);
        let (mut kept, mut ends) = (0, Vec::with_capacity(self.keys.all.len()));
        for bounds in starts.windows(2) {
            let (from, to) = (bounds[0] as usize, bounds[1] as usize);
            let rank = |place: u32| (self.occurred_at_us.get(place as usize), self.ids.get(place));
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

    /// The types of the events, by the number that [`Event::type_number`] gives.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        let types = &self.sets.types;
        (0..types.len() as u32).map(|number| types.get(number).unwrap_or_default())
    }

    /// The lists of some sets, for the columns of `touchline_schemas::tables::event_sets::fields(members)`.
    pub fn lists(&self, numbers: &[u32], members: &[Member]) -> Result<Vec<ArrayRef>> {
        let chosen = Chosen::new(self, numbers);
        fields(members).iter().filter_map(|field| chosen.list(field.name(), members)).collect()
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
        let (kind, id) = self.all.sets.keys.all[self.number];
        key_text(kind, self.all.value(id).unwrap_or_default())
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
        self.sets.types.get(self.type_number()).unwrap_or_default()
    }

    /// The number of its type among those of all sets: of equal types the same.
    pub fn type_number(&self) -> u32 {
        self.sets.type_of.get(self.place as usize).unwrap_or(Values::NULL)
    }

    /// When it happened, µs since 1970.
    pub fn occurred_at_us(&self) -> i64 {
        self.sets.occurred_at_us.get(self.place as usize).unwrap_or_default()
    }

    /// Whether a bot made it.
    pub fn is_bot(&self) -> bool {
        self.sets.is_bot.get(self.place as usize).unwrap_or_default()
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
