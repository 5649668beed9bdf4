//! `people/{id}`: who is behind an id, and what is known of them.

pub mod events;
pub mod ids;
pub mod sessions;
pub mod touches;

use std::collections::BTreeSet;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringViewArray, new_null_array};
use arrow::datatypes::Int64Type;
use datafusion::logical_expr::lit;
use datafusion::prelude::{Expr, col};
use futures::TryStreamExt;
use touchline_schemas::Tenant;
use touchline_schemas::event::TextField;
use touchline_schemas::person::{IdType, TypedId};
use touchline_schemas::tables::{Table, identities, visitors as column};

use super::{Answer, TimeRange, computed, count_where, instant_us, rows_in, visitors};
use crate::identities::{Identity, USER_PREFIX, VISITOR_PREFIX};
use crate::scan::scan_schema;
use crate::{PipelineError, QueryEngine};

pub use crate::visitors::DEFINITION;

/// The tables that it reads; the first is the one whose version an answer names. Who is in neither is looked for in
/// `events`.
pub const TABLES: [Table; 2] = [Table::Visitors, Table::Identities];

/// Somebody, and their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// As it stands in tables.
    pub person_id: String,
    /// Their ids: user ids before visitor ids.
    pub ids: BTreeSet<PersonId>,
}

/// An id of a person, and when it is theirs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PersonId {
    /// `user` or `visitor`.
    pub id_type: &'static str,
    /// The id.
    pub id: String,
    /// Inclusive; none: since ever.
    pub valid_from_us: Option<i64>,
    /// Exclusive; none: for ever.
    pub valid_to_us: Option<i64>,
    /// The first event that speaks for it; none of an id that nothing else is linked to.
    pub linked_at_us: Option<i64>,
}

/// The person whose id `id` is: a person id, else a user id, else a visitor id. Of a visitor id that several people share,
/// the last one. None if nobody has it.
pub async fn find(engine: &QueryEngine, tenant: Tenant, id: &str) -> Result<Option<Person>, PipelineError> {
    let candidates = candidates(id);
    let known = identities(engine, tenant, &candidates).await?;
    let own: Vec<String> = candidates.iter().map(own_person_id).collect();
    let with_sessions = with_sessions(engine, tenant, &own).await?;
    for (candidate, own) in candidates.iter().zip(own) {
        let person_id = match mapped(&known, candidate) {
            Some(person_id) => person_id,
            None if with_sessions.contains(&own) || known.iter().any(|row| row.person_id == own) => own,
            None => continue,
        };
        return Ok(Some(with_ids(engine, tenant, person_id).await?));
    }
    match first_with_events(engine, tenant, &candidates).await? {
        Some(candidate) => Ok(Some(with_ids(engine, tenant, own_person_id(candidate)).await?)),
        None => Ok(None),
    }
}

/// What an id may mean, the likeliest first.
fn candidates(id: &str) -> Vec<TypedId> {
    let mut candidates = Vec::new();
    candidates.extend(id.strip_prefix(USER_PREFIX).map(TypedId::user));
    candidates.extend(id.strip_prefix(VISITOR_PREFIX).map(TypedId::visitor));
    candidates.extend([TypedId::user(id), TypedId::visitor(id)]);
    candidates
}

/// The person that an id is if it is nobody else's.
fn own_person_id(id: &TypedId) -> String {
    match id.id_type {
        IdType::User => format!("{USER_PREFIX}{}", id.id),
        IdType::Visitor => format!("{VISITOR_PREFIX}{}", id.id),
    }
}

/// The person to whom an id was last linked.
fn mapped(known: &BTreeSet<Identity>, id: &TypedId) -> Option<String> {
    let of_id = known.iter().filter(|row| row.id_type == id.id_type.as_str() && row.id == id.id);
    of_id.max_by_key(|row| row.valid_from_us).map(|row| row.person_id.clone())
}

/// What `identities` says of these ids, and of the people who are called like them.
async fn identities(
    engine: &QueryEngine,
    tenant: Tenant,
    ids: &[TypedId],
) -> Result<BTreeSet<Identity>, PipelineError> {
    let of_ids = col(identities::ID).in_list(ids.iter().map(|id| lit(id.id.as_str())).collect(), false);
    let people = ids.iter().map(|id| lit(own_person_id(id))).collect();
    let found = identity_rows(engine, tenant, of_ids.or(col(identities::PERSON_ID).in_list(people, false))).await?;
    Ok(Identity::read(&found)?)
}

