//! Answers that are kept for whoever asks the same again, and reports taking turns.
//!
//! An answer's tag names its very bytes: the question, the account, and the versions of all tables behind it. So nothing here
//! can be out of date. A table that has moved on gives other tags, and what is no longer asked for makes room.

use std::future::Future;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;
use touchline_schemas::config::QueryConfig;

use crate::error::ApiError;

/// What an entry takes besides its bytes: key, head, links.
const ENTRY_BYTES: u64 = 1_024;
/// How large an answer is taken to be when room for their places is made.
const USUAL_BYTES: usize = 8_192;

/// The answers of this process.
#[derive(Debug)]
pub struct KeptAnswers {
    answers: Cache<HeaderValue, Kept, Size>,
    largest_bytes: usize,
    turns: Semaphore,
}

#[derive(Debug, Clone)]
struct Kept {
    head: HeaderMap,
    body: Bytes,
}

#[derive(Debug, Clone)]
struct Size;

impl Weighter<HeaderValue, Kept> for Size {
    fn weight(&self, _: &HeaderValue, kept: &Kept) -> u64 {
        ENTRY_BYTES + kept.body.len() as u64
    }
}

impl KeptAnswers {
    /// Keeps as much as the configuration says.
    pub fn new(config: &QueryConfig) -> Self {
        let room_bytes = config.kept_answers_bytes;
        Self {
            answers: Cache::with_weighter(room_bytes / USUAL_BYTES, room_bytes as u64, Size),
            largest_bytes: config.largest_kept_answer_bytes.min(room_bytes),
            turns: Semaphore::new(config.max_running),
        }
    }

    /// The kept answer with this tag, or else the one that `compute` gives. Whoever asks for it meanwhile waits for that one.
    pub async fn get_or(
        &self,
        tag: &HeaderValue,
        compute: impl Future<Output = Result<Response, ApiError>>,
    ) -> Result<Response, ApiError> {
        let place = match self.answers.get_value_or_guard_async(tag).await {
            Ok(kept) => return Ok((kept.head, kept.body).into_response()),
            // If the answer fails, is too large, or its caller goes away, the place is given to the next who waits.
            Err(place) => place,
        };
        let (response, whole) = self.whole(self.in_turn(compute).await?).await;
        // An answer that says to be another one was made of more than its question knew.
        let is_it = response.headers().get(header::ETAG) == Some(tag);
        if let Some(body) = whole.filter(|_| is_it) {
            // A failure says that the cache was emptied meanwhile, which is no harm.
            let _ = place.insert(Kept { head: response.headers().clone(), body });
        }
        Ok(response)
    }

    /// What `compute` gives, when it is its turn.
    pub async fn in_turn(
        &self,
        compute: impl Future<Output = Result<Response, ApiError>>,
    ) -> Result<Response, ApiError> {
        let _turn = self.turns.acquire().await;
        compute.await
    }

    /// The same answer, and its body if that is whole and small enough to be kept.
    async fn whole(&self, response: Response) -> (Response, Option<Bytes>) {
        if response.status() != StatusCode::OK {
            return (response, None);
        }
        let (head, body) = response.into_parts();
        let mut chunks = body.into_data_stream();
        let mut read = BytesMut::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = match chunk {
                Ok(chunk) if read.len() + chunk.len() <= self.largest_bytes => chunk,
                other => {
                    let begun = stream::iter([Ok(read.freeze()), other]);
                    return (Response::from_parts(head, Body::from_stream(begun.chain(chunks))), None);
                }
            };
            read.extend_from_slice(&chunk);
        }
        let body = read.freeze();
        (Response::from_parts(head, Body::from(body.clone())), Some(body))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::to_bytes;
    use futures::future::join_all;

    use super::*;

    fn kept(room_bytes: usize, largest_bytes: usize) -> KeptAnswers {
        KeptAnswers::new(&QueryConfig {
            kept_answers_bytes: room_bytes,
            largest_kept_answer_bytes: largest_bytes,
            ..QueryConfig::default()
        })
    }

    fn chunks(tag: &HeaderValue, chunks: Vec<Result<&'static str, std::io::Error>>) -> Response {
        ([(header::ETAG, tag.clone())], Body::from_stream(stream::iter(chunks))).into_response()
    }

    async fn text(response: Response) -> Option<String> {
        let bytes = to_bytes(response.into_body(), usize::MAX).await.ok()?;
        Some(String::from_utf8(bytes.to_vec()).unwrap())
    }

    const TAG: HeaderValue = HeaderValue::from_static("\"1\"");
    const OTHER: HeaderValue = HeaderValue::from_static("\"2\"");

    #[tokio::test]
    async fn what_many_ask_at_once_is_computed_once() {
        let (answers, computed) = (kept(1_000_000, 1_000), AtomicUsize::new(0));
        let ask = async |tag: HeaderValue| {
            let compute = async {
                tokio::task::yield_now().await;
                computed.fetch_add(1, Ordering::Relaxed);
                Ok(([("x-watermark", "now")], chunks(&tag, vec![Ok("a"), Ok("b")])).into_response())
            };
            let response = answers.get_or(&tag, compute).await.unwrap();
            assert_eq!(response.headers()["x-watermark"], "now");
            text(response).await
        };
        let all = join_all((0..20).map(|number| ask(if number % 2 == 0 { TAG } else { OTHER }))).await;
        assert_eq!(all, vec![Some("ab".to_owned()); 20]);
        assert_eq!(computed.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn only_whole_small_successes_are_kept() {
        let broken = || Err(std::io::Error::other("disk gone"));
        type Case = (fn(usize) -> bool, Vec<Vec<Result<&'static str, std::io::Error>>>, Option<&'static str>);
        let cases: [Case; 4] = [
            (|computed| computed == 1, vec![vec![Ok("abc"), Ok("de")], vec![]], Some("abcde")),
            (|computed| computed == 2, vec![vec![Ok("abc"), Ok("def")], vec![Ok("abcdef")]], Some("abcdef")),
            (|computed| computed == 2, vec![vec![Ok("abc"), broken()], vec![Ok("abc"), broken()]], None),
            (|computed| computed == 1, vec![vec![], vec![]], Some("")),
        ];
        for (expected, answers_given, body) in cases {
            let (answers, mut computed) = (kept(1_000_000, 5), 0);
            for given in answers_given {
                let compute = async {
                    computed += 1;
                    Ok(chunks(&TAG, given))
                };
                let response = answers.get_or(&TAG, compute).await.unwrap();
                assert_eq!(text(response).await.as_deref(), body);
            }
            assert!(expected(computed), "{computed} {body:?}");
        }
    }

    #[tokio::test]
    async fn a_refusal_is_not_kept_and_nothing_is_if_there_is_no_room() {
        let answers = kept(1_000_000, 1_000);
        assert!(answers.get_or(&TAG, async { Err(ApiError::NotFound) }).await.is_err());
        for (says, body, expected) in [(&OTHER, "a", "a"), (&TAG, "b", "b"), (&TAG, "c", "b")] {
            let found = answers.get_or(&TAG, async { Ok(chunks(says, vec![Ok(body)])) }).await.unwrap();
            assert_eq!(text(found).await.as_deref(), Some(expected));
        }

        let without_room = kept(0, 1_000);
        for body in ["a", "b"] {
            let found = without_room.get_or(&TAG, async { Ok(chunks(&TAG, vec![Ok(body)])) }).await.unwrap();
            assert_eq!(text(found).await.as_deref(), Some(body));
        }
    }
}
