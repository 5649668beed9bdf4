//! Answers that are kept for whoever asks the same again, and reports taking turns.
//!
//! An answer's tag names its very bytes: the question, the account, and the versions of all tables behind it. So nothing here
//! can be out of date. A table that has moved on gives other tags, and what is no longer asked for makes room.

use std::future::Future;

use axum::body::Body;
use axum::http::response::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;
use touchline_schemas::config::QueryConfig;

use crate::error::ApiError;

/// What an entry takes besides its bytes: key, head, links.
const ENTRY_BYTES: u64 = 1_024;
/// The cache is cut into at most as many parts as 32 of the entries that it is told to expect; the largest answers must
/// find room in one of them, and a few of them at once.
const EXPECTED_FOR_EACH_LARGEST: usize = 8;

/// The answers of this process.
#[derive(Debug)]
pub struct KeptAnswers {
    answers: Cache<HeaderValue, Kept, Size>,
    largest_bytes: usize,
    turns: Semaphore,
}

#[derive(Debug, Clone)]
enum Kept {
    Answer {
        head: Parts,
        body: Bytes,
    },
    /// It cannot be kept: nobody need wait for anybody else's.
    Nothing,
}

#[derive(Debug, Clone)]
struct Size;

impl Weighter<HeaderValue, Kept> for Size {
    fn weight(&self, _: &HeaderValue, kept: &Kept) -> u64 {
        match kept {
            Kept::Answer { head: _, body } => ENTRY_BYTES + body.len() as u64,
            Kept::Nothing => ENTRY_BYTES,
        }
    }
}

impl KeptAnswers {
    /// Keeps as much as the configuration says.
    pub fn new(config: &QueryConfig) -> Self {
        let (room_bytes, largest_bytes) = (config.kept_answers_bytes, config.largest_kept_answer_bytes);
        let expected = room_bytes / (largest_bytes + ENTRY_BYTES as usize) * EXPECTED_FOR_EACH_LARGEST;
        Self {
            answers: Cache::with_weighter(expected, room_bytes as u64, Size),
            largest_bytes: largest_bytes.min(room_bytes),
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
            Ok(Kept::Answer { head, body }) => return Ok(Response::from_parts(head, Body::from(body))),
            Ok(Kept::Nothing) => return self.in_turn(compute).await,
            // If it fails, or its caller goes away, the place is given to another who waits.
            Err(place) => place,
        };
        let (response, whole) = self.in_turn_whole(compute).await?;
        let (head, body) = response.into_parts();
        // An answer that says to be another one was made of more than its question knew.
        let is_it = head.headers.get(header::ETAG) == Some(tag);
        let kept = match whole.filter(|_| is_it) {
            Some(body) => Kept::Answer { head: head.clone(), body },
            None => Kept::Nothing,
        };
        // A failure says that the cache was emptied meanwhile, which is no harm.
        let _ = place.insert(kept);
        Ok(Response::from_parts(head, body))
    }

    /// What `compute` gives, when it is its turn. The turn lasts until a small answer is whole; a large one is written while
    /// its caller reads, however slowly, and takes nobody's turn meanwhile.
    pub async fn in_turn(
        &self,
        compute: impl Future<Output = Result<Response, ApiError>>,
    ) -> Result<Response, ApiError> {
        self.in_turn_whole(compute).await.map(|(response, _)| response)
    }

    async fn in_turn_whole(
        &self,
        compute: impl Future<Output = Result<Response, ApiError>>,
    ) -> Result<(Response, Option<Bytes>), ApiError> {
        let _turn = self.turns.acquire().await;
        Ok(self.whole(compute.await?).await)
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
        // Exactly as long as it is: what is kept is counted by its length.
        let body = Bytes::copy_from_slice(&read);
        (Response::from_parts(head, Body::from(body.clone())), Some(body))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::to_bytes;
    use axum::response::IntoResponse;
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
    async fn nobody_waits_for_what_cannot_be_kept() {
        let answers = kept(1_000_000, 5);
        let large = answers.get_or(&TAG, async { Ok(chunks(&TAG, vec![Ok("abcdef")])) }).await.unwrap();
        assert_eq!(text(large).await.as_deref(), Some("abcdef"));
        // Two that can only end if they are computed at the same time.
        let (begun, mut seen) = tokio::sync::mpsc::channel::<()>(1);
        let tag = TAG;
        let first = answers.get_or(&tag, async {
            seen.recv().await;
            Ok(chunks(&TAG, vec![Ok("first!")]))
        });
        let second = answers.get_or(&tag, async {
            begun.send(()).await.unwrap();
            Ok(chunks(&TAG, vec![Ok("second")]))
        });
        let (first, second) = tokio::join!(first, second);
        assert_eq!(text(first.unwrap()).await.as_deref(), Some("first!"));
        assert_eq!(text(second.unwrap()).await.as_deref(), Some("second"));
    }

    #[tokio::test]
    async fn the_largest_answers_find_room_on_any_machine() {
        for (room_bytes, largest_bytes) in
            [(64 << 20, 1 << 20), (8 << 20, 1 << 20), (1 << 30, 1 << 20), (1 << 20, 1 << 10)]
        {
            let answers = kept(room_bytes, largest_bytes);
            let body: &'static str = "x".repeat(largest_bytes).leak();
            for computes in [true, false] {
                let mut computed = false;
                let compute = async {
                    computed = true;
                    Ok(chunks(&TAG, vec![Ok(body)]))
                };
                answers.get_or(&TAG, compute).await.unwrap();
                assert_eq!(computed, computes, "{room_bytes} {largest_bytes}");
            }
        }
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
        for (asks, says, body, expected) in [
            (&TAG, &TAG, "b", "b"),
            (&TAG, &TAG, "c", "b"),
            // Made of more than was known: no such answer is kept.
            (&OTHER, &TAG, "d", "d"),
            (&OTHER, &OTHER, "e", "e"),
        ] {
            let found = answers.get_or(asks, async { Ok(chunks(says, vec![Ok(body)])) }).await.unwrap();
            assert_eq!(text(found).await.as_deref(), Some(expected));
        }

        let without_room = kept(0, 1_000);
        for body in ["a", "b"] {
            let found = without_room.get_or(&TAG, async { Ok(chunks(&TAG, vec![Ok(body)])) }).await.unwrap();
            assert_eq!(text(found).await.as_deref(), Some(body));
        }
    }
}
