//! The events that tables keep in lists, under the names of these lists: what stands in columns of `events`, and what the
//! properties say.

use polars::prelude::*;
use touchline_schemas::event::messaging::SYSTEMS;
use touchline_schemas::event::{TextField, properties};
use touchline_schemas::tables::event_sets::{EVENT_ID, EVENT_TYPE, IS_BOT, Member, MemberKind, OCCURRED_AT};
use touchline_schemas::tables::events;

use crate::said::Said;

/// Where a member comes from.
enum Origin {
    Column(TextField),
    Property(&'static str),
}

fn origin(member: Member) -> Origin {
    match member {
        Member::VisitorId => Origin::Column(TextField::VisitorId),
        Member::UserId => Origin::Column(TextField::UserId),
        Member::DeliveryId => Origin::Column(TextField::DeliveryId),
        Member::MessageId => Origin::Column(TextField::MessageId),
        Member::Variant => Origin::Column(TextField::Variant),
        Member::Channel => Origin::Column(TextField::Channel),
        Member::RuleName => Origin::Column(TextField::RuleName),
        Member::SequenceId => Origin::Column(TextField::SequenceId),
        Member::StepId => Origin::Column(TextField::StepId),
        Member::Currency => Origin::Column(TextField::Currency),
        Member::System => Origin::Property(properties::SYSTEM),
        Member::Reason => Origin::Property(properties::REASON),
        Member::Element => Origin::Property(properties::ELEMENT),
        Member::Outcome => Origin::Property(properties::OUTCOME),
        Member::Arm => Origin::Property(properties::ARM),
        Member::Cost => Origin::Property(properties::COST),
        Member::Propensity => Origin::Property(properties::PROPENSITY),
        Member::SequenceVersion => Origin::Property(properties::SEQUENCE_VERSION),
        Member::DueAt => Origin::Property(properties::DUE_AT),
        Member::SlaS => Origin::Property(properties::SLA_S),
    }
}

/// The columns of `events` that lists with `members` are made of.
pub fn event_columns(members: &[Member]) -> Vec<&'static str> {
    let mut names = vec![events::OCCURRED_AT, events::IS_BOT];
    names.extend([TextField::EventId, TextField::EventType, TextField::Properties].map(TextField::column));
    names.extend(members.iter().filter_map(|member| match origin(*member) {
        Origin::Column(field) => Some(field.column()),
        Origin::Property(_) => None,
    }));
    names
}

/// The names of the lists: of ids, types, times and bots, then of `members`.
pub fn list_columns(members: &[Member]) -> Vec<&'static str> {
    [EVENT_ID, EVENT_TYPE, OCCURRED_AT, IS_BOT]
        .into_iter()
        .chain(members.iter().map(|member| member.column()))
        .collect()
}

/// The events of some types, one row each, with [`list_columns`] and beside them the property `key` under its own name.
/// `rows` have [`event_columns`].
pub fn of_types(rows: &DataFrame, types: &[&str], members: &[Member], key: &str) -> PolarsResult<DataFrame> {
    let known = rows.column(TextField::EventType.column())?.str()?;
    let is_ours: BooleanChunked =
        known.iter().map(|event_type| Some(event_type.is_some_and(|event_type| types.contains(&event_type)))).collect();
    let rows = rows.filter(&is_ours)?;
    let said: Vec<Said> = rows.column(TextField::Properties.column())?.str()?.iter().map(Said::read).collect();
    let bots = rows.column(events::IS_BOT)?.bool()?.fill_null_with_values(false)?;
    let named = |from: &str, to: &str| rows.column(from).map(|column| column.clone().with_name(to.into()));
    let mut columns = vec![
        named(TextField::EventId.column(), EVENT_ID)?,
        named(TextField::EventType.column(), EVENT_TYPE)?,
        named(events::OCCURRED_AT, OCCURRED_AT)?,
        bots.with_name(IS_BOT.into()).into_column(),
    ];
    for member in members {
        columns.push(match origin(*member) {
            Origin::Column(field) => named(field.column(), member.column())?,
            Origin::Property(name) => property(*member, name, &said),
        });
    }
    columns.push(words(key, &said, |said| said.word(key)));
    DataFrame::new(rows.height(), columns)
}

fn property(member: Member, name: &str, said: &[Said]) -> Column {
    let read = match member.kind() {
        MemberKind::Text => {
            let is_known = |word: &String| member != Member::System || SYSTEMS.contains(&word.as_str());
            return words(member.column(), said, |said| said.word(name).filter(is_known));
        }
        MemberKind::Money => Said::amount_e4,
        MemberKind::Fraction => Said::share_bits,
        MemberKind::Whole => Said::whole,
        MemberKind::Instant => Said::instant_us,
    };
    let numbers: Int64Chunked = said.iter().map(|said| read(said, name)).collect();
    numbers.with_name(member.column().into()).into_column()
}

fn words(to: &str, said: &[Said], read: impl Fn(&Said) -> Option<String>) -> Column {
    said.iter().map(read).collect::<StringChunked>().with_name(to.into()).into_column()
}
