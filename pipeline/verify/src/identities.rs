//! People: which ids belong to one, and the person of a session.
//!
//! Definition `identities/1`. Components are found by walking from the smallest user id on; whose a shared visitor id is
//! when, by windows over the links in order of time.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::*;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::identities as column;
use touchline_schemas::tables::identity_edges as edge;

use crate::frame::{ascending, day_of, stack};

/// The columns of `identities`.
pub const COLUMNS: [&str; 7] = [
    column::LINKED_DATE,
    column::ID_TYPE,
    column::ID,
    column::PERSON_ID,
    column::VALID_FROM,
    column::VALID_TO,
    column::LINKED_AT,
];

/// The columns that tell rows of `identities` apart.
pub const KEY: [&str; 3] = [column::ID_TYPE, column::ID, column::VALID_FROM];

const EVIDENCE: &str = "evidence";
const PARTED_AT: &str = "parted_at";
const USER_PERSON: &str = "user_person";
const VISITOR_PERSON: &str = "visitor_person";
const PAIR: [&str; 3] = [edge::LEFT_TYPE, edge::LEFT_ID, edge::RIGHT_ID];

/// The people behind the ids of `edges`.
pub fn identities(edges: &DataFrame) -> PolarsResult<DataFrame> {
    let living = living(edges).collect()?;
    let of_kind = |kind: &str| living.clone().lazy().filter(col(edge::KIND).eq(lit(kind.to_owned())));
    let aliases = of_kind(edge::KIND_ALIAS).collect()?;
    let people = components(&aliases)?;
    let users = user_rows(&aliases, &people)?;
    let visitors = visitor_rows(of_kind(edge::KIND_LINK), &people)?;
    let rows = stack(vec![users, visitors])?.lazy();
    rows.with_column(day_of(col(column::LINKED_AT)).alias(column::LINKED_DATE)).select(COLUMNS.map(col)).collect()
}

/// Links and aliases that no unmerge has voided, with the time from which on they speak for their pair.
fn living(edges: &DataFrame) -> LazyFrame {
    let is_unmerge = || col(edge::KIND).eq(lit(edge::KIND_UNMERGE));
    let all = || edges.clone().lazy();
    let parted = all().filter(is_unmerge()).group_by(PAIR.map(col)).agg([col(edge::LAST_AT).max().alias(PARTED_AT)]);
    let pairs =
        all().filter(is_unmerge().not()).join(parted, PAIR.map(col), PAIR.map(col), JoinArgs::new(JoinType::Left));
    let was_parted_since = col(PARTED_AT).gt_eq(col(edge::FIRST_AT)).fill_null(lit(false));
    pairs
        .filter(col(PARTED_AT).is_null().or(col(edge::LAST_AT).gt(col(PARTED_AT))))
        .with_column(when(was_parted_since).then(col(PARTED_AT)).otherwise(col(edge::FIRST_AT)).alias(EVIDENCE))
}

/// Per user id that an alias names, the person: the smallest user id that can be reached from it.
fn components(aliases: &DataFrame) -> PolarsResult<DataFrame> {
    let (lefts, rights) = (aliases.column(edge::LEFT_ID)?.str()?, aliases.column(edge::RIGHT_ID)?.str()?);
    let mut neighbours: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (left, right) in lefts.iter().zip(rights.iter()).filter_map(|(left, right)| left.zip(right)) {
        neighbours.entry(left).or_default().insert(right);
        neighbours.entry(right).or_default().insert(left);
    }
    let mut person_of: BTreeMap<&str, &str> = BTreeMap::new();
    // In the order of ids, so that whoever is found first is the smallest of those that can be reached.
    for &smallest in neighbours.keys() {
        let mut to_visit = vec![smallest];
        while let Some(user) = to_visit.pop() {
            if !person_of.contains_key(user) {
                person_of.insert(user, smallest);
                to_visit.extend(neighbours.get(user).into_iter().flatten().copied());
            }
        }
    }
    let ids: StringChunked = person_of.keys().copied().map(Some).collect();
    let people: StringChunked = person_of.values().map(|smallest| Some(format!("u:{smallest}"))).collect();
    DataFrame::new(
        ids.len(),
        vec![ids.with_name(column::ID.into()).into_column(), people.with_name(column::PERSON_ID.into()).into_column()],
    )
}

fn user_rows(aliases: &DataFrame, people: &DataFrame) -> PolarsResult<DataFrame> {
    let ends = [edge::LEFT_ID, edge::RIGHT_ID].map(|end| {
        aliases.clone().lazy().select([col(end).alias(column::ID), col(EVIDENCE).alias(column::LINKED_AT)]).collect()
    });
    let [left, right] = ends;
    let first = stack(vec![left?, right?])?.lazy().group_by([col(column::ID)]).agg([col(column::LINKED_AT).min()]);
    let rows = first.inner_join(people.clone().lazy(), col(column::ID), col(column::ID));
    let never = || lit(NULL).cast(DataType::Int64);
    rows.select([
        lit(edge::TYPE_USER).alias(column::ID_TYPE),
        col(column::ID),
        col(column::PERSON_ID),
        never().alias(column::VALID_FROM),
        never().alias(column::VALID_TO),
        col(column::LINKED_AT),
    ])
    .collect()
}

