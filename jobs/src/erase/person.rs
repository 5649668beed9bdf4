//! Who is meant by an id: all ids of that person, by what `identities` says.

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use touchline_lake::{Lake, LakeError};
use touchline_pipeline::identities::{USER_PREFIX, VISITOR_PREFIX};
use touchline_schemas::Tenant;
use touchline_schemas::tables::{Table, identities, identity_edges};

/// An id that several people have, and a span of time in which it was one's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedId {
    /// The id.
    pub id: String,
    /// From here on, in microseconds since 1970; since ever without it.
    pub from_us: Option<i64>,
    /// Up to here, exclusive; for ever without it.
    pub to_us: Option<i64>,
}

impl SharedId {
    /// Whether the id was this person's at that time.
    pub fn holds_at(&self, at_us: i64) -> bool {
        self.from_us.is_none_or(|from| at_us >= from) && self.to_us.is_none_or(|to| at_us < to)
    }
}

/// The ids of a person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// Those that are nobody else's.
    pub ids: BTreeSet<String>,
    /// Those that others have too.
    pub shared: Vec<SharedId>,
}

/// Why it is not known who is meant.
#[derive(Debug, thiserror::Error)]
pub enum PersonError {
    /// The lake could not be read.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The id alone does not say who.
    #[error("several people have had the id that was given: name one of them by a user id that is nobody else's")]
    Shared,
}

/// A row of `identities`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    id_type: String,
    id: String,
    person_id: String,
    from_us: Option<i64>,
    to_us: Option<i64>,
}

/// Everybody that `given` names, each a visitor id, a user id or a person's id.
pub async fn resolve(lake: &Lake, tenant: Tenant, given: &[String]) -> Result<Person, PersonError> {
    let known = read(lake, tenant).await?;
    person_of(&known, given)
}

async fn read(lake: &Lake, tenant: Tenant) -> Result<Vec<Identity>, LakeError> {
    let table = lake.table(Table::Identities);
    let snapshot = table.snapshot().await?;
    let mut known = Vec::new();
    for file in snapshot.files(tenant) {
        for rows in table.rows(file).await? {
            let text = |name: &str, row: usize| {
                let column = rows.column_by_name(name).and_then(|column| column.as_string_opt::<i32>())?;
                column.is_valid(row).then(|| column.value(row).to_owned())
            };
            let time = |name: &str, row: usize| {
                let column = rows.column_by_name(name)?.as_primitive_opt::<TimestampMicrosecondType>()?;
                column.is_valid(row).then(|| column.value(row))
            };
            known.extend((0..rows.num_rows()).filter_map(|row| {
                Some(Identity {
                    id_type: text(identities::ID_TYPE, row)?,
                    id: text(identities::ID, row)?,
                    person_id: text(identities::PERSON_ID, row)?,
                    from_us: time(identities::VALID_FROM, row),
                    to_us: time(identities::VALID_TO, row),
                })
            }));
        }
    }
    Ok(known)
}

fn person_of(known: &[Identity], given: &[String]) -> Result<Person, PersonError> {
    let mut person = Person::default();
    let mut person_ids: BTreeSet<&str> = BTreeSet::new();
    for name in given {
        let found: BTreeSet<&str> =
            known.iter().filter(|row| is_named(row, name)).map(|row| row.person_id.as_str()).collect();
        if found.len() > 1 {
            return Err(PersonError::Shared);
        }
        if found.is_empty() {
            // A person of its own, who may be named as such: `v:…` or `u:…`.
            let bare = name.strip_prefix(VISITOR_PREFIX).or_else(|| name.strip_prefix(USER_PREFIX)).unwrap_or(name);
            person.ids.insert(bare.to_owned());
        }
        person_ids.extend(found);
    }
    // The user that a person is named after has a row of its own only where an alias names it.
    person.ids.extend(person_ids.iter().filter_map(|person_id| person_id.strip_prefix(USER_PREFIX)).map(str::to_owned));
    for row in known.iter().filter(|row| person_ids.contains(row.person_id.as_str())) {
        let is_same_id = |other: &&Identity| other.id == row.id && other.id_type == row.id_type;
        if known.iter().filter(is_same_id).all(|other| person_ids.contains(other.person_id.as_str())) {
            person.ids.insert(row.id.clone());
        } else {
            person.shared.push(SharedId { id: row.id.clone(), from_us: row.from_us, to_us: row.to_us });
        }
    }
    Ok(person)
}

