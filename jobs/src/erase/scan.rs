//! Looking for ids in files of any kind: text, Parquet, packed ones, and whatever else lies about.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::needles::Needles;

/// What was found in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// So many ids.
    Ids(u64),
    /// Nobody can tell: it is neither what it seems to be nor readable as something else.
    Unreadable,
}

/// Unpacks what only its owner can: the records of a log. `None` for a file that is none.
pub type Unpack<'a> = dyn Fn(&Path, &[u8]) -> Option<Vec<Vec<u8>>> + Send + Sync + 'a;

/// Looks for ids in a file; `None` if it is not there any more.
pub fn scan(path: &Path, needles: &Needles, unpack: &Unpack<'_>) -> io::Result<Option<(Found, u64)>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let size_bytes = bytes.len() as u64;
    let found = match unpack(path, &bytes) {
        Some(records) => {
            let unpacked: u64 = records.iter().map(|record| needles.count_in_bytes(record)).sum();
            Found::Ids(unpacked + needles.count_in_bytes(&bytes))
        }
        None => scan_bytes(bytes, needles),
    };
    Ok(Some((found, size_bytes)))
}

fn scan_bytes(bytes: Vec<u8>, needles: &Needles) -> Found {
    const PARQUET: &[u8] = b"PAR1";
    const GZIP: &[u8] = &[0x1f, 0x8b];
    const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
    if bytes.starts_with(PARQUET) {
        scan_parquet(bytes, needles)
    } else if bytes.starts_with(GZIP) {
        unpacked(MultiGzDecoder::new(bytes.as_slice()), needles)
    } else if bytes.starts_with(ZSTD) {
        match zstd::stream::read::Decoder::new(bytes.as_slice()) {
            Ok(decoder) => unpacked(decoder, needles),
            Err(_) => Found::Unreadable,
        }
    } else if std::str::from_utf8(&bytes).is_ok() {
        Found::Ids(needles.count_in_text(&bytes))
    } else {
        Found::Ids(needles.count_in_bytes(&bytes))
    }
}

fn unpacked(mut packed: impl Read, needles: &Needles) -> Found {
    let mut bytes = Vec::new();
    match packed.read_to_end(&mut bytes) {
        Ok(_) => scan_bytes(bytes, needles),
        Err(_) => Found::Unreadable,
    }
}

fn scan_parquet(bytes: Vec<u8>, needles: &Needles) -> Found {
    let mut ids = 0;
    let visited = touchline_lake::visit_texts(bytes.into(), &mut |text| {
        ids += needles.count_in_text(text.as_bytes());
        true
    });
    if visited.is_ok() { Found::Ids(ids) } else { Found::Unreadable }
}

/// Every file below a folder, in the order of paths.
pub fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            // Gone meanwhile, or never there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                // Links are followed by nobody here; what they point to is not ours.
                Ok(_) | Err(_) => {}
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use touchline_schemas::TypedId;

    use super::*;

    #[test]
    fn ids_are_found_in_packed_files_and_in_bytes() {
        let needles = Needles::new([TypedId::user("canary-77")].into(), String::new());
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str, bytes: &[u8], expected: Found| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let (found, size_bytes) = scan(&path, &needles, &|_, _| None).unwrap().unwrap();
            assert_eq!((found, size_bytes), (expected, bytes.len() as u64), "{name}");
        };
        let text = b"a,canary-77,b canary-770";
        check("a.csv", text, Found::Ids(1));
        check("binary", b"\xff\xfecanary-77x", Found::Ids(1));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(text).unwrap();
        let gzip = gzip.finish().unwrap();
        check("a.csv.gz", &gzip, Found::Ids(1));
        check("cut.csv.gz", &gzip[..gzip.len() / 2], Found::Unreadable);
        check("a.csv.zst", &zstd::encode_all(&text[..], 1).unwrap(), Found::Ids(1));
        check("cut.parquet", b"PAR1 and no more", Found::Unreadable);
        let unpack = |_: &Path, _: &[u8]| Some(vec![b"..canary-77..".to_vec()]);
        let (found, _) = scan(&folder.path().join("cut.parquet"), &needles, &unpack).unwrap().unwrap();
        assert_eq!(found, Found::Ids(1));
        assert!(scan(&folder.path().join("gone"), &needles, &unpack).unwrap().is_none());
        assert_eq!(files_below(folder.path()).unwrap().len(), 6);
    }
}
