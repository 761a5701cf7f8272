//! What is in the folder, and which of it is whole.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use crate::Error;

/// A file as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its path in the folder, with slashes.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Name and hash of its bytes: what it is known by. Empty until it is still.
    pub identity: String,
    /// Whether two looks found it the same.
    pub is_still: bool,
}

/// Size and time of the last change.
type Look = (u64, Option<SystemTime>);

/// A watched folder.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: PathBuf,
    seen: BTreeMap<String, Look>,
    identities: HashMap<(String, Look), String>,
}

impl Folder {
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, seen: BTreeMap::new(), identities: HashMap::new() }
    }

    /// All files by name. A folder that is not there yet is empty.
    pub async fn look(&mut self) -> Result<Vec<Found>, Error> {
        let dir = self.dir.clone();
        let now = runtime::cpu::run(move || {
            let mut files = BTreeMap::new();
            list(&dir, &dir, &mut files).map(|()| files)
        })
        .await?;
        let mut found = Vec::with_capacity(now.len());
        for (name, look) in &now {
            let path = self.dir.join(name);
            let is_still = self.seen.get(name) == Some(look);
            let identity = if is_still { self.identity(name, *look, &path).await? } else { String::new() };
            found.push(Found { name: name.clone(), path, identity, is_still });
        }
        self.identities.retain(|(name, look), _| now.get(name) == Some(look));
        self.seen = now;
        Ok(found)
    }

    async fn identity(&mut self, name: &str, look: Look, path: &Path) -> Result<String, Error> {
        let key = (name.to_owned(), look);
        if let Some(known) = self.identities.get(&key) {
            return Ok(known.clone());
        }
        let file = path.to_owned();
        let hash = runtime::cpu::run(move || hash(&file)).await?;
        let identity = format!("{name}@{hash}");
        self.identities.insert(key, identity.clone());
        Ok(identity)
    }
}

/// Hash of a file's bytes: half of its SHA-256, in hexadecimal.
pub(crate) fn hash(path: &Path) -> Result<String, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hex::encode(&hasher.finalize()[..16])),
            n => hasher.update(&buffer[..n]),
        }
    }
}

fn list(root: &Path, dir: &Path, files: &mut BTreeMap<String, Look>) -> Result<(), Error> {
    let failed = |source| Error::File { path: dir.to_owned(), source };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') || name.ends_with(".tmp") || name.ends_with(".part") {
            continue;
        }
        // Gone again since it was listed: the next look knows.
        let Ok(meta) = std::fs::metadata(&path) else { continue };
        if meta.is_dir() {
            list(root, &path, files)?;
        } else if let Ok(relative) = path.strip_prefix(root) {
            let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
            files.insert(parts.join("/"), (meta.len(), meta.modified().ok()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_taken_once_it_stands_still() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("a.csv"), "x\n1\n").expect("written");
        std::fs::write(dir.path().join("b.csv.part"), "x\n").expect("written");
        let mut folder = Folder::new(dir.path().to_owned());
        let first = folder.look().await.expect("a folder");
        assert_eq!(
            first.iter().map(|f| (f.name.as_str(), f.is_still)).collect::<Vec<_>>(),
            [("a.csv", false)]
        );
        let second = folder.look().await.expect("a folder");
        assert!(second[0].is_still && second[0].identity.starts_with("a.csv@"));
        std::fs::write(dir.path().join("a.csv"), "x\n1\n2\n").expect("written");
        let third = folder.look().await.expect("a folder");
        assert!(!third[0].is_still);
        let fourth = folder.look().await.expect("a folder");
        assert_ne!(fourth[0].identity, second[0].identity, "written anew it is another file");
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_empty() {
        let mut folder = Folder::new("/nonexistent/lakepulse".into());
        assert_eq!(folder.look().await.expect("no error"), []);
    }
}
