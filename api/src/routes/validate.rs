//! `GET /api/v1/validate`: whose key is this?

use axum::Json;
use serde::Serialize;
use touchline_schemas::{AccountId, Environment};
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::error::KeyProblems;

/// Whose key it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct ValidateAnswer {
    /// Always true; a key that is not good is answered 401.
    pub valid: bool,
    /// The account.
    pub account: AccountAnswer,
    /// `live` or `test`.
    #[schema(value_type = String, example = "live")]
    pub environment: Environment,
}

/// The account of a key.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountAnswer {
    /// Its id, a UUID.
    #[schema(value_type = uuid::Uuid)]
    pub id: AccountId,
    /// Its name for people.
    pub name: String,
    /// Its name in commands.
    pub slug: String,
}

/// Says whose key this is
///
/// Any key will do.
#[utoipa::path(
    get,
    path = "/api/v1/validate",
    tag = "operations",
    security(("key" = [])),
    responses(
        (status = 200, description = "The key is good", body = ValidateAnswer),
        KeyProblems,
    )
)]
pub async fn get_validate(caller: Caller) -> Json<ValidateAnswer> {
    let key = caller.key();
    let account =
        AccountAnswer { id: key.tenant.account_id, name: key.account_name.clone(), slug: key.account_slug.clone() };
    Json(ValidateAnswer { valid: true, account, environment: key.tenant.environment })
}
