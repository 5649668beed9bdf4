//! An import that has begun and not ended: under which name it commits, so that the same command goes on with it.
//!
//! How far it is only the lake knows, by the numbers of the commits under that name. An import that has ended is forgotten:
//! the same files again are an import of their own, which finds duplicates.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::Context as _;
use touchline_ingest::import::ndjson::content_id;
use uuid::Uuid;

use crate::import_files::STDIN;

/// So much of a file's beginning tells it from others.
const BEGINNING_BYTES: u64 = 64 * 1024;

/// An import that this process does.
#[derive(Debug)]
pub struct BegunImport {
    /// The name under which it commits.
    pub node: String,
    /// Its file, locked; none if nobody can go on with it.
    kept: Option<(PathBuf, File)>,
}

impl BegunImport {
    /// The import of `files` for which `what` says everything else: the one that was broken off, unless the caller wants to
    /// `restart`, else a new one. What comes from stdin comes once: nobody goes on with it.
    pub fn find(folder: &Path, what: &str, files: &[PathBuf], restart: bool) -> anyhow::Result<Self> {
        let Some(identity) = identity(what, files)? else { return Ok(Self { node: new_node(), kept: None }) };
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let path = folder.join(identity);
        let context = || format!("cannot use {}", path.display());
        let mut file =
            File::options().create(true).truncate(false).read(true).write(true).open(&path).with_context(context)?;
        if let Err(error) = file.try_lock() {
            let taken = matches!(error, std::fs::TryLockError::WouldBlock);
            anyhow::ensure!(!taken, "another process is doing this import");
            return Err(error).with_context(context);
        }
        let mut node = String::new();
        file.read_to_string(&mut node).with_context(context)?;
        // What a power cut left of a name is none.
        if restart || !is_node(&node) {
            if is_node(&node) {
                remove_index(&index_folder(folder, &node)).with_context(context)?;
            }
            node = new_node();
            write(&mut file, &node, folder).with_context(context)?;
        }
        Ok(Self { node, kept: Some((path, file)) })
    }

    /// Forgets it: all of it is in the lake.
    pub fn end(self) -> anyhow::Result<()> {
        let Some((path, _lock)) = self.kept else { return Ok(()) };
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }
}

/// Where the import of this node keeps an index of event ids of its own, beside a server. A crash leaves it there.
pub fn index_folder(folder: &Path, node: &str) -> PathBuf {
    folder.join(format!("{node}.event_ids"))
}

/// Removes such an index, if it is there.
pub fn remove_index(index: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(index) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

const PREFIX: &str = "import-";

fn new_node() -> String {
    format!("{PREFIX}{}", Uuid::now_v7().simple())
}

fn is_node(text: &str) -> bool {
    text.strip_prefix(PREFIX).is_some_and(|id| Uuid::try_parse(id).is_ok())
}

/// It is known before anything is committed under it.
fn write(file: &mut File, node: &str, folder: &Path) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(node.as_bytes())?;
    file.sync_all()?;
    File::open(folder)?.sync_all()
}

/// A word for the import: of files with the same sizes, times and beginnings, in the same order, imported in the same way.
fn identity(what: &str, files: &[PathBuf]) -> anyhow::Result<Option<String>> {
    let mut told = what.to_owned();
    for path in files {
        if path == Path::new(STDIN) {
            return Ok(None);
        }
        let told_of_file = told_of(path).with_context(|| format!("cannot read {}", path.display()))?;
        let Some(of_file) = told_of_file else { return Ok(None) };
        told.push('\n');
        told.push_str(&of_file);
    }
    Ok(Some(content_id("", told.as_bytes(), 0)))
}

/// None of what is no file, as a pipe: it comes once.
fn told_of(path: &Path) -> io::Result<Option<String>> {
    let metadata = path.metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let modified_us = metadata.modified()?.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    let mut beginning = Vec::new();
    File::open(path)?.take(BEGINNING_BYTES).read_to_end(&mut beginning)?;
    Ok(Some(format!("{} {modified_us} {}", metadata.len(), content_id("", &beginning, 0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_is_found_again_until_it_has_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        std::fs::write(&one, "1").expect("written");
        std::fs::write(&other, "2").expect("written");
        let imports = folder.path().join("imports");
        let find = |what: &str, files: &[&PathBuf], restart| {
            let files: Vec<PathBuf> = files.iter().map(|file| (*file).clone()).collect();
            BegunImport::find(&imports, what, &files, restart).expect("is found")
        };
        let node = |what: &str, files: &[&PathBuf]| find(what, files, false).node;
        let first = node("a", &[&one]);
        assert!(is_node(&first), "{first}");
        assert_eq!(first, node("a", &[&one]));
        for (what, files) in
            [("b", &[&one][..]), ("a", &[&other][..]), ("a", &[&one, &other][..]), ("a", &[&one, &one][..])]
        {
            assert_ne!(first, node(what, files), "{what} {files:?}");
        }
        let left_by_a_crash = index_folder(&imports, &first);
        std::fs::create_dir(&left_by_a_crash).expect("made");
        let restarted = find("a", &[&one], true).node;
        assert!(!left_by_a_crash.exists());
        assert_ne!(first, restarted);
        assert_eq!(restarted, node("a", &[&one]));
        std::fs::write(&one, "3").expect("written");
        assert_ne!(restarted, node("a", &[&one]), "the file has changed");
        find("b", &[&other], false).end().expect("is forgotten");
        let again = find("b", &[&other], false);
        let refused = BegunImport::find(&imports, "b", &[other], false).expect_err("is being done");
        assert!(refused.to_string().contains("another process"), "{refused:#}");
        again.end().expect("is forgotten");
    }

    #[test]
    fn nobody_goes_on_with_what_comes_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let imports = folder.path().join("imports");
        let node = || BegunImport::find(&imports, "a", &[PathBuf::from(STDIN)], false).expect("is found").node;
        assert_ne!(node(), node());
        assert!(!imports.exists());
        let missing =
            BegunImport::find(&imports, "a", &[folder.path().join("nothing")], false).expect_err("is missing");
        assert!(format!("{missing:#}").contains("nothing"), "{missing:#}");
    }
}
