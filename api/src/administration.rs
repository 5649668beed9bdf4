//! What the routes of administration share: whose things are meant, what a body says, and lists.

use touchline_schemas::control::{ControlDb, Scope};
use touchline_schemas::{AccountId, Environment};
use utoipa::IntoParams;

use crate::AppState;
use crate::auth::Caller;
use crate::error::ApiError;

mod fields;
mod list;
mod parameters;

pub use fields::{Fields, object, pointer};
pub use list::{Listed, Numbered};
pub use parameters::{ACCOUNT_ID, CURSOR, LIMIT, Parameters};

/// Whose things are meant.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct AccountParam {
    /// Id of the account, a UUID. Only a key with the scope `admin` may name another account than its own, which is
    /// the default; for others there is no such account.
    #[param(value_type = Option<uuid::Uuid>)]
    pub account_id: Option<String>,
}

/// Which page.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct PagingParams {
    /// Rows of a page, from 1 to the operator's `query.max_limit`. Default: `query.default_limit`.
    #[param(example = 100, minimum = 1)]
    pub limit: Option<u64>,
    /// Where the page begins: the `cursor` of the link to it.
    pub cursor: Option<String>,
}

/// Whether the caller may see what belongs to that environment of its account.
pub fn sees(caller: &Caller, environment: Environment) -> bool {
    caller.has(Scope::Admin) || environment == caller.tenant().environment
}

/// The control database in the caller's hands: what is changed is noted as this key's doing.
pub fn control(state: &AppState, caller: &Caller) -> ControlDb {
    state.control.asked_by(caller.key().key_id)
}

/// The account that the caller means: its own, or with the scope `admin` any that there is.
///
/// # Errors
///
/// [`ApiError::NotFound`], the same for an account that is another's and for one that there is not.
pub async fn account(state: &AppState, caller: &Caller, asked: Option<&str>) -> Result<AccountId, ApiError> {
    let own = caller.tenant().account_id;
    let Some(asked) = asked else { return Ok(own) };
    let asked: AccountId = asked.parse().map_err(|_| ApiError::NotFound)?;
    if asked == own {
        return Ok(own);
    }
    let exists = caller.has(Scope::Admin) && state.control.account(asked).await?.is_some();
    if exists { Ok(asked) } else { Err(ApiError::NotFound) }
}
