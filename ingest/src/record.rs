//! What one accepted request leaves in the write-ahead log: its events in canonical form, and what was refused.
//!
//! Layout, little endian. A request:
//!
//! ```text
//! u8 format = 1 │ u8 environment │ 16 B account │ i64 received_at µs │ u32 duplicates │ u32 events │ u32 rejected
//! events…  │ rejected…
//! ```
//!
//! An event: `u128 id hash │ i64 occurred_at µs │ u8 flags │ [i64 revenue × 10⁴] │ u64 text fields present`, then for
//! every bit set, lowest first, a LEB128 length and that many bytes of UTF-8. A refused event is five such texts.

use std::borrow::Cow;

use touchline_schemas::event::TextField;
use touchline_schemas::{AccountId, Environment, Tenant};
use uuid::Uuid;

use crate::event_ids::IdHash;

const FORMAT: u8 = 1;
const FLAG_BOT: u8 = 1;
const FLAG_REVENUE: u8 = 2;

/// One event in canonical form, borrowing from the request where it can.
#[derive(Debug, Clone, PartialEq)]
pub struct Event<'a> {
    /// The event's time, µs since 1970, UTC.
    pub occurred_at_us: i64,
    /// Whether a crawler or a tool made it.
    pub is_bot: bool,
    /// Revenue in ten-thousandths of its currency's unit.
    pub revenue_e4: Option<i64>,
    text: [Option<Cow<'a, str>>; TextField::COUNT],
}

impl<'a> Event<'a> {
    /// An event at a time, with nothing else known.
    pub fn at(occurred_at_us: i64) -> Self {
        Self { occurred_at_us, is_bot: false, revenue_e4: None, text: [const { None }; TextField::COUNT] }
    }

    /// A text field.
    pub fn get(&self, field: TextField) -> Option<&str> {
        self.text[field.index()].as_deref()
    }

    /// Takes over what another event has: its texts, and its revenue.
    pub fn take_over(&mut self, other: &Event<'_>) {
        for field in TextField::ALL {
            if let Some(text) = other.get(field) {
                self.set(field, text.to_owned());
            }
        }
        self.revenue_e4 = other.revenue_e4.or(self.revenue_e4);
    }

    /// Sets a text field.
    pub fn set(&mut self, field: TextField, value: impl Into<Cow<'a, str>>) {
        self.text[field.index()] = Some(value.into());
    }
}

/// One refused event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected<'a> {
    /// Our id of the refusal.
    pub rejected_id: Cow<'a, str>,
    /// The client's event id, or empty.
    pub event_id: Cow<'a, str>,
    /// The client's event type, or empty.
    pub event_type: Cow<'a, str>,
    /// First reason.
    pub code: Cow<'a, str>,
    /// All reasons, JSON.
    pub errors: Cow<'a, str>,
    /// The bytes that came.
    pub body: Cow<'a, str>,
    /// The endpoint.
    pub source: Cow<'a, str>,
}

impl<'a> Rejected<'a> {
    fn texts(&self) -> [&str; 7] {
        [&self.rejected_id, &self.event_id, &self.event_type, &self.code, &self.errors, &self.body, &self.source]
    }
}

/// The head of a request in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHead {
    /// Whose events.
    pub tenant: Tenant,
    /// When they arrived, µs since 1970, UTC.
    pub received_at_us: i64,
    /// Events that the hot window already knew; they are counted here and stored nowhere.
    pub duplicates: u32,
    /// Events that follow.
    pub events: u32,
    /// Refused events that follow.
    pub rejected: u32,
}

/// Events in their logged form, each with its id hash, so that duplicates can be left out without encoding again.
#[derive(Debug, Default)]
pub struct EncodedEvents {
    bytes: Vec<u8>,
    ends: Vec<(IdHash, usize)>,
}

impl EncodedEvents {
    /// Room for `events` events of usual size.
    pub fn with_capacity(events: usize) -> Self {
        Self { bytes: Vec::with_capacity(events * 384), ends: Vec::with_capacity(events) }
    }

