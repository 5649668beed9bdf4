//! The manifest of a run: what it wrote and from what, signed, so that a reader can tell a complete set of files from
//! anything else.
//!
//! The file is `{"manifest":M,"signature":S}` without a space around `M` and `S`. The signature is over the bytes of `M`
//! as they stand there, so that nobody has to agree with us about how JSON is written.

use arrow::datatypes::Schema;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use chrono::{DateTime, NaiveDate, Utc};
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use touchline_schemas::control::{ExportId, ExportRunId, SigningKey, SigningSecret, TableVersions};
use touchline_schemas::export::{ExportFormat, ExportMode, ExportSource};
use touchline_schemas::{AccountId, Environment};

/// The name of this form of manifest.
pub const FORMAT: &str = "touchline-export/1";
/// The file's name in a run's folder.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The file that is written last; its content is the SHA-256 of the manifest's file.
pub const SUCCESS_FILE: &str = "_SUCCESS";
/// How manifests are signed.
pub const ALGORITHM: &str = "HMAC-SHA256";
/// A manifest that is larger is none of ours: a hundred thousand days do not fill it.
pub const MAX_MANIFEST_BYTES: u64 = 64 << 20;

/// What a run wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// Whose rows.
    pub account: AccountId,
    /// Real or test data.
    pub environment: Environment,
    /// The export.
    pub export: ExportName,
    /// The run.
    pub run_id: ExportRunId,
    /// Which succeeded run of the export it is, counted from 1.
    pub sequence: i64,
    /// The succeeded run before; null for the first.
    pub previous: Option<Previous>,
    /// `snapshot`: these files are everything. `changes`: they replace the days that they name.
    pub mode: ExportMode,
    /// The range of a snapshot of the last days.
    pub range: Option<Range>,
    /// The time of the schedule, or of the request.
    pub scheduled_for: DateTime<Utc>,
    /// When the manifest was written.
    pub generated_at: DateTime<Utc>,
    /// The report or the statement, as the export defines it.
    pub source: ExportSource,
    /// Name and version of the metric's definition.
    pub definition: String,
    /// The form of the files.
    pub file_format: ExportFormat,
    /// The columns.
    pub schema: Vec<Column>,
    /// The tables that were read, by name, in the versions that were chosen before anything was read.
    pub tables: TableVersions,
    /// Up to when what was received is in these tables.
    pub watermark: Option<DateTime<Utc>>,
    /// The files.
    pub files: Vec<FileEntry>,
    /// Days that had rows in an earlier run and have none any more.
    pub deleted_days: Vec<NaiveDate>,
    /// The sums over the files.
    pub totals: Totals,
}

/// An export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportName {
    /// Its id.
    pub id: ExportId,
    /// Its name.
    pub name: String,
}

/// The run before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// Its sequence.
    pub sequence: i64,
    /// The SHA-256 of its manifest's file.
    pub manifest_sha256: String,
}

/// A half-open range of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Included.
    pub from: DateTime<Utc>,
    /// Excluded.
    pub to: DateTime<Utc>,
}

/// A column of the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as Arrow calls it.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Whether it may be null.
    pub nullable: bool,
}

impl Column {
    /// The columns of a schema.
    pub fn all(schema: &Schema) -> Vec<Self> {
        let column = |field: &arrow::datatypes::FieldRef| Self {
            name: field.name().clone(),
            data_type: field.data_type().to_string(),
            nullable: field.is_nullable(),
        };
        schema.fields().iter().map(column).collect()
    }
}

/// A file of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Below the run's folder.
    pub path: String,
    /// The day whose rows it holds, of UTC; missing in snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<NaiveDate>,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its bytes, in hex.
    pub sha256: String,
}

/// Sums over the files of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// How many.
    pub files: u64,
    /// Their rows.
    pub rows: u64,
    /// Their sizes.
    pub bytes: u64,
}

