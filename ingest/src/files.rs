//! Publishes the files of a watched folder, each line once.
//!
//! Lines go to the topic in transactions of a few thousand, in order, and the same transaction writes
//! how far the file is: the cursor. Stop anywhere, and the next start reads the cursors and goes on
//! behind the last line that is on the topic. A broker without transactions may show lines of one that
//! was cut short: every record carries file and line, by which bronze drops repeats, and a cursor is
//! sent only once all lines before it are acknowledged, so it never runs ahead of them.
//!
//! | module | subject |
//! | --- | --- |
//! | [`folder`] | what is in the folder, and what of it is no file |
//! | [`content`] | a file's bytes, decompressed, and their digests |
//! | [`cursor`], [`resolve`] | how far each file is; what is to be done with one |
//! | [`text`], [`csv`], [`array`], [`json`], [`window`], [`lines`] | content to rows and bad lines |
//! | [`form`], [`publish`] | rows to records, and a transaction of them |
//!
//! A file is its content: moved, copied or put there again it is not read again, and one that is longer
//! than before is read on behind what is published ([`resolve`] has the rules). It is taken once two looks
//! at the folder found it the same, and later if its last line has no end, for more of it may come.
//!
//! A bad line goes to the dead-letter topic with file, line and reason, in the same transaction. What
//! cannot be read at all is set aside and said once; the other files go on.

mod array;
mod content;
mod csv;
mod cursor;
mod folder;
mod form;
mod json;
mod lines;
mod publish;
mod resolve;
mod text;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use catalog::{Encoding, FileFormat, FilePattern, Files, Project, Topic};
use model::Reaction;
use runtime::{CancellationToken, Meter, Meters, Retry, State};
use stream::{Admin, Kafka, Reclaims, Registry};
use tokio::time::Instant;

use crate::{Error, Settings};
use content::Content;
use folder::{Aside, Found};
use lines::Written;
use publish::Publisher;
use resolve::{Step, Why};

pub use csv::BadCsv;
pub use lines::BadLine;

/// What the source works with.
#[derive(Clone)]
pub struct Context {
    /// The project.
    pub project: Arc<Project>,
    /// Where its topics are.
    pub kafka: Kafka,
    /// Where its schemas are registered.
    pub registry: Registry,
    /// Metrics.
    pub meters: Meters,
    /// The source's own settings.
    pub settings: Settings,
}

/// A folder and the topic it feeds.
#[derive(Debug, Clone)]
pub struct Feed {
    /// The folder, and how its files are written.
    pub files: Files,
    /// Which of them go to this topic.
    pub route: Route,
    /// Where lines go.
    pub topic: Topic,
    /// Stop once every file that is there has been published.
    pub once: bool,
}

/// Which files of a folder are of a stream.
#[derive(Debug, Clone)]
pub struct Route {
    /// The patterns of all streams of the source. `None` takes every file.
    streams: Arc<[Option<FilePattern>]>,
    mine: usize,
}
impl Route {
    /// Every file.
    pub fn all() -> Self {
        Self { streams: [None].into(), mine: 0 }
    }
    /// One of each stream of a source.
    pub fn of(streams: Vec<Option<FilePattern>>) -> Vec<Self> {
        let streams: Arc<[_]> = streams.into();
        (0..streams.len()).map(|mine| Self { streams: streams.clone(), mine }).collect()
    }
    /// Whether a file is of this stream. An error is one that no stream can have; it is told to the first.
    fn takes(&self, name: &str) -> Result<bool, Option<String>> {
        let matching = (0..self.streams.len())
            .filter(|at| self.streams[*at].as_ref().is_none_or(|pattern| pattern.matches(name)));
        let matching: Vec<usize> = matching.collect();
        let patterns = |of: &[usize]| {
            let texts = of.iter().filter_map(|at| self.streams[*at].as_ref().map(FilePattern::as_str));
            texts.collect::<Vec<_>>().join("`, `")
        };
        let why = match &matching[..] {
            [one] => return Ok(*one == self.mine),
            [] => "no stream of the source takes files of its name".to_owned(),
            several => {
                format!("streams `{}` of the source all take it, and it goes to one", patterns(several))
            }
        };
        Err((self.mine == 0).then_some(why))
    }
}

/// What was published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Files of which something was published.
    pub files: u64,
    /// Records on the topic.
    pub records: u64,
    /// Lines on the dead-letter topic.
    pub bad_lines: u64,
    /// Files and other things in the folder that are not read. What has the content of a file that was
    /// published is none of them.
    pub aside: u64,
}

