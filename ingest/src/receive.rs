//! Receivers: one file per endpoint, all ending in the same check and the same event.

pub(crate) mod again;
pub(crate) mod answer;
pub(crate) mod check;
mod conversion;
pub(crate) mod events;
mod identify;
mod session;
mod vocabulary;

pub use answer::{FieldError, ItemStatus, Receipt, ReceiveError, RejectedItem};
pub use check::{Checked, Incoming, Limits, Refusal, RequestContext};

/// An endpoint of the native API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /api/v1/events`
    Events,
    /// `POST /api/v1/sessions`
    Session,
    /// `POST /api/v1/conversions`
    Conversion,
    /// `POST /api/v1/identify`
    Identify,
}

/// Reads a body and checks each of its items.
pub fn read<'a>(
    endpoint: Endpoint,
    body: &'a [u8],
    context: &mut RequestContext<'_>,
) -> Result<Vec<Checked<'a>>, ReceiveError> {
    match endpoint {
        Endpoint::Events => events::read(body, context),
        Endpoint::Session => session::read(body, context),
        Endpoint::Conversion => conversion::read(body, context),
        Endpoint::Identify => identify::read(body, context),
    }
}