fn visitor_rows(links: LazyFrame, people: &DataFrame) -> PolarsResult<DataFrame> {
    let own = concat_str([lit("u:"), col(edge::RIGHT_ID)], "", false);
    let evidence = links
        .left_join(people.clone().lazy(), col(edge::RIGHT_ID), col(column::ID))
        .with_column(coalesce(&[col(column::PERSON_ID), own]).alias(column::PERSON_ID))
        .sort([edge::LEFT_ID, EVIDENCE, edge::RIGHT_ID], ascending())
        .collect()?;
    let id = || col(edge::LEFT_ID);
    let is_first = id().neq_missing(id().shift(lit(1)));
    let is_last_of_instant =
        id().neq_missing(id().shift(lit(-1))).or(col(EVIDENCE).neq_missing(col(EVIDENCE).shift(lit(-1))));
    let rows = |which: Expr, from: Expr| {
        evidence.clone().lazy().filter(which).select([
            lit(edge::TYPE_VISITOR).alias(column::ID_TYPE),
            id().alias(column::ID),
            col(column::PERSON_ID),
            from.cast(DataType::Int64).alias(column::VALID_FROM),
            col(EVIDENCE).alias(column::LINKED_AT),
        ])
    };
    // Before anything is known of a visitor id it is its first user's, and at each link the linked user's.
    let claims = stack(vec![rows(is_first, lit(NULL)).collect()?, rows(is_last_of_instant, col(EVIDENCE)).collect()?])?;
    let in_order = claims.lazy().sort([column::ID, column::VALID_FROM], ascending());
    let other = |name: &str| col(name).neq_missing(col(name).shift(lit(1)));
    let changes = in_order.filter(other(column::ID).or(other(column::PERSON_ID)));
    let goes_on = col(column::ID).eq_missing(col(column::ID).shift(lit(-1)));
    let next = when(goes_on).then(col(column::VALID_FROM).shift(lit(-1))).otherwise(lit(NULL));
    changes
        .with_column(next.cast(DataType::Int64).alias(column::VALID_TO))
        .select(
            [column::ID_TYPE, column::ID, column::PERSON_ID, column::VALID_FROM, column::VALID_TO, column::LINKED_AT]
                .map(col),
        )
        .collect()
}

