//! Which events explain why two profiles count different sessions.
//!
//! Two divisions of events into sessions are the same exactly if every event has the same predecessor in its session
//! under both. So the events whose predecessors differ are all there is to explain, and each has a reason: the rule by
//! which one side kept it apart from the other side's predecessor.

use std::collections::BTreeMap;
use std::fmt;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::UInt64Type;
use arrow::error::ArrowError;
use chrono::{DateTime, Duration, Utc};
use datafusion::prelude::{DataFrame, col};
use futures::TryStreamExt;
use touchline_schemas::Tenant;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::{Table, events, sessions as column};

use super::fragment::{Shape, fragments};
use super::keys::Keys;
use super::merge::{DEVICE_HASH, texts, times};
use super::ordered::{Cut, Step, steps};
use super::{SessionParams, SessionRules};
use crate::lean::{concat_lean, own_batch};
use crate::reports::{TimeRange, instant};
use crate::scan::scan_schema;
use crate::{PipelineError, QueryEngine};

/// Events that are compared at once: a few hundred MB. If there are more, they are read again for each share of the
/// visitors.
const ROWS_AT_ONCE: u64 = 2_000_000;

/// What two sets of rules make of the same events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// People's events that belong to sessions.
    pub events: u64,
    /// Sessions under the first and the second rules.
    pub sessions: [u64; 2],
    /// Events whose predecessors differ.
    pub differing: u64,
    /// How many of them for each reason.
    pub reasons: BTreeMap<Reason, u64>,
    /// The first of them, by time and id.
    pub rows: Vec<Difference>,
}

/// An event that explains a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `visitor_id`, else `user_id`.
    pub device: String,
    /// Its id.
    pub event_id: String,
    /// Its time.
    pub occurred_at: DateTime<Utc>,
    /// What it does under the first and under the second rules.
    pub does: [Does; 2],
    /// Why.
    pub reason: Reason,
    /// How long nothing had happened in the session that one side ended.
    pub pause: Option<Duration>,
}

/// What an event does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Does {
    /// It begins a session.
    Begins,
    /// It continues the session of this event.
    Continues(String),
}

/// Why an event was kept apart from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The pause is too long.
    Pause,
    /// The client gave another session id.
    ClientSession,
    /// Midnight lies between them.
    Midnight,
    /// It came by another campaign.
    Campaign,
    /// It came from another site.
    Referrer,
    /// The session would have become too long.
    MaxLength,
}

impl Reason {
    /// A word for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::ClientSession => "client_session",
            Self::Midnight => "midnight",
            Self::Campaign => "campaign",
            Self::Referrer => "referrer",
            Self::MaxLength => "max_length",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pause => "pause",
            Self::ClientSession => "client session id changed",
            Self::Midnight => "midnight",
            Self::Campaign => "campaign changed",
            Self::Referrer => "referrer changed",
            Self::MaxLength => "greatest length reached",
        })
    }
}

/// Compares what `rules` make of one tenant's events in `range`, and lists at most `limit` of the events that differ.
///
/// Referrals from `own_domains` are internal. Bots are left out. Sessions that reach out of the range are seen as far as they lie inside it.
pub async fn compare(
    engine: &QueryEngine,
    tenant: Tenant,
    rules: [SessionRules; 2],
    own_domains: &[String],
    range: TimeRange,
    limit: usize,
) -> Result<Comparison, PipelineError> {
    let (scan, _) = engine.scan(Table::Events, tenant).await?;
    let rows: u64 = scan.files().iter().map(|file| file.rows).sum();
    let shares = rows.div_ceil(ROWS_AT_ONCE).max(1);
    let sides = rules.map(|rules| Side::new(rules, own_domains));
    let frame = people(scan.frame(&engine.context())?, range, &sides)?;
    let mut found =
        Comparison { events: 0, sessions: [0; 2], differing: 0, reasons: BTreeMap::new(), rows: Vec::new() };
    for share in 0..shares {
        let both = read_share(frame.clone(), &sides, share, shares).await?;
        found.add(&both, &sides, limit)?;
    }
    Ok(found)
}

/// One set of rules, and the fragments that it needs.
struct Side {
    params: SessionParams,
    shape: Shape,
}

impl Side {
    fn new(rules: SessionRules, own_domains: &[String]) -> Self {
        let shape = Shape::new(&[], &rules);
        Self { params: SessionParams { rules, own_domains: own_domains.to_vec(), ..SessionParams::default() }, shape }
    }
}

/// The columns that the sides need, of people's events in the range.
fn people(frame: DataFrame, range: TimeRange, sides: &[Side; 2]) -> Result<DataFrame, PipelineError> {
    let mut frame = frame.filter(col(events::IS_BOT).is_not_true())?;
    if let Some(from) = range.from {
        frame = frame.filter(col(events::OCCURRED_AT).gt_eq(instant(from)))?;
    }
    if let Some(to) = range.to {
        frame = frame.filter(col(events::OCCURRED_AT).lt(instant(to)))?;
    }
    let schema = scan_schema(Table::Events);
    let is_read = |place: &usize| sides.iter().any(|side| side.shape.events.contains(place));
    let columns = (0..schema.fields().len()).filter(is_read).map(|place| col(schema.field(place).name()));
    Ok(frame.select(columns.collect::<Vec<_>>())?)
}

/// The events of a share of the visitors as both sides' fragments, row by row the same events.
async fn read_share(
    frame: DataFrame,
    sides: &[Side; 2],
    share: u64,
    shares: u64,
) -> Result<[RecordBatch; 2], PipelineError> {
    let mut stream = frame.execute_stream().await?;
    let mut parts: [Vec<RecordBatch>; 2] = [Vec::new(), Vec::new()];
    while let Some(batch) = stream.try_next().await? {
        for (side, parts) in sides.iter().zip(&mut parts) {
            let batch = fragments(&batch, &side.shape.fragments, &side.params).map_err(engine)?;
            parts.push(own_batch(&of_share(&batch, share, shares).map_err(engine)?).map_err(engine)?);
        }
    }
    let whole = |side: usize| concat_lean(&sides[side].shape.fragments, &parts[side]).map_err(engine);
    Ok([whole(0)?, whole(1)?])
}

