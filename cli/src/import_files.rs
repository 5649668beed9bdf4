//! Reads the files of an import, whatever they are compressed with, and hands their lines on in batches.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use flate2::bufread::MultiGzDecoder;
use indicatif::ProgressBar;
use tokio::sync::mpsc::Sender;
use touchline_ingest::import::combined::CombinedReader;
use touchline_ingest::import::csv::{CsvOptions, CsvReader};
use touchline_ingest::import::ndjson::{Form, ImportedLine, NdjsonReader};
use touchline_schemas::config::IngestConfig;

use crate::commands::import::ImportFormat;

const STDIN: &str = "-";
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BUFFER_BYTES: usize = 256 * 1024;

/// How much is taken at once.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    /// Longest line, in bytes.
    pub max_line_bytes: usize,
    /// Most lines of a batch.
    pub max_batch_lines: usize,
    /// Bytes of lines after which a batch is handed on.
    pub batch_bytes: usize,
}

impl ReadLimits {
    /// Limits under which a batch is never larger than a request may be.
    pub fn of(config: &IngestConfig) -> Self {
        Self {
            max_line_bytes: config.max_event_bytes,
            max_batch_lines: config.max_events_per_request,
            // The line that fills a batch may go beyond this mark.
            batch_bytes: config.max_body_bytes / 2,
        }
    }
}

/// Size of all files as they lie on the disk; what cannot be told counts as nothing.
pub fn total_size_bytes(files: &[PathBuf]) -> u64 {
    files.iter().filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// Reads `files` in order and sends their lines, until they end or nobody listens.
pub fn read(
    files: &[PathBuf],
    format: ImportFormat,
    csv: &CsvOptions,
    limits: ReadLimits,
    progress: &ProgressBar,
    batches: &Sender<Vec<ImportedLine>>,
) -> anyhow::Result<()> {
    for path in files {
        progress.set_message(path.display().to_string());
        let context = || format!("cannot read {}", path.display());
        let reader = open(path, progress).with_context(context)?;
        let lines: Box<dyn Iterator<Item = io::Result<ImportedLine>>> = match format {
            ImportFormat::Ndjson => Box::new(NdjsonReader::new(reader, Form::Native, limits.max_line_bytes)),
            ImportFormat::Segment => Box::new(NdjsonReader::new(reader, Form::Segment, limits.max_line_bytes)),
            ImportFormat::Csv => Box::new(CsvReader::new(reader, csv, limits.max_line_bytes).with_context(context)?),
            ImportFormat::Combined => Box::new(CombinedReader::new(reader, limits.max_line_bytes)),
        };
        send(lines, limits, batches).with_context(context)?;
    }
    Ok(())
}

fn send(
    lines: impl Iterator<Item = io::Result<ImportedLine>>,
    limits: ReadLimits,
    batches: &Sender<Vec<ImportedLine>>,
) -> anyhow::Result<()> {
    let mut batch = Vec::new();
    let mut batch_bytes = 0;
    for line in lines {
        let line = line?;
        batch_bytes += size_bytes(&line);
        batch.push(line);
        if batch.len() >= limits.max_batch_lines || batch_bytes >= limits.batch_bytes {
            batches.blocking_send(std::mem::take(&mut batch)).context("the import has stopped")?;
            batch_bytes = 0;
        }
    }
    if !batch.is_empty() {
        batches.blocking_send(batch).context("the import has stopped")?;
    }
    Ok(())
}

fn size_bytes(line: &ImportedLine) -> usize {
    match line {
        ImportedLine::Event(event) => event.json.len(),
        ImportedLine::Refused(refused) => refused.body.len(),
    }
}

/// Opens a file or stdin; what it is compressed with is seen from its first bytes, not from its name.
fn open(path: &Path, progress: &ProgressBar) -> io::Result<Box<dyn BufRead>> {
    let raw: Box<dyn Read> = if path == Path::new(STDIN) { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
    let mut raw = BufReader::with_capacity(BUFFER_BYTES, progress.wrap_read(raw));
    let beginning = raw.fill_buf()?;
    if beginning.starts_with(GZIP_MAGIC) {
        Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(raw))))
    } else if beginning.starts_with(ZSTD_MAGIC) {
        Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, zstd::Decoder::with_buffer(raw)?)))
    } else {
        Ok(Box::new(raw))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const LIMITS: ReadLimits = ReadLimits { max_line_bytes: 1_000, max_batch_lines: 2, batch_bytes: 1_000 };

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    }

    #[test]
    fn files_are_read_whatever_they_are_compressed_with() {
        let lines = b"{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n";
        let two_members = [gzip(&lines[..8]), gzip(&lines[8..])].concat();
        let zstd = zstd::encode_all(lines.as_slice(), 1).expect("in memory");
        for (name, bytes) in
            [("plain", lines.to_vec()), ("gzip", gzip(lines)), ("members", two_members), ("zstd", zstd)]
        {
            let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
            file.write_all(&bytes).expect("written");
            let (sender, mut receiver) = tokio::sync::mpsc::channel(8);
            let files = [file.path().to_owned()];
            read(&files, ImportFormat::Ndjson, &CsvOptions::default(), LIMITS, &ProgressBar::hidden(), &sender)
                .expect(name);
            drop(sender);
            let mut batches = Vec::new();
            while let Ok(batch) = receiver.try_recv() {
                batches.push(batch.len());
            }
            assert_eq!(batches, [2, 1], "{name}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let (sender, _receiver) = tokio::sync::mpsc::channel(8);
        let files = [PathBuf::from("no/such/file")];
        let read =
            read(&files, ImportFormat::Combined, &CsvOptions::default(), LIMITS, &ProgressBar::hidden(), &sender);
        let error = read.expect_err("missing");
        assert!(format!("{error:#}").contains("no/such/file"), "{error:#}");
    }
}
