//! From edges to people: pure, in memory. There is an edge for each pair of ids and day, not for each event.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use touchline_schemas::tables::{Table, identities as column, identity_edges as edge};

use super::USER_PREFIX;

/// A row of `identities`; times in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// `visitor` or `user`.
    pub id_type: String,
    /// The id.
    pub id: String,
    /// The person.
    pub person_id: String,
    /// Inclusive; none: since ever.
    pub valid_from_us: Option<i64>,
    /// Exclusive; none: for ever.
    pub valid_to_us: Option<i64>,
    /// The first event that speaks for this row.
    pub linked_at_us: i64,
}

/// The people behind the ids of `edges` (the columns of `identity_edges`, text as views), in order.
pub fn people(edges: &[RecordBatch]) -> Result<Vec<Identity>, ArrowError> {
    let edges = living(&read(edges)?);
    let users = Users::of(&edges.iter().filter(|edge| edge.kind == Kind::Alias).collect::<Vec<_>>());
    let mut rows = users.rows();
    let mut visitors: BTreeMap<&str, Vec<(i64, &str)>> = BTreeMap::new();
    for edge in edges.iter().filter(|edge| edge.kind == Kind::Link) {
        visitors.entry(edge.left).or_default().push((edge.evidence_us, edge.right));
    }
    for (visitor, mut evidence) in visitors {
        evidence.sort_unstable();
        rows.extend(spans(visitor, &evidence, &users));
    }
    rows.sort_unstable();
    Ok(rows)
}

/// Whom a visitor id belongs to when: `evidence` are times and user ids, in order.
fn spans(visitor: &str, evidence: &[(i64, &str)], users: &Users<'_>) -> Vec<Identity> {
    let mut spans: Vec<Identity> = Vec::new();
    for (at_us, user) in evidence {
        let person_id = users.person(user);
        if let Some(last) = spans.last_mut() {
            if last.person_id == person_id {
                continue;
            }
            last.valid_to_us = Some(*at_us);
            if last.valid_from_us == last.valid_to_us {
                // Two people at the same instant: the last in order has it.
                spans.pop();
                if spans.last().is_some_and(|before| before.person_id == person_id) {
                    if let Some(before) = spans.last_mut() {
                        before.valid_to_us = None;
                    }
                    continue;
                }
            }
        }
        spans.push(Identity {
            id_type: edge::TYPE_VISITOR.to_owned(),
            id: visitor.to_owned(),
            person_id,
            valid_from_us: (!spans.is_empty()).then_some(*at_us),
            valid_to_us: None,
            linked_at_us: *at_us,
        });
    }
    spans
}

/// User ids that aliases join.
struct Users<'a> {
    /// In order.
    ids: Vec<&'a str>,
    /// For each the place of the smallest id of its component.
    smallest: Vec<usize>,
    first_alias_us: Vec<i64>,
}

