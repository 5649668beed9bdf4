//! The demo's own data directory: made anew each time, and never at the cost of somebody's data.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use touchline_schemas::paths::DataDir;

/// The data directory unless another is named.
pub const DEFAULT_DATA_DIR: &str = "touchline-demo";
/// A directory with this file in it is a demo's, and may be thrown away by the next demo.
const MARKER: &str = ".touchline-demo";
const MARKER_TEXT: &str = "This directory belongs to `touchline demo`, which empties it each time it starts.\n";

/// Why the directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum InstallationError {
    /// Somebody's data is in it.
    #[error("{path} is not a demo's directory: name another with --data-dir, or remove it yourself")]
    NotADemo {
        /// The directory.
        path: PathBuf,
    },
    /// Another process works with it.
    #[error("another demo is running in {path}")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// It cannot be read, removed or created.
    #[error("{path} cannot be prepared: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Makes `data_dir` an empty directory that is marked as a demo's.
pub fn prepare(data_dir: &DataDir) -> Result<(), InstallationError> {
    let path = data_dir.root();
    let failed = |source| InstallationError::Io { path: path.to_owned(), source };
    if path.exists() && !is_empty_directory(path).map_err(failed)? {
        if !path.join(MARKER).is_file() {
            return Err(InstallationError::NotADemo { path: path.to_owned() });
        }
        if is_locked(&data_dir.ingest_lock()).map_err(failed)? {
            return Err(InstallationError::InUse { path: path.to_owned() });
        }
        fs::remove_dir_all(path).map_err(failed)?;
    }
    fs::create_dir_all(path).map_err(failed)?;
    fs::write(path.join(MARKER), MARKER_TEXT).map_err(failed)
}

fn is_empty_directory(path: &Path) -> io::Result<bool> {
    Ok(path.is_dir() && fs::read_dir(path)?.next().is_none())
}

fn is_locked(lock: &Path) -> io::Result<bool> {
    let file = match File::open(lock) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_replaces_an_older_demo() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let data_dir = DataDir::new(parent.path().join("demo"));
        prepare(&data_dir).expect("nothing is there");
        fs::write(data_dir.control_database(), "old").expect("written");
        prepare(&data_dir).expect("an older demo is there");
        assert!(!data_dir.control_database().exists());
    }

    #[test]
    fn an_empty_directory_is_taken_and_anything_else_is_left_alone() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let empty = DataDir::new(parent.path());
        prepare(&empty).expect("an empty directory");
        let other = parent.path().join("other");
        fs::create_dir(&other).expect("created");
        fs::write(other.join("touchline.db"), "precious").expect("written");
        let refused = prepare(&DataDir::new(&other)).expect_err("somebody's data");
        assert!(matches!(refused, InstallationError::NotADemo { .. }), "{refused}");
        assert!(other.join("touchline.db").exists());
        let file = parent.path().join("file");
        fs::write(&file, "precious").expect("written");
        prepare(&DataDir::new(&file)).expect_err("a file");
        assert!(file.exists());
    }

    #[test]
    fn a_running_demo_is_not_disturbed() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let data_dir = DataDir::new(parent.path());
        prepare(&data_dir).expect("an empty directory");
        let lock = File::create(data_dir.ingest_lock()).expect("created");
        lock.lock().expect("locked");
        let refused = prepare(&data_dir).expect_err("another process works with it");
        assert!(matches!(refused, InstallationError::InUse { .. }), "{refused}");
    }
}
