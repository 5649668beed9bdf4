//! Folders as they should be, and with one thing wrong.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;

use super::*;
use crate::manifest::Manifest;
use crate::manifest::tests::{another_key, key, manifest};

fn parquet(rows: i64) -> Vec<u8> {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(text).unwrap();
    gzip.finish().unwrap()
}

/// A manifest of one file with these bytes, of which it says that they are `rows`.
fn of(file_format: ExportFormat, bytes: &[u8], rows: u64) -> Manifest {
    let path = format!("part-0.{}", file_format.as_str());
    let files = vec![FileEntry { path, day: None, rows, bytes: bytes.len() as u64, sha256: sha256(bytes) }];
    let totals = Totals::of(&files);
    Manifest { file_format, files, totals, deleted_days: Vec::new(), ..manifest() }
}

async fn written(manifest: &Manifest, bytes: &[u8]) -> Folder {
    let folder = Folder::in_store(Arc::new(InMemory::new()), Path::from("base"));
    folder.put(&manifest.files[0].path, Bytes::copy_from_slice(bytes)).await.unwrap();
    let text = SignedManifest::write(manifest, &key()).unwrap();
    folder.put(SUCCESS_FILE, Bytes::from(sha256(&text) + "\n")).await.unwrap();
    folder.put(MANIFEST_FILE, text).await.unwrap();
    folder
}

async fn delete(folder: &Folder, name: &str) {
    folder.store().delete(&folder.location(name)).await.unwrap();
}

async fn differences(folder: &Folder) -> Vec<String> {
    let (signed, hash) = read(folder, MANIFEST_FILE).await.unwrap();
    let verified = verify(folder, signed, hash, Some(&key())).await.unwrap();
    verified.differences.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn rows_are_counted_in_every_format() {
    let csv = b"a,b\r\n1,\"two\r\nlines, \"\"quoted\"\"\"\r\n3,4\r\n";
    let check = async |format: ExportFormat, bytes: &[u8], expected: Option<u64>| {
        let ending = format.as_str();
        let right = of(format, bytes, expected.unwrap_or_default());
        let found = differences(&written(&right, bytes).await).await;
        let unreadable = [format!("part-0.{ending}: not readable as {ending}")];
        assert_eq!(found, if expected.is_some() { &[][..] } else { &unreadable[..] }, "{ending} {bytes:?}");
        if let Some(rows) = expected {
            let wrong = of(format, bytes, rows + 1);
            let said = format!("part-0.{ending}: {rows} rows instead of {}", rows + 1);
            assert_eq!(differences(&written(&wrong, bytes).await).await, [said]);
        }
    };
    check(ExportFormat::Csv, csv, Some(2)).await;
    check(ExportFormat::Csv, b"a,b\r\n", Some(0)).await;
    check(ExportFormat::Csv, b"", None).await;
    check(ExportFormat::Csv, b"a,b\r\n1,2", None).await;
    check(ExportFormat::Csv, b"a,b\r\n\"1,2\r\n", None).await;
    check(ExportFormat::CsvGz, &gzip(csv), Some(2)).await;
    check(ExportFormat::CsvGz, csv, None).await;
    check(ExportFormat::CsvGz, &gzip(csv)[..20], None).await;
    check(ExportFormat::Ndjson, b"{\"a\":1}\n{\"a\":2}\n", Some(2)).await;
    check(ExportFormat::Ndjson, b"", Some(0)).await;
    check(ExportFormat::Ndjson, b"{\"a\":1}\n{\"a\"", None).await;
    check(ExportFormat::Parquet, &parquet(3), Some(3)).await;
    check(ExportFormat::Parquet, &parquet(0), Some(0)).await;
    check(ExportFormat::Parquet, b"PAR1", None).await;
}

#[tokio::test]
async fn what_is_not_as_the_manifest_says_is_named() {
    let csv = b"a,b\r\n1,2\r\n";
    let good = of(ExportFormat::Csv, csv, 1);
    let path = good.files[0].path.clone();
    assert_eq!(differences(&written(&good, csv).await).await, [""; 0]);

    let folder = written(&good, csv).await;
    delete(&folder, SUCCESS_FILE).await;
    assert_eq!(differences(&folder).await, ["_SUCCESS: missing"]);
    folder.put(SUCCESS_FILE, Bytes::from_static(b"0")).await.unwrap();
    let said = differences(&folder).await;
    assert!(matches!(&said[..], [one] if one.starts_with("_SUCCESS: says 0, the manifest has ")), "{said:?}");

    let folder = written(&good, csv).await;
    folder.put(&path, Bytes::from_static(b"a,b\r\n1,3\r\n")).await.unwrap();
    let said = differences(&folder).await;
    assert!(matches!(&said[..], [one] if one.starts_with("part-0.csv: SHA-256 ")), "{said:?}");
    folder.put(&path, Bytes::from_static(b"a,b\r\n")).await.unwrap();
    assert_eq!(differences(&folder).await, ["part-0.csv: 5 bytes instead of 10"]);
    delete(&folder, &path).await;
    assert_eq!(differences(&folder).await, ["part-0.csv: missing"]);
}

#[tokio::test]
async fn a_manifest_must_agree_with_itself_and_with_its_key() {
    let csv = b"a,b\r\n1,2\r\n";
    let day = manifest().scheduled_for.date_naive();
    let mut twice = of(ExportFormat::Csv, csv, 1);
    twice.files[0].day = Some(day);
    twice.deleted_days = vec![day];
    twice.totals.rows = 2;
    let said = differences(&written(&twice, csv).await).await;
    let totals = "manifest.json: its totals are not the sums over its files".to_owned();
    assert_eq!(said, [format!("manifest.json: names {day} more than once"), totals]);

    let folder = written(&of(ExportFormat::Csv, csv, 1), csv).await;
    let other = another_key();
    for (key, expected) in [
        (Some(&other), "manifest.json: not signed by the key esk_1"),
        (None, "manifest.json: signed by the key esk_1, which is not known here"),
    ] {
        let (signed, hash) = read(&folder, MANIFEST_FILE).await.unwrap();
        let verified = verify(&folder, signed, hash, key).await.unwrap();
        assert_eq!(verified.differences.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
    }
    assert!(matches!(read(&folder, "other.json").await, Err(VerifyError::NoManifest { .. })));
}
