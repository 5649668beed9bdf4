//! What all reports share: their parameters, their pages, their answer.

pub mod answer;
pub(crate) mod base64url;
pub mod cursor;
mod describe;
pub mod explanation;
mod kept;
pub mod page;
pub mod params;
mod tag;

pub use answer::{Asked, Meta};
pub use cursor::Cursor;
pub use describe::{ReportRows, SqlRows};
pub use kept::KeptAnswers;
pub use page::Page;
pub use params::ReportQuery;
pub(crate) use tag::KnownTags;
