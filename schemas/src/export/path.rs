//! The folder of a run below the destination, as a template.
//!
//! Its end is the number of the run, which no other run of the installation has: so no run ever writes over another,
//! whatever stands before it.

use std::fmt;
use std::str::FromStr;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::destination::is_plain_character;
use crate::tenant::Environment;

const DEFAULT: &str = "{name}/{date}/{run_id}";
const RUN_ID: &str = "{run_id}";
/// Most bytes of a template.
const MAX_BYTES: usize = 256;

/// What may stand between braces.
const WORDS: [&str; 6] = ["name", "account", "environment", "date", "run_id", "sequence"];

/// A template of a folder: text, and words between braces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathTemplate(String);

/// What the words stand for in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathWords<'a> {
    /// The export's name.
    pub name: &'a str,
    /// The account's slug.
    pub account: &'a str,
    /// The environment.
    pub environment: Environment,
    /// The day of the time that the run stands for, in the export's time zone.
    pub date: NaiveDate,
    /// The number of the run.
    pub run_id: i64,
    /// Its number among the runs of the export that succeed.
    pub sequence: i64,
}

/// A text that is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It is too long.
    #[error("a path has at most {MAX_BYTES} bytes")]
    TooLong,
    /// A word that stands for nothing, or a brace without its other.
    #[error("between braces stands one of {}, not `{word}`", WORDS.join(", "))]
    Word {
        /// What was found.
        word: String,
    },
    /// A folder could lead elsewhere, or cannot be spelled everywhere.
    #[error(
        "the folders of a path are relative, made of letters, digits, `-` `_` `.` `=` and words in braces, and none of \
         them is empty, `.` or `..`"
    )]
    Folder,
    /// Two runs could have one folder.
    #[error(
        "a path ends with `{RUN_ID}`, directly behind `/` or a sign that is no digit, as in `{DEFAULT}` or \
         `run={RUN_ID}`: else two runs could have one folder"
    )]
    RunId,
}

impl PathTemplate {
    /// The folder of one run.
    pub fn render(&self, words: PathWords<'_>) -> String {
        self.0
            .replace("{name}", words.name)
            .replace("{account}", words.account)
            .replace("{environment}", words.environment.as_str())
            .replace("{date}", &words.date.to_string())
            .replace(RUN_ID, &words.run_id.to_string())
            .replace("{sequence}", &words.sequence.to_string())
    }
}

impl Default for PathTemplate {
    fn default() -> Self {
        Self(DEFAULT.to_owned())
    }
}

impl FromStr for PathTemplate {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_BYTES {
            return Err(PathError::TooLong);
        }
        text.split('/').try_for_each(check_folder)?;
        let before = text.strip_suffix(RUN_ID).ok_or(PathError::RunId)?;
        if before.ends_with(|character: char| character.is_ascii_digit() || character == '}') {
            return Err(PathError::RunId);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for PathTemplate {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PathTemplate> for String {
    fn from(template: PathTemplate) -> Self {
        template.0
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_folder(folder: &str) -> Result<(), PathError> {
    if matches!(folder, "" | "." | "..") {
        return Err(PathError::Folder);
    }
    let mut rest = folder;
    while let Some((text, behind)) = rest.split_once('{') {
        check_text(text)?;
        let unknown = |word: &str| PathError::Word { word: word.to_owned() };
        let (word, behind) = behind.split_once('}').ok_or_else(|| unknown(behind))?;
        if !WORDS.contains(&word) {
            return Err(unknown(word));
        }
        rest = behind;
    }
    check_text(rest)
}

fn check_text(text: &str) -> Result<(), PathError> {
    if text.chars().all(is_plain_character) { Ok(()) } else { Err(PathError::Folder) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS_OF_ONE: PathWords<'static> = PathWords {
        name: "sales",
        account: "acme",
        environment: Environment::Live,
        date: NaiveDate::from_ymd_opt(2026, 3, 1).unwrap(),
        run_id: 17,
        sequence: 4,
    };

    #[test]
    fn a_template_is_a_folder_with_the_runs_number_at_its_end() {
        let check = |text: &str, expected: Result<&str, PathError>| {
            let read = text.parse::<PathTemplate>().map(|template| template.render(WORDS_OF_ONE));
            assert_eq!(read, expected.map(str::to_owned), "{text}");
        };
        let word = |word: &str| Err(PathError::Word { word: word.to_owned() });
        check(DEFAULT, Ok("sales/2026-03-01/17"));
        check("{run_id}", Ok("17"));
        check("{account}/{environment}/run={run_id}", Ok("acme/live/run=17"));
        check("v1/{sequence}-{run_id}", Ok("v1/4-17"));
        check("{name}/{date}", Err(PathError::RunId));
        check("{run_id}/{date}", Err(PathError::RunId));
        check("{sequence}{run_id}", Err(PathError::RunId));
        check("run1{run_id}", Err(PathError::RunId));
        check("", Err(PathError::Folder));
        check("/{run_id}", Err(PathError::Folder));
        check("../{run_id}", Err(PathError::Folder));
        check("a//{run_id}", Err(PathError::Folder));
        check("a b/{run_id}", Err(PathError::Folder));
        check("a\\{run_id}", Err(PathError::Folder));
        check("a}/{run_id}", Err(PathError::Folder));
        check("{hour}/{run_id}", word("hour"));
        check("{}/{run_id}", word(""));
        check("{name", word("name"));
        check(&format!("{}/{{run_id}}", "a".repeat(256)), Err(PathError::TooLong));
    }

    #[test]
    fn what_stands_for_a_word_is_not_read_as_a_template() {
        let template: PathTemplate = "{account}/{run_id}".parse().unwrap();
        assert_eq!(template.render(PathWords { account: "run-id", ..WORDS_OF_ONE }), "run-id/17");
    }
}
