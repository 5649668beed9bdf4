//! An event as the smallest fragment of a session.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringViewArray, UInt64Array, new_null_array,
};
use arrow::compute::{filter_record_batch, is_null, nullif};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use touchline_schemas::event::{PAGE_VIEW, RESERVED_PREFIX, SESSION_START, SOURCE_CONVERSION, TextField};
use touchline_schemas::tables::{Table, events, sessions as column};

use super::SessionParams;
use super::keys::{self, CLIENT_KEY};
use super::merge::{DEVICE_HASH, PICKS};
use super::rules::SessionRules;
use crate::channels::OwnSites;
use crate::scan::scan_schema;

/// The fragment columns that are needed to give the session columns `wanted`, and the event columns for those.
pub(super) struct Shape {
    /// Columns of a fragment, with the internal ones at the end: keys, if the rules have any, and the hash.
    pub(super) fragments: SchemaRef,
    /// Columns of `events` to read, by their place in its scan schema.
    pub(super) events: Vec<usize>,
}

impl Shape {
    /// The shape for the session columns `wanted` under `rules`.
    pub(super) fn new(wanted: &[&str], rules: &SessionRules) -> Self {
        let mut names: Vec<&str> = vec![
            TextField::VisitorId.column(),
            TextField::UserId.column(),
            column::IS_BOT,
            column::STARTED_AT,
            column::FIRST_EVENT_ID,
            column::ENDED_AT,
            column::LAST_EVENT_ID,
        ];
        let wants = |name: &str| wanted.contains(&name);
        let splits = &rules.splits;
        let by_source = wants(column::CHANNEL) || splits.campaign.is_some() || splits.referrer.is_some();
        let needs = |name: &str| wants(name) || (by_source && is_source(name));
        for pick in &PICKS {
            if needs(pick.at) || needs(pick.event_id) || pick.columns().any(needs) {
                names.extend([pick.at, pick.event_id]);
                names.extend(pick.columns().filter(|name| needs(name)));
            }
        }
        let derived = wants(column::IS_BOUNCE) || wants(column::IS_ENGAGED);
        for sum in super::merge::SUMS {
            if wants(sum) || (derived && sum != column::REVENUE) {
                names.push(sum);
            }
        }
        let all = scan_schema(Table::Sessions);
        let mut fields: Vec<Field> = all
            .fields()
            .iter()
            .filter(|field| names.contains(&field.name().as_str()))
            .map(|field| field.as_ref().clone())
            .collect();
        fields.extend(keys::fields(rules));
        fields.push(Field::new(DEVICE_HASH, DataType::UInt64, false));
        let fragments = Arc::new(Schema::new(fields));
        Self { events: event_columns(&fragments), fragments }
    }
}

/// Whether a column says where a session came from.
fn is_source(name: &str) -> bool {
    column::UTM_FIELDS.iter().any(|field| field.column() == name) || name == TextField::ReferrerHost.column()
}

fn event_columns(fragments: &SchemaRef) -> Vec<usize> {
    let has = |name: &str| super::merge::has(fragments, name);
    let scan = scan_schema(Table::Events);
    let mut columns = Vec::new();
    for (place, field) in scan.fields().iter().enumerate() {
        let name = field.name().as_str();
        let needed = match name {
            events::OCCURRED_AT | events::IS_BOT => true,
            events::RECEIVED_AT => has(column::ANCHOR_RECEIVED_AT),
            events::REVENUE => has(column::REVENUE),
            _ if name == TextField::EventType.column() || name == TextField::EventId.column() => true,
            _ if name == TextField::VisitorId.column() || name == TextField::UserId.column() => true,
            _ if name == TextField::SessionId.column() => has(column::CLIENT_SESSION_ID) || has(CLIENT_KEY),
            _ if name == TextField::Path.column() => has(column::ENTRY_PAGE) || has(column::EXIT_PAGE),
            // Whether an event came from elsewhere is a question to both hosts.
            _ if name == TextField::Host.column() || name == TextField::ReferrerHost.column() => {
                has(column::REFERRER_AT)
            }
            _ if name == TextField::Source.column() => has(column::CONVERSION_COUNT),
            // Whether an event carries a campaign is a question to all of its parameters.
            _ if column::UTM_FIELDS.iter().any(|field| field.column() == name) => has(column::UTM_AT),
            _ => has(name),
        };
        if needed {
            columns.push(place);
        }
    }
    columns
}

