use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use rstest::rstest;

use super::super::content::{self, Content};
use super::super::folder::State;
use super::super::lines::{Lines, Written};
use super::*;
use catalog::{Encoding, FileFormat};

/// A folder whose files are published as the source does, and the lines on the topic: identity, number and
/// bytes.
struct World {
    identity: FileIdentity,
    topic: TopicId,
    cursors: FileCursors,
    topics: Vec<(String, u64, Vec<u8>)>,
}
impl World {
    fn new(identity: FileIdentity) -> Self {
        let topic = "t".parse().expect("an id");
        Self { identity, topic, cursors: FileCursors::default(), topics: Vec::new() }
    }
    fn written() -> Written {
        let (format, encoding) = (FileFormat::JsonLines, Encoding::Utf8);
        Written { format, encoding, delimiter: b',', quote: None, columns: None, longest: 100 }
    }
    fn found(name: &str, inode: u64) -> Found {
        let state = State { inode: (1, inode), ..State::default() };
        Found { name: name.to_owned(), path: name.into(), state, still_for: Some(Duration::ZERO) }
    }
    fn look(&self, file: &Found, bytes: &[u8]) -> (Step, Content) {
        let lengths = lengths(&self.cursors, self.identity, file);
        let content = content::read(&mut &*bytes, &lengths, 1).expect("memory does not fail");
        (resolve(&self.cursors, self.identity, &self.topic, file, &content), content)
    }
    /// Looks at a file and publishes `most` transactions of two lines each. Returns their lines.
    fn publish(&mut self, name: &str, inode: u64, bytes: &[u8], most: usize) -> Vec<String> {
        let file = Self::found(name, inode);
        let (step, _) = self.look(&file, bytes);
        let mut cursor = match step {
            Step::Nothing => return Vec::new(),
            Step::Remember(cursor) => {
                self.cursors.set(*cursor);
                return Vec::new();
            }
            Step::Publish(cursor, why) => {
                if why.is_begun() {
                    self.cursors.set((*cursor).clone());
                }
                *cursor
            }
        };
        let mut lines = Lines::new(Self::written(), bytes);
        assert!(lines.resume(&cursor.end).expect("memory does not fail"), "the prefix is what it was");
        let mut sent = Vec::new();
        for _ in 0..most {
            let mut batch = Vec::new();
            while batch.len() < 2 {
                let Some(piece) = lines.next().expect("memory does not fail") else { break };
                batch.extend(piece.line);
            }
            let is_last = batch.len() < 2;
            cursor.end = if is_last { lines.end() } else { lines.place() };
            if is_last {
                cursor.finish(lines.before_open().cloned());
            }
            for line in batch {
                let text = String::from_utf8_lossy(&line.raw).into_owned();
                self.topics.push((cursor.identity.clone(), line.number, line.raw));
                sent.push(text);
            }
            self.cursors.set(cursor.clone());
            if is_last {
                break;
            }
        }
        sent
    }
    fn all(&mut self, name: &str, bytes: &str) -> Vec<String> {
        let inode = name.bytes().map(u64::from).sum();
        self.publish(name, inode, bytes.as_bytes(), usize::MAX)
    }
}

#[test]
fn a_file_that_grew_publishes_what_is_new() {
    for identity in [FileIdentity::Content, FileIdentity::Path] {
        let mut world = World::new(identity);
        assert_eq!(world.all("a", "1\n2\n3\n"), ["1", "2", "3"]);
        assert_eq!(world.all("a", "1\n2\n3\n"), [""; 0]);
        assert_eq!(world.all("a", "1\n2\n3\n4\n\n"), ["4"]);
        assert_eq!(world.all("a", "1\n2\n3\n4\n\n5"), ["5"]);
        assert_eq!(world.all("a", "1\n2\n3\n4\n\n5\n6\n"), ["6"], "the line was whole");
        let numbers: Vec<u64> = world.topics.iter().map(|(_, number, _)| *number).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 6, 7]);
    }
}

#[test]
fn a_line_that_was_published_and_grew_is_published_under_another_identity() {
    let mut world = World::new(FileIdentity::Content);
    assert_eq!(world.all("a", "1\n2"), ["1", "2"]);
    assert_eq!(world.all("a", "1\n23\n4\n"), ["23", "4"]);
    assert_eq!(world.all("a", "1\n23\n4\n5\n"), ["5"]);
    let identities: BTreeSet<_> = world.topics.iter().map(|(identity, ..)| identity).collect();
    assert_eq!(identities.len(), 2, "{identities:?}");
    assert_eq!(world.all("b", "1\n2"), [""; 0], "a copy of what it was");
}

