//! Where the files of a run go: a folder below the export root, or a prefix of a bucket.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use chrono::NaiveDate;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use touchline_lake::{DurableFileSystem, create_folders};
use touchline_schemas::export::Destination;

use crate::manifest::{MANIFEST_FILE, SUCCESS_FILE};

mod s3;
mod upload;

pub use s3::S3Access;
pub use upload::{Sealed, Upload};

/// What is said of all files of a folder.
const EVERYTHING: &str = "*";

/// The bytes of a file, as they come.
pub type Parts = BoxStream<'static, Result<Bytes, DestinationError>>;

/// Opens folders.
pub trait Places: Send + Sync {
    /// The folder at a destination.
    ///
    /// # Errors
    ///
    /// It leads out of the export root, or its bucket cannot be used.
    fn open(&self, destination: &Destination) -> Result<Folder, DestinationError>;
}

/// The places of an installation.
#[derive(Debug, Clone)]
pub struct ConfiguredPlaces {
    /// The folder that no export leaves.
    pub root: PathBuf,
    /// How buckets are reached.
    pub s3: S3Access,
}

impl Places for ConfiguredPlaces {
    fn open(&self, destination: &Destination) -> Result<Folder, DestinationError> {
        match destination {
            Destination::File { folder } => Folder::below(&self.root, folder),
            Destination::S3 { bucket, prefix } => Folder::in_bucket(&self.s3, bucket, prefix),
        }
    }
}

/// Why something cannot be written or read. No path of this machine is part of it: it is told to the account.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// The folder's name cannot be used.
    #[error("the destination is no folder that can be written to")]
    Folder,
    /// A link leads somewhere else.
    #[error("the destination leads out of the export root")]
    Outside,
    /// The bucket cannot be reached as configured.
    #[error("the bucket cannot be used as configured: {reason}")]
    Bucket {
        /// Why.
        reason: String,
    },
    /// The store refused.
    #[error("`{file}` could not be {doing}: {reason}")]
    Store {
        /// The file, below the run's folder.
        file: String,
        /// `written`, `read` or `deleted`.
        doing: &'static str,
        /// Why.
        reason: String,
        /// Whether it is simply not there.
        is_missing: bool,
    },
    /// Something lies in the run's folder that no run has written.
    #[error("the folder of the run holds `{file}`, which no run has written: nothing in it was touched")]
    Foreign {
        /// It, below the run's folder.
        file: String,
    },
    /// A file that should be small is not.
    #[error("`{file}` is larger than {limit} bytes")]
    TooLarge {
        /// The file, below the run's folder.
        file: String,
        /// The limit.
        limit: u64,
    },
}

/// A folder of a file system, or a prefix of a bucket.
#[derive(Debug, Clone)]
pub struct Folder {
    store: Arc<dyn ObjectStore>,
    path: Path,
    /// The folder that must not be left, if there is one.
    confined_to: Option<PathBuf>,
}

impl Folder {
    /// A folder of this machine, which is not created yet.
    fn below(root: &FilePath, folder: &str) -> Result<Self, DestinationError> {
        let broken = |error: std::io::Error| DestinationError::Store {
            file: EVERYTHING.to_owned(),
            doing: "written",
            reason: error.kind().to_string(),
            is_missing: false,
        };
        create_folders(root).map_err(broken)?;
        let root = root.canonicalize().map_err(broken)?;
        let below = Path::parse(folder).map_err(|_| DestinationError::Folder)?;
        let above = Path::from_absolute_path(&root).map_err(|_| DestinationError::Folder)?;
        let path = above.parts().chain(below.parts()).collect();
        Ok(Self { store: Arc::new(DurableFileSystem::default()), path, confined_to: Some(root) })
    }

    fn in_bucket(s3: &S3Access, bucket: &str, prefix: &str) -> Result<Self, DestinationError> {
        let path = Path::parse(prefix).map_err(|_| DestinationError::Folder)?;
        Ok(Self { store: Arc::new(s3.bucket(bucket)?), path, confined_to: None })
    }

