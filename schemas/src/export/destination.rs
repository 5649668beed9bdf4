//! Where an export's files go: a folder below the installation's root of exports, or a prefix of a bucket.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const FILE: &str = "file:";
const S3: &str = "s3://";
/// Most bytes of a destination's text.
const MAX_BYTES: usize = 512;

/// Where files go. It has a text form: `file:relative/folder` or `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Destination {
    /// A folder below the installation's root of exports.
    File {
        /// Its segments, joined by `/`; at least one.
        folder: String,
    },
    /// A bucket of an object store that speaks S3.
    S3 {
        /// The bucket.
        bucket: String,
        /// The segments below it, joined by `/`; may be empty.
        prefix: String,
    },
}

/// A text that is no destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// It is neither of the two forms.
    #[error("a destination is `file:relative/folder` or `s3://bucket/prefix`")]
    Form,
    /// It is too long.
    #[error("a destination has at most {MAX_BYTES} bytes")]
    TooLong,
    /// A folder could lead elsewhere, or cannot be spelled everywhere.
    #[error(
        "the folders of a destination are relative, made of letters, digits and `-` `_` `.` `=`, and none of them is \
         empty, `.` or `..`"
    )]
    Folder,
    /// The bucket's name is none.
    #[error("a bucket's name is 3 to 63 lower-case letters, digits, hyphens or dots, a letter or digit at both ends")]
    Bucket,
}

impl Destination {
    /// The place `path` below this one.
    #[must_use]
    pub fn join(&self, path: &str) -> Self {
        let below = |folder: &str| if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") };
        match self {
            Self::File { folder } => Self::File { folder: below(folder) },
            Self::S3 { bucket, prefix } => Self::S3 { bucket: bucket.clone(), prefix: below(prefix) },
        }
    }
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_BYTES {
            return Err(DestinationError::TooLong);
        }
        if let Some(folder) = text.strip_prefix(FILE) {
            check_folders(folder)?;
            return Ok(Self::File { folder: folder.to_owned() });
        }
        let address = text.strip_prefix(S3).ok_or(DestinationError::Form)?;
        let (bucket, prefix) = address.split_once('/').unwrap_or((address, ""));
        if !is_bucket(bucket) {
            return Err(DestinationError::Bucket);
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if !prefix.is_empty() {
            check_folders(prefix)?;
        }
        Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl TryFrom<String> for Destination {
    type Error = DestinationError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Destination> for String {
    fn from(destination: Destination) -> Self {
        destination.to_string()
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { folder } => write!(f, "{FILE}{folder}"),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "{S3}{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "{S3}{bucket}/{prefix}"),
        }
    }
}

fn check_folders(folders: &str) -> Result<(), DestinationError> {
    let is_plain = |segment: &str| {
        !segment.is_empty() && segment != "." && segment != ".." && segment.chars().all(is_plain_character)
    };
    if folders.split('/').all(is_plain) { Ok(()) } else { Err(DestinationError::Folder) }
}

/// What every file system and object store spells alike, and no shell or address reads as anything else.
pub(super) fn is_plain_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.' | '=')
}

fn is_bucket(name: &str) -> bool {
    let is_alphanumeric = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    (3..=63).contains(&name.len())
        && name.chars().all(|character| is_alphanumeric(character) || matches!(character, '-' | '.'))
        && name.starts_with(is_alphanumeric)
        && name.ends_with(is_alphanumeric)
        && !name.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_stay_below_where_they_begin() {
        let check = |text: &str, expected: Result<&str, DestinationError>| {
            let read = text.parse::<Destination>().map(|destination| destination.to_string());
            assert_eq!(read, expected.map(str::to_owned), "{text}");
        };
        check("file:sales", Ok("file:sales"));
        check("file:sales/day=1/a_b-c.d", Ok("file:sales/day=1/a_b-c.d"));
        check("s3://bucket", Ok("s3://bucket"));
        check("s3://bucket/", Ok("s3://bucket"));
        check("s3://my.bucket-1/a/b/", Ok("s3://my.bucket-1/a/b"));
        for text in ["", "sales", "/srv/x", "http://x/y", "S3://bucket", "gs://bucket/x"] {
            check(text, Err(DestinationError::Form));
        }
        for text in [
            "file:",
            "file:/srv",
            "file:///srv",
            "file:..",
            "file:a/../b",
            "file:a/./b",
            "file:a//b",
            "file:a/",
            "file:a\\b",
            "file:a b",
            "file:ä",
            "file:a\0b",
            "file:a/{name}",
            "s3://bucket/a//b",
            "s3://bucket/../b",
            "s3://bucket/a?x=1",
        ] {
            check(text, Err(DestinationError::Folder));
        }
        for text in ["s3://", "s3://ab", "s3://Bucket/x", "s3://-ab/x", "s3://a..b/x", "s3://id:secret@bucket/x"] {
            check(text, Err(DestinationError::Bucket));
        }
        check(&format!("file:{}", "a".repeat(600)), Err(DestinationError::TooLong));
    }

    #[test]
    fn folders_are_appended() {
        for (destination, expected) in
            [("file:a", "file:a/x/1"), ("s3://bucket", "s3://bucket/x/1"), ("s3://bucket/p", "s3://bucket/p/x/1")]
        {
            assert_eq!(destination.parse::<Destination>().unwrap().join("x/1").to_string(), expected);
        }
    }
}