#[test]
fn a_copy_publishes_nothing_and_goes_on_by_itself() {
    let mut world = World::new(FileIdentity::Content);
    assert_eq!(world.all("a", "1\n2\n"), ["1", "2"]);
    assert_eq!(world.all("b", "1\n2\n"), [""; 0]);
    assert_eq!(world.all("b", "1\n2\n3\n"), ["3"]);
    assert_eq!(world.all("a", "1\n2\n3\n"), [""; 0], "it is what the other is");
    assert_eq!(world.all("c", "1\n2\n"), [""; 0], "a copy of what the first was");
    assert_eq!(world.all("a", "1\n2\n3\n4\n"), ["4"]);
}

#[test]
fn with_identity_by_path_a_copy_and_a_content_that_comes_back_are_published() {
    let mut world = World::new(FileIdentity::Path);
    assert_eq!(world.all("a", "1\n2\n"), ["1", "2"]);
    assert_eq!(world.all("b", "1\n2\n"), ["1", "2"]);
    assert_eq!(world.all("a", "3\n"), ["3"]);
    assert_eq!(world.all("a", "1\n2\n"), ["1", "2"]);
    assert_eq!(world.all("a", "1\n2\n"), [""; 0]);
    let lines: BTreeSet<_> = world.topics.iter().map(|(identity, number, _)| (identity, number)).collect();
    assert_eq!(lines.len(), world.topics.len(), "bronze takes none of them for a repeat");
}

#[test]
fn a_file_that_was_renamed_and_grew_publishes_what_is_new_and_one_that_begins_alike_all() {
    let mut world = World::new(FileIdentity::Content);
    assert_eq!(world.publish("log", 7, b"1\n2\n", 9), ["1", "2"]);
    assert_eq!(world.publish("log.1", 7, b"1\n2\n3\n", 9), ["3"]);
    assert_eq!(world.publish("log", 8, b"4\n", 9), ["4"]);
    assert_eq!(world.publish("other", 9, b"1\n2\n9\n", 9), ["1", "2", "9"]);
}

#[test]
fn a_file_that_is_written_anew_is_published_whole() {
    let mut world = World::new(FileIdentity::Content);
    assert_eq!(world.all("a", "1\n2\n"), ["1", "2"]);
    assert_eq!(world.all("a", "3\n"), ["3"]);
    assert_eq!(world.all("a", ""), [""; 0]);
    let (step, _) = world.look(&World::found("a", 1), b"5\n");
    assert!(matches!(step, Step::Publish(_, Why::Rewritten)), "{step:?}");
}

#[test]
fn a_file_that_was_cut_short_goes_on_though_it_grew_or_has_another_name() {
    let mut world = World::new(FileIdentity::Content);
    assert_eq!(world.publish("a", 1, b"1\n2\n3\n4\n5\n", 1), ["1", "2"]);
    assert_eq!(world.publish("a", 1, b"1\n2\n3\n4\n5\n6\n", 1), ["3", "4"]);
    assert_eq!(world.publish("b", 2, b"1\n2\n3\n4\n5\n6\n", 9), ["5", "6"]);
    assert_eq!(world.publish("a", 1, b"1\n2\n3\n4\n5\n6\n", 9), [""; 0]);
    let identities: BTreeSet<_> = world.topics.iter().map(|(identity, ..)| identity).collect();
    assert_eq!(identities.len(), 1, "{identities:?}");
}

#[rstest]
#[case::the_same_and_done("a", true, &[])]
#[case::a_copy("b", true, &[])]
#[case::cut_short("a", false, &["3"])]
fn a_file_of_version_1_is_known_by_its_digest(#[case] name: &str, #[case] done: bool, #[case] sent: &[&str]) {
    let mut world = World::new(FileIdentity::Content);
    let bytes = b"1\n2\n3\n";
    let digest = content::read(&mut &bytes[..], &BTreeSet::new(), 1).expect("read").whole.digest;
    let old = format!(
        r#"{{"version":1,"line":{},"records":2,"bad_lines":0,"done":{done}}}"#,
        if done { 3 } else { 2 }
    );
    let records = [(format!("files/shop.x/a@{digest}").into_bytes(), old.into_bytes())];
    let topic = "shop.x".parse().expect("a name");
    world.cursors = FileCursors::parse(&topic, &world.topic, records.into()).expect("a cursor");
    let (step, content) = world.look(&World::found(name, 1), bytes);
    match step {
        Step::Remember(cursor) => world.cursors.set(*cursor),
        Step::Publish(cursor, _) => {
            assert_eq!((cursor.identity.clone(), cursor.end.line), (format!("a@{digest}"), 2));
            assert_eq!(sent, ["3"]);
            return;
        }
        Step::Nothing => panic!("its length is to be remembered"),
    }
    assert!(sent.is_empty() && content.whole.bytes == 6);
    assert_eq!(world.publish(name, 1, b"1\n2\n3\n4\n", 9), ["4"], "and it may grow from then on");
}

