//! Who is meant by an id: all ids of that person, by what `identities` says.

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::{Deserialize, Serialize};
use touchline_lake::{Lake, LakeError};
use touchline_pipeline::identities::{USER_PREFIX, VISITOR_PREFIX};
use touchline_schemas::tables::{Table, identities};
use touchline_schemas::{AccountId, Environment, IdType, Tenant, TypedId};

/// An id that several people have, and a span of time in which it was one's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SharedId {
    /// Where it was.
    pub environment: Environment,
    /// The id.
    pub id: TypedId,
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

/// The ids of a person. What is one person in one environment is one in the other: an account has its people once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Those that are nobody else's in any environment, and that no id of somebody else's reads like.
    pub ids: BTreeSet<TypedId>,
    /// The others.
    pub shared: BTreeSet<SharedId>,
}

impl Person {
    /// Whether it is the same as another, of whom something else is known.
    pub fn is_one_with(&self, other: &Self) -> bool {
        !self.ids.is_disjoint(&other.ids)
    }

    /// The person as it is written down while an erasure lasts: not as the ids read, because another account may have
    /// somebody of the same id, and the last look of an erasure there must not take this for something that it has left.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        Ok(BASE64_STANDARD.encode(serde_json::to_vec(self)?))
    }

    /// The person that was written down as `text`.
    pub fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        let decoded = BASE64_STANDARD.decode(text).map_err(<serde_json::Error as serde::de::Error>::custom)?;
        serde_json::from_slice(&decoded)
    }

    /// Whether it is asked for by this name, because one of the ids that are the person's alone reads so.
    pub fn is_named(&self, given: &str) -> bool {
        unknown(given).iter().any(|id| self.ids.contains(id))
    }

    /// Adds what is known of the same person besides. What somebody else has by either is not the person's alone.
    pub fn unite(&mut self, other: Self) {
        self.ids.extend(other.ids);
        self.shared.extend(other.shared);
        self.ids.retain(|id| !self.shared.iter().any(|shared| shared.id == *id));
    }
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
    environment: Environment,
    id: TypedId,
    person_id: String,
    from_us: Option<i64>,
    to_us: Option<i64>,
}

impl Identity {
    /// The user that the person is named after; who has a row is a user's person.
    fn user(&self) -> &str {
        self.person_id.strip_prefix(USER_PREFIX).unwrap_or(&self.person_id)
    }

    /// Whether the id or the person is called so: by the id with or without its type before it, by the person's id, or
    /// by the user of that.
    fn is_named(&self, name: &str) -> bool {
        let prefix = match self.id.id_type {
            IdType::Visitor => VISITOR_PREFIX,
            IdType::User => USER_PREFIX,
        };
        let id = self.id.id.as_str();
        id == name || name.strip_prefix(prefix) == Some(id) || self.person_id == name || self.user() == name
    }
}