    /// Appends an event.
    pub fn push(&mut self, hash: IdHash, event: &Event<'_>) {
        let out = &mut self.bytes;
        out.extend_from_slice(&hash.0.to_le_bytes());
        out.extend_from_slice(&event.occurred_at_us.to_le_bytes());
        let revenue_flag = if event.revenue_e4.is_some() { FLAG_REVENUE } else { 0 };
        out.push(revenue_flag | if event.is_bot { FLAG_BOT } else { 0 });
        if let Some(revenue) = event.revenue_e4 {
            out.extend_from_slice(&revenue.to_le_bytes());
        }
        let present_at = out.len();
        out.extend_from_slice(&[0; 8]);
        let mut present = 0_u64;
        for (bit, text) in event.text.iter().enumerate() {
            if let Some(text) = text {
                present |= 1 << bit;
                put_text(out, text);
            }
        }
        out[present_at..present_at + 8].copy_from_slice(&present.to_le_bytes());
        self.ends.push((hash, self.bytes.len()));
    }

    /// How many events.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Each event's hash and bytes.
    pub fn iter(&self) -> impl Iterator<Item = (IdHash, &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |&(hash, end)| {
            let event = &self.bytes[start..end];
            start = end;
            (hash, event)
        })
    }
}

/// Writes the head; what follows must be as many events and refusals as it says.
pub fn put_head(out: &mut Vec<u8>, head: &RequestHead) {
    out.push(FORMAT);
    out.push(match head.tenant.environment {
        Environment::Live => 0,
        Environment::Test => 1,
    });
    out.extend_from_slice(head.tenant.account_id.0.as_bytes());
    out.extend_from_slice(&head.received_at_us.to_le_bytes());
    for count in [head.duplicates, head.events, head.rejected] {
        out.extend_from_slice(&count.to_le_bytes());
    }
}

/// Writes one refusal.
pub fn put_rejected(out: &mut Vec<u8>, rejected: &Rejected<'_>) {
    for text in rejected.texts() {
        put_text(out, text);
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let mut length = text.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(text.as_bytes());
}

/// A logged request whose bytes do not mean anything to this version, although their checksum holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer version.
    #[error("log record has format {0}, this version reads {FORMAT}")]
    Format(u8),
    /// Ends too early.
    #[error("log record is cut short")]
    Truncated,
    /// Text that is not UTF-8.
    #[error("log record holds text that is not UTF-8")]
    NotUtf8,
    /// A value outside its range.
    #[error("log record holds an unknown environment or field")]
    Unknown,
}

/// An event as it lies in the log.
#[derive(Debug, Clone)]
pub struct LoggedEvent<'a> {
    /// Hash of tenant and event id.
    pub hash: IdHash,
    /// The event's time, µs since 1970, UTC.
    pub occurred_at_us: i64,
    /// Whether a crawler or a tool made it.
    pub is_bot: bool,
    /// Revenue in ten-thousandths.
    pub revenue_e4: Option<i64>,
    present: u64,
    texts: &'a [u8],
}

impl<'a> LoggedEvent<'a> {
    /// The text fields that are present, in order.
    pub fn texts(&self) -> impl Iterator<Item = (usize, &'a str)> {
        let mut reader = Reader(self.texts);
        let mut present = self.present;
        std::iter::from_fn(move || {
            if present == 0 {
                return None;
            }
            let bit = present.trailing_zeros() as usize;
            present &= present - 1;
            Some((bit, reader.text().ok()?))
        })
    }

    /// The id under which the event's sessions are cut: the visitor's, else the user's.
    pub fn device_key(&self) -> &'a str {
        let wanted = [TextField::VisitorId.index(), TextField::UserId.index()];
        self.texts().find(|(field, _)| wanted.contains(field)).map_or("", |(_, text)| text)
    }
}

/// A logged request.
#[derive(Debug, Clone)]
pub struct LoggedRequest<'a> {
    /// Its head.
    pub head: RequestHead,
    /// Its events.
    pub events: Vec<LoggedEvent<'a>>,
    /// What was refused of it.
    pub rejected: Vec<Rejected<'a>>,
}

