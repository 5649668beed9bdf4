//! Where the program `touchline-verify` is, and what it is told of this installation.

use std::path::{Path, PathBuf};

use touchline_jobs::Verifier;
use touchline_schemas::config::Config;
use touchline_schemas::paths::DataDir;

const PROGRAM: &str = "touchline-verify";

/// The verifier of an installation: the one that is named, else the one beside this program, else the one in PATH.
pub fn of(config: &Config, data_dir: &DataDir, named: Option<PathBuf>) -> Verifier {
    let own = std::env::current_exe().ok();
    let program = named.unwrap_or_else(|| beside(own.as_deref(), Path::is_file));
    let lake = config.lake.root(data_dir);
    let told = [
        ("--data-dir", data_dir.root().display().to_string()),
        ("--lake", lake.display().to_string()),
        ("--session-timeout-minutes", config.sessions.timeout_minutes.to_string()),
    ];
    let arguments = told.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
    Verifier { program, arguments, threads: config.query.threads }
}

fn beside(own: Option<&Path>, exists: impl Fn(&Path) -> bool) -> PathBuf {
    let neighbour = own.map(|own| own.with_file_name(PROGRAM)).filter(|path| exists(path));
    neighbour.unwrap_or_else(|| PathBuf::from(PROGRAM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_neighbour_is_preferred_to_what_is_in_path() {
        let own = Some(Path::new("/opt/touchline/touchline"));
        assert_eq!(beside(own, |_| true), Path::new("/opt/touchline/touchline-verify"));
        assert_eq!(beside(own, |_| false), Path::new("touchline-verify"));
        assert_eq!(beside(None, |_| true), Path::new("touchline-verify"));
    }
}
