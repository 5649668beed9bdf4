//! What a key may do.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One permission of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Send events.
    Ingest,
    /// Read reports and tables.
    CanViewReports,
    /// Change what the account has configured.
    CanManageSettings,
    /// Everything, and the administration of the installation.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::CanViewReports, Self::CanManageSettings, Self::Admin];

    /// The word used in texts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::CanViewReports => "can_view_reports",
            Self::CanManageSettings => "can_manage_settings",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The permissions of a key; never empty. As text, `ingest,can_view_reports`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeSet<Scope>", into = "BTreeSet<Scope>")]
pub struct Scopes(BTreeSet<Scope>);

/// A text that is not a list of scopes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopesError {
    /// No scope at all.
    #[error("a key needs at least one scope")]
    Empty,
    /// A word that is no scope.
    #[error("`{0}` is no scope; there are ingest, can_view_reports, can_manage_settings and admin")]
    Unknown(String),
}

impl Scopes {
    /// Just `scope`.
    pub fn only(scope: Scope) -> Self {
        Self(BTreeSet::from([scope]))
    }

    /// These scopes and `scope`.
    pub fn and(mut self, scope: Scope) -> Self {
        self.0.insert(scope);
        self
    }

    /// These scopes; at least one.
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Result<Self, ScopesError> {
        let scopes: BTreeSet<Scope> = scopes.into_iter().collect();
        if scopes.is_empty() { Err(ScopesError::Empty) } else { Ok(Self(scopes)) }
    }

    /// Whether a holder of these scopes may do what needs `scope`. `admin` may do everything.
    pub fn allows(&self, scope: Scope) -> bool {
        self.0.contains(&scope) || self.0.contains(&Scope::Admin)
    }

    /// The scopes as given, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }
}

impl TryFrom<BTreeSet<Scope>> for Scopes {
    type Error = ScopesError;

    fn try_from(scopes: BTreeSet<Scope>) -> Result<Self, Self::Error> {
        Self::new(scopes)
    }
}

impl From<Scopes> for BTreeSet<Scope> {
    fn from(scopes: Scopes) -> Self {
        scopes.0
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

impl FromStr for Scopes {
    type Err = ScopesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let scopes = words.map(scope).collect::<Result<BTreeSet<Scope>, ScopesError>>()?;
        Self::new(scopes)
    }
}

fn scope(word: &str) -> Result<Scope, ScopesError> {
    Scope::ALL.into_iter().find(|scope| scope.as_str() == word).ok_or_else(|| ScopesError::Unknown(word.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_and_written_in_a_fixed_order() {
        let check = |input: &str, expected: Result<&str, ScopesError>| {
            let actual = input.parse::<Scopes>().map(|scopes| scopes.to_string());
            assert_eq!(actual, expected.map(str::to_owned), "{input}");
        };
        check("ingest", Ok("ingest"));
        check("admin, ingest,ingest", Ok("ingest,admin"));
        check("can_manage_settings,can_view_reports", Ok("can_view_reports,can_manage_settings"));
        check("", Err(ScopesError::Empty));
        check(" , ", Err(ScopesError::Empty));
        check("ingest,root", Err(ScopesError::Unknown("root".to_owned())));
    }

    #[test]
    fn admin_may_do_everything_and_others_only_their_own() {
        for scope in Scope::ALL {
            assert!(Scopes::only(Scope::Admin).allows(scope));
            assert_eq!(Scopes::only(Scope::Ingest).allows(scope), scope == Scope::Ingest);
        }
    }

    #[test]
    fn json_is_a_list_that_is_not_empty() {
        let scopes: Scopes = serde_json::from_str(r#"["admin","ingest"]"#).unwrap();
        assert_eq!(serde_json::to_string(&scopes).unwrap(), r#"["ingest","admin"]"#);
        assert!(serde_json::from_str::<Scopes>("[]").is_err());
    }
}
