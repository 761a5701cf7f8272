//! Which process hosts the services of a project, and at which addresses.
//!
//! The host holds a lock on `broker.lock` as long as it lives; the kernel releases the lock when the process
//! dies, however it dies. `broker.json` has the addresses of the services. It is written once, before the
//! services first answer, and read by every later host and guest. So the ports stay the same over restarts and
//! takeovers, and connected clients in any process only have to reconnect.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;

/// The addresses of the services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Addresses {
    /// `host:port` of the broker.
    pub bootstrap: String,
    /// URL of the registry.
    pub registry: String,
}

/// The right to host. Dropping it releases the right.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the project in `dir` unless another process has it.
    pub(super) fn take(dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join("broker.lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|source| Error::Folder { path: path.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(Error::Folder { path, source }),
        }
    }
}

impl Addresses {
    /// The addresses that the host of the project in `dir` wrote, if one did.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, Error> {
        let path = place(dir);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|source| Error::Folder { path: path.clone(), source })?,
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|source| Error::Folder { path, source: source.into() })
    }

    /// Writes the addresses to a file beside and renames it, so that a reader sees all or nothing.
    pub(super) fn write(&self, dir: &Path) -> Result<(), Error> {
        let path = place(dir);
        let write = || -> io::Result<()> {
            let beside = path.with_extension("json.new");
            let mut file = File::create(&beside)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            file.sync_all()?;
            fs::rename(&beside, &path)
        };
        write().map_err(|source| Error::Folder { path: path.clone(), source })
    }
}

fn place(dir: &Path) -> PathBuf {
    dir.join("broker.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_has_the_lock_and_dropping_it_frees_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = Lock::take(dir.path()).expect("usable");
        assert!(first.is_some());
        assert!(Lock::take(dir.path()).expect("usable").is_none());
        drop(first);
        assert!(Lock::take(dir.path()).expect("usable").is_some());
    }

    #[test]
    fn addresses_are_read_as_written() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(Addresses::read(dir.path()).expect("usable"), None);
        let addresses =
            Addresses { bootstrap: "127.0.0.1:1".to_owned(), registry: "http://127.0.0.1:2".to_owned() };
        addresses.write(dir.path()).expect("writable");
        assert_eq!(Addresses::read(dir.path()).expect("usable"), Some(addresses));
    }
}