/// How long a file whose last line has no end must not have changed.
const OPEN_END: Duration = Duration::from_secs(3);
/// How often the topic is asked whether it is still the same.
const SAME_TOPIC: Duration = Duration::from_secs(5);
/// Files that are looked through before the first of them is published: more need fewer transactions.
const TOGETHER: usize = 64;

/// Feeds a topic until `stop`, or once.
pub async fn run(context: Context, feed: Feed, stop: CancellationToken) -> Result<Summary, Error> {
    let meter = context.meters.stage("ingest", feed.topic.name.as_str());
    let mut retry = Retry::new(Duration::from_millis(200));
    let (mut summary, mut reclaims) = (Summary::default(), Reclaims::default());
    let mut said = BTreeSet::new();
    loop {
        meter.state(State::Starting);
        let ended = tokio::select! {
            // What a transaction holds is dropped with it; the cursor is where the topic is.
            () = stop.cancelled() => return Ok(summary),
            ended = follow(&context, &feed, &meter, &mut retry, &mut summary, &mut said) => ended,
        };
        match ended {
            Ok(()) => {
                meter.state(State::Drained);
                return Ok(summary);
            }
            Err(error)
                if (error.reaction() == Reaction::Halt
                    || feed.once && matches!(error, Error::Folder { .. }))
                    && !(error.is_fenced() && reclaims.may(std::time::Instant::now())) =>
            {
                meter.halt(error.to_string());
                return Err(error);
            }
            Err(error) => {
                let doing = "files will be read on from their cursors";
                if !retry.again(&feed.topic.name, doing, &error, &stop).await {
                    return Ok(summary);
                }
            }
        }
    }
}

/// A file that is to be published.
struct Taken {
    file: Found,
    written: Written,
    gzip: bool,
    content: Content,
}

/// Publishes what is in the folder and what comes. Ends when there is no more and once is enough.
async fn follow(
    context: &Context,
    feed: &Feed,
    meter: &Meter,
    retry: &mut Retry,
    summary: &mut Summary,
    said: &mut BTreeSet<Aside>,
) -> Result<(), Error> {
    // Before anything else: a folder that is not there needs no topic.
    let mut folder = folder::Folder::new(feed.files.dir.clone());
    folder.look(Instant::now()).await?;
    // First shut out whoever fed this topic before, then read how far it came.
    let mut publisher = Publisher::open(context, feed).await?;
    retry.hurry();
    meter.state(State::Running);
    // Files that need no other look, as they were, and contents of those that do.
    let mut finished: BTreeMap<String, folder::State> = BTreeMap::new();
    let mut contents: BTreeMap<String, (folder::State, Result<Content, String>)> = BTreeMap::new();
    let mut asked = Instant::now();
    loop {
        let look = folder.look(Instant::now()).await?;
        let mut aside: BTreeSet<Aside> =
            if feed.route.mine == 0 { look.aside.into_iter().collect() } else { BTreeSet::new() };
        let (mut waiting, mut ready) = (false, Vec::new());
        for file in look.files {
            match feed.route.takes(&file.name) {
                Ok(true) => {}
                Ok(false) | Err(None) => continue,
                Err(Some(why)) => {
                    aside.insert(Aside { name: file.name, why });
                    continue;
                }
            }
            let Some((written, gzip)) = written(context, feed, &file.name) else {
                let why = "its name does not say what it holds: say `format:`".to_owned();
                aside.insert(Aside { name: file.name, why });
                continue;
            };
            if finished.get(&file.name) == Some(&file.state) {
                continue;
            }
            match file.still_for {
                Some(still) if still >= feed.files.settle.unwrap_or_default() => {
                    ready.push((file, written, gzip))
                }
                _ => waiting = true,
            }
        }
        contents
            .retain(|name, (state, _)| ready.iter().any(|(f, _, _)| f.name == *name && f.state == *state));
        let mut ready = ready.into_iter();
        while !ready.as_slice().is_empty() {
            let mut taken = Vec::new();
            for (file, written, gzip) in ready.by_ref().take(TOGETHER) {
                let is_known = contents.get(&file.name).is_some_and(|(state, _)| *state == file.state);
                if !is_known {
                    let content = read(&publisher, feed, &file, &written, gzip).await;
                    contents.insert(file.name.clone(), (file.state.clone(), content));
                }
                let Some((_, content)) = contents.get(&file.name) else { continue };
                let is_young = file.still_for < Some(OPEN_END);
                match content {
                    // A file that is still written may be half of one that can be read.
                    Err(_) if is_young => waiting = true,
                    Err(why) => drop(aside.insert(Aside { name: file.name, why: why.clone() })),
                    Ok(content) => {
                        let (content, mut written) = (content.clone(), written);
                        if content.is_array && is_json_by_name(feed, &file.name) {
                            written.format = FileFormat::Json;
                        }
                        let ended = match written.format {
                            FileFormat::Json => content.ends_value,
                            _ => content.ends_line,
                        };
                        if ended || !is_young || is_nothing(&publisher, feed, &file, &content) {
                            taken.push(Taken { file, written, gzip, content });
                        } else {
                            waiting = true;
                        }
                    }
                }
            }
            begin(&mut publisher, feed, &taken).await?;
            for taken in taken {
                let (name, state) = (taken.file.name.clone(), taken.file.state.clone());
                contents.remove(&name);
                match one(context, feed, &mut publisher, taken).await {
                    Ok(None) => {}
                    Ok(Some(done)) => {
                        summary.files += done.files;
                        summary.records += done.records;
                        summary.bad_lines += done.bad_lines;
                        meter.records_out(done.records);
                        meter.quarantined(done.bad_lines);
                        let (records, bad_lines) = (done.records, done.bad_lines);
                        tracing::info!(file = name, records, bad_lines, "file published");
                    }
                    // One file that changes, or cannot be read any more, does not stop the others.
                    Err(error @ Error::Changed { .. }) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "file is looked at again");
                        waiting = true;
                        continue;
                    }
                    Err(Error::File { source, .. }) => {
                        contents.insert(name, (state, Err(format!("it cannot be read: {source}"))));
                        waiting = true;
                        continue;
                    }
                    Err(error) => return Err(error),
                }
                finished.insert(name, state);
            }
        }
        summary.aside = aside.len() as u64;
        for thing in &aside {
            if said.insert(thing.clone()) {
                tracing::warn!(file = thing.name, reason = thing.why, "set aside, it is not read");
            }
        }
        said.retain(|thing| aside.contains(thing));
        if feed.once && !waiting {
            return Ok(());
        }
        tokio::time::sleep(feed.files.poll).await;
        if asked.elapsed() >= SAME_TOPIC {
            asked = Instant::now();
            same_topic(context, &publisher).await?;
        }
    }
}

