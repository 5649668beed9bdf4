//! Ids of people. A visitor id and a user id that read alike are two ids.

use serde::{Deserialize, Serialize};

use crate::tables::identity_edges::{TYPE_USER, TYPE_VISITOR};

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdType {
    /// A device, anonymously.
    Visitor,
    /// Somebody whom the client knows.
    User,
}

impl IdType {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Visitor, Self::User];

    /// The word in columns.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Visitor => TYPE_VISITOR,
            Self::User => TYPE_USER,
        }
    }

    /// The type of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|id_type| id_type.as_str() == word)
    }
}

/// An id of a person.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TypedId {
    /// What it names.
    pub id_type: IdType,
    /// The id.
    pub id: String,
}

impl TypedId {
    /// A visitor id.
    pub fn visitor(id: impl Into<String>) -> Self {
        Self { id_type: IdType::Visitor, id: id.into() }
    }

    /// A user id.
    pub fn user(id: impl Into<String>) -> Self {
        Self { id_type: IdType::User, id: id.into() }
    }
}
