//! `data/funnel`: visits, what happened in them, and conversions, in the order of time.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use chrono::DateTime;
use datafusion::common::JoinType;
use datafusion::logical_expr::{cast, lit, when};
use datafusion::prelude::{DataFrame, Expr, col};
use datafusion::scalar::ScalarValue;
use touchline_schemas::Tenant;
use touchline_schemas::event::{SOURCE_CONVERSION, TextField};
use touchline_schemas::tables::{MONEY_PRECISION, MONEY_SCALE, Table, events, sessions};

use super::{Campaign, DEFINITION, Found, Page, e4, text, time_us};
use crate::reports::{Bots, TimeRange, instant, only, rows_in};
use crate::{PipelineError, QueryEngine};

/// The tables that it reads; the first is the one whose version an answer names.
pub const TABLES: [Table; 2] = [Table::Sessions, Table::Events];

/// What the caller may choose.
#[derive(Debug, Clone)]
pub struct Params {
    /// By the time of the event, and by that at which the visit began.
    pub range: TimeRange,
    /// Types of events that are conversions, besides what was posted as one.
    pub conversion_event_types: Vec<String>,
    /// Visits of one of these channels, and what happened in them; of all if there are none.
    pub channels: Vec<String>,
    /// Which of them.
    pub page: Page,
}

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A session that begins.
    Visit,
    /// An event that is no conversion.
    Event,
    /// A conversion.
    Conversion,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Visit, Self::Event, Self::Conversion];

    /// The word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Visit => "visit",
            Self::Event => "event",
            Self::Conversion => "conversion",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// What it is.
    pub kind: Kind,
    /// When, in microseconds since 1970.
    pub at_us: i64,
    /// The id of the session or the event.
    pub id: String,
    /// The type of the event; none of a visit.
    pub name: Option<String>,
    /// What led to the visit, or to the visit in which it happened; nothing if it is in none.
    pub campaign: Campaign,
    /// The money that a conversion carried, in ten-thousandths.
    pub revenue_e4: Option<i128>,
    /// In which currency.
    pub currency: Option<String>,
    /// What the event said, as JSON; none of a visit.
    pub properties: Option<String>,
    device: Option<Device>,
}

/// Whose it is: a visitor, or a user without one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Device {
    Visitor(String),
    User(String),
}

const KIND: &str = "kind";
const AT: &str = "at";
const ID: &str = "id";
const NAME: &str = "name";
const VISITOR: &str = TextField::VisitorId.column();
const USER: &str = TextField::UserId.column();
const CURRENCY: &str = TextField::Currency.column();
const PROPERTIES: &str = TextField::Properties.column();
/// Types of events that people neither do nor are counted by begin so.
const OWN_TYPES: &str = "$%";

/// What happened in the range, bots left out, oldest first; a visit before what happened in it.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Found<Happening>, PipelineError> {
    let (_, visits, meta) = rows_in(engine, Table::Sessions, tenant, params.range, DEFINITION).await?;
    let visits = of_channels(only(visits, Bots::Exclude)?, params)?;
    let (_, happened, _) = rows_in(engine, Table::Events, tenant, params.range, DEFINITION).await?;
    let happened = happened
        .filter(col(events::IS_BOT).is_not_true())?
        .filter(col(TextField::EventType.column()).not_like(lit(OWN_TYPES)))?;
    let happened = if params.channels.is_empty() { happened } else { within(engine, tenant, happened, params).await? };

    let rows = visits.select(visit_columns())?.union(happened.select(event_columns(params)?)?)?;
    let total_count = rows.clone().count().await?;
    let order = [AT, KIND, ID].map(|name| col(name).sort(true, true)).to_vec();
    let mut rows = read(&params.page.of(rows.sort(order)?)?.collect().await?)?;
    add_campaigns(engine, tenant, &mut rows).await?;
    Ok(Found { rows, total_count, meta })
}

fn of_channels(sessions: DataFrame, params: &Params) -> Result<DataFrame, PipelineError> {
    if params.channels.is_empty() {
        return Ok(sessions);
    }
    let channels = params.channels.iter().map(|channel| lit(channel.as_str())).collect();
    Ok(sessions.filter(col(sessions::CHANNEL).in_list(channels, false))?)
}