/// Does what is to be done with a file. `None`: nothing of it was published now.
async fn one(
    context: &Context,
    feed: &Feed,
    publisher: &mut Publisher,
    taken: Taken,
) -> Result<Option<Summary>, Error> {
    let Taken { file, written, gzip, content } = taken;
    match resolve(publisher, feed, &file, &content) {
        Step::Nothing => Ok(None),
        Step::Remember(cursor) => {
            tracing::info!(
                file = file.name,
                "file has a content that is published, it is not published again"
            );
            publisher.remember(vec![*cursor]).await.map(|()| None)
        }
        Step::Publish(cursor, _) => {
            publisher.publish(context, feed, &file, written, gzip, *cursor).await.map(Some)
        }
    }
}

/// An error if the topic was deleted and made again: nothing of the folder is on the new one.
async fn same_topic(context: &Context, publisher: &Publisher) -> Result<(), Error> {
    let topic = &publisher.form.topic.name;
    let failed = |source| Error::Stream { topic: topic.clone(), source };
    let found = Admin::try_new(&context.kafka).map_err(failed)?.describe(topic).await.map_err(failed)?;
    match found {
        Some(found) if found.id == publisher.form.id => Ok(()),
        _ => Err(Error::Recreated { topic: topic.clone() }),
    }
}

/// How a file is written: what the source says, else its name. `None`: neither says what it holds.
fn written(context: &Context, feed: &Feed, name: &str) -> Option<(Written, bool)> {
    let files = &feed.files;
    let lower = name.to_ascii_lowercase();
    let (gzip, lower) = match lower.strip_suffix(".gz") {
        Some(inner) => (files.gzip.unwrap_or(true), inner),
        None => (files.gzip.unwrap_or(false), lower.as_str()),
    };
    let by_name = match lower.rsplit_once('.').map(|(_, ending)| ending) {
        Some("csv") => Some(FileFormat::Csv),
        Some("tsv" | "tab") => Some(FileFormat::Tsv),
        Some("jsonl" | "ndjson" | "json") => Some(FileFormat::JsonLines),
        // Text of any kind: how its fields are set apart says that it has some.
        _ => files.csv.delimiter.map(|_| FileFormat::Csv),
    };
    let format = files.format.or(by_name)?;
    let delimiter = files.csv.delimiter.unwrap_or(if format == FileFormat::Tsv { b'\t' } else { b',' });
    let longest = files.max_line_bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX / 4));
    let columns = (!files.csv.header).then(|| files.csv.columns.clone().into());
    let written = Written {
        format,
        encoding: files.encoding,
        delimiter,
        quote: files.csv.quote,
        columns,
        longest: longest.unwrap_or(context.settings.max_line_bytes),
    };
    Some((written, gzip))
}

