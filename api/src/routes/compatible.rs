//! Endpoints of other products, so that their clients can send here unchanged. One file per dialect.

use utoipa::ToSchema;

pub mod pixel;
pub mod plausible;
pub mod posthog;
pub mod segment;
pub mod umami;

/// What is sent, as the dialect has it.
#[derive(Debug, ToSchema)]
#[schema(description = "As the dialect's clients send it.")]
pub struct Foreign {}
