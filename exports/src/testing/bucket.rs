//! A bucket in memory whose calls can fail, or stop as if the process died in them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// What happens in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It fails and has done nothing.
    Fails,
    /// It has done what it should, and its answer is lost.
    FailsDone,
    /// The process dies before it.
    Dies,
    /// The process dies after it.
    DiesDone,
}

impl Trouble {
    pub const ALL: [Self; 4] = [Self::Fails, Self::FailsDone, Self::Dies, Self::DiesDone];

    const fn is_before(self) -> bool {
        matches!(self, Self::Fails | Self::Dies)
    }
}

/// The bucket.
#[derive(Debug, Default)]
pub struct Bucket {
    inner: InMemory,
    /// In how many calls from now there is trouble, and which.
    trouble: Arc<Mutex<Option<(usize, Trouble)>>>,
    died: Arc<Notify>,
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bucket")
    }
}

impl Bucket {
    /// The `number`th call from now, counted from zero, has trouble.
    pub fn expect(&self, number: usize, trouble: Trouble) {
        *self.trouble.lock() = Some((number, trouble));
    }

    /// No trouble from now on; whether there was still some to come.
    pub fn calm(&self) -> bool {
        self.trouble.lock().take().is_some()
    }

    /// Returns when the process is to die.
    pub async fn death(&self) {
        self.died.notified().await;
    }

    /// The trouble of this call.
    fn next(&self) -> Option<Trouble> {
        let mut coming = self.trouble.lock();
        match *coming {
            Some((0, trouble)) => {
                *coming = None;
                Some(trouble)
            }
            Some((number, trouble)) => {
                *coming = Some((number - 1, trouble));
                None
            }
            None => None,
        }
    }

    async fn suffer<T>(&self, trouble: Trouble) -> Result<T> {
        match trouble {
            Trouble::Fails | Trouble::FailsDone => {
                Err(Error::Generic { store: "Bucket", source: Box::new(std::io::Error::other("as told")) })
            }
            Trouble::Dies | Trouble::DiesDone => {
                self.died.notify_one();
                std::future::pending().await
            }
        }
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        match self.next() {
            None => call.await,
            Some(trouble) if trouble.is_before() => self.suffer(trouble).await,
            Some(trouble) => {
                // Whatever was answered is lost.
                let _ = call.await;
                self.suffer(trouble).await
            }
        }
    }
}

#[async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.call(self.inner.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.call(self.inner.put_multipart_opts(location, options)).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.call(self.inner.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.call(self.inner.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let trouble = self.next();
        let (died, inner) = (self.died.clone(), self.inner.clone());
        // One of several is deleted, and then it happens.
        match trouble {
            None => inner.delete_stream(locations),
            Some(trouble) => {
                let bucket = Self { inner: InMemory::new(), trouble: Arc::default(), died };
                let first = inner.delete_stream(locations.take(1).boxed());
                let then = stream::once(async move { bucket.suffer(trouble).await });
                if trouble.is_before() { then.boxed() } else { first.chain(then).boxed() }
            }
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
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