/// Whether a row's id or its person is called so: by the id, by the person's id, or by the user of that.
fn is_named(row: &Identity, name: &str) -> bool {
    let prefix = if row.id_type == identity_edges::TYPE_USER { USER_PREFIX } else { VISITOR_PREFIX };
    row.id == name
        || name.strip_prefix(prefix) == Some(row.id.as_str())
        || row.person_id == name
        || row.person_id.strip_prefix(USER_PREFIX) == Some(name)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, RecordBatch, StringViewArray, TimestampMicrosecondArray};
    use touchline_pipeline::identities::people;
    use touchline_pipeline::scan::scan_schema;

    use super::*;

    /// A pair of ids that an event names: kind, type of the left id, left id, user id, microseconds.
    type Pair = (&'static str, &'static str, &'static str, &'static str, i64);

    /// What the job `identities` makes of these pairs.
    fn known_of(pairs: &[Pair]) -> Vec<Identity> {
        let texts = |text: fn(&Pair) -> &'static str| -> ArrayRef {
            Arc::new(StringViewArray::from_iter_values(pairs.iter().map(text)))
        };
        let times = || -> ArrayRef {
            let times = TimestampMicrosecondArray::from_iter_values(pairs.iter().map(|pair| pair.4));
            Arc::new(times.with_timezone("UTC"))
        };
        let users = texts(|_| identity_edges::TYPE_USER);
        let columns =
            vec![texts(|pair| pair.0), texts(|pair| pair.1), texts(|pair| pair.2), users, texts(|pair| pair.3)];
        let columns = columns.into_iter().chain([times(), times()]).collect();
        let edges = RecordBatch::try_new(scan_schema(Table::IdentityEdges), columns).unwrap();
        let rows = people(&[edges]).unwrap().into_iter().map(|row| Identity {
            id_type: row.id_type,
            id: row.id,
            person_id: row.person_id,
            from_us: row.valid_from_us,
            to_us: row.valid_to_us,
        });
        rows.collect()
    }

    fn known() -> Vec<Identity> {
        let (visitor, user) = (identity_edges::TYPE_VISITOR, identity_edges::TYPE_USER);
        known_of(&[
            (identity_edges::KIND_LINK, visitor, "phone", "ada", 0),
            (identity_edges::KIND_LINK, visitor, "kiosk", "ada", 0),
            (identity_edges::KIND_LINK, visitor, "kiosk", "bob", 10),
            (identity_edges::KIND_LINK, visitor, "kiosk", "ada", 20),
            (identity_edges::KIND_LINK, visitor, "laptop", "zoe", 5),
            (identity_edges::KIND_ALIAS, user, "mia", "zoe", 5),
        ])
    }

    #[track_caller]
    fn check(given: &str, ids: &[&str], shared: &[&str]) {
        let person = person_of(&known(), &[given.to_owned()]).unwrap();
        assert_eq!(person.ids.iter().map(String::as_str).collect::<Vec<_>>(), ids, "{given}");
        assert_eq!(person.shared.iter().map(|shared| shared.id.as_str()).collect::<Vec<_>>(), shared, "{given}");
    }

    #[test]
    fn any_id_of_a_person_names_all_of_them() {
        for given in ["ada", "phone", "u:ada", "v:phone"] {
            check(given, &["ada", "phone"], &["kiosk", "kiosk"]);
        }
        for given in ["zoe", "mia", "laptop", "u:mia", "u:zoe", "v:laptop"] {
            check(given, &["laptop", "mia", "zoe"], &[]);
        }
    }

    #[test]
    fn an_id_that_is_not_known_is_a_person_of_its_own() {
        check("cleo", &["cleo"], &[]);
        check("v:cleo", &["cleo"], &[]);
    }

    #[test]
    fn an_id_that_several_people_have_names_nobody() {
        assert!(matches!(person_of(&known(), &["kiosk".to_owned()]), Err(PersonError::Shared)));
    }

    #[test]
    fn a_shared_id_is_the_persons_in_its_span() {
        let person = person_of(&known(), &["bob".to_owned()]).unwrap();
        let shared = &person.shared[0];
        assert_eq!(person.ids.iter().collect::<Vec<_>>(), ["bob"]);
        assert_eq!((shared.holds_at(9), shared.holds_at(10), shared.holds_at(20)), (false, true, false));
    }
}