impl Totals {
    /// The sums over `files`.
    pub fn of(files: &[FileEntry]) -> Self {
        files.iter().fold(Self::default(), |sums, file| Self {
            files: sums.files + 1,
            rows: sums.rows + file.rows,
            bytes: sums.bytes + file.bytes,
        })
    }
}

/// Who vouches for a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// [`ALGORITHM`].
    pub algorithm: String,
    /// Which key.
    pub key_id: String,
    /// The MAC in base64.
    pub value: String,
}

/// A manifest as it lies in its file.
#[derive(Debug, Clone)]
pub struct SignedManifest {
    /// What it says.
    pub manifest: Manifest,
    /// Who says so.
    pub signature: Signature,
    signed: Box<RawValue>,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    manifest: Box<RawValue>,
    signature: Signature,
}

/// The key that signs.
#[derive(Clone)]
pub struct Signer {
    /// Its public name.
    pub key_id: String,
    key: hmac::Key,
}

/// Without the secret.
impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// A manifest that is none, or not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is not of this form.
    #[error("this is not a manifest of the form {FORMAT}: {reason}")]
    Form {
        /// Why.
        reason: String,
    },
    /// The signature is another one.
    #[error("the manifest is not signed by the key {key_id}")]
    Signature {
        /// The key that it names.
        key_id: String,
    },
}

impl Signer {
    /// What signs with `secret` under the name `key_id`.
    pub fn new(key_id: impl Into<String>, secret: &SigningSecret) -> Self {
        Self { key_id: key_id.into(), key: hmac::Key::new(hmac::HMAC_SHA256, secret.bytes()) }
    }

    /// The key itself, for messages.
    pub fn hmac(&self) -> &hmac::Key {
        &self.key
    }
}

impl From<&SigningKey> for Signer {
    fn from(key: &SigningKey) -> Self {
        Self::new(key.key_id.clone(), &key.secret)
    }
}

impl SignedManifest {
    /// The file of a manifest.
    ///
    /// # Errors
    ///
    /// [`ManifestError::Form`]: it cannot be written as JSON.
    pub fn write(manifest: &Manifest, key: &Signer) -> Result<Bytes, ManifestError> {
        let signed = serde_json::value::to_raw_value(manifest).map_err(form)?;
        let value = BASE64_STANDARD.encode(hmac::sign(&key.key, signed.get().as_bytes()));
        let signature = Signature { algorithm: ALGORITHM.to_owned(), key_id: key.key_id.clone(), value };
        let bytes = serde_json::to_vec(&Envelope { manifest: signed, signature }).map_err(form)?;
        Ok(bytes.into())
    }

    /// Reads the file of a manifest. Who signed it is not checked.
    ///
    /// # Errors
    ///
    /// [`ManifestError::Form`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let Envelope { manifest: signed, signature } = serde_json::from_slice(bytes).map_err(form)?;
        let manifest: Manifest = serde_json::from_str(signed.get()).map_err(form)?;
        if manifest.format != FORMAT {
            return Err(ManifestError::Form { reason: "its format is another".to_owned() });
        }
        Ok(Self { manifest, signature, signed })
    }

    /// Checks the signature.
    ///
    /// # Errors
    ///
    /// [`ManifestError::Signature`].
    pub fn verify(&self, key: &Signer) -> Result<(), ManifestError> {
        let refused = || ManifestError::Signature { key_id: self.signature.key_id.clone() };
        let value = BASE64_STANDARD.decode(&self.signature.value).map_err(|_| refused())?;
        if self.signature.algorithm != ALGORITHM {
            return Err(refused());
        }
        hmac::verify(&key.key, self.signed.get().as_bytes(), &value).map_err(|_| refused())
    }
}

/// The SHA-256 of bytes, in hex.
pub fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn form(error: serde_json::Error) -> ManifestError {
    ManifestError::Form { reason: error.to_string() }
}

#[cfg(test)]
pub(crate) mod tests {
    use touchline_schemas::control::TableVersion;
    use uuid::Uuid;

    use super::*;

    pub(crate) fn key() -> Signer {
        Signer::new("esk_1", &SigningSecret::new([1; 32]))
    }

