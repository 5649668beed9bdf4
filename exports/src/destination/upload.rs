//! A file on its way: compressed if need be, hashed and counted, and sent in parts, so that none is held whole.

mod gzip;

use bytes::Bytes;
use object_store::buffered::BufWriter;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::{DestinationError, Folder};
use gzip::Gzip;

/// Bytes of a part. S3 takes ten thousand of them, and none but the last below 5 MiB.
const PART_BYTES: usize = 8 << 20;
/// Parts that are on their way at once; as many are held.
const PARTS_AT_ONCE: usize = 2;

/// A file that is being written.
pub struct Upload {
    folder: Folder,
    name: String,
    writer: BufWriter,
    gzip: Option<Gzip>,
    hash: Sha256,
    size_bytes: u64,
}

/// A file of which every byte is known, and that is not there yet.
pub struct Sealed {
    folder: Folder,
    name: String,
    writer: BufWriter,
    /// Its size.
    pub size_bytes: u64,
    /// The SHA-256 of its bytes, in hex.
    pub sha256: String,
}

impl Upload {
    pub(super) fn new(folder: Folder, name: String, is_gzip: bool) -> Self {
        let store = std::sync::Arc::clone(folder.store());
        let writer = BufWriter::with_capacity(store, folder.location(&name), PART_BYTES);
        let gzip = is_gzip.then(Gzip::default);
        let writer = writer.with_max_concurrency(PARTS_AT_ONCE);
        Self { folder, name, writer, gzip, hash: Sha256::new(), size_bytes: 0 }
    }

    /// Adds bytes.
    ///
    /// # Errors
    ///
    /// The store refuses.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), DestinationError> {
        let compressed = match &mut self.gzip {
            None => bytes,
            Some(gzip) => {
                let compressed = gzip.compress(&bytes);
                compressed.map_err(|error| self.folder.failed(&self.name, "written", in_memory(error)))?.into()
            }
        };
        self.send(compressed).await
    }

    /// Ends the file, without letting it be seen.
    ///
    /// # Errors
    ///
    /// The store refuses.
    pub async fn seal(mut self) -> Result<Sealed, DestinationError> {
        if let Some(gzip) = self.gzip.take() {
            let rest = gzip.finish();
            let rest = rest.map_err(|error| self.folder.failed(&self.name, "written", in_memory(error)))?;
            self.send(rest.into()).await?;
        }
        let Self { folder, name, writer, gzip: _, hash, size_bytes } = self;
        Ok(Sealed { folder, name, writer, size_bytes, sha256: format!("{:x}", hash.finalize()) })
    }

    /// Gives the file up.
    pub async fn discard(self) {
        discard(self.writer, &self.name).await;
    }

    async fn send(&mut self, bytes: Bytes) -> Result<(), DestinationError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.hash.update(&bytes);
        self.size_bytes += bytes.len() as u64;
        self.writer.put(bytes).await.map_err(|error| self.folder.failed(&self.name, "written", error))
    }
}

impl Sealed {
    /// Puts the file in its place.
    ///
    /// # Errors
    ///
    /// The store refuses.
    pub async fn keep(mut self) -> Result<(), DestinationError> {
        let kept = self.writer.shutdown().await;
        kept.map_err(|error| self.folder.failed(&self.name, "written", in_store(error)))
    }

    /// Gives the file up.
    pub async fn discard(self) {
        discard(self.writer, &self.name).await;
    }
}

/// A file that nobody ever saw. What is left of it at worst are parts that the bucket's rules sweep up.
async fn discard(mut writer: BufWriter, name: &str) {
    if let Err(error) = writer.abort().await {
        tracing::warn!(
            file = name,
            error = &error as &dyn std::error::Error,
            "an unfinished file could not be taken back"
        );
    }
}

fn in_memory(error: std::io::Error) -> object_store::Error {
    object_store::Error::Generic { store: "gzip", source: Box::new(error) }
}

/// What the writer wrapped as an error of input and output is one of the store's again.
fn in_store(error: std::io::Error) -> object_store::Error {
    match error.downcast::<object_store::Error>() {
        Ok(error) => error,
        Err(error) => object_store::Error::Generic { store: "writer", source: Box::new(error) },
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use object_store::path::Path;

    use super::*;
    use crate::destination::{ConfiguredPlaces, Places, S3Access};
    use crate::manifest::sha256;

    fn local(root: &std::path::Path) -> Folder {
        let places = ConfiguredPlaces { root: root.to_owned(), s3: S3Access::default() };
        places.open(&"file:a".parse().unwrap()).unwrap()
    }

    fn in_memory_store() -> Folder {
        Folder::in_store(Arc::new(InMemory::new()), Path::from("a"))
    }

    async fn upload(folder: &Folder, is_gzip: bool, parts: &[Vec<u8>]) -> Sealed {
        let mut upload = folder.begin("part-0.csv", is_gzip).unwrap();
        for part in parts {
            upload.write(Bytes::from(part.clone())).await.unwrap();
        }
        upload.seal().await.unwrap()
    }

    /// Bytes that no compression makes smaller, so many that they come in parts.
    fn noise(size: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..size).map(next).collect()
    }

    #[tokio::test]
    async fn what_is_kept_has_the_hash_and_the_size_that_it_said() {
        let root = tempfile::tempdir().unwrap();
        for folder in [local(root.path()), in_memory_store()] {
            for parts in [vec![], vec![b"a,b\r\n".to_vec(), b"1,2\r\n".to_vec()], vec![noise(3 << 20); 7]] {
                let sealed = upload(&folder, false, &parts).await;
                let whole = parts.concat();
                assert_eq!((sealed.size_bytes, sealed.sha256.clone()), (whole.len() as u64, sha256(&whole)));
                assert_eq!(folder.read("part-0.csv", u64::MAX).await.unwrap(), None, "not there before it is kept");
                sealed.keep().await.unwrap();
                assert!(folder.read("part-0.csv", u64::MAX).await.unwrap().unwrap() == whole);
                folder.clear().await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn what_is_given_up_was_never_there() {
        let root = tempfile::tempdir().unwrap();
        let folder = local(root.path());
        upload(&folder, false, &[b"small".to_vec()]).await.discard().await;
        upload(&folder, false, &vec![noise(3 << 20); 7]).await.discard().await;
        let files = std::fs::read_dir(root.path().join("a")).map_or(0, Iterator::count);
        assert_eq!(files, 0);
    }

    #[tokio::test]
    async fn equal_rows_are_equal_bytes_also_when_they_are_compressed() {
        let folder = in_memory_store();
        let text = b"a,b\r\n1,2\r\n".repeat(10_000);
        let one = upload(&folder, true, std::slice::from_ref(&text)).await;
        let parts: Vec<Vec<u8>> = text.chunks(777).map(<[u8]>::to_vec).collect();
        let other = upload(&folder, true, &parts).await;
        assert_eq!(one.sha256, other.sha256);
        other.keep().await.unwrap();
        let kept = folder.read("part-0.csv", u64::MAX).await.unwrap().unwrap();
        assert!(kept.len() < text.len() / 100);
        let mut read = Vec::new();
        flate2::read::GzDecoder::new(&kept[..]).read_to_end(&mut read).unwrap();
        assert!(read == text);
    }
}