async fn identity_rows(engine: &QueryEngine, tenant: Tenant, which: Expr) -> Result<Vec<RecordBatch>, PipelineError> {
    let (_, frame, _) = rows_in(engine, Table::Identities, tenant, TimeRange::default(), DEFINITION).await?;
    Ok(frame.filter(which)?.collect().await?)
}

/// Those of the people who have sessions.
async fn with_sessions(
    engine: &QueryEngine,
    tenant: Tenant,
    people: &[String],
) -> Result<BTreeSet<String>, PipelineError> {
    let (_, frame, _) = rows_in(engine, Table::Visitors, tenant, TimeRange::default(), DEFINITION).await?;
    let of_people = col(column::PERSON_ID).in_list(people.iter().map(|person| lit(person.as_str())).collect(), false);
    let mut rows = frame.filter(of_people)?.select(vec![col(column::PERSON_ID)])?.execute_stream().await?;
    let mut found = BTreeSet::new();
    while let Some(batch) = rows.try_next().await? {
        let people = crate::columns::texts(&batch, column::PERSON_ID)?;
        found.extend(people.iter().flatten().map(str::to_owned));
    }
    Ok(found)
}

/// The first of the ids that any event carries: who only got messages has no session.
async fn first_with_events<'a>(
    engine: &QueryEngine,
    tenant: Tenant,
    ids: &'a [TypedId],
) -> Result<Option<&'a TypedId>, PipelineError> {
    let carries = |id: &TypedId| match id.id_type {
        IdType::User => col(TextField::UserId.column()).eq(lit(id.id.as_str())),
        IdType::Visitor => col(TextField::VisitorId.column()).eq(lit(id.id.as_str())),
    };
    let (_, frame, _) = rows_in(engine, Table::Events, tenant, TimeRange::default(), DEFINITION).await?;
    // All events are looked through, so once for all ids.
    let Some(any) = any_of(ids.iter().map(carries).collect()) else { return Ok(None) };
    let counts = ids.iter().enumerate().map(|(place, id)| Ok(count_where(carries(id))?.alias(format!("id_{place}"))));
    let counts = counts.collect::<Result<Vec<_>, PipelineError>>()?;
    let counted = frame.filter(any)?.aggregate(Vec::new(), counts)?.collect().await?;
    let is_found = |place: usize| {
        let count = |batch: &RecordBatch| batch.column(place).as_primitive::<Int64Type>().iter().flatten().sum::<i64>();
        counted.iter().map(count).sum::<i64>() > 0
    };
    Ok(ids.iter().enumerate().find(|(place, _)| is_found(*place)).map(|(_, id)| id))
}

/// A person with all their ids.
async fn with_ids(engine: &QueryEngine, tenant: Tenant, person_id: String) -> Result<Person, PipelineError> {
    let found = identity_rows(engine, tenant, col(identities::PERSON_ID).eq(lit(person_id.as_str()))).await?;
    let mut ids = BTreeSet::new();
    for row in Identity::read(&found)? {
        let Some(id_type) = IdType::parse(&row.id_type) else { continue };
        ids.insert(PersonId {
            id_type: id_type.as_str(),
            id: row.id,
            valid_from_us: row.valid_from_us,
            valid_to_us: row.valid_to_us,
            linked_at_us: Some(row.linked_at_us),
        });
    }
    let own = [(USER_PREFIX, IdType::User), (VISITOR_PREFIX, IdType::Visitor)];
    let own = own.into_iter().find_map(|(prefix, id_type)| Some((id_type.as_str(), person_id.strip_prefix(prefix)?)));
    // An id that stands for itself is not in the table.
    if let Some((id_type, id)) = own.filter(|(id_type, id)| !ids.iter().any(|known| known.is(id_type, id))) {
        let id = id.to_owned();
        ids.insert(PersonId { id_type, id, valid_from_us: None, valid_to_us: None, linked_at_us: None });
    }
    Ok(Person { person_id, ids })
}

impl PersonId {
    fn is(&self, id_type: &str, id: &str) -> bool {
        self.id_type == id_type && self.id == id
    }
}

