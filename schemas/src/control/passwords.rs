//! Passwords: a minimum length, and argon2id hashes. Neither a password nor its hash is ever shown or logged.

use std::fmt;

use argon2::Argon2;
use argon2::password_hash::phc;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};

use super::ControlError;

/// A new password: long enough, and short enough to be hashed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Fewest characters.
    pub const MIN_CHARS: usize = 12;
    /// Most bytes: a longer one would be a way to keep us busy.
    pub const MAX_BYTES: usize = 1_024;

    /// Checks the length; nothing is cut off or trimmed.
    ///
    /// # Errors
    ///
    /// [`ControlError::InvalidPassword`].
    pub fn new(text: String) -> Result<Self, ControlError> {
        let is_long_enough = text.chars().count() >= Self::MIN_CHARS && text.len() <= Self::MAX_BYTES;
        let limits = ControlError::InvalidPassword { min_chars: Self::MIN_CHARS, max_bytes: Self::MAX_BYTES };
        if is_long_enough { Ok(Self(text)) } else { Err(limits) }
    }

    /// Its argon2id hash (19 MiB, two passes), salted with `salt`, which must come from a cryptographic source. Takes tens
    /// of milliseconds of pure computing.
    pub fn hash(&self, salt: [u8; 16]) -> Result<PasswordHash, ControlError> {
        let hash: phc::PasswordHash = Argon2::default()
            .hash_password_with_salt(self.0.as_bytes(), &salt)
            .map_err(|source| ControlError::Password { detail: source.to_string() })?;
        Ok(PasswordHash(hash.to_string()))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// The hash of a password, as a PHC string: `$argon2id$v=19$m=…,t=…,p=…$salt$hash`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    pub(super) const fn stored(text: String) -> Self {
        Self(text)
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it is that of the password that somebody gives, by the parameters with which it was made. Takes as long as
    /// making it.
    pub fn matches(&self, given: &str) -> bool {
        // A longer one was never stored.
        given.len() <= Password::MAX_BYTES
            && phc::PasswordHash::new(&self.0)
                .is_ok_and(|hash| Argon2::default().verify_password(given.as_bytes(), &hash).is_ok())
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_a_least_and_a_greatest_length() {
        let check = |text: String, expected: bool| {
            let said = text.len();
            assert_eq!(Password::new(text).is_ok(), expected, "{said}");
        };
        check("x".repeat(11), false);
        check("x".repeat(12), true);
        check("ü".repeat(12), true);
        check("x".repeat(1_024), true);
        check("x".repeat(1_025), false);
        check(String::new(), false);
    }

    #[test]
    fn a_hash_knows_its_password_and_shows_neither() {
        let password = Password::new("correct horse battery".to_owned()).unwrap();
        let hash = password.hash([7; 16]).unwrap();
        assert!(hash.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(hash.matches("correct horse battery") && !hash.matches("correct horse batterY"));
        assert_ne!(password.hash([8; 16]).unwrap(), hash);
        assert!(!PasswordHash::stored("nonsense".to_owned()).matches("nonsense"));
        assert_eq!(format!("{password:?} {hash:?}"), "Password(…) PasswordHash(…)");
    }
}