fn of_share(batch: &RecordBatch, share: u64, shares: u64) -> Result<RecordBatch, ArrowError> {
    let hashes: Option<&ArrayRef> = batch.column_by_name(DEVICE_HASH);
    let Some(hashes) = hashes.and_then(|hashes| hashes.as_primitive_opt::<UInt64Type>()) else {
        return Err(ArrowError::SchemaError(format!("fragments have no `{DEVICE_HASH}`")));
    };
    let chosen: BooleanArray = hashes.values().iter().map(|hash| Some(hash % shares == share)).collect();
    filter_record_batch(batch, &chosen)
}

impl Comparison {
    fn add(&mut self, both: &[RecordBatch; 2], sides: &[Side; 2], limit: usize) -> Result<(), PipelineError> {
        let steps_of = |side: usize| steps(&both[side], &sides[side].params.rules).map_err(engine);
        let steps = [steps_of(0)?, steps_of(1)?];
        self.events += both[0].num_rows() as u64;
        for (sessions, steps) in self.sessions.iter_mut().zip(&steps) {
            *sessions += steps.iter().filter(|step| predecessor(**step).is_none()).count() as u64;
        }
        let rows = Rows::of(both).map_err(engine)?;
        for (row, (first, second)) in (0..).zip(steps[0].iter().zip(&steps[1])) {
            if predecessor(*first) == predecessor(*second) {
                continue;
            }
            let (reason, pause) = rows.reason(row, [*first, *second]);
            self.differing += 1;
            *self.reasons.entry(reason).or_default() += 1;
            self.rows.push(rows.difference(row, [*first, *second], reason, pause));
            if self.rows.len() >= limit.saturating_mul(2).max(1_024) {
                self.keep(limit);
            }
        }
        self.keep(limit);
        Ok(())
    }

    fn keep(&mut self, limit: usize) {
        self.rows.sort_by(|a, b| (a.occurred_at, &a.event_id).cmp(&(b.occurred_at, &b.event_id)));
        self.rows.truncate(limit);
    }
}

fn predecessor(step: Step) -> Option<u32> {
    match step {
        Step::Continues(row) => Some(row),
        Step::First | Step::Cut(_) => None,
    }
}

/// What is said of rows.
struct Rows<'a> {
    batch: &'a RecordBatch,
    keys: [Keys<'a>; 2],
}

impl<'a> Rows<'a> {
    fn of(both: &'a [RecordBatch; 2]) -> Result<Self, ArrowError> {
        Ok(Self { batch: &both[0], keys: [Keys::of(&both[0]), Keys::of(&both[1])] })
    }

    /// The rule of one side that keeps `row` from its predecessor on the other.
    fn reason(&self, row: u32, steps: [Step; 2]) -> (Reason, Option<Duration>) {
        let (apart, from) = match steps.map(predecessor) {
            [None, Some(other)] => (0, other),
            [Some(other), None] => (1, other),
            // Sessions with the same keys do not overlap: the side that goes farther back has kept away what is nearer.
            [Some(a), Some(b)] if self.place(a) > self.place(b) => (1, a),
            [Some(_), Some(b)] => (0, b),
            [None, None] => (0, row),
        };
        let keys = self.keys[apart];
        if keys.client_session(row) != keys.client_session(from) {
            return (Reason::ClientSession, None);
        }
        if keys.day(row) != keys.day(from) {
            return (Reason::Midnight, None);
        }
        match steps[apart] {
            Step::Cut(Cut::Pause { pause_us }) => (Reason::Pause, Some(Duration::microseconds(pause_us))),
            Step::Cut(Cut::Campaign) => (Reason::Campaign, None),
            Step::Cut(Cut::Referrer) => (Reason::Referrer, None),
            Step::Cut(Cut::MaxLength) => (Reason::MaxLength, None),
            // A row is its group's first, or follows another group's, only by one of the keys above.
            Step::First | Step::Continues(_) => (Reason::ClientSession, None),
        }
    }

    /// Where a row stands in the order of events.
    fn place(&self, row: u32) -> (i64, Option<String>) {
        (self.at_us(row), self.text(column::FIRST_EVENT_ID, row))
    }

    fn at_us(&self, row: u32) -> i64 {
        times(self.batch, column::STARTED_AT).map_or(0, |times| times.value(row as usize))
    }

    fn text(&self, name: &str, row: u32) -> Option<String> {
        let values = texts(self.batch, name).ok()?;
        values.is_valid(row as usize).then(|| values.value(row as usize).to_owned())
    }

    fn difference(&self, row: u32, steps: [Step; 2], reason: Reason, pause: Option<Duration>) -> Difference {
        let id = |row: u32| self.text(column::FIRST_EVENT_ID, row).unwrap_or_default();
        let visitor = self.text(TextField::VisitorId.column(), row);
        Difference {
            device: visitor.or_else(|| self.text(TextField::UserId.column(), row)).unwrap_or_default(),
            event_id: id(row),
            occurred_at: DateTime::from_timestamp_micros(self.at_us(row)).unwrap_or_default(),
            does: steps.map(|step| predecessor(step).map_or(Does::Begins, |row| Does::Continues(id(row)))),
            reason,
            pause,
        }
    }
}

fn engine(error: ArrowError) -> PipelineError {
    datafusion::error::DataFusionError::from(error).into()
}