impl Person {
    /// Whose rows of `events` or `sessions` are: those of their user ids, and those without a user id of their visitor ids
    /// while these are theirs.
    fn owns(&self, table: Table) -> Expr {
        let [visitor, user] = [TextField::VisitorId, TextField::UserId].map(|field| col(field.column()));
        let at = || col(table.time_column());
        let users = self.ids.iter().filter(|id| id.id_type == IdType::User.as_str());
        let by_user = user.clone().in_list(users.map(|id| lit(id.id.as_str())).collect(), false);
        let visitors = self.ids.iter().filter(|id| id.id_type == IdType::Visitor.as_str());
        let (always, at_times): (Vec<&PersonId>, Vec<&PersonId>) =
            visitors.partition(|id| id.valid_from_us.is_none() && id.valid_to_us.is_none());
        let at_times = at_times.into_iter().map(|id| {
            let from = id.valid_from_us.map(|from_us| at().gt_eq(instant_us(from_us)));
            let to = id.valid_to_us.map(|to_us| at().lt(instant_us(to_us)));
            let is_id = visitor.clone().eq(lit(id.id.as_str()));
            from.into_iter().chain(to).fold(is_id, Expr::and)
        });
        let at_times = any_of(at_times.collect());
        let always = visitor.clone().in_list(always.iter().map(|id| lit(id.id.as_str())).collect(), false);
        let by_visitor = at_times.into_iter().fold(always, Expr::or);
        by_user.or(user.is_null().and(by_visitor))
    }
}

/// Whether one of many conditions holds; none of none. Halved again and again: one behind the other, those of a person with
/// thousands of devices would be nested deeper than the stack of a thread.
fn any_of(mut conditions: Vec<Expr>) -> Option<Expr> {
    if conditions.len() < 2 {
        return conditions.pop();
    }
    let others = conditions.split_off(conditions.len() / 2);
    match (any_of(conditions), any_of(others)) {
        (Some(one), Some(other)) => Some(one.or(other)),
        (one, other) => one.or(other),
    }
}

/// One row: the person as in the report `visitors`. Who has no sessions has their id, and nothing else.
pub async fn query(engine: &QueryEngine, tenant: Tenant, person: &Person) -> Result<Answer, PipelineError> {
    let (_, frame, meta) = rows_in(engine, Table::Visitors, tenant, TimeRange::default(), DEFINITION).await?;
    let columns: Vec<Expr> = visitors::columns().iter().map(col).collect();
    let found = frame.filter(col(column::PERSON_ID).eq(lit(person.person_id.as_str())))?.select(columns)?;
    let mut rows = found.collect().await?;
    rows.retain(|batch| batch.num_rows() > 0);
    let row = match rows.into_iter().next() {
        Some(row) => row,
        None => without_sessions(person)?,
    };
    Ok(computed(row, meta))
}

fn without_sessions(person: &Person) -> Result<RecordBatch, PipelineError> {
    let schema = scan_schema(Table::Visitors);
    let columns = visitors::columns().into_iter().map(|name| {
        let column: ArrayRef = if name == column::PERSON_ID {
            std::sync::Arc::new(StringViewArray::from_iter_values([person.person_id.as_str()]))
        } else {
            new_null_array(schema.field_with_name(&name)?.data_type(), 1)
        };
        Ok((name, column, true))
    });
    let columns = columns.collect::<Result<Vec<_>, arrow::error::ArrowError>>()?;
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_person_may_have_any_number_of_devices() {
        let device = |number: i64, valid_to_us| PersonId {
            id_type: IdType::Visitor.as_str(),
            id: format!("v{number}"),
            valid_from_us: None,
            valid_to_us,
            linked_at_us: None,
        };
        let always = (0..20_000).map(|number| device(number, None));
        let shared = (20_000..22_000).map(|number| device(number, Some(number)));
        let person = Person { person_id: "u:guest".to_owned(), ids: always.chain(shared).collect() };
        let context = datafusion::prelude::SessionContext::new();
        let events = RecordBatch::new_empty(scan_schema(Table::Events));
        let frame = context.read_batch(events).unwrap().filter(person.owns(Table::Events)).unwrap();
        assert_eq!(frame.count().await.unwrap(), 0);
    }

    #[test]
    fn an_id_is_a_persons_before_a_users_and_a_users_before_a_visitors() {
        for (id, expected) in [
            ("ann", &["u:ann", "v:ann"][..]),
            ("u:ann", &["u:ann", "u:u:ann", "v:u:ann"]),
            ("v:1", &["v:1", "u:v:1", "v:v:1"]),
        ] {
            let found: Vec<String> = candidates(id).iter().map(own_person_id).collect();
            assert_eq!(found, expected, "{id}");
        }
    }
}
