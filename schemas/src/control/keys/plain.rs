//! What a key looks like: the secret in full, and how somebody names a key.

use std::fmt;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::KeyKind;
use crate::tenant::Environment;

/// Characters of a key that are kept as they are, for people to tell keys apart.
const PREFIX_CHARS: usize = 12;
/// Characters of a key's random part: 128 bits in hexadecimal.
const RANDOM_CHARS: usize = 32;

/// A key in full. It is shown to its owner once, and never kept or logged.
#[derive(Clone, PartialEq, Eq)]
pub struct PlainKey(String);

impl PlainKey {
    /// Builds the key from 128 random bits.
    pub(super) fn new(kind: KeyKind, environment: Environment, random: [u8; 16]) -> Self {
        let mut text = format!("{}_{environment}_", kind.initials());
        for byte in random {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// Reads a key that somebody presents; `None` unless it has the form of one.
    pub fn parse(presented: &str) -> Option<Self> {
        let (initials, rest) = presented.split_once('_')?;
        let (environment, random) = rest.split_once('_')?;
        let known = [KeyKind::Secret, KeyKind::Publishable].iter().any(|kind| kind.initials() == initials)
            && environment.parse::<Environment>().is_ok();
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let random = random.len() == RANDOM_CHARS && random.bytes().all(hexadecimal);
        (known && random).then(|| Self(presented.to_owned()))
    }

    /// The key's text.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub(super) fn prefix(&self) -> &str {
        self.0.get(..PREFIX_CHARS).unwrap_or(&self.0)
    }

    pub(super) fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

impl fmt::Debug for PlainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlainKey({}…)", self.prefix())
    }
}

/// How somebody names a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRef {
    /// By its id.
    Id(Uuid),
    /// By its first characters.
    Prefix(String),
    /// By the key itself: whoever finds a leaked key has nothing else.
    Key(PlainKey),
}

impl From<Uuid> for KeyRef {
    fn from(id: Uuid) -> Self {
        Self::Id(id)
    }
}

impl From<&str> for KeyRef {
    fn from(text: &str) -> Self {
        if let Ok(id) = Uuid::parse_str(text) {
            return Self::Id(id);
        }
        PlainKey::parse(text).map_or_else(|| Self::Prefix(text.to_owned()), Self::Key)
    }
}
