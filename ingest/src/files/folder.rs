//! Lists the folder: which entries are files, and how long each has been unchanged.
//!
//! Only regular files and links to them are read. Links to folders are not followed, because they may form a
//! loop. Names that start with a dot or end in `.tmp` or `.part` are ignored, because other programs still
//! write them. Everything else is set aside by name.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use runtime::time::Instant;

use crate::Error;

/// Distinguishes two states of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct State {
    pub size: u64,
    pub modified: Option<SystemTime>,
    /// The time of the last change of data or metadata, such as permissions.
    pub changed: (i64, i64),
    /// Device and inode, which a rename keeps.
    pub inode: (u64, u64),
}

/// A file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its path below the folder, with slashes.
    pub name: String,
    /// Its full path.
    pub path: PathBuf,
    /// Its current state.
    pub state: State,
    /// How long it has been in this state. `None`: first seen in it now.
    pub still_for: Option<Duration>,
}

/// An entry of the folder that is not read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Aside {
    /// Its path below the folder, with bytes that are not text escaped.
    pub name: String,
    /// Why it is not read.
    pub why: String,
}

/// The result of one look at the folder.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// The files by name.
    pub files: Vec<Found>,
    /// The entries that are not read.
    pub aside: Vec<Aside>,
}

/// A watched folder.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: PathBuf,
    seen: BTreeMap<String, (State, Instant)>,
}

impl Folder {
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, seen: BTreeMap::new() }
    }

    /// Lists the folder at `now`. A missing folder is an error, because a misspelt one must not look like an
    /// empty one.
    pub async fn look(&mut self, now: Instant) -> Result<Look, Error> {
        let dir = self.dir.clone();
        let listed = runtime::cpu::run(move || {
            let mut listing = Listing { root: dir, ..Listing::default() };
            let root = listing.root.clone();
            listing.list(&root).map(|()| listing)
        });
        let listed = listed.await.map_err(|source| Error::Folder { path: self.dir.clone(), source })?;
        let before = std::mem::take(&mut self.seen);
        let mut look = Look { aside: listed.aside.into_iter().collect(), files: Vec::new() };
        let mut inodes = BTreeSet::new();
        for (name, (path, state)) in listed.files {
            if !inodes.insert(state.inode) {
                look.aside.push(Aside { name, why: "it is another name of a file that is there".to_owned() });
                continue;
            }
            let since = before.get(&name).filter(|(was, _)| *was == state).map(|(_, since)| *since);
            let still_for = since.map(|since| now.duration_since(since));
            self.seen.insert(name.clone(), (state.clone(), since.unwrap_or(now)));
            look.files.push(Found { name, path, state, still_for });
        }
        Ok(look)
    }
}

#[derive(Default)]
struct Listing {
    root: PathBuf,
    files: BTreeMap<String, (PathBuf, State)>,
    aside: BTreeSet<Aside>,
}
impl Listing {
    /// Adds the entries of a folder. An error concerns the folder itself.
    fn list(&mut self, dir: &Path) -> io::Result<()> {
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default();
            if is_ignored(name) {
                continue;
            }
            let is_link = match std::fs::symlink_metadata(&path) {
                Ok(meta) => meta.is_symlink(),
                // Deleted since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    self.set_aside(&path, &format!("it cannot be looked at: {error}"));
                    continue;
                }
            };
            match std::fs::metadata(&path) {
                Err(_) if is_link => self.set_aside(&path, "it is a link to nothing"),
                Err(_) => {}
                Ok(meta) if meta.is_dir() && is_link => {
                    self.set_aside(&path, "it is a link to a folder, which is not followed");
                }
                Ok(meta) if meta.is_dir() => {
                    if let Err(error) = self.list(&path) {
                        self.set_aside(&path, &format!("the folder cannot be read: {error}"));
                    }
                }
                Ok(meta) if !meta.is_file() => self.set_aside(&path, "it is no regular file"),
                Ok(meta) => {
                    let relative = path.strip_prefix(&self.root).ok().and_then(Path::to_str);
                    let Some(name) = relative.map(str::to_owned) else {
                        self.set_aside(&path, "its name is not UTF-8");
                        continue;
                    };
                    let (modified, changed) = (meta.modified().ok(), (meta.ctime(), meta.ctime_nsec()));
                    let (size, inode) = (meta.len(), (meta.dev(), meta.ino()));
                    self.files.insert(name, (path, State { size, modified, changed, inode }));
                }
            }
        }
        Ok(())
    }
    fn set_aside(&mut self, path: &Path, why: &str) {
        let relative = path.strip_prefix(&self.root).unwrap_or(path);
        self.aside.insert(Aside { name: shown(relative.as_os_str()), why: why.to_owned() });
    }
}

