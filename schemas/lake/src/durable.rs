//! A local disk that keeps what it has named: bytes are synced before a file gets its name, and names before the answer.
//!
//! Object stores promise this with their answer. A file system does not: after a power cut a freshly written commit
//! may be there by name and empty by content, and a table with such a commit does not open any more.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};
use uuid::Uuid;

const STORE: &str = "DurableFileSystem";
/// What is known of a file that was put.
const WRITTEN: PutResult = PutResult { e_tag: None, version: None };
/// Ends the name of a file whose bytes are still being written.
const UNFINISHED: &str = ".tmp";

/// The local file system, rooted at `/`, with durable puts.
#[derive(Debug, Default)]
pub struct DurableFileSystem {
    inner: LocalFileSystem,
}

impl std::fmt::Display for DurableFileSystem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(STORE)
    }
}

#[async_trait]
impl ObjectStore for DurableFileSystem {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let create_only = match options.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => {
                return Err(Error::NotImplemented {
                    operation: "conditional update".into(),
                    implementer: STORE.into(),
                });
            }
        };
        let target = self.inner.path_to_filesystem(location)?;
        match put_durably(target, payload, create_only).await {
            Ok(()) => Ok(WRITTEN),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::AlreadyExists { path: location.to_string(), source: Box::new(error) })
            }
            Err(error) => Err(Error::Generic { store: STORE, source: Box::new(error) }),
        }
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let target = self.inner.path_to_filesystem(location)?;
        Ok(Box::new(in_background(move || Upload::begin(target)).await?))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

/// A file that comes in parts: they are written where its bytes lie until they are synced, so that none is held for the
/// whole.
#[derive(Debug)]
struct Upload {
    target: PathBuf,
    unfinished: PathBuf,
    file: Arc<File>,
    written: u64,
}

impl Upload {
    fn begin(target: PathBuf) -> io::Result<Self> {
        let unfinished = unfinished_beside(&target);
        create_folders(folder_of(&target))?;
        let file = Arc::new(File::create(&unfinished)?);
        Ok(Self { target, unfinished, file, written: 0 })
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (file, begin) = (Arc::clone(&self.file), self.written);
        self.written += data.content_length() as u64;
        Box::pin(in_background(move || {
            let mut offset = begin;
            for bytes in data.iter() {
                file.write_all_at(bytes, offset)?;
                offset += bytes.len() as u64;
            }
            Ok(())
        }))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (file, unfinished, target) = (Arc::clone(&self.file), self.unfinished.clone(), self.target.clone());
        in_background(move || {
            file.sync_all()?;
            fs::rename(&unfinished, &target)?;
            File::open(folder_of(&target))?.sync_all()
        })
        .await?;
        Ok(WRITTEN)
    }

    async fn abort(&mut self) -> Result<()> {
        let unfinished = self.unfinished.clone();
        in_background(move || fs::remove_file(unfinished)).await
    }
}

/// Does what may wait for the disk where that holds nobody up.
async fn in_background<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other).flatten();
    done.map_err(|error| Error::Generic { store: STORE, source: Box::new(error) })
}

async fn put_durably(target: PathBuf, payload: PutPayload, create_only: bool) -> io::Result<()> {
    let unfinished = unfinished_beside(&target);
    let written = tokio::task::spawn_blocking(move || put(&unfinished, &target, &payload, create_only)).await;
    written.map_err(io::Error::other)?
}

/// Where the bytes lie until they are synced. The name has nothing of the target's, so that no reader of names takes it
/// for a data file, a commit or a checkpoint; and no other process has it, as in containers they have a number.
fn unfinished_beside(target: &FilePath) -> PathBuf {
    target.with_file_name(format!("_{}{UNFINISHED}", Uuid::now_v7().simple()))
}

fn put(unfinished: &FilePath, target: &FilePath, payload: &PutPayload, create_only: bool) -> io::Result<()> {
    let folder = folder_of(target);
    create_folders(folder)?;
    let mut file = File::create(unfinished)?;
    let named =
        payload.iter().try_for_each(|part| file.write_all(part)).and_then(|()| file.sync_all()).and_then(|()| {
            if create_only { fs::hard_link(unfinished, target) } else { fs::rename(unfinished, target) }
        });
    if create_only || named.is_err() {
        // What is left is a stray name at most.
        let _ = fs::remove_file(unfinished);
    }
    named?;
    File::open(folder)?.sync_all()
}

fn folder_of(target: &FilePath) -> &FilePath {
    target.parent().unwrap_or(FilePath::new("/"))
}

/// Whether a file of this name was never finished, or is being written.
pub(crate) fn is_unfinished(path: &str) -> bool {
    path.ends_with(UNFINISHED)
}

/// Creates missing folders so that they are still there after a power cut.
pub fn create_folders(folder: &FilePath) -> io::Result<()> {
    let missing: Vec<PathBuf> = folder
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .map(PathBuf::from)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    for created in missing.iter().rev() {
        if let Some(parent) = created.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
    }
    Ok(())
}

/// Makes the names in a folder survive a power cut.
pub async fn sync_folder(folder: PathBuf) -> io::Result<()> {
    tokio::task::spawn_blocking(move || File::open(folder)?.sync_all()).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt as _;

    use super::*;

    #[tokio::test]
    async fn a_file_that_comes_in_parts_is_there_when_it_is_whole_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let store = DurableFileSystem::default();
        let location = Path::from_absolute_path(folder.path().join("large")).unwrap();
        let names = || {
            let entries = std::fs::read_dir(folder.path()).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        for is_aborted in [true, false] {
            let mut upload = store.put_multipart(&location).await.unwrap();
            let (first, second) = (upload.put_part("first, ".into()), upload.put_part("second".into()));
            // Parts may be carried out in any order.
            second.await.unwrap();
            first.await.unwrap();
            assert!(names().iter().all(|name| is_unfinished(name)), "{:?}", names());
            if is_aborted {
                upload.abort().await.unwrap();
                assert_eq!(names(), [""; 0]);
            } else {
                upload.complete().await.unwrap();
            }
        }
        assert_eq!(names(), ["large"]);
        assert_eq!(store.get(&location).await.unwrap().bytes().await.unwrap(), "first, second");
    }
}
