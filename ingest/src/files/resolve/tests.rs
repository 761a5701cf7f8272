use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use rstest::rstest;

use super::super::content::{self, Content};
use super::super::folder::State;
use super::super::lines::{Line, Lines, Written};
use super::super::publish;
use super::super::text::samples::{self, PLAIN, Sample, TREACHEROUS};
use super::*;
use catalog::{Encoding, FileFormat};

/// A folder whose files are published as the source does, and the lines on the topic: identity, number and
/// bytes.
struct World {
    identity: FileIdentity,
    topic: TopicId,
    cursors: FileCursors,
    written: Written,
    topics: Vec<(String, u64, Vec<u8>)>,
    /// The lines of a single file, without those that grew after they were published.
    newest: Vec<Line>,
}
impl World {
    fn new(identity: FileIdentity) -> Self {
        Self::of(identity, FileFormat::JsonLines, Encoding::Utf8, None)
    }
    fn of(identity: FileIdentity, format: FileFormat, encoding: Encoding, quote: Option<u8>) -> Self {
        let written = Written { format, encoding, delimiter: b',', quote, columns: None, longest: 10_000 };
        let (topic, cursors) = ("t".parse().expect("an id"), FileCursors::default());
        Self { identity, topic, cursors, written, topics: Vec::new(), newest: Vec::new() }
    }
    fn found(name: &str, inode: u64) -> Found {
        let state = State { inode: (1, inode), ..State::default() };
        Found { name: name.to_owned(), path: name.into(), state, still_for: Some(Duration::ZERO) }
    }
    fn look(&self, file: &Found, bytes: &[u8]) -> (Step, Content) {
        let lengths = lengths(&self.cursors, self.identity, file);
        let content =
            content::read(&mut &*bytes, &lengths, self.written.encoding).expect("memory does not fail");
        (resolve(&self.cursors, self.identity, &self.topic, file, &content), content)
    }
    /// Looks at a file and publishes `most` transactions of two lines each. Returns their lines as text.
    fn publish(&mut self, name: &str, inode: u64, bytes: &[u8], most: usize) -> Vec<String> {
        let sent = self.send(name, inode, bytes, most);
        sent.iter().map(|line| String::from_utf8_lossy(&line.raw).into_owned()).collect()
    }
    fn send(&mut self, name: &str, inode: u64, bytes: &[u8], most: usize) -> Vec<Line> {
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
        let mut lines = Lines::new(self.written.clone(), bytes);
        assert!(lines.resume(&cursor.end).expect("memory does not fail"), "the prefix is what it was");
        // A cursor that has only begun replaces no line.
        self.newest.retain(|line| most == 0 || line.number <= cursor.end.line);
        let mut sent = Vec::new();
        for _ in 0..most {
            let part = publish::take(&mut lines, 0, 2, usize::MAX).expect("memory does not fail");
            cursor.end = part.end;
            if part.is_last {
                cursor.finish(lines.before_open().cloned());
            }
            for line in &part.lines {
                self.topics.push((cursor.identity.clone(), line.number, line.raw.clone()));
            }
            sent.extend(part.lines);
            self.cursors.set(cursor.clone());
            if part.is_last {
                break;
            }
        }
        self.newest.extend(sent.iter().cloned());
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
    let digest = content::read(&mut &bytes[..], &BTreeSet::new(), Encoding::Utf8).expect("read").whole.digest;
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

#[rstest]
#[case::latin_c("\u{10d}")]
#[case::gurmukhi_a("\u{a05}")]
#[case::gurmukhi_uu("\u{a0a}")]
#[case::malayalam_uu("\u{d0a}")]
#[case::line_separator("\u{2028}")]
#[case::a_pair("\u{1040a}")]
#[case::lone_return("\r")]
fn a_line_that_grew_by_what_is_no_line_end_is_published_whole(#[case] sign: &str) {
    for sample in samples::ALL {
        let mut world = World::of(FileIdentity::Content, FileFormat::JsonLines, sample.encoding, None);
        let mut texts = |text: &str| {
            let sent = world.send("a", 1, &sample.bytes(text), usize::MAX);
            let text =
                |line: Line| (line.number, sample.charset.decode(&line.raw).expect("text").into_owned());
            sent.into_iter().map(text).collect::<Vec<_>>()
        };
        assert_eq!(texts("1\n2"), [(1, "1".to_owned()), (2, "2".to_owned())]);
        let grown = [(2, format!("2{sign}3")), (3, "4".to_owned())];
        assert_eq!(texts(&format!("1\n2{sign}3\n4\n")), grown, "{sample:?}");
    }
}

#[test]
fn lines_are_numbered_behind_a_file_of_version_1_by_its_line_feeds() {
    for sample in samples::ALL {
        let mut world = World::of(FileIdentity::Content, FileFormat::JsonLines, sample.encoding, None);
        let (bytes, none) = (sample.bytes("\u{10a}\n\u{a0a}\n"), BTreeSet::new());
        let digest = content::read(&mut &bytes[..], &none, sample.encoding).expect("read").whole.digest;
        let old = br#"{"version":1,"line":2,"records":2,"bad_lines":0,"done":true}"#.to_vec();
        let records = [(format!("files/shop.x/a@{digest}").into_bytes(), old)];
        let topic = "shop.x".parse().expect("a name");
        world.cursors = FileCursors::parse(&topic, &world.topic, records.into()).expect("a cursor");
        assert!(world.send("a", 1, &bytes, usize::MAX).is_empty());
        let sent = world.send("a", 1, &sample.bytes("\u{10a}\n\u{a0a}\n3\n"), usize::MAX);
        assert_eq!(sent.iter().map(|line| line.number).collect::<Vec<_>>(), [3], "{sample:?}");
    }
}

#[rstest]
#[case::header_without_end("id,n", "id,n\n1,a\n", &["1,a"])]
#[case::header_that_was_cut("id,n", "id,note\n1,a\n", &["1,a"])]
#[case::bad_header_without_end("id,", "id,\n1,a\n", &["1,a"])]
#[case::header_that_was_bad("id,", "id,n\n1,a\n", &["1,a"])]
#[case::header_with_an_open_quote("\"id\n", "\"id\n\",n\n1,a\n", &["1,a"])]
#[case::blank_that_was_no_blank("id,n\n\r", "id,n\n\r1,a\n", &["\r1,a"])]
fn a_file_that_had_no_row_goes_on(#[case] before: &str, #[case] grown: &str, #[case] sent: &[&str]) {
    for sample in samples::ALL {
        let mut world = World::of(FileIdentity::Content, FileFormat::Csv, sample.encoding, Some(b'"'));
        world.send("a", 1, &sample.bytes(before), usize::MAX);
        let lines = world.send("a", 1, &sample.bytes(grown), usize::MAX);
        let texts: Vec<_> =
            lines.iter().map(|line| sample.charset.decode(&line.raw).expect("text")).collect();
        assert_eq!(texts, sent, "{sample:?}");
    }
}

#[test]
fn a_line_without_end_that_filled_its_transaction_may_grow() {
    let mut world = World::new(FileIdentity::Content);
    assert_eq!(world.publish("a", 1, b"1\n2", 1), ["1", "2"]);
    assert_eq!(world.publish("a", 1, b"1\n23\n", 1), ["23"]);
}

/// Cuts of a file, as parts of its length, and the transactions until the source stops there.
fn cuts() -> impl Strategy<Value = Vec<(prop::sample::Index, usize)>> {
    let most = prop_oneof![2 => Just(usize::MAX), 1 => 0_usize..3];
    prop::collection::vec((any::<prop::sample::Index>(), most), 1..5)
}
fn word(signs: &str, least: usize) -> impl Strategy<Value = String> + use<> {
    let signs: Vec<char> = signs.chars().collect();
    prop::collection::vec(prop::sample::select(signs), least..6).prop_map(|signs| signs.into_iter().collect())
}
fn texts_of(word: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec(word, 0..10).prop_map(|words| words.concat())
}
/// Files whose records are physical lines, or values of one line each.
fn plain_files() -> impl Strategy<Value = (FileFormat, String)> {
    let ends = || prop::sample::select(vec!["\n", "\r\n", "\r", "\n\n", " "]).prop_map(str::to_owned);
    let object = || word(TREACHEROUS, 0).prop_map(|text| format!("{{\"\u{10d}\":\"{text}\"}}"));
    let signs = || word(&format!("{TREACHEROUS}1,\""), 1);
    let csv = texts_of(prop_oneof![2 => signs(), 2 => Just("1,\u{a05}".to_owned()), 3 => ends()]);
    let array = prop::collection::vec(object(), 0..6);
    prop_oneof![
        csv.prop_map(|rows| (FileFormat::Csv, format!("id,\u{10d}\n{rows}"))),
        texts_of(prop_oneof![1 => signs(), 3 => object(), 3 => ends()])
            .prop_map(|text| (FileFormat::JsonLines, text)),
        array.prop_map(|objects| (FileFormat::Json, format!("[{}]\n", objects.join(" ,\r\n")))),
    ]
}
/// Anything, as a file of any format.
fn any_files() -> impl Strategy<Value = (FileFormat, String)> {
    let signs = || word(&format!("{TREACHEROUS}1a,\"\"[]{{}}:\\\n\n\r"), 1);
    let known =
        prop::sample::select(vec!["\r\n", "{\"a\":1}", "\"1\n\u{10d}\"", "id,n\n", "1,2\n", "[", "]"]);
    let format = prop::sample::select(vec![FileFormat::Csv, FileFormat::JsonLines, FileFormat::Json]);
    (format, texts_of(prop_oneof![1 => signs(), 1 => known.prop_map(str::to_owned)]))
}
fn identities() -> impl Strategy<Value = FileIdentity> {
    prop::sample::select(vec![FileIdentity::Content, FileIdentity::Path])
}
fn any_sample() -> impl Strategy<Value = Sample> {
    prop::sample::select(samples::ALL.to_vec())
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

    /// A file grows at any byte, even inside a character, and the source stops anywhere: a line that was
    /// published before its end is published again when it has grown, and no other line is.
    #[test]
    fn wherever_a_file_was_cut_its_lines_are_those_of_the_whole(
        (format, text) in plain_files(), sample in any_sample(), identity in identities(), cuts in cuts(),
    ) {
        let bytes = sample.bytes(&text);
        let mut cuts: Vec<_> = cuts.into_iter().map(|(at, most)| (at.index(bytes.len() + 1), most)).collect();
        cuts.sort_unstable();
        cuts.push((bytes.len(), usize::MAX));
        let mut world = World::of(identity, format, sample.encoding, None);
        for (cut, most) in cuts {
            let before = world.newest.len();
            let sent = world.send("a", 1, &bytes[..cut], most).len();
            prop_assert!(before + sent <= world.newest.len() + 1, "only the last line is published again");
        }
        let mut whole = Lines::new(world.written.clone(), &bytes[..]);
        let pieces = std::iter::from_fn(|| whole.next().expect("memory does not fail"));
        prop_assert_eq!(&world.newest, &pieces.filter_map(|piece| piece.line).collect::<Vec<_>>());
    }

    /// A file grows at any character: each time the lines are those of the same text in UTF-8.
    #[test]
    fn in_every_encoding_the_same_lines_are_published(
        (format, text) in any_files(), sample in any_sample(), identity in identities(), cuts in cuts(),
    ) {
        let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let mut cuts: Vec<_> = cuts.into_iter().map(|(at, _)| *at.get(&ends)).collect();
        cuts.sort_unstable();
        cuts.push(text.len());
        let world = |sample: Sample| World::of(identity, format, sample.encoding, Some(b'"'));
        let (mut plain, mut other) = (world(PLAIN), world(sample));
        let shown = |line: Line, sample: Sample| {
            let raw = sample.charset.decode(&line.raw).map(|text| text.into_owned());
            (line.number, raw, line.cut_of, line.row)
        };
        for cut in cuts {
            let text = &text[..cut];
            let sent = other.send("a", 1, &sample.bytes(text), usize::MAX);
            let expected = plain.send("a", 1, &PLAIN.bytes(text), usize::MAX);
            prop_assert_eq!(
                sent.into_iter().map(|line| shown(line, sample)).collect::<Vec<_>>(),
                expected.into_iter().map(|line| shown(line, PLAIN)).collect::<Vec<_>>()
            );
        }
    }

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