/// A name for people: text as it is, every invalid byte as `\xff`.
fn shown(name: &OsStr) -> String {
    let mut shown = String::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        shown.push_str(chunk.valid());
        shown.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    shown
}

fn is_ignored(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b".") || name.ends_with(b".tmp") || name.ends_with(b".part")
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(dir: &Path, name: impl AsRef<OsStr>, text: &str) {
        std::fs::write(dir.join(name.as_ref()), text).expect("written");
    }
    fn names(look: &Look) -> Vec<&str> {
        look.files.iter().map(|file| file.name.as_str()).collect()
    }

    #[tokio::test]
    async fn a_file_is_still_from_the_second_look_that_finds_it_the_same() {
        let dir = tempfile::tempdir().expect("a folder");
        write(dir.path(), "a.csv", "x\n1\n");
        write(dir.path(), "b.csv.part", "x\n");
        let mut folder = Folder::new(dir.path().to_owned());
        let start = Instant::now();
        let first = folder.look(start).await.expect("a folder");
        assert_eq!((names(&first), first.files[0].still_for), (vec!["a.csv"], None));
        let second = folder.look(start + Duration::from_secs(2)).await.expect("a folder");
        assert_eq!(second.files[0].still_for, Some(Duration::from_secs(2)));
        write(dir.path(), "a.csv", "x\n1\n2\n");
        let third = folder.look(start + Duration::from_secs(3)).await.expect("a folder");
        assert_eq!(third.files[0].still_for, None);
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_an_error_that_names_it() {
        let error =
            Folder::new("/nonexistent/lakepulse".into()).look(Instant::now()).await.expect_err("no folder");
        assert!(error.to_string().contains("/nonexistent/lakepulse"), "{error}");
    }

    #[tokio::test]
    async fn what_is_no_file_is_set_aside_by_name_and_the_others_are_found() {
        let dir = tempfile::tempdir().expect("a folder");
        let dir = dir.path();
        write(dir, "a.jsonl", "{}");
        write(dir, "caf\u{e9}.jsonl", "{}");
        write(dir, OsStr::from_bytes(b"caf\xe9.jsonl"), "{}");
        std::fs::create_dir(dir.join("below")).expect("made");
        write(dir, "below/b.jsonl", "{}");
        symlink("..", dir.join("below/loop")).expect("linked");
        symlink(dir, dir.join("whole")).expect("linked");
        symlink("nowhere", dir.join("nothing")).expect("linked");
        symlink("/dev/zero", dir.join("zero.jsonl")).expect("linked");
        symlink("a.jsonl", dir.join("z.jsonl")).expect("linked");
        std::fs::hard_link(dir.join("a.jsonl"), dir.join("y.jsonl")).expect("linked");
        std::os::unix::net::UnixListener::bind(dir.join("s.jsonl")).expect("a socket");
        let look = Folder::new(dir.to_owned()).look(Instant::now()).await.expect("a folder");
        assert_eq!(names(&look), ["a.jsonl", "below/b.jsonl", "caf\u{e9}.jsonl"]);
        let aside: Vec<_> = look.aside.iter().map(|aside| aside.name.as_str()).collect();
        let expected = [
            "below/loop",
            "caf\\xe9.jsonl",
            "nothing",
            "s.jsonl",
            "whole",
            "zero.jsonl",
            "y.jsonl",
            "z.jsonl",
        ];
        assert_eq!(aside, expected);
    }
}
