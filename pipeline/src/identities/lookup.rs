//! Whose a session is.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringViewArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use arrow::error::ArrowError;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use touchline_schemas::event::TextField;
use touchline_schemas::tables::identity_edges::TYPE_USER;
use touchline_schemas::tables::{instant_type, sessions};

use super::{Identity, USER_PREFIX, VISITOR_PREFIX};

/// The people behind ids. Ids that it does not know stand for themselves.
#[derive(Debug, Default)]
pub struct People {
    users: HashMap<String, String>,
    visitors: HashMap<String, Vec<Span>>,
}

#[derive(Debug)]
struct Span {
    from_us: i64,
    person_id: String,
}

impl People {
    /// The people of a tenant's rows of `identities`.
    pub fn new(identities: impl IntoIterator<Item = Identity>) -> Self {
        let mut people = Self::default();
        for identity in identities {
            if identity.id_type == TYPE_USER {
                people.users.insert(identity.id, identity.person_id);
            } else {
                let from_us = identity.valid_from_us.unwrap_or(i64::MIN);
                people.visitors.entry(identity.id).or_default().push(Span { from_us, person_id: identity.person_id });
            }
        }
        // Spans follow each other without a gap, so that their beginnings say everything.
        people.visitors.values_mut().for_each(|spans| spans.sort_unstable_by_key(|span| span.from_us));
        people
    }

    /// Writes the person of a session into `person`, which is then empty if nobody made it.
    fn write(&self, visitor_id: Option<&str>, user_id: Option<&str>, started_us: i64, person: &mut String) {
        person.clear();
        if let Some(user_id) = user_id {
            match self.users.get(user_id) {
                Some(known) => person.push_str(known),
                None => person.extend([USER_PREFIX, user_id]),
            }
        } else if let Some(visitor_id) = visitor_id {
            let spans = self.visitors.get(visitor_id).map(Vec::as_slice).unwrap_or_default();
            let place = spans.partition_point(|span| span.from_us <= started_us);
            match place.checked_sub(1).and_then(|place| spans.get(place)) {
                Some(span) => person.push_str(&span.person_id),
                None => person.extend([VISITOR_PREFIX, visitor_id]),
            }
        }
    }

    /// The person of each session of a batch that has `visitor_id`, `user_id` and `started_at`.
    pub fn of_sessions(&self, batch: &RecordBatch) -> Result<StringViewArray, ArrowError> {
        let column = |name: &str| {
            batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("sessions have no `{name}`")))
        };
        let [visitors, users, starts] =
            [TextField::VisitorId.column(), TextField::UserId.column(), sessions::STARTED_AT].map(column);
        self.of_columns(visitors?, users?, starts?)
    }

    /// The people of rows with these ids at these times.
    pub fn of_columns(
        &self,
        visitors: &ArrayRef,
        users: &ArrayRef,
        starts: &ArrayRef,
    ) -> Result<StringViewArray, ArrowError> {
        let [visitors, users] = [visitors, users].map(|texts| cast(texts, &DataType::Utf8View));
        let (visitors, users) = (visitors?, users?);
        let (visitors, users) = (visitors.as_string_view(), users.as_string_view());
        let starts = starts
            .as_primitive_opt::<TimestampMicrosecondType>()
            .ok_or_else(|| ArrowError::SchemaError("sessions begin at no time".to_owned()))?;
        let mut people = StringViewBuilder::with_capacity(visitors.len());
        let mut person = String::new();
        for row in 0..visitors.len() {
            let visitor = visitors.is_valid(row).then(|| visitors.value(row));
            let user = users.is_valid(row).then(|| users.value(row));
            self.write(visitor, user, starts.value(row), &mut person);
            people.append_option((!person.is_empty()).then_some(&person));
        }
        Ok(people.finish())
    }

    /// `person_of(visitor_id, user_id, started_at)` for queries.
    pub fn function(self: Arc<Self>) -> ScalarUDF {
        let find = move |arguments: &[ColumnarValue]| {
            let columns = ColumnarValue::values_to_arrays(arguments)?;
            Ok(ColumnarValue::Array(Arc::new(self.of_columns(&columns[0], &columns[1], &columns[2])?) as ArrayRef))
        };
        let takes = vec![DataType::Utf8View, DataType::Utf8View, instant_type()];
        create_udf("person_of", takes, DataType::Utf8View, Volatility::Immutable, Arc::new(find))
    }
}