/// Turns events into fragments, one each; events that are no part of any session are left out.
pub(super) fn fragments(
    batch: &RecordBatch,
    shape: &SchemaRef,
    params: &SessionParams,
) -> Result<RecordBatch, ArrowError> {
    let event_types = text(batch, TextField::EventType)?;
    let (visitors, users) = (text(batch, TextField::VisitorId)?, text(batch, TextField::UserId)?);
    let counted = event_types.iter().enumerate().map(|(row, event_type)| {
        // What nobody did (a conversion that only names another event) is no part of anybody's session.
        Some((visitors.is_valid(row) || users.is_valid(row)) && event_type.is_some_and(counts))
    });
    let counted: BooleanArray = counted.collect();
    let kept;
    let batch = if counted.true_count() == batch.num_rows() {
        batch
    } else {
        kept = filter_record_batch(batch, &counted)?;
        &kept
    };
    let event_types = text(batch, TextField::EventType)?;
    let event_ids = column_of(batch, TextField::EventId.column())?;
    let occurred_at = column_of(batch, events::OCCURRED_AT)?;
    let views: BooleanArray = event_types.iter().map(|event_type| Some(event_type == Some(PAGE_VIEW))).collect();
    let no_view = arrow::compute::not(&views)?;
    let sites = if super::merge::has(shape, column::REFERRER_AT) {
        external_referrers(batch, &params.own_domains)?
    } else {
        new_null_array(&DataType::Utf8View, batch.num_rows())
    };

    let columns = shape.fields().iter().map(|field| {
        let name = field.name().as_str();
        Ok(match name {
            column::STARTED_AT | column::ENDED_AT => Arc::clone(occurred_at),
            column::FIRST_EVENT_ID | column::LAST_EVENT_ID | column::SESSION_ID => Arc::clone(event_ids),
            column::ANCHOR_RECEIVED_AT => Arc::clone(column_of(batch, events::RECEIVED_AT)?),
            column::ENTRY_AT | column::EXIT_AT => nullif(occurred_at, &no_view)?,
            column::ENTRY_EVENT_ID | column::EXIT_EVENT_ID => Arc::clone(event_ids),
            column::ENTRY_PAGE | column::EXIT_PAGE => Arc::clone(column_of(batch, TextField::Path.column())?),
            column::UTM_AT => nullif(occurred_at, &without_campaign(batch)?)?,
            column::REFERRER_AT => nullif(occurred_at, &is_null(&sites)?)?,
            _ if name == TextField::ReferrerHost.column() => Arc::clone(&sites),
            column::UTM_EVENT_ID
            | column::REFERRER_EVENT_ID
            | column::USER_EVENT_ID
            | column::CLIENT_SESSION_EVENT_ID => Arc::clone(event_ids),
            column::USER_AT => nullif(occurred_at, &is_null(column_of(batch, TextField::UserId.column())?)?)?,
            column::CLIENT_SESSION_AT => {
                nullif(occurred_at, &is_null(column_of(batch, TextField::SessionId.column())?)?)?
            }
            column::CLIENT_SESSION_ID => Arc::clone(column_of(batch, TextField::SessionId.column())?),
            column::EVENT_COUNT => Arc::new(Int64Array::from_value(1, batch.num_rows())) as ArrayRef,
            column::PAGE_VIEW_COUNT => ones(views.iter().map(|view| view == Some(true))),
            column::INTERACTION_COUNT => ones(event_types.iter().map(is_interaction)),
            column::CONVERSION_COUNT => {
                let sources = text(batch, TextField::Source)?;
                ones(event_types.iter().zip(sources.iter()).map(|(event_type, source)| {
                    source == Some(SOURCE_CONVERSION)
                        || event_type.is_some_and(|event_type| {
                            params.conversion_event_types.iter().any(|known| known == event_type)
                        })
                }))
            }
            DEVICE_HASH => device_hashes(batch)?,
            _ => {
                let client_session_ids = || column_of(batch, TextField::SessionId.column()).cloned();
                match keys::key_column(name, &params.rules, occurred_at, client_session_ids)? {
                    Some(key) => key,
                    None => Arc::clone(column_of(batch, name)?),
                }
            }
        })
    });
    let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
    RecordBatch::try_new(Arc::clone(shape), columns)
}

/// Whether events of a type belong to sessions.
fn counts(event_type: &str) -> bool {
    !event_type.starts_with(RESERVED_PREFIX) || event_type == SESSION_START
}

fn is_interaction(event_type: Option<&str>) -> bool {
    event_type.is_some_and(|event_type| event_type != PAGE_VIEW && !event_type.starts_with(RESERVED_PREFIX))
}

fn ones(flags: impl Iterator<Item = bool>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(flags.map(i64::from)))
}

fn column_of<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("events have no column `{name}`")))
}

fn text(batch: &RecordBatch, field: TextField) -> Result<&StringViewArray, ArrowError> {
    column_of(batch, field.column())?
        .as_string_view_opt()
        .ok_or_else(|| ArrowError::SchemaError(format!("`{}` is no text", field.column())))
}

/// Referring hosts without the account's own: moving about on a site is no way to come to it.
fn external_referrers(batch: &RecordBatch, own_domains: &[String]) -> Result<ArrayRef, ArrowError> {
    let referrers = column_of(batch, TextField::ReferrerHost.column())?;
    if referrers.null_count() == batch.num_rows() {
        return Ok(Arc::clone(referrers));
    }
    let own = OwnSites::new(own_domains);
    let (referring, pages) = (text(batch, TextField::ReferrerHost)?, text(batch, TextField::Host)?);
    let internal = referring
        .iter()
        .zip(pages.iter())
        .map(|(referring, page)| Some(referring.is_some_and(|referring| own.is_internal(referring, page))));
    nullif(referrers, &internal.collect())
}

fn without_campaign(batch: &RecordBatch) -> Result<BooleanArray, ArrowError> {
    let rows = batch.num_rows();
    let mut without = vec![true; rows];
    for field in column::UTM_FIELDS {
        let values = column_of(batch, field.column())?;
        if values.null_count() == rows {
            continue;
        }
        for (row, without) in without.iter_mut().enumerate() {
            *without &= values.is_null(row);
        }
    }
    Ok(without.into())
}

/// A fixed hash of what tells visitors apart; equal hashes of different visitors only share a partition.
pub(super) fn device_hashes(batch: &RecordBatch) -> Result<ArrayRef, ArrowError> {
    let (visitor_ids, user_ids) = (text(batch, TextField::VisitorId)?, text(batch, TextField::UserId)?);
    let hasher = std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default();
    let hashes = visitor_ids.iter().zip(user_ids.iter()).map(|(visitor, user)| hasher.hash_one(visitor.or(user)));
    Ok(Arc::new(UInt64Array::from_iter_values(hashes)))
}
