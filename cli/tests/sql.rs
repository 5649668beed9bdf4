//! Statements through the built program: a worker of its own process, formats, limits, and nobody else's rows.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

const CANARY: &str = "canary-4b1f";

/// An installation with two accounts, of which one has three events and the other the canary.
struct Installation(TempDir);

impl Installation {
    fn new() -> Self {
        let here = Self(tempfile::tempdir().unwrap());
        for (account, visitors) in [("shop", &["a", "b", "b"][..]), ("other", &[CANARY][..])] {
            here.run(&["account", "create", account, "--name", account], &[]);
            let line = |(number, visitor): (usize, &&str)| {
                let (id, at) = (format!("{account}-{number}"), "2026-03-01T12:00:00Z");
                json!({"event_type": "page_view", "visitor_id": visitor, "event_id": id, "timestamp": at}).to_string()
            };
            let file = here.0.path().join(format!("{account}.ndjson"));
            std::fs::write(&file, visitors.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")).unwrap();
            here.run(&["import", "--format", "ndjson", file.to_str().unwrap(), "--account", account], &[]);
        }
        here
    }

    fn command(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_touchline"));
        command.args(arguments).arg("--data-dir").arg(self.0.path().join("data")).envs(variables.iter().copied());
        command.output().unwrap()
    }

    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> String {
        let done = self.command(arguments, variables);
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// A statement of the shop in a form.
    fn ask(&self, sql: &str, more: &[&str]) -> String {
        self.run(&[&["sql", sql, "--account", "shop"], more].concat(), &[])
    }

    /// What a statement of the shop is refused with.
    fn refusal(&self, sql: &str, variables: &[(&str, &str)]) -> String {
        let done = self.command(&["sql", sql, "--account", "shop"], variables);
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(!done.status.success(), "{sql}");
        assert!(!said.contains(CANARY) && !said.contains("account_id="), "{said}");
        said
    }
}

#[test]
fn statements_see_their_own_accounts_rows_and_no_others() {
    let here = Installation::new();
    let counts = "SELECT visitor_id, count(*) AS n FROM events GROUP BY visitor_id ORDER BY visitor_id";
    assert_eq!(here.ask(counts, &["--format", "csv"]), "visitor_id,n\r\na,1\r\nb,2\r\n");
    let answer: Value = serde_json::from_str(&here.ask(counts, &["--format", "json"])).unwrap();
    assert_eq!(answer["data"], json!([{"visitor_id": "a", "n": 1}, {"visitor_id": "b", "n": 2}]));
    assert!(answer["meta"]["table_versions"]["events"].is_i64());
    assert!(here.ask(counts, &[]).contains("| b          | 2 |"));

    let bound = "SELECT count(*) AS n FROM events WHERE visitor_id = $1 AND occurred_at >= $2";
    let params = ["--format", "csv", "--param", "b", "--param", "2026-03-01T00:00:00Z"];
    assert_eq!(here.ask(bound, &params), "n\r\n2\r\n");
    assert_eq!(here.ask(bound, &["--format", "csv", "--param", CANARY, "--param", "2026-01-01"]), "n\r\n0\r\n");

    let theirs = here.run(&["sql", "SELECT visitor_id FROM events", "--account", "other", "--format", "csv"], &[]);
    assert_eq!(theirs, format!("visitor_id\r\n{CANARY}\r\n"));
    for kind in ["live", "test"] {
        let test =
            here.ask("SELECT * FROM events WHERE visitor_id LIKE 'canary%'", &["--env", kind, "--format", "csv"]);
        assert!(test.starts_with("occurred_at,received_at,") && test.lines().count() == 1, "{test}");
    }
}

#[test]
fn what_is_refused_is_said_with_the_setting_that_refuses_it() {
    let here = Installation::new();
    let long = format!("SELECT 1{}", "+1".repeat(12_000));
    let forever = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b";
    for (sql, variables, expected) in [
        ("SELECT * FROM '/etc/passwd'", &[][..], "there is no table"),
        ("COPY events TO '/tmp/x'", &[], "only queries can be asked"),
        ("SELECT nothing FROM events", &[], "nothing"),
        ("SELECT 1/0", &[], "Divide by zero"),
        ("SELECT $1", &[], "$1"),
        (long.as_str(), &[], "`sql.max_tokens`"),
        ("SELECT (((((((((1)))))))))", &[("TOUCHLINE_SQL__MAX_DEPTH", "8")], "`sql.max_depth`"),
        ("SELECT * FROM generate_series(1, 11)", &[("TOUCHLINE_SQL__MAX_ROWS", "10")], "`sql.max_rows`"),
        ("SELECT repeat('x', 70000)", &[("TOUCHLINE_SQL__MAX_ANSWER_BYTES", "65536")], "`sql.max_answer_bytes`"),
        ("SELECT repeat('x', 2000000000)", &[("TOUCHLINE_SQL__PROCESS_MEMORY_BYTES", "268435456")], "`sql."),
        (forever, &[("TOUCHLINE_SQL__TIMEOUT_S", "1")], "`sql.timeout_s`"),
    ] {
        let said = here.refusal(sql, variables);
        assert!(said.contains(expected), "{}: {said}", &sql[..sql.len().min(80)]);
    }
    assert_eq!(here.ask("SELECT 1 AS one", &["--format", "csv"]), "one\r\n1\r\n");
}
