//! Compression whose bytes follow from its input alone.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Bytes that are compressed at once. What comes out depends on where the input is cut, and so it is always cut here.
const BLOCK_BYTES: usize = 64 << 10;

/// Compresses. There is no time in the head either.
pub(super) struct Gzip {
    encoder: GzEncoder<Vec<u8>>,
    block: Vec<u8>,
}

impl Default for Gzip {
    fn default() -> Self {
        let encoder = GzEncoder::new(Vec::new(), Compression::default());
        Self { encoder, block: Vec::with_capacity(BLOCK_BYTES) }
    }
}

impl Gzip {
    /// Takes bytes, and gives those that are ready.
    pub(super) fn compress(&mut self, mut bytes: &[u8]) -> io::Result<Vec<u8>> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.block.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK_BYTES {
                self.encoder.write_all(&self.block)?;
                self.block.clear();
            }
        }
        Ok(std::mem::take(self.encoder.get_mut()))
    }

    /// The rest.
    pub(super) fn finish(mut self) -> io::Result<Vec<u8>> {
        self.encoder.write_all(&self.block)?;
        self.encoder.finish()
    }
}
