//! `GET /t.js`: the snippet that pages load to count their views and send events. It never changes while the server
//! runs, so it is made ready and compressed once.

use std::io::{self, Write as _};

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use crate::report::KnownTags;

/// Where the snippet is.
pub const PATH: &str = "/t.js";

/// As people read it.
const SOURCE: &str = include_str!("../../assets/t.js");

/// Pages of any site may load it, and keep it for an hour.
const HEAD: [(HeaderName, HeaderValue); 6] = [
    (header::CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8")),
    (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600")),
    (header::VARY, HeaderValue::from_static("Accept-Encoding")),
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("cross-origin")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
];

/// The snippet as it is served.
#[derive(Debug, Clone)]
pub struct Snippet {
    plain: Served,
    packed: Option<Served>,
}

#[derive(Debug, Clone)]
struct Served {
    bytes: Bytes,
    encoding: Option<HeaderValue>,
    tag: Option<HeaderValue>,
}

impl Snippet {
    /// Takes the comments out, and compresses the rest.
    pub fn new() -> Self {
        let code = code(SOURCE).into_bytes();
        let packed = gzip(&code).ok().map(|bytes| Served::new(bytes, Some(HeaderValue::from_static("gzip"))));
        Self { plain: Served::new(code, None), packed }
    }

    /// The answer to a request with these headers.
    pub fn answer(&self, asked: &HeaderMap) -> Response {
        let served = self.packed.as_ref().filter(|_| takes_gzip(asked)).unwrap_or(&self.plain);
        let known = KnownTags::of(asked);
        let is_known = known.hold_any() || served.tag.as_ref().is_some_and(|tag| known.hold(tag));
        let (mut answer, encoding) = if is_known {
            (StatusCode::NOT_MODIFIED.into_response(), None)
        } else {
            (served.bytes.clone().into_response(), served.encoding.clone())
        };
        let own = [(header::ETAG, served.tag.clone()), (header::CONTENT_ENCODING, encoding)];
        let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
        for (name, value) in HEAD.into_iter().chain(own) {
            answer.headers_mut().insert(name, value);
        }
        answer
    }
}

impl Served {
    fn new(bytes: Vec<u8>, encoding: Option<HeaderValue>) -> Self {
        let tag = HeaderValue::from_str(&format!("\"{:x}\"", Sha256::digest(&bytes))).ok();
        Self { bytes: bytes.into(), encoding, tag }
    }
}

/// The lines of `source` without indentation, and without those that are comments.
fn code(source: &str) -> String {
    let lines = source.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Whether `Accept-Encoding` names gzip, or anything, with a weight other than 0.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let weight = |coding: &str| {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = parameters.trim().strip_prefix("q=").map_or(Some(1.0), |weight| weight.trim().parse::<f32>().ok());
        (name.trim().to_ascii_lowercase(), weight.unwrap_or(0.0))
    };
    let codings: Vec<(String, f32)> = values.flat_map(|value| value.split(',')).map(weight).collect();
    let of = |wanted: &str| codings.iter().find(|(name, _)| name == wanted).map(|(_, weight)| *weight);
    of("gzip").or_else(|| of("*")).is_some_and(|weight| weight > 0.0)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use axum::body::to_bytes;
    use flate2::read::GzDecoder;

    use super::*;

    /// What a page may cost its visitors.
    const MAX_PACKED_BYTES: usize = 4_096;

    fn asking(headers: &[(HeaderName, &str)]) -> Response {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        Snippet::new().answer(&headers.collect())
    }

    async fn bytes(answer: Response) -> Bytes {
        to_bytes(answer.into_body(), usize::MAX).await.unwrap()
    }

    #[tokio::test]
    async fn it_is_small_and_unpacks_to_the_code() {
        let answer = asking(&[(header::ACCEPT_ENCODING, "gzip, deflate, br")]);
        assert_eq!(answer.headers()[header::CONTENT_ENCODING], "gzip");
        let packed = bytes(answer).await;
        assert!(packed.len() <= MAX_PACKED_BYTES, "{} bytes", packed.len());
        let mut code = String::new();
        GzDecoder::new(&*packed).read_to_string(&mut code).unwrap();
        assert_eq!(bytes(asking(&[])).await, code);
        assert!(code.starts_with("(() => {\n") && code.ends_with("})();\n"));
    }

    #[test]
    fn any_page_may_load_and_keep_it() {
        let answer = asking(&[]);
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(!answer.headers().contains_key(header::CONTENT_ENCODING));
        for (name, value) in HEAD {
            assert!(answer.headers().get_all(&name).iter().eq([&value]), "{name}");
        }
    }

    #[tokio::test]
    async fn who_has_it_gets_304() {
        for encoding in ["gzip", "identity"] {
            let first = asking(&[(header::ACCEPT_ENCODING, encoding)]);
            let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
            for (known, status) in [(tag.as_str(), 304), (&format!("W/{tag}, \"b\""), 304), ("*", 304), ("\"b\"", 200)]
            {
                let answer = asking(&[(header::ACCEPT_ENCODING, encoding), (header::IF_NONE_MATCH, known)]);
                assert_eq!(answer.status(), status, "{encoding} {known}");
                assert_eq!(answer.headers()[header::ETAG], tag);
                assert_eq!(bytes(answer).await.is_empty(), status == 304);
            }
        }
        let tag = |encoding| asking(&[(header::ACCEPT_ENCODING, encoding)]).headers()[header::ETAG].clone();
        assert_ne!(tag("gzip"), tag("identity"));
    }

    #[test]
    fn it_is_compressed_for_those_who_take_that() {
        for (sent, expected) in [
            (&[][..], false),
            (&["gzip"], true),
            (&["br, GZIP;q=0.5"], true),
            (&["br", "gzip"], true),
            (&["*"], true),
            (&["*, gzip;q=0"], false),
            (&["gzip; q=0.0"], false),
            (&["gzip;q=much"], false),
            (&["br, identity"], false),
        ] {
            let mut asked = HeaderMap::new();
            for value in sent {
                asked.append(header::ACCEPT_ENCODING, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(takes_gzip(&asked), expected, "{sent:?}");
        }
    }

    #[test]
    fn comments_and_indentation_are_left_out() {
        assert_eq!(
            code("// why\nlet a = 'x // y';\n\n  // more\n  a += 1; // same\n"),
            "let a = 'x // y';\na += 1; // same\n"
        );
    }
}