    /// The folder that a file of this machine lies in, wherever that is.
    ///
    /// # Errors
    ///
    /// There is no such folder.
    pub fn holding(file: &FilePath) -> Result<Self, DestinationError> {
        let name = || file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let missing = |error: std::io::Error| DestinationError::Store {
            file: name(),
            doing: "read",
            reason: error.kind().to_string(),
            is_missing: error.kind() == std::io::ErrorKind::NotFound,
        };
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(FilePath::new("."));
        let folder = folder.canonicalize().map_err(missing)?;
        let path = Path::from_absolute_path(folder).map_err(|_| DestinationError::Folder)?;
        Ok(Self { store: Arc::new(DurableFileSystem::default()), path, confined_to: None })
    }

    /// A folder in a store that is there already.
    #[cfg(test)]
    pub(crate) fn in_store(store: Arc<dyn ObjectStore>, path: Path) -> Self {
        Self { store, path, confined_to: None }
    }

    /// Takes out what an attempt has left in it: first what says that it is complete.
    ///
    /// # Errors
    ///
    /// The store refuses, a link leads somewhere else, or something lies there that no run writes: then nothing is touched.
    pub async fn clear(&self) -> Result<(), DestinationError> {
        self.stay_inside()?;
        let failed = |error| self.failed(EVERYTHING, "deleted", error);
        let found = self.store.list(Some(&self.path)).map_ok(|file| file.location).map_err(failed);
        let mut names = Vec::new();
        for location in found.try_collect::<Vec<Path>>().await? {
            let parts = location.prefix_match(&self.path).into_iter().flatten();
            let name = parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/");
            if !written_by_runs(&name) {
                return Err(DestinationError::Foreign { file: name });
            }
            self.stay_inside_with(&name)?;
            names.push(name);
        }
        let sooner = |name: &str| [SUCCESS_FILE, MANIFEST_FILE].iter().position(|first| *first == name);
        names.sort_by_key(|name| sooner(name).unwrap_or(usize::MAX));
        for name in names {
            match self.store.delete(&self.location(&name)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.failed(&name, "deleted", error)),
            }
        }
        Ok(())
    }

    /// Begins a file. It is there when it is kept, and not before.
    ///
    /// # Errors
    ///
    /// A link leads out of the export root.
    pub fn begin(&self, name: &str, is_gzip: bool) -> Result<Upload, DestinationError> {
        self.stay_inside_with(name)?;
        Ok(Upload::new(self.clone(), name.to_owned(), is_gzip))
    }

    /// Writes a small file.
    ///
    /// # Errors
    ///
    /// The store refuses, or a link leads out of the export root.
    pub async fn put(&self, name: &str, bytes: Bytes) -> Result<(), DestinationError> {
        self.stay_inside_with(name)?;
        let put = self.store.put(&self.location(name), PutPayload::from(bytes)).await;
        put.map(drop).map_err(|error| self.failed(name, "written", error))
    }

    /// A small file; `None` if it is not there.
    ///
    /// # Errors
    ///
    /// The store refuses, or the file has more than `limit` bytes.
    pub async fn read(&self, name: &str, limit: u64) -> Result<Option<Bytes>, DestinationError> {
        let mut parts = match self.stream(name).await {
            Ok((size_bytes, _)) if size_bytes > limit => {
                return Err(DestinationError::TooLarge { file: name.to_owned(), limit });
            }
            Ok((_, parts)) => parts,
            Err(DestinationError::Store { is_missing: true, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = BytesMut::new();
        while let Some(part) = parts.try_next().await? {
            bytes.extend_from_slice(&part);
        }
        Ok(Some(bytes.freeze()))
    }

    /// A file's size, and its bytes as they come.
    ///
    /// # Errors
    ///
    /// The store refuses; there is no such file.
    pub async fn stream(&self, name: &str) -> Result<(u64, Parts), DestinationError> {
        self.stay_inside_with(name)?;
        let found = self.store.get(&self.location(name)).await.map_err(|error| self.failed(name, "read", error))?;
        let (folder, file) = (self.clone(), name.to_owned());
        let size_bytes = found.meta.size;
        let parts = found.into_stream().map_err(move |error| folder.failed(&file, "read", error));
        Ok((size_bytes, parts.boxed()))
    }

    /// The store, for whoever reads parts of a file.
    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Where a file lies in the store.
    pub(crate) fn location(&self, name: &str) -> Path {
        self.path.parts().chain(Path::from(name).parts()).collect()
    }

    /// No part of the way may be a link that leads out of the root.
    fn stay_inside(&self) -> Result<(), DestinationError> {
        let Some(root) = &self.confined_to else { return Ok(()) };
        let folder = FilePath::new("/").join(self.path.as_ref());
        // What is not there yet will be a folder of ours.
        let found = folder.ancestors().find_map(|folder| folder.canonicalize().ok());
        match found {
            Some(found) if found.starts_with(root) => Ok(()),
            Some(_) | None => Err(DestinationError::Outside),
        }
    }

    /// Nor may a folder below it be a link at all: runs make none.
    fn stay_inside_with(&self, name: &str) -> Result<(), DestinationError> {
        self.stay_inside()?;
        if self.confined_to.is_none() {
            return Ok(());
        }
        let folder = FilePath::new("/").join(self.path.as_ref());
        let below = FilePath::new(name).parent().into_iter().flat_map(FilePath::ancestors);
        let is_link =
            |below: &FilePath| folder.join(below).symlink_metadata().is_ok_and(|found| found.file_type().is_symlink());
        if below.filter(|below| !below.as_os_str().is_empty()).any(is_link) {
            return Err(DestinationError::Outside);
        }
        Ok(())
    }

    fn failed(&self, name: &str, doing: &'static str, error: object_store::Error) -> DestinationError {
        let is_missing = matches!(error, object_store::Error::NotFound { .. });
        if !is_missing {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(file = name, doing, error, "the destination of an export failed");
        }
        DestinationError::Store { file: name.to_owned(), doing, reason: reason(&error), is_missing }
    }
}

/// Whether a file, by its name below the run's folder, is one that runs write, or leave when they are cut off.
fn written_by_runs(name: &str) -> bool {
    const FORMS: [&str; 4] = ["part-0.csv", "part-0.csv.gz", "part-0.ndjson", "part-0.parquet"];
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    let is_day = |folder: &str| folder.strip_prefix("day=").is_some_and(|day| day.parse::<NaiveDate>().is_ok());
    let is_unfinished = file.starts_with('_') && file.ends_with(".tmp");
    match folder {
        "" => [SUCCESS_FILE, MANIFEST_FILE].contains(&file) || FORMS.contains(&file) || is_unfinished,
        folder => is_day(folder) && (FORMS.contains(&file) || is_unfinished),
    }
}

/// Why a store failed, in words that hold no path.
fn reason(error: &object_store::Error) -> String {
    use object_store::Error;
    let said = match error {
        Error::NotFound { .. } => Some("it is not there"),
        Error::PermissionDenied { .. } => Some("permission denied"),
        Error::Unauthenticated { .. } => Some("the credentials are not accepted"),
        Error::AlreadyExists { .. } => Some("it is there already"),
        _ => None,
    };
    if let Some(said) = said {
        return said.to_owned();
    }
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return error.kind().to_string();
        }
        cause = error.source();
    }
    "the store failed".to_owned()
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn open(root: &FilePath, text: &str) -> Result<Folder, DestinationError> {
        ConfiguredPlaces { root: root.to_owned(), s3: S3Access::default() }.open(&text.parse().unwrap())
    }

    #[tokio::test]
    async fn a_link_that_leads_out_of_the_root_is_not_followed() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(elsewhere.path(), root.path().join("link")).unwrap();
        std::fs::create_dir(root.path().join("real")).unwrap();
        std::os::unix::fs::symlink(root.path().join("real"), root.path().join("inside")).unwrap();
        let check = async |text: &str, expected: bool| {
            let folder = open(root.path(), text).unwrap();
            let put = folder.put("manifest.json", Bytes::from_static(b"x")).await;
            assert_eq!(put.is_ok(), expected, "{text} {put:?}");
            assert_eq!(folder.read("manifest.json", 10).await.is_ok(), expected, "{text}");
            assert_eq!(folder.begin("part-0.csv", false).is_ok(), expected, "{text}");
            assert_eq!(folder.clear().await.is_ok(), expected, "{text}");
        };
        check("file:a/b", true).await;
        check("file:inside/b", true).await;
        check("file:link", false).await;
        check("file:link/b", false).await;
        check("file:link/deep/er", false).await;
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_folder_is_cleared_without_its_neighbours() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let [one, other] = ["run/1", "run/10"].map(|path| Folder::in_store(Arc::clone(&store), Path::from(path)));
        for folder in [&one, &other] {
            folder.put("day=2026-03-01/part-0.csv", Bytes::from_static(b"x")).await.unwrap();
            folder.put("manifest.json", Bytes::from_static(b"{}")).await.unwrap();
        }
        one.clear().await.unwrap();
        one.clear().await.unwrap();
        assert_eq!(one.read("manifest.json", 10).await.unwrap(), None);
        assert_eq!(one.read("day=2026-03-01/part-0.csv", 10).await.unwrap(), None);
        assert_eq!(other.read("manifest.json", 10).await.unwrap().as_deref(), Some(&b"{}"[..]));
        assert!(matches!(other.read("manifest.json", 1).await, Err(DestinationError::TooLarge { limit: 1, .. })));
    }

    #[tokio::test]
    async fn what_no_run_has_written_is_not_touched() {
        for (name, is_ours) in [
            ("_SUCCESS", true),
            ("part-0.csv.gz", true),
            ("day=2026-03-01/part-0.parquet", true),
            ("_0192.tmp", true),
            ("day=2026-03-01/_0192.tmp", true),
            ("43/manifest.json", false),
            ("day=2026-03-01/x/part-0.csv", false),
            ("day=2026-03-41/part-0.csv", false),
            ("notes.txt", false),
            ("part-1.csv", false),
        ] {
            let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            let folder = Folder::in_store(store, Path::from("run"));
            folder.put("part-0.csv", Bytes::from_static(b"x")).await.unwrap();
            folder.put(name, Bytes::from_static(b"x")).await.unwrap();
            let cleared = folder.clear().await;
            assert_eq!(cleared.is_ok(), is_ours, "{name} {cleared:?}");
            for name in [name, "part-0.csv"] {
                assert_eq!(folder.read(name, 10).await.unwrap().is_none(), is_ours, "{name}");
            }
        }
    }

    #[tokio::test]
    async fn a_link_in_the_folder_of_a_run_is_followed_by_nobody() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = elsewhere.path().join("part-0.csv");
        std::fs::write(&file, "theirs").unwrap();
        for (name, target) in [("day=2026-03-01", elsewhere.path()), ("x", elsewhere.path())] {
            let folder = open(root.path(), "file:run").unwrap();
            std::fs::create_dir_all(root.path().join("run")).unwrap();
            std::os::unix::fs::symlink(target, root.path().join("run").join(name)).unwrap();
            assert!(folder.clear().await.is_err(), "{name}");
            assert!(folder.put(&format!("{name}/part-0.csv"), Bytes::from_static(b"ours")).await.is_err(), "{name}");
            assert!(folder.begin(&format!("{name}/part-0.csv"), false).is_err(), "{name}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), "theirs");
            std::fs::remove_file(root.path().join("run").join(name)).unwrap();
        }
    }

    #[tokio::test]
    async fn an_error_names_the_file_and_no_path_of_the_machine() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("taken"), "a file").unwrap();
        let folder = open(root.path(), "file:taken/run").unwrap();
        let error = folder.put("manifest.json", Bytes::new()).await.unwrap_err().to_string();
        assert_eq!(error, "`manifest.json` could not be written: not a directory");
    }
}