/// An event in a folder of a few files.
#[derive(Debug, Clone)]
enum Event {
    Grow(usize, usize),
    Copy(usize, usize),
    Rename(usize, usize),
    Remove(usize),
    /// The source looks at a file and stops after this many transactions.
    Look(usize, usize),
}
fn events() -> impl Strategy<Value = Vec<Event>> {
    let (file, lines) = (0_usize..3, 1_usize..6);
    let event = prop_oneof![
        4 => (file.clone(), lines).prop_map(|(file, lines)| Event::Grow(file, lines)),
        1 => (file.clone(), file.clone()).prop_map(|(from, to)| Event::Copy(from, to)),
        1 => (file.clone(), file.clone()).prop_map(|(from, to)| Event::Rename(from, to)),
        1 => file.clone().prop_map(Event::Remove),
        5 => (file, 0_usize..4).prop_map(|(file, most)| Event::Look(file, most)),
    ];
    prop::collection::vec(event, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Files grow, are renamed and removed, and the source stops anywhere: every line that was seen is on the
    /// topic once. A copy may only be mistaken for another file if it grew before it was seen.
    #[test]
    fn every_line_is_published_once_however_files_grow_and_move(events in events()) {
        let mut world = World::new(FileIdentity::Content);
        let mut files: BTreeMap<usize, (u64, Vec<u8>)> = BTreeMap::new();
        let (mut inode, mut line) = (0, 0);
        let mut looked: BTreeSet<u64> = BTreeSet::new();
        let mut copied = BTreeSet::new();
        for event in events {
            match event {
                Event::Grow(file, lines) => {
                    let is_unseen_copy = copied.contains(&file);
                    let entry = files.entry(file).or_insert_with(|| { inode += 1; (inode, Vec::new()) });
                    if is_unseen_copy { continue; }
                    for _ in 0..lines {
                        line += 1;
                        entry.1.extend(format!("{line}\n").bytes());
                    }
                }
                Event::Copy(from, to) if from != to => {
                    // Only fully published contents are copied: two partly published copies count as two
                    // files.
                    let Some((_, bytes)) = files.get(&from).cloned() else { continue };
                    let from_inode = files[&from].0;
                    world.publish(&from.to_string(), from_inode, &bytes, usize::MAX);
                    looked.extend(numbers(&bytes));
                    inode += 1;
                    files.insert(to, (inode, bytes));
                    copied.insert(to);
                }
                Event::Rename(from, to) if from != to => {
                    let Some(file) = files.remove(&from) else { continue };
                    files.insert(to, file);
                    if copied.remove(&from) { copied.insert(to); } else { copied.remove(&to); }
                }
                Event::Remove(file) => {
                    files.remove(&file);
                    copied.remove(&file);
                }
                Event::Look(file, most) => {
                    let Some((inode, bytes)) = files.get(&file).cloned() else { continue };
                    world.publish(&file.to_string(), inode, &bytes, most);
                    if most > 0 { copied.remove(&file); }
                }
                _ => {}
            }
        }
        for (file, (inode, bytes)) in &files {
            world.publish(&file.to_string(), *inode, bytes, usize::MAX);
            looked.extend(numbers(bytes));
        }
        let mut published: Vec<u64> = world.topics.iter().flat_map(|(_, _, raw)| numbers(raw)).collect();
        published.sort_unstable();
        let once: BTreeSet<u64> = published.iter().copied().collect();
        prop_assert_eq!(published.len(), once.len(), "twice: {:?}", world.topics);
        prop_assert!(looked.is_subset(&once), "lost: {:?}", looked.difference(&once).collect::<Vec<_>>());
        let lines: BTreeSet<_> = world.topics.iter().map(|(identity, number, _)| (identity, number)).collect();
        prop_assert_eq!(lines.len(), world.topics.len());
    }
}
use std::collections::BTreeMap;
fn numbers(bytes: &[u8]) -> Vec<u64> {
    String::from_utf8_lossy(bytes).lines().map(|line| line.parse().expect("a number")).collect()
}
