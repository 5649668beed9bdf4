//! The language between a worker and who uses it: frames of a kind, a length and as many bytes.
//!
//! To the worker go a [`Greeting`](super::Greeting) and [`Request`](super::Request)s, as JSON. From it comes for each
//! request first a word that it was taken up. Then comes an Arrow IPC stream, cut into frames anywhere, and an end; or
//! a failure, before or after some rows.

use std::io::{self, Read, Write};

/// The largest frame. What comes with a greater length is no frame.
pub const MAX_FRAME_BYTES: usize = 256 << 20;
/// Bytes of a frame before its content.
pub const HEAD_BYTES: usize = 5;
/// Bytes of an answer that are sent as one frame.
const ANSWER_FRAME_BYTES: usize = 1 << 20;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To the worker: a greeting or a request.
    Ask,
    /// From it: the request was taken up. Of what happens before, it is not the cause.
    Taken,
    /// From it: a part of the Arrow IPC stream.
    Rows,
    /// From it: the answer is complete.
    End,
    /// From it: the answer ends here, with a [`SqlError`](super::SqlError) as JSON.
    Failure,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Ask, Self::Taken, Self::Rows, Self::End, Self::Failure];

    const fn byte(self) -> u8 {
        match self {
            Self::Ask => b'A',
            Self::Taken => b'T',
            Self::Rows => b'R',
            Self::End => b'E',
            Self::Failure => b'F',
        }
    }
}

/// The bytes before a frame's content.
pub fn head(kind: Kind, size_bytes: usize) -> io::Result<[u8; HEAD_BYTES]> {
    let size = u32::try_from(size_bytes).ok().filter(|_| size_bytes <= MAX_FRAME_BYTES);
    let [a, b, c, d] = size.ok_or_else(|| malformed("a frame is too large"))?.to_le_bytes();
    Ok([kind.byte(), a, b, c, d])
}

/// What a frame's content is, and its size.
pub fn parse_head([kind, size @ ..]: [u8; HEAD_BYTES]) -> io::Result<(Kind, usize)> {
    let kind = Kind::ALL.into_iter().find(|known| known.byte() == kind);
    let size_bytes = u32::from_le_bytes(size) as usize;
    match kind {
        Some(kind) if size_bytes <= MAX_FRAME_BYTES => Ok((kind, size_bytes)),
        Some(_) | None => Err(malformed("what came is no frame")),
    }
}

/// Reads the next frame; an orderly end between two frames is an error of the kind `UnexpectedEof`.
pub fn read(input: &mut impl Read) -> io::Result<(Kind, Vec<u8>)> {
    let mut head = [0; HEAD_BYTES];
    input.read_exact(&mut head)?;
    let (kind, size_bytes) = parse_head(head)?;
    let mut content = vec![0; size_bytes];
    input.read_exact(&mut content)?;
    Ok((kind, content))
}

/// Writes one frame.
pub fn write(output: &mut impl Write, kind: Kind, content: &[u8]) -> io::Result<()> {
    output.write_all(&head(kind, content.len())?)?;
    output.write_all(content)?;
    output.flush()
}

fn malformed(detail: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, detail)
}

/// Takes a stream of bytes and sends it on in frames.
#[derive(Debug)]
pub(super) struct RowFrames<W> {
    output: W,
    pending: Vec<u8>,
    /// Bytes taken so far.
    pub(super) taken_bytes: usize,
}

impl<W: Write> RowFrames<W> {
    pub(super) fn new(output: W) -> Self {
        Self { output, pending: Vec::new(), taken_bytes: 0 }
    }

    /// Bytes that have gathered.
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Sends what has gathered.
    pub(super) fn send(&mut self) -> io::Result<()> {
        for part in self.pending.chunks(ANSWER_FRAME_BYTES) {
            write(&mut self.output, Kind::Rows, part)?;
        }
        self.pending.clear();
        Ok(())
    }
}

impl<W: Write> Write for RowFrames<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        self.taken_bytes += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in() {
        let mut bytes = Vec::new();
        for kind in Kind::ALL {
            write(&mut bytes, kind, b"abc").unwrap();
        }
        write(&mut bytes, Kind::End, b"").unwrap();
        let mut input = &bytes[..];
        for kind in Kind::ALL {
            assert_eq!(read(&mut input).unwrap(), (kind, b"abc".to_vec()));
        }
        assert_eq!(read(&mut input).unwrap(), (Kind::End, Vec::new()));
        assert_eq!(read(&mut input).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        for bytes in [&b"X\x00\x00\x00\x00"[..], b"A\xff\xff\xff\xff", b"A\x02\x00\x00\x00x", b"pa"] {
            assert!(read(&mut &bytes[..]).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_long_stream_is_cut() {
        let mut frames = RowFrames::new(Vec::new());
        let content = vec![7; ANSWER_FRAME_BYTES * 2 + 1];
        frames.write_all(&content).unwrap();
        assert_eq!(frames.pending_bytes(), content.len());
        frames.send().unwrap();
        assert_eq!(frames.pending_bytes(), 0);
        let mut input = &frames.output[..];
        let mut sizes = Vec::new();
        while let Ok((Kind::Rows, part)) = read(&mut input) {
            sizes.push(part.len());
        }
        assert_eq!((sizes, frames.taken_bytes), (vec![ANSWER_FRAME_BYTES, ANSWER_FRAME_BYTES, 1], content.len()));
    }
}