/// Adds `person_id` to rows, which `key` tells apart: the person of the row's user, else of its visitor at the time `at`.
pub fn with_person(rows: LazyFrame, (key, at): (&str, &str), identities: &DataFrame) -> LazyFrame {
    let (visitor, user) = (TextField::VisitorId.column(), TextField::UserId.column());
    let of_type = |id_type: &str| identities.clone().lazy().filter(col(column::ID_TYPE).eq(lit(id_type.to_owned())));
    let users = of_type(edge::TYPE_USER).select([col(column::ID), col(column::PERSON_ID).alias(USER_PERSON)]);
    let spans = of_type(edge::TYPE_VISITOR).select([
        col(column::ID),
        col(column::PERSON_ID).alias(VISITOR_PERSON),
        col(column::VALID_FROM),
        col(column::VALID_TO),
    ]);
    let visits = rows
        .clone()
        .filter(col(user).is_null())
        .select([col(key), col(visitor), col(at)])
        .inner_join(spans, col(visitor), col(column::ID))
        .filter(col(column::VALID_FROM).is_null().or(col(column::VALID_FROM).lt_eq(col(at))))
        .filter(col(column::VALID_TO).is_null().or(col(column::VALID_TO).gt(col(at))))
        .select([col(key), col(VISITOR_PERSON)]);
    let alone = |prefix: &str, id: &str| concat_str([lit(prefix.to_owned()), col(id)], "", false);
    let person = coalesce(&[col(USER_PERSON), alone("u:", user), col(VISITOR_PERSON), alone("v:", visitor)]);
    rows.left_join(users, col(user), col(column::ID))
        .left_join(visits, col(key), col(key))
        .with_column(person.alias(column::PERSON_ID))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edges::{COLUMNS as EDGE_COLUMNS, edges};

    /// Events as (type, visitor, user, other user, time).
    type Said<'a> = (&'a str, Option<&'a str>, &'a str, Option<&'a str>, i64);

    fn link<'a>(visitor: &'a str, user: &'a str, at: i64) -> Said<'a> {
        ("page_view", Some(visitor), user, None, at)
    }

    fn alias<'a>(user: &'a str, other: &'a str, at: i64) -> Said<'a> {
        ("$alias", None, user, Some(other), at)
    }

    fn edges_of(said: &[Said<'_>]) -> DataFrame {
        let properties = said.iter().map(|said| said.3.map(|id| format!(r#"{{"previous_id":"{id}"}}"#)));
        let events = df!(
            "occurred_at" => said.iter().map(|said| said.4).collect::<Vec<_>>(),
            "event_type" => said.iter().map(|said| said.0).collect::<Vec<_>>(),
            "visitor_id" => said.iter().map(|said| said.1).collect::<Vec<_>>(),
            "user_id" => said.iter().map(|said| said.2).collect::<Vec<_>>(),
            "properties" => properties.collect::<Vec<_>>(),
        );
        let edges = edges(&events.unwrap()).unwrap();
        assert_eq!(edges.get_column_names(), EDGE_COLUMNS);
        edges
    }

    #[track_caller]
    fn check(said: &[Said<'_>], expected: &[&str]) {
        let rows = identities(&edges_of(said)).unwrap().sort(KEY, ascending()).unwrap();
        let [ids, people] =
            [column::ID, column::PERSON_ID].map(|name| rows.column(name).unwrap().str().unwrap().clone());
        let [from, to] =
            [column::VALID_FROM, column::VALID_TO].map(|name| rows.column(name).unwrap().i64().unwrap().clone());
        let end = |time: Option<i64>| time.map_or("∞".to_owned(), |time| time.to_string());
        let found: Vec<_> = (0..rows.height())
            .map(|row| {
                let (id, person) = (ids.get(row).unwrap(), people.get(row).unwrap());
                format!("{id} {person} {}..{}", end(from.get(row)), end(to.get(row)))
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_visitor_with_one_user_is_that_user_for_all_time() {
        check(&[link("v1", "anna", 10), link("v1", "anna", 90)], &["v1 u:anna ∞..∞"]);
    }

    #[test]
    fn aliases_join_users_and_their_devices() {
        check(
            &[alias("zoe", "anna", 5), alias("mia", "zoe", 7), link("v1", "zoe", 1)],
            &["anna u:anna ∞..∞", "mia u:anna ∞..∞", "zoe u:anna ∞..∞", "v1 u:anna ∞..∞"],
        );
    }

    #[test]
    fn a_shared_device_belongs_to_who_was_linked_last() {
        // Of a day's links of a pair only the first counts, so that the third is on another day.
        let next_day = crate::frame::DAY_US + 30;
        check(
            &[link("v1", "anna", 10), link("v1", "ben", 20), link("v1", "anna", next_day)],
            &["v1 u:anna ∞..20", "v1 u:ben 20..86400000030", "v1 u:anna 86400000030..∞"],
        );
    }

    #[test]
    fn of_links_at_one_instant_the_larger_user_id_holds_from_then_on() {
        check(&[link("v1", "anna", 5), link("v1", "ben", 5)], &["v1 u:anna ∞..5", "v1 u:ben 5..∞"]);
    }

    #[test]
    fn an_unmerge_voids_what_came_before_it() {
        check(&[alias("anna", "ben", 5), ("$unmerge", None, "ben", Some("anna"), 9)], &[]);
        check(&[link("v1", "ben", 5), ("$unmerge", Some("v1"), "ben", None, 5)], &[]);
        check(
            &[
                link("v1", "ben", 5),
                link("v1", "ben", 8),
                ("$unmerge", Some("v1"), "ben", None, 6),
                link("v1", "anna", 3),
            ],
            &["v1 u:anna ∞..6", "v1 u:ben 6..∞"],
        );
    }

    #[test]
    fn an_alias_without_the_other_user_links_its_visitor() {
        check(&[("$alias", Some("v1"), "anna", None, 5)], &["v1 u:anna ∞..∞"]);
        check(&[alias("anna", "anna", 5)], &[]);
    }

    #[test]
    fn a_session_belongs_to_its_user_else_to_its_visitor_at_its_begin() {
        let known = identities(&edges_of(&[link("v1", "anna", 10), link("v1", "ben", 20)])).unwrap();
        let sessions = df!(
            "session_id" => ["a", "b", "c", "d", "e"],
            "visitor_id" => [Some("v1"), Some("v1"), Some("v1"), Some("v2"), None],
            "user_id" => [None, None, Some("zoe"), None, Some("mia")],
            "started_at" => [0_i64, 20, 0, 0, 0],
        );
        let people = with_person(sessions.unwrap().lazy(), ("session_id", "started_at"), &known)
            .sort(["session_id"], ascending());
        let people = people.collect().unwrap().column("person_id").unwrap().str().unwrap().clone();
        let people: Vec<_> = people.iter().flatten().collect();
        assert_eq!(people, ["u:anna", "u:ben", "u:zoe", "v:v2", "u:mia"]);
    }
}