/// The events that happened in visits of the channels, whenever these began.
async fn within(
    engine: &QueryEngine,
    tenant: Tenant,
    happened: DataFrame,
    params: &Params,
) -> Result<DataFrame, PipelineError> {
    const OWNER: &str = "owner";
    const BY_USER: &str = "by_user";
    const OF_OWNER: &str = "session_owner";
    const OF_USER: &str = "session_by_user";
    let owner = || Ok::<_, PipelineError>(when(col(VISITOR).is_null(), col(USER)).otherwise(col(VISITOR))?);
    let range = TimeRange { from: None, to: params.range.to };
    let (_, visits, _) = rows_in(engine, Table::Sessions, tenant, range, DEFINITION).await?;
    let visits = of_channels(only(visits, Bots::Exclude)?, params)?.select(vec![
        owner()?.alias(OF_OWNER),
        col(VISITOR).is_null().alias(OF_USER),
        col(sessions::STARTED_AT),
        col(sessions::ENDED_AT),
    ])?;
    let happened = happened.with_column(OWNER, owner()?)?.with_column(BY_USER, col(VISITOR).is_null())?;
    let at = || col(events::OCCURRED_AT);
    let is_within = at().gt_eq(col(sessions::STARTED_AT)).and(at().lt_eq(col(sessions::ENDED_AT)));
    let on = ([OWNER, BY_USER], [OF_OWNER, OF_USER]);
    Ok(happened.join(visits, JoinType::LeftSemi, &on.0, &on.1, Some(is_within))?)
}

fn nothing(data_type: DataType) -> Expr {
    cast(lit(ScalarValue::Null), data_type)
}

/// The number of a kind, by which rows of one instant are ordered.
fn number(kind: Kind) -> Expr {
    lit(kind as i64)
}

fn visit_columns() -> Vec<Expr> {
    let mut columns = vec![
        number(Kind::Visit).alias(KIND),
        col(sessions::STARTED_AT).alias(AT),
        col(sessions::SESSION_ID).alias(ID),
        nothing(DataType::Utf8View).alias(NAME),
        nothing(DataType::Decimal128(MONEY_PRECISION, MONEY_SCALE)).alias(events::REVENUE),
        nothing(DataType::Utf8View).alias(CURRENCY),
        nothing(DataType::Utf8View).alias(PROPERTIES),
        col(VISITOR),
        col(USER),
    ];
    columns.extend(Campaign::COLUMNS.map(col));
    columns
}

fn event_columns(params: &Params) -> Result<Vec<Expr>, PipelineError> {
    let event_type = || col(TextField::EventType.column());
    let types = params.conversion_event_types.iter().map(|event_type| lit(event_type.as_str())).collect();
    let posted = col(TextField::Source.column()).eq(lit(SOURCE_CONVERSION));
    let is_conversion = event_type().in_list(types, false).or(posted);
    let kind = when(is_conversion, number(Kind::Conversion)).otherwise(number(Kind::Event))?;
    let mut columns = vec![
        kind.alias(KIND),
        col(events::OCCURRED_AT).alias(AT),
        col(TextField::EventId.column()).alias(ID),
        event_type().alias(NAME),
        col(events::REVENUE),
        col(CURRENCY),
        col(PROPERTIES),
        col(VISITOR),
        col(USER),
    ];
    // Those of the visit come when it is known which rows are wanted.
    columns.extend(Campaign::COLUMNS.map(|name| nothing(DataType::Utf8View).alias(name)));
    Ok(columns)
}