    pub(crate) fn another_key() -> Signer {
        Signer::new("esk_1", &SigningSecret::new([2; 32]))
    }

    pub(crate) fn manifest() -> Manifest {
        let at = DateTime::from_timestamp(1_772_366_400, 0).unwrap();
        let day = at.date_naive();
        let files = vec![FileEntry {
            path: format!("day={day}/part-0.csv"),
            day: Some(day),
            rows: 2,
            bytes: 11,
            sha256: sha256(b"a,b\r\n1,2\r\n"),
        }];
        Manifest {
            format: FORMAT.to_owned(),
            account: AccountId(Uuid::from_u128(1)),
            environment: Environment::Live,
            export: ExportName { id: ExportId(Uuid::from_u128(2)), name: "sessions".to_owned() },
            run_id: ExportRunId(7),
            sequence: 2,
            previous: Some(Previous { sequence: 1, manifest_sha256: sha256(b"") }),
            mode: ExportMode::Changes,
            range: None,
            scheduled_for: at,
            generated_at: at,
            source: serde_json::from_value(serde_json::json!({"report": "sessions"})).unwrap(),
            definition: "sessions/1".to_owned(),
            file_format: ExportFormat::Csv,
            schema: vec![Column { name: "a".to_owned(), data_type: "Int64".to_owned(), nullable: false }],
            tables: TableVersions::from([("sessions".to_owned(), TableVersion { id: "t".to_owned(), version: 3 })]),
            watermark: Some(at),
            totals: Totals::of(&files),
            files,
            deleted_days: vec![day.pred_opt().unwrap()],
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let bytes = SignedManifest::write(&manifest(), &key()).unwrap();
        let read = SignedManifest::parse(&bytes).unwrap();
        assert_eq!(read.manifest, manifest());
        read.verify(&key()).unwrap();
        assert_eq!((read.signature.algorithm.as_str(), read.signature.key_id.as_str()), ("HMAC-SHA256", "esk_1"));
    }

    #[test]
    fn the_signed_bytes_lie_between_the_names_of_the_parts() {
        let bytes = SignedManifest::write(&manifest(), &key()).unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        let signed = text.strip_prefix(r#"{"manifest":"#).unwrap().rsplit_once(r#","signature":"#).unwrap().0;
        let value = BASE64_STANDARD.encode(hmac::sign(key().hmac(), signed.as_bytes()));
        assert!(text.ends_with(&format!(r#"{{"algorithm":"HMAC-SHA256","key_id":"esk_1","value":"{value}"}}}}"#)));
    }

    #[test]
    fn a_signature_is_that_of_its_key_over_these_bytes() {
        let bytes = SignedManifest::write(&manifest(), &key()).unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let check = |text: &str, key: &Signer, expected: bool| {
            assert_eq!(SignedManifest::parse(text.as_bytes()).unwrap().verify(key).is_ok(), expected, "{text}");
        };
        check(&text, &key(), true);
        check(&text, &another_key(), false);
        check(&text.replace(r#""rows":2"#, r#""rows":3"#), &key(), false);
        check(&text.replace(r#""run_id":7,"#, r#""run_id": 7,"#), &key(), false);
        check(&text.replace("HMAC-SHA256", "none"), &key(), false);
        check(&text.replace(r#""value":""#, r#""value":"!"#), &key(), false);
        // Space around the parts is nobody's.
        check(&text.replace(r#"{"manifest":"#, r#"{ "manifest" :  "#), &key(), true);
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let good = String::from_utf8(SignedManifest::write(&manifest(), &key()).unwrap().to_vec()).unwrap();
        let check = |text: &str, expected: bool| {
            assert_eq!(SignedManifest::parse(text.as_bytes()).is_ok(), expected, "{text}");
        };
        check(&good, true);
        check("", false);
        check("{}", false);
        check(&good[..good.len() - 1], false);
        check(&good.replace("touchline-export/1", "touchline-export/2"), false);
        check(&good.replace(r#""run_id":7"#, r#""run_id":"7""#), false);
    }
}