impl<'a> Users<'a> {
    fn of(aliases: &[&Living<'a>]) -> Self {
        let mut ids: Vec<&str> = aliases.iter().flat_map(|alias| [alias.left, alias.right]).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut users = Self { smallest: (0..ids.len()).collect(), first_alias_us: vec![i64::MAX; ids.len()], ids };
        for alias in aliases {
            if let (Ok(left), Ok(right)) = (users.place(alias.left), users.place(alias.right)) {
                users.join(left, right, alias.evidence_us);
            }
        }
        // What an id points to is smaller, and so has been brought to the top before.
        for place in 0..users.ids.len() {
            users.smallest[place] = users.smallest[users.smallest[place]];
        }
        users
    }

    fn place(&self, user: &str) -> Result<usize, usize> {
        self.ids.binary_search(&user)
    }

    fn join(&mut self, left: usize, right: usize, at_us: i64) {
        for user in [left, right] {
            self.first_alias_us[user] = at_us.min(self.first_alias_us[user]);
        }
        let (left, right) = (self.root(left), self.root(right));
        self.smallest[left.max(right)] = left.min(right);
    }

    /// The top of a user's component. Long ways to it are halved as they are gone.
    fn root(&mut self, user: usize) -> usize {
        let mut user = user;
        while self.smallest[user] != user {
            self.smallest[user] = self.smallest[self.smallest[user]];
            user = self.smallest[user];
        }
        user
    }

    fn person(&self, user: &str) -> String {
        let smallest = self.place(user).map_or(user, |place| self.ids[self.smallest[place]]);
        format!("{USER_PREFIX}{smallest}")
    }

    fn rows(&self) -> Vec<Identity> {
        let rows = self.ids.iter().zip(&self.smallest).zip(&self.first_alias_us);
        let rows = rows.map(|((user, smallest), first_us)| Identity {
            id_type: edge::TYPE_USER.to_owned(),
            id: (*user).to_owned(),
            person_id: format!("{USER_PREFIX}{}", self.ids[*smallest]),
            valid_from_us: None,
            valid_to_us: None,
            linked_at_us: *first_us,
        });
        rows.collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Link,
    Alias,
    Unmerge,
}

#[derive(Debug, Clone, Copy)]
struct Edge<'a> {
    kind: Kind,
    left_type: &'a str,
    left: &'a str,
    right: &'a str,
    first_us: i64,
    last_us: i64,
}

/// An edge that no unmerge has voided, and from when on it counts.
struct Living<'a> {
    kind: Kind,
    left: &'a str,
    right: &'a str,
    evidence_us: i64,
}

fn living<'a>(edges: &[Edge<'a>]) -> Vec<Living<'a>> {
    let mut parted: HashMap<(&str, &str, &str), i64> = HashMap::new();
    for edge in edges.iter().filter(|edge| edge.kind == Kind::Unmerge) {
        let at = parted.entry((edge.left_type, edge.left, edge.right)).or_insert(edge.last_us);
        *at = edge.last_us.max(*at);
    }
    let living = edges.iter().filter(|edge| edge.kind != Kind::Unmerge).filter_map(|edge| {
        let parted_us = parted.get(&(edge.left_type, edge.left, edge.right)).copied().unwrap_or(i64::MIN);
        let evidence_us = edge.first_us.max(parted_us);
        (edge.last_us > parted_us).then_some(Living {
            kind: edge.kind,
            left: edge.left,
            right: edge.right,
            evidence_us,
        })
    });
    living.collect()
}

fn read(batches: &[RecordBatch]) -> Result<Vec<Edge<'_>>, ArrowError> {
    let mut edges = Vec::new();
    for batch in batches {
        let [kinds, left_types, lefts, rights] =
            [edge::KIND, edge::LEFT_TYPE, edge::LEFT_ID, edge::RIGHT_ID].map(|name| texts(batch, name));
        let (kinds, left_types, lefts, rights) = (kinds?, left_types?, lefts?, rights?);
        let (firsts, lasts) = (times(batch, edge::FIRST_AT)?, times(batch, edge::LAST_AT)?);
        for row in 0..batch.num_rows() {
            let kind = match kinds.value(row) {
                edge::KIND_ALIAS => Kind::Alias,
                edge::KIND_UNMERGE => Kind::Unmerge,
                _ => Kind::Link,
            };
            edges.push(Edge {
                kind,
                left_type: left_types.value(row),
                left: lefts.value(row),
                right: rights.value(row),
                first_us: firsts.value(row),
                last_us: lasts.value(row),
            });
        }
    }
    Ok(edges)
}

impl Identity {
    /// Rows of `identities` from a scan of the table.
    pub fn read(batches: &[RecordBatch]) -> Result<BTreeSet<Self>, ArrowError> {
        let mut rows = BTreeSet::new();
        for batch in batches {
            let [id_types, ids, people] =
                [column::ID_TYPE, column::ID, column::PERSON_ID].map(|name| texts(batch, name));
            let (id_types, ids, people) = (id_types?, ids?, people?);
            let [from, to, linked] =
                [column::VALID_FROM, column::VALID_TO, column::LINKED_AT].map(|name| times(batch, name));
            let (from, to, linked) = (from?, to?, linked?);
            for row in 0..batch.num_rows() {
                let some = |times: &TimestampMicrosecondArray| times.is_valid(row).then(|| times.value(row));
                rows.insert(Self {
                    id_type: id_types.value(row).to_owned(),
                    id: ids.value(row).to_owned(),
                    person_id: people.value(row).to_owned(),
                    valid_from_us: some(from),
                    valid_to_us: some(to),
                    linked_at_us: linked.value(row),
                });
            }
        }
        Ok(rows)
    }