fn read(batches: &[RecordBatch]) -> Result<Vec<Happening>, PipelineError> {
    let mut rows = Vec::new();
    for batch in batches {
        let kinds = crate::columns::counts(batch, KIND)?;
        for row in 0..batch.num_rows() {
            let kind = Kind::ALL.into_iter().find(|kind| *kind as i64 == kinds.value(row)).unwrap_or(Kind::Event);
            let is_conversion = kind == Kind::Conversion;
            let device = match (text(batch, VISITOR, row)?, text(batch, USER, row)?) {
                (Some(visitor), _) => Some(Device::Visitor(visitor)),
                (None, user) => user.map(Device::User),
            };
            rows.push(Happening {
                kind,
                at_us: time_us(batch, AT, row)?.unwrap_or_default(),
                id: text(batch, ID, row)?.unwrap_or_default(),
                name: text(batch, NAME, row)?,
                campaign: Campaign::read(batch, row)?,
                revenue_e4: e4(batch, events::REVENUE, row)?.filter(|_| is_conversion),
                currency: text(batch, CURRENCY, row)?.filter(|_| is_conversion),
                properties: text(batch, PROPERTIES, row)?,
                device,
            });
        }
    }
    Ok(rows)
}

/// A visit of a device: its first and last instant, and what led to it.
struct Visit {
    from_us: i64,
    to_us: i64,
    campaign: Campaign,
}

/// Gives events the campaign of the visit in which they happened.
async fn add_campaigns(engine: &QueryEngine, tenant: Tenant, rows: &mut [Happening]) -> Result<(), PipelineError> {
    let visits = visits_of(engine, tenant, rows).await?;
    for row in rows.iter_mut().filter(|row| row.kind != Kind::Visit) {
        let of_device = row.device.as_ref().and_then(|device| visits.get(device)).into_iter().flatten();
        // Of two that touch, the event is the later one's.
        let holding = of_device.filter(|visit| (visit.from_us..=visit.to_us).contains(&row.at_us));
        if let Some(visit) = holding.max_by_key(|visit| visit.from_us) {
            row.campaign = visit.campaign.clone();
        }
    }
    Ok(())
}

async fn visits_of(
    engine: &QueryEngine,
    tenant: Tenant,
    rows: &[Happening],
) -> Result<BTreeMap<Device, Vec<Visit>>, PipelineError> {
    let happened = rows.iter().filter(|row| row.kind != Kind::Visit);
    let times = happened.clone().filter_map(|row| DateTime::from_timestamp_micros(row.at_us));
    let (Some(first), Some(last)) = (times.clone().min(), times.max()) else { return Ok(BTreeMap::new()) };
    let (mut visitors, mut users) = (Vec::new(), Vec::new());
    for device in happened.filter_map(|row| row.device.as_ref()) {
        match device {
            Device::Visitor(id) => visitors.push(lit(id.as_str())),
            Device::User(id) => users.push(lit(id.as_str())),
        }
    }
    let (_, frame, _) = rows_in(engine, Table::Sessions, tenant, TimeRange::default(), DEFINITION).await?;
    let of_users = col(VISITOR).is_null().and(col(USER).in_list(users, false));
    let mut columns = vec![col(VISITOR), col(USER), col(sessions::STARTED_AT), col(sessions::ENDED_AT)];
    columns.extend(Campaign::COLUMNS.map(col));
    let frame = only(frame, Bots::Exclude)?
        .filter(col(sessions::STARTED_AT).lt_eq(instant(last)))?
        .filter(col(sessions::ENDED_AT).gt_eq(instant(first)))?
        .filter(col(VISITOR).in_list(visitors, false).or(of_users))?
        .select(columns)?;
    let mut visits: BTreeMap<Device, Vec<Visit>> = BTreeMap::new();
    for batch in frame.collect().await? {
        for row in 0..batch.num_rows() {
            let device = match (text(&batch, VISITOR, row)?, text(&batch, USER, row)?) {
                (Some(visitor), _) => Device::Visitor(visitor),
                (None, Some(user)) => Device::User(user),
                (None, None) => continue,
            };
            let [from, to] = [sessions::STARTED_AT, sessions::ENDED_AT].map(|name| time_us(&batch, name, row));
            let (Some(from_us), Some(to_us)) = (from?, to?) else { continue };
            visits.entry(device).or_default().push(Visit { from_us, to_us, campaign: Campaign::read(&batch, row)? });
        }
    }
    Ok(visits)
}