/// Reads one request back.
pub fn decode(payload: &[u8]) -> Result<LoggedRequest<'_>, DecodeError> {
    let mut reader = Reader(payload);
    let format = reader.take(1)?[0];
    if format != FORMAT {
        return Err(DecodeError::Format(format));
    }
    let environment = match reader.take(1)?[0] {
        0 => Environment::Live,
        1 => Environment::Test,
        _ => return Err(DecodeError::Unknown),
    };
    let account_id = AccountId(Uuid::from_bytes(reader.array()?));
    let received_at_us = i64::from_le_bytes(reader.array()?);
    let [duplicates, events, rejected] =
        [u32::from_le_bytes(reader.array()?), u32::from_le_bytes(reader.array()?), u32::from_le_bytes(reader.array()?)];
    let head = RequestHead { tenant: Tenant { account_id, environment }, received_at_us, duplicates, events, rejected };
    let events = (0..events).map(|_| reader.event()).collect::<Result<_, _>>()?;
    let rejected = (0..rejected).map(|_| reader.rejected()).collect::<Result<_, _>>()?;
    Ok(LoggedRequest { head, events, rejected })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.try_into().map_err(|_| DecodeError::Truncated)
    }

    fn length(&mut self) -> Result<usize, DecodeError> {
        let mut length = 0_usize;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(length);
            }
        }
        Err(DecodeError::Truncated)
    }

    fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.length()?;
        self.take(length)
    }

    fn text(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::NotUtf8)
    }

    fn event(&mut self) -> Result<LoggedEvent<'a>, DecodeError> {
        let hash = IdHash(u128::from_le_bytes(self.array()?));
        let occurred_at_us = i64::from_le_bytes(self.array()?);
        let flags = self.take(1)?[0];
        let revenue_e4 = if flags & FLAG_REVENUE != 0 { Some(i64::from_le_bytes(self.array()?)) } else { None };
        let present = u64::from_le_bytes(self.array()?);
        if present >> TextField::COUNT != 0 {
            return Err(DecodeError::Unknown);
        }
        let start = self.0;
        for _ in 0..present.count_ones() {
            self.bytes()?;
        }
        let texts = &start[..start.len() - self.0.len()];
        Ok(LoggedEvent { hash, occurred_at_us, is_bot: flags & FLAG_BOT != 0, revenue_e4, present, texts })
    }

    fn rejected(&mut self) -> Result<Rejected<'a>, DecodeError> {
        Ok(Rejected {
            rejected_id: self.text()?.into(),
            event_id: self.text()?.into(),
            event_type: self.text()?.into(),
            code: self.text()?.into(),
            errors: self.text()?.into(),
            body: self.text()?.into(),
            source: self.text()?.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reads_back_as_it_was_written() {
        let tenant = Tenant { account_id: AccountId(Uuid::from_u128(7)), environment: Environment::Test };
        let mut event = Event::at(1_234_567);
        event.is_bot = true;
        event.revenue_e4 = Some(-99_9900);
        event.set(TextField::EventId, "e1");
        event.set(TextField::UserId, "u".repeat(200));
        event.set(TextField::Source, "native");
        let mut events = EncodedEvents::default();
        events.push(IdHash(42), &event);
        events.push(IdHash(43), &Event::at(-1));
        let rejected = Rejected {
            rejected_id: "r".into(),
            event_id: "".into(),
            event_type: "".into(),
            code: "missing".into(),
            errors: "[]".into(),
            body: "{\"é\":1}".into(),
            source: "native".into(),
        };
        let head = RequestHead { tenant, received_at_us: 5, duplicates: 3, events: 2, rejected: 1 };
        let mut payload = Vec::new();
        put_head(&mut payload, &head);
        events.iter().for_each(|(_, bytes)| payload.extend_from_slice(bytes));
        put_rejected(&mut payload, &rejected);

        let read = decode(&payload).unwrap();
        assert_eq!(read.head, head);
        assert_eq!(read.rejected, [rejected]);
        assert_eq!(read.events[0].hash, IdHash(42));
        assert_eq!((read.events[0].is_bot, read.events[0].revenue_e4), (true, Some(-99_9900)));
        assert_eq!(read.events[0].device_key(), "u".repeat(200));
        let texts: Vec<_> = read.events[0].texts().map(|(field, text)| (TextField::ALL[field], text.len())).collect();
        assert_eq!(texts, [(TextField::EventId, 2), (TextField::UserId, 200), (TextField::Source, 6)]);
        assert_eq!(read.events[1].texts().count(), 0);

        for length in 0..payload.len() {
            assert!(decode(&payload[..length]).is_err(), "cut at {length}");
        }
    }
}
