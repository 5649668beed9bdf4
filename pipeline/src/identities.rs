//! People: which ids belong to one.
//!
//! Definition, version 1. Events leave *edges*: an event with a visitor id and a user id links them, unless it is one of
//! these: `$alias` says that two user ids are one; `$unmerge` says that a pair does not belong together, and voids what
//! linked or aliased it up to then. User ids that living aliases join are one person. A visitor id that is linked to one person is that person's
//! for all time. One that is linked to several is shared: at any time it is the person's whose link is the latest up to
//! then; before the first link, the first person's. Of each pair and UTC day the first and last time are kept, so that
//! edges are few and merging them is commutative: arrival order cannot matter.

mod edges;
mod lookup;
mod people;

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::error::Result;
use datafusion::prelude::{DataFrame, SessionContext, col};
use touchline_schemas::event::TextField;
use touchline_schemas::tables::{sessions, visitors};

pub use edges::{edges, merge_edges};
pub use lookup::People;
pub use people::{Identity, people};

/// Names this definition in answers.
pub const DEFINITION: &str = "identities/1";

/// Prefix of the person id of a user id.
pub const USER_PREFIX: &str = "u:";
/// Prefix of the person id of a visitor id that no user is known of.
pub const VISITOR_PREFIX: &str = "v:";

/// Adds `person_id` to sessions: the person of the session's user, else of its visitor at the time it began.
///
/// `sessions` has `visitor_id`, `user_id` and `started_at`; `identities` has the columns of that table. Its rows are
/// read at once: ids that stand for themselves are not among them.
pub async fn with_person(
    context: &SessionContext,
    sessions: DataFrame,
    identities: Arc<dyn TableProvider>,
) -> Result<DataFrame> {
    let rows = context.read_table(identities)?.collect().await?;
    let person_of = Arc::new(People::new(Identity::read(&rows)?)).function();
    let arguments = [TextField::VisitorId.column(), TextField::UserId.column(), sessions::STARTED_AT].map(col);
    sessions.with_column(visitors::PERSON_ID, person_of.call(arguments.to_vec()))
}
