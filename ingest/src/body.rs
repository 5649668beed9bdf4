//! Bodies as clients compress them, inflated no further than the limit.

use std::io::{self, Read};

use bytes::Bytes;

/// A body that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// A `Content-Encoding` that is not understood.
    #[error("content encoding `{0}` is not supported; use gzip, deflate, br, zstd or identity")]
    UnsupportedEncoding(String),
    /// Larger than the limit when inflated.
    #[error("a body may have {limit_bytes} bytes after decompression (`ingest.max_body_bytes`)")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// Not what its encoding says.
    #[error("the body is not valid {encoding}: {detail}")]
    Corrupt {
        /// The encoding.
        encoding: String,
        /// The decoder's words.
        detail: String,
    },
}

/// Encodings that may be stacked; nobody means more.
const MAX_ENCODINGS: usize = 2;

/// Inflates a body; several encodings are undone from the last to the first.
pub fn decode(encodings: Option<&str>, body: Bytes, limit_bytes: usize) -> Result<Bytes, BodyError> {
    let encodings = encodings.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    let encodings: Vec<_> = encodings.collect();
    if encodings.len() > MAX_ENCODINGS {
        return Err(BodyError::UnsupportedEncoding(encodings.join(", ")));
    }
    let mut body = body;
    for encoding in encodings.into_iter().rev() {
        body = match encoding.to_ascii_lowercase().as_str() {
            "identity" => body,
            "gzip" | "x-gzip" => inflate(encoding, flate2::read::MultiGzDecoder::new(&body[..]), limit_bytes)?,
            "deflate" => match inflate(encoding, flate2::read::ZlibDecoder::new(&body[..]), limit_bytes) {
                // Some clients send the raw stream without zlib's frame.
                Err(BodyError::Corrupt { .. }) => {
                    inflate(encoding, flate2::read::DeflateDecoder::new(&body[..]), limit_bytes)?
                }
                decided => decided?,
            },
            "br" => inflate(encoding, brotli::Decompressor::new(&body[..], 4096), limit_bytes)?,
            "zstd" => inflate(encoding, zstd_decoder(&body).map_err(|error| corrupt(encoding, &error))?, limit_bytes)?,
            other => return Err(BodyError::UnsupportedEncoding(other.to_owned())),
        };
    }
    if body.len() > limit_bytes {
        return Err(BodyError::TooLarge { limit_bytes });
    }
    Ok(body)
}

/// A frame may ask for a window of gigabytes; 8 MiB is what the format asks every decoder to support.
fn zstd_decoder(body: &[u8]) -> io::Result<impl Read + '_> {
    const WINDOW_LOG_MAX: u32 = 23;
    let mut decoder = zstd::stream::read::Decoder::new(body)?;
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    Ok(decoder)
}

fn inflate(encoding: &str, decoder: impl Read, limit_bytes: usize) -> Result<Bytes, BodyError> {
    let mut inflated = Vec::new();
    decoder.take(limit_bytes as u64 + 1).read_to_end(&mut inflated).map_err(|error| corrupt(encoding, &error))?;
    if inflated.len() > limit_bytes {
        return Err(BodyError::TooLarge { limit_bytes });
    }
    Ok(inflated.into())
}

fn corrupt(encoding: &str, error: &io::Error) -> BodyError {
    BodyError::Corrupt { encoding: encoding.to_ascii_lowercase(), detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(encoding: &str, plain: &[u8]) -> Bytes {
        match encoding {
            "gzip" => {
                let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
                out.write_all(plain).unwrap();
                out.finish().unwrap().into()
            }
            "deflate" => {
                let mut out = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
                out.write_all(plain).unwrap();
                out.finish().unwrap().into()
            }
            "br" => {
                let mut out = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
                out.write_all(plain).unwrap();
                out.into_inner().into()
            }
            _ => zstd::encode_all(plain, 19).unwrap().into(),
        }
    }

    #[test]
    fn every_encoding_is_undone_and_none_goes_beyond_the_limit() {
        for encoding in ["gzip", "deflate", "br", "zstd"] {
            let body = packed(encoding, b"{\"events\":[]}");
            assert_eq!(decode(Some(encoding), body.clone(), 13).unwrap(), "{\"events\":[]}", "{encoding}");
            assert_eq!(decode(Some(encoding), body, 12), Err(BodyError::TooLarge { limit_bytes: 12 }), "{encoding}");
            let bomb = packed(encoding, &vec![b' '; 10_000_000]);
            assert!(bomb.len() < 100_000, "{encoding}");
            assert_eq!(decode(Some(encoding), bomb, 5_000_000), Err(BodyError::TooLarge { limit_bytes: 5_000_000 }));
            let broken = decode(Some(encoding), Bytes::from_static(b"not compressed at all"), 100);
            assert!(matches!(broken, Err(BodyError::Corrupt { .. })), "{encoding}: {broken:?}");
        }
    }

    #[test]
    fn stacked_and_unknown_encodings() {
        let twice = packed("gzip", &packed("zstd", b"x"));
        assert_eq!(decode(Some("zstd, gzip"), twice, 100).unwrap(), "x");
        assert_eq!(decode(None, Bytes::from_static(b"x"), 1).unwrap(), "x");
        assert_eq!(decode(Some("lzma"), Bytes::new(), 1), Err(BodyError::UnsupportedEncoding("lzma".into())));
    }
}