/// Whether a file that begins with a bracket is one JSON array.
fn is_json_by_name(feed: &Feed, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    feed.files.format.is_none() && name.strip_suffix(".gz").unwrap_or(&name).ends_with(".json")
}

/// Reads a file once: what it is known by, and whether it can be read at all.
async fn read(
    publisher: &Publisher,
    feed: &Feed,
    file: &Found,
    written: &Written,
    gzip: bool,
) -> Result<Content, String> {
    let lengths = resolve::lengths(&publisher.cursors, feed.files.identity, file);
    let wide = matches!(written.encoding, Encoding::Utf16 | Encoding::Utf16Le | Encoding::Utf16Be);
    let (path, size) = (file.path.clone(), file.state.size);
    let read = runtime::cpu::run(move || {
        content::read(&mut *content::open(&path, size, gzip)?, &lengths, if wide { 2 } else { 1 })
    });
    read.await.map_err(|error| match gzip {
        true => format!("it cannot be read as gzip: {error}"),
        false => format!("it cannot be read: {error}"),
    })
}

fn resolve(publisher: &Publisher, feed: &Feed, file: &Found, content: &Content) -> Step {
    resolve::resolve(&publisher.cursors, feed.files.identity, &publisher.form.id, file, content)
}

fn is_nothing(publisher: &Publisher, feed: &Feed, file: &Found, content: &Content) -> bool {
    matches!(resolve(publisher, feed, file, content), Step::Nothing | Step::Remember(_))
}

/// Puts the cursors of new files on the topic, before the first line of any of them.
async fn begin(publisher: &mut Publisher, feed: &Feed, taken: &[Taken]) -> Result<(), Error> {
    let mut begun: Vec<cursor::Cursor> = Vec::new();
    for Taken { file, content, .. } in taken {
        if let Step::Publish(cursor, why) = resolve(publisher, feed, file, content)
            && why.is_begun()
            // Of two files with the same content one is published, and the other is its copy.
            && !(feed.files.identity == catalog::FileIdentity::Content
                && begun.iter().any(|other| other.aim == cursor.aim))
        {
            match why {
                Why::Rewritten => {
                    tracing::warn!(
                        file = file.name,
                        "file has other content than before: it is published whole"
                    );
                }
                Why::Changed => {
                    let line = cursor.end.next;
                    tracing::warn!(
                        file = file.name,
                        line,
                        "file has other lines than before from here on: they are published"
                    );
                }
                Why::New | Why::Unfinished | Why::Grown => {}
            }
            begun.push(*cursor);
        }
    }
    publisher.remember(begun).await
}

/// Reads files that feed a topic and sends nothing.
#[derive(Debug)]
pub struct Replay(crate::shape::Shape);
impl Replay {
    /// For records of `schema`. `None`: no records are.
    pub fn of(topic: &Topic, schema: &str) -> Option<Self> {
        crate::shape::Shape::try_new(schema, topic).ok().map(Self)
    }
    /// How many lines of the file would be records, and how many are bad.
    pub fn read(&self, format: FileFormat, file: &[u8]) -> (usize, usize) {
        let (mut good, mut bad) = (0, 0);
        let written = Written {
            format,
            encoding: Encoding::Utf8,
            delimiter: b',',
            quote: Some(b'"'),
            columns: None,
            longest: Settings::default().max_line_bytes,
        };
        let mut lines = lines::Lines::new(written, file);
        while let Ok(Some(piece)) = lines.next() {
            let Some(line) = piece.line else { continue };
            match line.row.map_err(drop).and_then(|row| self.0.encode(row.given()).map_err(drop)) {
                Ok(_) => good += 1,
                Err(()) => bad += 1,
            }
        }
        (good, bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_goes_to_the_one_stream_whose_pattern_it_matches() {
        let pattern = |text: &str| Some(FilePattern::parse(text).expect("a pattern"));
        let routes = Route::of(vec![pattern("a*"), pattern("*b.csv")]);
        assert_eq!(routes[0].takes("a-1.csv"), Ok(true));
        assert_eq!(routes[1].takes("a-1.csv"), Ok(false));
        assert_eq!(routes[1].takes("below/b.csv"), Ok(true));
        let none = routes[0].takes("c.csv").expect_err("no stream").expect("told once");
        assert!(none.contains("no stream"), "{none}");
        let two = routes[0].takes("ab.csv").expect_err("two streams").expect("told once");
        assert!(two.contains("`a*`, `*b.csv`"), "{two}");
        assert_eq!(routes[1].takes("ab.csv"), Err(None), "the first tells");
        assert_eq!(Route::all().takes("whatever"), Ok(true));
    }
}