/// Everybody in the account that `given` names, each a visitor id, a user id or a person's id.
pub async fn resolve(lake: &Lake, account_id: AccountId, given: &[String]) -> Result<Person, PersonError> {
    let mut known = Vec::new();
    for environment in [Environment::Live, Environment::Test] {
        known.extend(read(lake, Tenant { account_id, environment }).await?);
    }
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
                let id_type = IdType::parse(&text(identities::ID_TYPE, row)?)?;
                Some(Identity {
                    environment: tenant.environment,
                    id: TypedId { id_type, id: text(identities::ID, row)? },
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
    let mut users: BTreeSet<&str> = BTreeSet::new();
    let mut own: BTreeSet<TypedId> = BTreeSet::new();
    for name in given {
        let mut named = known.iter().filter(|row| row.is_named(name)).map(Identity::user);
        match named.next() {
            Some(user) => {
                let one = aliases(known, user);
                if !named.all(|user| one.contains(user)) {
                    return Err(PersonError::Shared);
                }
                users.extend(one);
            }
            None => own.extend(unknown(name)),
        }
    }
    own.extend(users.iter().map(|user| TypedId::user(*user)));
    let mut others: BTreeSet<TypedId> = BTreeSet::new();
    for row in known {
        if users.contains(row.user()) {
            own.insert(row.id.clone());
        } else {
            others.extend([row.id.clone(), TypedId::user(row.user())]);
        }
    }
    let mut person = Person::default();
    for id in own {
        if others.contains(&id) {
            let rows = known.iter().filter(|row| row.id == id && users.contains(row.user()));
            person.shared.extend(rows.map(|row| SharedId {
                environment: row.environment,
                id: id.clone(),
                from_us: row.from_us,
                to_us: row.to_us,
            }));
        } else if others.iter().any(|other| other.id == id.id) {
            // As text it may be somebody else's; in its own column it never is.
            let in_environment = |environment| SharedId { environment, id: id.clone(), from_us: None, to_us: None };
            person.shared.extend([Environment::Live, Environment::Test].map(in_environment));
        } else {
            person.ids.insert(id);
        }
    }
    Ok(person)
}

/// The users who are one with this one in any environment.
fn aliases<'a>(known: &'a [Identity], user: &'a str) -> BTreeSet<&'a str> {
    let mut users = BTreeSet::from([user]);
    loop {
        let before = users.len();
        for row in known.iter().filter(|row| row.id.id_type == IdType::User) {
            let pair = [row.user(), row.id.id.as_str()];
            if pair.iter().any(|user| users.contains(user)) {
                users.extend(pair);
            }
        }
        if users.len() == before {
            return users;
        }
    }
}

/// The ids of a person of its own, who may be named as such: `v:…` or `u:…`.
fn unknown(name: &str) -> Vec<TypedId> {
    if let Some(id) = name.strip_prefix(VISITOR_PREFIX) {
        vec![TypedId::visitor(id)]
    } else if let Some(id) = name.strip_prefix(USER_PREFIX) {
        vec![TypedId::user(id)]
    } else {
        vec![TypedId::visitor(name), TypedId::user(name)]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, RecordBatch, StringViewArray, TimestampMicrosecondArray};
    use touchline_pipeline::identities::people;
    use touchline_pipeline::scan::scan_schema;
    use touchline_schemas::tables::identity_edges;

    use super::*;

    /// A pair of ids that an event names: kind, type of the left id, left id, user id, microseconds.
    type Pair = (&'static str, &'static str, &'static str, &'static str, i64);

    /// What the job `identities` makes of these pairs in an environment.
    fn known_of(environment: Environment, pairs: &[Pair]) -> Vec<Identity> {
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
            environment,
            id: TypedId { id_type: IdType::parse(&row.id_type).unwrap(), id: row.id },
            person_id: row.person_id,
            from_us: row.valid_from_us,
            to_us: row.valid_to_us,
        });
        rows.collect()
    }

    const LINK: &str = identity_edges::KIND_LINK;
    const VISITOR: &str = identity_edges::TYPE_VISITOR;

    fn known() -> Vec<Identity> {
        let live = [
            (LINK, VISITOR, "phone", "ada", 0),
            (LINK, VISITOR, "kiosk", "ada", 0),
            (LINK, VISITOR, "kiosk", "bob", 10),
            (LINK, VISITOR, "kiosk", "ada", 20),
            (LINK, VISITOR, "laptop", "zoe", 5),
            (identity_edges::KIND_ALIAS, identity_edges::TYPE_USER, "mia", "zoe", 5),
            (LINK, VISITOR, "17", "eve", 0),
            (LINK, VISITOR, "watch", "17", 0),
        ];
        let test = [
            (LINK, VISITOR, "tablet", "zoe", 0),
            (LINK, VISITOR, "till", "bob", 0),
            (LINK, VISITOR, "desk", "ada", 0),
            (LINK, VISITOR, "laptop", "eve", 0),
        ];
        let mut known = known_of(Environment::Live, &live);
        known.extend(known_of(Environment::Live, &[(LINK, VISITOR, "till", "cleo", 0)]));
        known.extend(known_of(Environment::Test, &test));
        known
    }

    /// An id with its type before it.
    fn spelled(typed: &TypedId) -> String {
        format!("{} {}", typed.id_type.as_str(), typed.id)
    }

    #[track_caller]
    fn check(given: &str, ids: &[&str], shared: &[&str]) {
        let person = person_of(&known(), &[given.to_owned()]).unwrap();
        assert_eq!(person.ids.iter().map(spelled).collect::<Vec<_>>(), ids, "{given}");
        let found: Vec<_> = person
            .shared
            .iter()
            .map(|shared| {
                let end = |time: Option<i64>| time.map_or(String::new(), |time| time.to_string());
                let (from, to) = (end(shared.from_us), end(shared.to_us));
                format!("{} {} {from}..{to}", shared.environment, spelled(&shared.id))
            })
            .collect();
        assert_eq!(found, shared, "{given}");
    }

    #[test]
    fn any_id_of_a_person_names_all_of_them() {
        for given in ["ada", "phone", "u:ada", "v:phone", "desk"] {
            let shared = ["live visitor kiosk ..10", "live visitor kiosk 20.."];
            check(given, &["visitor desk", "visitor phone", "user ada"], &shared);
        }
    }

    #[test]
    fn what_an_alias_joins_in_one_environment_is_one_person_in_the_other() {
        for given in ["zoe", "mia", "u:mia", "u:zoe", "tablet"] {
            check(given, &["visitor tablet", "user mia", "user zoe"], &["live visitor laptop .."]);
        }
    }

    #[test]
    fn an_id_that_is_somebody_elses_in_one_environment_is_shared_in_both() {
        check("cleo", &["user cleo"], &["live visitor till .."]);
        let shared = ["live visitor kiosk 10..20", "test visitor till .."];
        check("bob", &["user bob"], &shared);
    }

    #[test]
    fn an_id_that_reads_like_one_of_somebody_else_counts_in_its_own_column_only() {
        check("eve", &["user eve"], &["live visitor 17 ..", "test visitor 17 ..", "test visitor laptop .."]);
        check("u:17", &["visitor watch"], &["live user 17 ..", "test user 17 .."]);
        assert!(matches!(person_of(&known(), &["17".to_owned()]), Err(PersonError::Shared)));
    }

    #[test]
    fn an_id_that_is_not_known_is_a_person_of_its_own() {
        check("dora", &["visitor dora", "user dora"], &[]);
        check("v:dora", &["visitor dora"], &[]);
        check("u:phone", &[], &["live user phone ..", "test user phone .."]);
    }

    #[test]
    fn an_id_that_several_people_have_names_nobody() {
        for given in ["kiosk", "till"] {
            assert!(matches!(person_of(&known(), &[given.to_owned()]), Err(PersonError::Shared)), "{given}");
        }
    }

    #[test]
    fn a_shared_id_is_the_persons_in_its_span() {
        let id = TypedId::visitor("kiosk");
        let shared = SharedId { environment: Environment::Live, id, from_us: Some(10), to_us: Some(20) };
        assert_eq!([9, 10, 19, 20].map(|at_us| shared.holds_at(at_us)), [false, true, true, false]);
    }

    #[test]
    fn what_is_written_down_of_a_person_does_not_read_like_the_ids() {
        let ada = person_of(&known(), &["ada".to_owned()]).unwrap();
        let text = ada.to_text().unwrap();
        assert!(!text.contains("phone"), "{text}");
        assert_eq!(Person::from_text(&text).unwrap(), ada);
        assert!(Person::from_text("{}").is_err() && Person::from_text("").is_err());
    }

    #[test]
    fn a_person_is_named_by_the_ids_that_are_nobody_elses() {
        let ada = person_of(&known(), &["ada".to_owned()]).unwrap();
        for (given, expected) in
            [("ada", true), ("u:ada", true), ("v:phone", true), ("v:ada", false), ("kiosk", false), ("bob", false)]
        {
            assert_eq!(ada.is_named(given), expected, "{given}");
        }
    }

    #[test]
    fn what_was_known_of_a_person_before_is_added() {
        let person = |name: &str| person_of(&known(), &[name.to_owned()]).unwrap();
        let mut ada = Person { ids: [TypedId::user("ada")].into(), ..Person::default() };
        assert!(ada.is_one_with(&person("ada")) && !ada.is_one_with(&person("bob")));
        ada.unite(person("ada"));
        assert_eq!(ada, person("ada"));
        let mut kiosk = Person { ids: [TypedId::visitor("kiosk")].into(), ..Person::default() };
        kiosk.unite(person("ada"));
        assert_eq!(kiosk, person("ada"), "it is somebody else's too");
    }
}
