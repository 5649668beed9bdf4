//! What benchmarks share: whose events they are, how they are timed, and how they say what came of it.

use std::time::Instant;

use touchline_schemas::{AccountId, Environment, Tenant};
use uuid::Uuid;

use crate::memory::peak_memory_mb;

/// Whose events benchmarks generate.
pub fn tenant() -> Tenant {
    Tenant { account_id: AccountId(Uuid::from_u128(0xbe7c)), environment: Environment::Live }
}

/// Does something so many times; the line of JSON with the seconds that each time took, and with the last answer.
pub async fn measure(
    engine: &str,
    times: usize,
    run: impl AsyncFn() -> anyhow::Result<Vec<i64>>,
) -> anyhow::Result<String> {
    let mut seconds = Vec::new();
    let mut answer = Vec::new();
    for _ in 0..times {
        let begun = Instant::now();
        answer = run().await?;
        seconds.push(begun.elapsed().as_secs_f64());
    }
    let line = serde_json::json!({
        "engine": engine,
        "seconds": seconds,
        "answer": answer,
        "max_rss_mb": peak_memory_mb()?,
    });
    Ok(line.to_string())
}
