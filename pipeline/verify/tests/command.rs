//! The program `touchline-verify` itself: what it says when it is asked wrongly.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_touchline-verify")).args(arguments).output().unwrap()
}

#[test]
fn a_lake_that_does_not_exist_is_an_error_and_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("nowhere");
    let path = missing.to_str().unwrap();
    let output = run(&["--data-dir", path, "--lake", path, "--session-timeout-minutes", "30"]);
    assert!(!output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere"), "{output:?}");
    assert!(!missing.exists());
}

#[test]
fn help_names_what_can_be_narrowed() {
    let output = run(&["--help"]);
    assert!(output.status.success());
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    for flag in ["--account", "--from", "--to", "--tables", "--json"] {
        assert!(help.contains(flag), "{flag} is not in {help}");
    }
}
