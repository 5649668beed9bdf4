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

use crate::output::count;

/// The name of stdin among files.
pub const STDIN: &str = "-";
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BUFFER_BYTES: usize = 256 * 1024;

/// What files are made of, and how they are read.
#[derive(Debug, Clone)]
pub enum FileFormat {
    /// Events in somebody's words, one per line.
    Lines(Form),
    /// A table.
    Csv(CsvOptions),
    /// An access log.
    Combined,
}

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

/// Reads `files` in order and sends their lines but the first `taken`, until they end or nobody listens. What was taken
/// is read all the same: which of several equal lines a line is decides about its id.
pub fn read(
    files: &[PathBuf],
    format: &FileFormat,
    limits: ReadLimits,
    taken: u64,
    progress: &ProgressBar,
    batches: &Sender<Vec<ImportedLine>>,
) -> anyhow::Result<()> {
    let mut sending = Sending { limits, left_to_skip: taken, sent: 0, progress, batches };
    for path in files {
        progress.set_message(path.display().to_string());
        let context = || format!("cannot read {}", path.display());
        let reader = open(path, progress).with_context(context)?;
        let max_bytes = limits.max_line_bytes;
        let lines: Box<dyn Iterator<Item = io::Result<ImportedLine>>> = match format {
            FileFormat::Lines(form) => Box::new(NdjsonReader::new(reader, *form, max_bytes)),
            FileFormat::Csv(options) => Box::new(CsvReader::new(reader, options, max_bytes).with_context(context)?),
            FileFormat::Combined => Box::new(CombinedReader::new(reader, max_bytes)),
        };
        sending.send(lines, path).with_context(context)?;
    }
    Ok(())
}

/// Lines on their way to the import.
struct Sending<'s> {
    limits: ReadLimits,
    left_to_skip: u64,
    /// Lines that were sent.
    sent: u64,
    progress: &'s ProgressBar,
    batches: &'s Sender<Vec<ImportedLine>>,
}

impl Sending<'_> {
    fn send(&mut self, lines: impl Iterator<Item = io::Result<ImportedLine>>, path: &Path) -> anyhow::Result<()> {
        let mut batch = Vec::new();
        let mut batch_bytes = 0;
        for line in lines {
            let line = line?;
            if self.left_to_skip > 0 {
                self.left_to_skip -= 1;
                continue;
            }
            batch_bytes += line.size_bytes();
            batch.push(line);
            if batch.len() >= self.limits.max_batch_lines || batch_bytes >= self.limits.batch_bytes {
                self.hand_on(std::mem::take(&mut batch), path)?;
                batch_bytes = 0;
            }
        }
        if batch.is_empty() { Ok(()) } else { self.hand_on(batch, path) }
    }

    fn hand_on(&mut self, batch: Vec<ImportedLine>, path: &Path) -> anyhow::Result<()> {
        self.sent += batch.len() as u64;
        self.batches.blocking_send(batch).context("the import has stopped")?;
        let lines_per_s = self.sent as f64 / self.progress.elapsed().as_secs_f64().max(0.001);
        self.progress.set_message(format!("{} lines/s {}", count(lines_per_s as u64), path.display()));
        Ok(())
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
    const NATIVE: FileFormat = FileFormat::Lines(Form::Native);

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
            read(&files, &NATIVE, LIMITS, 0, &ProgressBar::hidden(), &sender).expect(name);
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
        let read = read(&files, &FileFormat::Combined, LIMITS, 0, &ProgressBar::hidden(), &sender);
        let error = read.expect_err("missing");
        assert!(format!("{error:#}").contains("no/such/file"), "{error:#}");
    }

    #[test]
    fn lines_that_were_taken_are_left_out_and_the_others_keep_their_ids() {
        let files: Vec<_> = ["{\"n\":1}\n\n{\"n\":1}\n", "{\"n\":1}\n{\"n\":2}\n"].map(file_with).into();
        let paths: Vec<_> = files.iter().map(|file| file.path().to_owned()).collect();
        let ids = |taken| -> Vec<String> {
            let (sender, mut receiver) = tokio::sync::mpsc::channel(8);
            read(&paths, &NATIVE, LIMITS, taken, &ProgressBar::hidden(), &sender).expect("is read");
            let batches = std::iter::from_fn(|| receiver.try_recv().ok());
            let id = |line| if let ImportedLine::Event(event) = line { event.event_id } else { String::new() };
            batches.flatten().map(id).collect()
        };
        let all = ids(0);
        assert_eq!(all.len(), 4);
        for taken in 0..=5 {
            assert_eq!(ids(taken as u64), all[taken.min(4)..], "{taken}");
        }
    }

    fn file_with(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }
}
