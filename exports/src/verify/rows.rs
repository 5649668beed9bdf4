//! How many rows a file has, told from its bytes as they go by; of a Parquet file, from its end.

use std::io::Write;

use flate2::write::GzDecoder;
use object_store::ObjectStoreExt;
use parquet::file::metadata::{FooterTail, ParquetMetaDataReader};
use touchline_schemas::export::ExportFormat;

use crate::destination::Folder;

/// Counts rows.
pub(super) enum RowCounter {
    Csv(Records),
    CsvGz(Box<GzDecoder<Records>>, bool),
    Ndjson(Lines),
    Parquet,
}

impl RowCounter {
    /// For a file in one of the formats of exports.
    pub(super) fn new(format: ExportFormat) -> Self {
        match format {
            ExportFormat::Csv => Self::Csv(Records::default()),
            ExportFormat::CsvGz => Self::CsvGz(Box::new(GzDecoder::new(Records::default())), false),
            ExportFormat::Ndjson => Self::Ndjson(Lines::default()),
            ExportFormat::Parquet => Self::Parquet,
        }
    }

    /// Takes the next bytes.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        match self {
            Self::Csv(records) => records.take(bytes),
            Self::CsvGz(records, is_broken) => *is_broken |= records.write_all(bytes).is_err(),
            Self::Ndjson(lines) => lines.take(bytes),
            Self::Parquet => {}
        }
    }

    /// The rows; `None` if it is not a whole file of its format.
    pub(super) async fn finish(self, folder: &Folder, name: &str, size_bytes: u64) -> Option<u64> {
        match self {
            Self::Csv(records) => records.finish(),
            Self::CsvGz(records, false) => records.finish().ok()?.finish(),
            Self::Ndjson(lines) => lines.finish(),
            Self::Parquet => rows_of_parquet(folder, name, size_bytes).await,
            Self::CsvGz(_, true) => None,
        }
    }
}

/// What the end of the file says.
async fn rows_of_parquet(folder: &Folder, name: &str, size_bytes: u64) -> Option<u64> {
    const TAIL_BYTES: u64 = 8;
    let (store, location) = (folder.store(), folder.location(name));
    let tail_begin = size_bytes.checked_sub(TAIL_BYTES)?;
    let tail = store.get_range(&location, tail_begin..size_bytes).await.ok()?;
    let tail = FooterTail::try_from(&tail[..]).ok()?;
    let begin = tail_begin.checked_sub(u64::try_from(tail.metadata_length()).ok()?)?;
    let metadata = store.get_range(&location, begin..tail_begin).await.ok()?;
    let metadata = ParquetMetaDataReader::decode_metadata(&metadata).ok()?;
    u64::try_from(metadata.file_metadata().num_rows()).ok()
}

/// Records of CSV: a line break inside quotes belongs to a value.
#[derive(Default)]
pub(super) struct Records {
    ended: u64,
    is_quoted: bool,
    is_inside: bool,
}

impl Records {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                // A quote that is meant as such is written twice, and ends where it began.
                b'"' => (self.is_quoted, self.is_inside) = (!self.is_quoted, true),
                b'\n' if !self.is_quoted => (self.ended, self.is_inside) = (self.ended + 1, false),
                _ => self.is_inside = true,
            }
        }
    }

    /// The records behind the header.
    fn finish(self) -> Option<u64> {
        if self.is_quoted || self.is_inside { None } else { self.ended.checked_sub(1) }
    }
}

impl Write for Records {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.take(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Lines.
#[derive(Default)]
pub(super) struct Lines {
    ended: u64,
    is_inside: bool,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.is_inside = *byte != b'\n';
            self.ended += u64::from(!self.is_inside);
        }
    }

    fn finish(self) -> Option<u64> {
        (!self.is_inside).then_some(self.ended)
    }
}
