//! The events of a batch, as far as sets are concerned.

use std::borrow::Cow;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use datafusion::error::Result;
use touchline_schemas::event::TextField;
use touchline_schemas::event::properties::MessagingProperties;
use touchline_schemas::tables::event_sets::Member;
use touchline_schemas::tables::events;

use crate::columns::{flags, texts, times};

/// What tells sets apart: an id, and a letter if ids of several kinds are keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key<'a> {
    /// Stands before the id and a colon; 0 for none.
    pub kind: u8,
    /// The id.
    pub id: Cow<'a, str>,
}

impl<'a> Key<'a> {
    /// An id of a kind.
    pub fn of(kind: u8, id: impl Into<Cow<'a, str>>) -> Self {
        Self { kind, id: id.into() }
    }

    /// The key that a stored text says; `has_kind` if keys of its table have one.
    pub fn read(text: &'a str, has_kind: bool) -> Self {
        match text.split_at_checked(2) {
            Some((kind, id)) if has_kind && kind.ends_with(':') => Self::of(kind.as_bytes()[0], id),
            Some(_) | None => Self::of(0, text),
        }
    }
}

/// The text of a key, as it is stored.
pub(super) fn key_text(kind: u8, id: &str) -> Cow<'_, str> {
    if kind == 0 { Cow::Borrowed(id) } else { Cow::Owned(format!("{}:{id}", char::from(kind))) }
}

/// The columns of `events` that sets are made of.
pub(super) const TEXT_FIELDS: [(TextField, Member); 10] = [
    (TextField::VisitorId, Member::VisitorId),
    (TextField::UserId, Member::UserId),
    (TextField::DeliveryId, Member::DeliveryId),
    (TextField::MessageId, Member::MessageId),
    (TextField::Variant, Member::Variant),
    (TextField::Channel, Member::Channel),
    (TextField::RuleName, Member::RuleName),
    (TextField::SequenceId, Member::SequenceId),
    (TextField::StepId, Member::StepId),
    (TextField::Currency, Member::Currency),
];

/// The names of the columns that [`EventColumns`] needs.
pub(super) fn column_names() -> Vec<&'static str> {
    let mut names = vec![events::OCCURRED_AT, events::IS_BOT];
    names.extend([TextField::EventId, TextField::EventType, TextField::Properties].map(TextField::column));
    names.extend(TEXT_FIELDS.map(|(field, _)| field.column()));
    names
}

/// A batch of events.
pub(super) struct EventColumns<'a> {
    pub ids: &'a StringViewArray,
    pub types: &'a StringViewArray,
    pub times: &'a TimestampMicrosecondArray,
    pub bots: &'a BooleanArray,
    pub properties: &'a StringViewArray,
    pub texts: [&'a StringViewArray; TEXT_FIELDS.len()],
}

impl<'a> EventColumns<'a> {
    pub fn of(batch: &'a RecordBatch) -> Result<Self> {
        let ids = texts(batch, TextField::EventId.column())?;
        let mut fields = [ids; TEXT_FIELDS.len()];
        for (array, (field, _)) in fields.iter_mut().zip(TEXT_FIELDS) {
            *array = texts(batch, field.column())?;
        }
        Ok(Self {
            ids,
            types: texts(batch, TextField::EventType.column())?,
            times: times(batch, events::OCCURRED_AT)?,
            bots: flags(batch, events::IS_BOT)?,
            properties: texts(batch, TextField::Properties.column())?,
            texts: fields,
        })
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }
}

/// One event of a batch.
#[derive(Clone, Copy)]
pub struct EventRow<'a> {
    pub(super) columns: &'a EventColumns<'a>,
    pub(super) row: usize,
}

impl<'a> EventRow<'a> {
    /// Its id.
    pub fn id(&self) -> &'a str {
        text(self.columns.ids, self.row).unwrap_or_default()
    }

    /// Its type.
    pub fn event_type(&self) -> &'a str {
        text(self.columns.types, self.row).unwrap_or_default()
    }

    /// A text that has a column of its own.
    pub fn text(&self, member: Member) -> Option<&'a str> {
        let place = TEXT_FIELDS.iter().position(|(_, known)| *known == member)?;
        text(self.columns.texts[place], self.row)
    }

    /// What its properties say; they are read each time.
    pub fn properties(&self) -> MessagingProperties<'a> {
        text(self.columns.properties, self.row).map(MessagingProperties::read).unwrap_or_default()
    }
}

pub(super) fn text(texts: &StringViewArray, row: usize) -> Option<&str> {
    texts.is_valid(row).then(|| texts.value(row))
}

/// The values of a list of texts, as views.
pub(super) fn text_values(values: &dyn Array) -> Option<StringViewArray> {
    match values.as_string_opt::<i32>() {
        Some(texts) => Some(StringViewArray::from(texts)),
        None => values.as_string_view_opt().cloned(),
    }
}