    /// The columns of the table's files.
    pub fn batch(rows: &[Self]) -> Result<RecordBatch, ArrowError> {
        let texts =
            |text: fn(&Self) -> &str| Arc::new(StringArray::from_iter_values(rows.iter().map(text))) as ArrayRef;
        let times = |time: fn(&Self) -> Option<i64>| {
            let times: TimestampMicrosecondArray = rows.iter().map(time).collect();
            Arc::new(times.with_timezone("UTC")) as ArrayRef
        };
        RecordBatch::try_new(
            Table::Identities.file_schema(),
            vec![
                texts(|row| &row.id_type),
                texts(|row| &row.id),
                texts(|row| &row.person_id),
                times(|row| row.valid_from_us),
                times(|row| row.valid_to_us),
                times(|row| Some(row.linked_at_us)),
            ],
        )
    }
}

fn texts<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringViewArray, ArrowError> {
    let column = batch.column_by_name(name).and_then(|values| values.as_string_view_opt());
    column.ok_or_else(|| ArrowError::SchemaError(format!("no text column `{name}`")))
}

fn times<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a TimestampMicrosecondArray, ArrowError> {
    let column = batch.column_by_name(name).and_then(|values| values.as_primitive_opt::<TimestampMicrosecondType>());
    column.ok_or_else(|| ArrowError::SchemaError(format!("no column of times `{name}`")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edge<'a>(kind: Kind, left: &'a str, right: &'a str, first_us: i64, last_us: i64) -> Edge<'a> {
        let left_type = if left.starts_with('v') { edge::TYPE_VISITOR } else { edge::TYPE_USER };
        Edge { kind, left_type, left, right, first_us, last_us }
    }

    fn check(edges: &[Edge<'_>], expected: &[&str]) {
        let [kinds, left_types, lefts, right_types, rights] = [
            edges.iter().map(|edge| format!("{:?}", edge.kind).to_lowercase()).collect::<Vec<_>>(),
            edges.iter().map(|edge| edge.left_type.to_owned()).collect(),
            edges.iter().map(|edge| edge.left.to_owned()).collect(),
            edges.iter().map(|_| "user".to_owned()).collect(),
            edges.iter().map(|edge| edge.right.to_owned()).collect(),
        ]
        .map(|texts| Arc::new(StringViewArray::from_iter_values(texts)) as ArrayRef);
        let times = |time: fn(&Edge<'_>) -> i64| {
            let times = TimestampMicrosecondArray::from_iter_values(edges.iter().map(time));
            Arc::new(times.with_timezone("UTC")) as ArrayRef
        };
        let schema = crate::scan::scan_schema(Table::IdentityEdges);
        let columns = vec![
            kinds,
            left_types,
            lefts,
            right_types,
            rights,
            times(|edge| edge.first_us),
            times(|edge| edge.last_us),
        ];
        let batch = RecordBatch::try_new(schema, columns).unwrap();
        let end = |time: Option<i64>| time.map_or("∞".to_owned(), |time| time.to_string());
        let rows = people(&[batch]).unwrap();
        let found: Vec<_> = rows
            .iter()
            .map(|row| format!("{} {} {}..{}", row.id, row.person_id, end(row.valid_from_us), end(row.valid_to_us)))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn visitor_with_one_user_is_that_user_for_all_time() {
        check(&[edge(Kind::Link, "v1", "anna", 10, 20), edge(Kind::Link, "v1", "anna", 90, 90)], &["v1 u:anna ∞..∞"]);
    }

    #[test]
    fn alias_joins_users_and_their_devices() {
        check(
            &[
                edge(Kind::Alias, "anna", "zoe", 5, 5),
                edge(Kind::Alias, "mia", "zoe", 7, 7),
                edge(Kind::Link, "v1", "zoe", 1, 1),
            ],
            &["anna u:anna ∞..∞", "mia u:anna ∞..∞", "zoe u:anna ∞..∞", "v1 u:anna ∞..∞"],
        );
    }

    /// Each with the next: whoever walks the chain for every alias walks billions of steps.
    #[test]
    fn a_long_chain_of_aliases_is_one_person() {
        let ids: Vec<String> = (0..100_000).map(|user| format!("user-{user:06}")).collect();
        let edges: Vec<_> = ids.windows(2).map(|pair| edge(Kind::Alias, &pair[0], &pair[1], 5, 5)).collect();
        let expected: Vec<_> = ids.iter().map(|id| format!("{id} u:user-000000 ∞..∞")).collect();
        check(&edges, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn users_are_one_person_if_aliases_lead_from_one_to_the_other(
            aliases in proptest::collection::vec((0..14_usize, 0..14_usize), 0..24),
        ) {
            let ids: Vec<String> = (0..14).map(|user| format!("user-{user:02}")).collect();
            let aliases: Vec<_> = aliases.into_iter().filter(|(a, b)| a != b).collect();
            let edges: Vec<_> = aliases
                .iter()
                .map(|(a, b)| edge(Kind::Alias, &ids[*a.min(b)], &ids[*a.max(b)], 5, 5))
                .collect();
            // Whoever is joined takes over the smaller number, until nobody does any more.
            let mut smallest: Vec<usize> = (0..14).collect();
            for _ in 0..14 {
                for (a, b) in &aliases {
                    let smaller = smallest[*a].min(smallest[*b]);
                    (smallest[*a], smallest[*b]) = (smaller, smaller);
                }
            }
            let named = (0..14).filter(|user| aliases.iter().any(|(a, b)| a == user || b == user));
            let expected: Vec<_> = named.map(|user| format!("{} u:{} ∞..∞", ids[user], ids[smallest[user]])).collect();
            check(&edges, &expected.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }

    #[test]
    fn shared_device_belongs_to_who_was_linked_last() {
        check(
            &[
                edge(Kind::Link, "v1", "anna", 10, 12),
                edge(Kind::Link, "v1", "ben", 20, 22),
                edge(Kind::Link, "v1", "anna", 30, 30),
            ],
            &["v1 u:anna ∞..20", "v1 u:anna 30..∞", "v1 u:ben 20..30"],
        );
    }

    #[test]
    fn unmerge_voids_what_was_linked_before() {
        let alias = edge(Kind::Alias, "anna", "ben", 5, 9);
        check(&[alias, edge(Kind::Unmerge, "anna", "ben", 9, 9)], &[]);
        check(&[edge(Kind::Link, "v1", "ben", 5, 8), edge(Kind::Unmerge, "v1", "ben", 2, 8)], &[]);
        // A day's edge that went on after the unmerge counts from then on.
        check(
            &[
                edge(Kind::Link, "v1", "ben", 5, 8),
                edge(Kind::Link, "v1", "anna", 3, 3),
                edge(Kind::Unmerge, "v1", "ben", 6, 6),
            ],
            &["v1 u:anna ∞..6", "v1 u:ben 6..∞"],
        );
    }

    #[test]
    fn of_links_at_one_instant_the_last_in_order_holds() {
        check(
            &[edge(Kind::Link, "v1", "anna", 5, 5), edge(Kind::Link, "v1", "ben", 5, 5)],
            &["v1 u:anna ∞..5", "v1 u:ben 5..∞"],
        );
        check(
            &[
                edge(Kind::Link, "v1", "anna", 5, 5),
                edge(Kind::Link, "v1", "ben", 7, 7),
                edge(Kind::Link, "v1", "carl", 7, 7),
            ],
            &["v1 u:anna ∞..5".replace("5", "7").as_str(), "v1 u:carl 7..∞"],
        );
    }
}
