//! What is known of an arm's rate after some people were seen.

use super::sample::Proportion;

/// Beta(`alpha`, `beta`). Both are at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posterior {
    /// Successes, and 1 for the prior.
    pub alpha: u64,
    /// Failures, and 1 for the prior.
    pub beta: u64,
}

impl Posterior {
    /// What is known after a proportion was seen, if every rate was as likely before: with `k` successes among `n`
    /// people, Beta(1 + k, 1 + n - k). `None` if more did it than there are.
    pub fn after(seen: &Proportion) -> Option<Self> {
        let failures = seen.n.checked_sub(seen.successes)?;
        Some(Self { alpha: seen.successes.saturating_add(1), beta: failures.saturating_add(1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_seen_is_the_uniform_prior() {
        let after = |successes, n| Posterior::after(&Proportion { successes, n });
        assert_eq!(after(0, 0), Some(Posterior { alpha: 1, beta: 1 }));
        assert_eq!(after(14, 28), Some(Posterior { alpha: 15, beta: 15 }));
        assert_eq!(after(2, 1), None);
        assert_eq!(after(u64::MAX, u64::MAX), Some(Posterior { alpha: u64::MAX, beta: 1 }));
    }
}
