//! Power-cut safety on a local disk: a file is there after a crash only when it and the folders that name it are synced.
//!
//! Object stores promise this with their answer; a file system does not, and the store's local client does not ask it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Syncs `files` and every folder between each of them and `root`, inclusive.
pub async fn sync_files(root: PathBuf, files: Vec<PathBuf>) -> io::Result<()> {
    tokio::task::spawn_blocking(move || {
        let mut folders = std::collections::BTreeSet::new();
        for file in &files {
            File::open(file)?.sync_all()?;
            folders
                .extend(file.ancestors().skip(1).take_while(|folder| folder.starts_with(&root)).map(Path::to_path_buf));
        }
        folders.iter().rev().try_for_each(|folder| File::open(folder)?.sync_all())
    })
    .await
    .map_err(io::Error::other)?
}
