//! Whether a run's folder holds what its manifest says, byte by byte and row by row.

mod rows;

use chrono::NaiveDate;
use futures::TryStreamExt;
use sha2::{Digest, Sha256};
use touchline_schemas::export::ExportFormat;

use crate::destination::{DestinationError, Folder};
use crate::manifest::{
    FileEntry, MANIFEST_FILE, MAX_MANIFEST_BYTES, ManifestError, SUCCESS_FILE, SignedManifest, Signer, Totals, sha256,
};
use rows::RowCounter;

/// Bytes of a `_SUCCESS` at most: a hash and the end of a line.
const MAX_SUCCESS_BYTES: u64 = 128;

/// Something that is not as the manifest says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// `_SUCCESS` is not there: the run did not end.
    #[error("{SUCCESS_FILE}: missing")]
    NoSuccess,
    /// `_SUCCESS` belongs to another manifest.
    #[error("{SUCCESS_FILE}: says {said}, the manifest has {found}")]
    OtherManifest {
        /// The hash in it.
        said: String,
        /// The manifest's.
        found: String,
    },
    /// The signature is not the key's.
    #[error("{MANIFEST_FILE}: not signed by the key {key_id}")]
    Signature {
        /// The key that it names.
        key_id: String,
    },
    /// Nobody knows the key.
    #[error("{MANIFEST_FILE}: signed by the key {key_id}, which is not known here")]
    UnknownKey {
        /// The key that it names.
        key_id: String,
    },
    /// The sums are not those of the files.
    #[error("{MANIFEST_FILE}: its totals are not the sums over its files")]
    Totals,
    /// A day has two files, or is deleted and has one.
    #[error("{MANIFEST_FILE}: names {day} more than once")]
    Day {
        /// The day.
        day: NaiveDate,
    },
    /// A file is not there.
    #[error("{file}: missing")]
    Missing {
        /// The file.
        file: String,
    },
    /// A file has another size.
    #[error("{file}: {found} bytes instead of {said}")]
    Size {
        /// The file.
        file: String,
        /// What the manifest says.
        said: u64,
        /// What it has.
        found: u64,
    },
    /// A file has other bytes.
    #[error("{file}: SHA-256 {found} instead of {said}")]
    Hash {
        /// The file.
        file: String,
        /// What the manifest says.
        said: String,
        /// What it has.
        found: String,
    },
    /// A file has another number of rows.
    #[error("{file}: {found} rows instead of {said}")]
    Rows {
        /// The file.
        file: String,
        /// What the manifest says.
        said: u64,
        /// What it has.
        found: u64,
    },
    /// A file cannot be read as its format.
    #[error("{file}: not readable as {format}")]
    Unreadable {
        /// The file.
        file: String,
        /// Its format.
        format: &'static str,
    },
}

/// Why a folder could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The store failed.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// There is no manifest, or none of ours.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// There is no manifest.
    #[error("there is no {file} here")]
    NoManifest {
        /// The name that was looked for.
        file: String,
    },
}

/// What was looked at.
#[derive(Debug)]
pub struct Verified {
    /// The manifest.
    pub signed: SignedManifest,
    /// The SHA-256 of its file.
    pub manifest_sha256: String,
    /// What is not as it says; nothing if all is well.
    pub differences: Vec<Difference>,
}

/// The manifest in a folder and its hash, unread.
///
/// # Errors
///
/// The store fails; there is no manifest, or it is none.
pub async fn read(folder: &Folder, file: &str) -> Result<(SignedManifest, String), VerifyError> {
    let bytes = folder.read(file, MAX_MANIFEST_BYTES).await?;
    let bytes = bytes.ok_or_else(|| VerifyError::NoManifest { file: file.to_owned() })?;
    Ok((SignedManifest::parse(&bytes)?, sha256(&bytes)))
}

/// Compares the manifest `signed` with what lies in its folder. `key` is the one that it names; `None` if it is not known.
///
/// # Errors
///
/// The store fails.
pub async fn verify(
    folder: &Folder,
    signed: SignedManifest,
    manifest_sha256: String,
    key: Option<&Signer>,
) -> Result<Verified, DestinationError> {
    let mut differences = Vec::new();
    differences.extend(success(folder, &manifest_sha256).await?);
    differences.extend(signature(&signed, key));
    differences.extend(itself(&signed));
    for file in &signed.manifest.files {
        differences.extend(of_file(folder, file, signed.manifest.file_format).await?);
    }
    Ok(Verified { signed, manifest_sha256, differences })
}

async fn success(folder: &Folder, manifest_sha256: &str) -> Result<Option<Difference>, DestinationError> {
    let Some(bytes) = folder.read(SUCCESS_FILE, MAX_SUCCESS_BYTES).await? else {
        return Ok(Some(Difference::NoSuccess));
    };
    let said = String::from_utf8_lossy(&bytes).trim().to_owned();
    let is_same = said == manifest_sha256;
    Ok((!is_same).then(|| Difference::OtherManifest { said, found: manifest_sha256.to_owned() }))
}

fn signature(signed: &SignedManifest, key: Option<&Signer>) -> Option<Difference> {
    let key_id = signed.signature.key_id.clone();
    match key {
        None => Some(Difference::UnknownKey { key_id }),
        Some(key) => signed.verify(key).is_err().then_some(Difference::Signature { key_id }),
    }
}

/// What the manifest says against itself.
fn itself(signed: &SignedManifest) -> Vec<Difference> {
    let manifest = &signed.manifest;
    let mut days: Vec<NaiveDate> = manifest.files.iter().filter_map(|file| file.day).collect();
    days.extend(&manifest.deleted_days);
    days.sort_unstable();
    let twice = days.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| Difference::Day { day: pair[0] });
    let mut differences: Vec<Difference> = twice.collect();
    if Totals::of(&manifest.files) != manifest.totals {
        differences.push(Difference::Totals);
    }
    differences
}

async fn of_file(folder: &Folder, said: &FileEntry, format: ExportFormat) -> Result<Vec<Difference>, DestinationError> {
    let file = || said.path.clone();
    let (size_bytes, mut parts) = match folder.stream(&said.path).await {
        Ok(found) => found,
        Err(DestinationError::Store { is_missing: true, .. }) => return Ok(vec![Difference::Missing { file: file() }]),
        Err(error) => return Err(error),
    };
    if size_bytes != said.bytes {
        return Ok(vec![Difference::Size { file: file(), said: said.bytes, found: size_bytes }]);
    }
    let (mut hash, mut counter) = (Sha256::new(), RowCounter::new(format));
    while let Some(part) = parts.try_next().await? {
        hash.update(&part);
        counter.take(&part);
    }
    let found = format!("{:x}", hash.finalize());
    if found != said.sha256 {
        return Ok(vec![Difference::Hash { file: file(), said: said.sha256.clone(), found }]);
    }
    Ok(match counter.finish(folder, &said.path, size_bytes).await {
        Some(rows) if rows == said.rows => Vec::new(),
        Some(rows) => vec![Difference::Rows { file: file(), said: said.rows, found: rows }],
        None => vec![Difference::Unreadable { file: file(), format: format.as_str() }],
    })
}

#[cfg(test)]
mod tests;
