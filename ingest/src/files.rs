//! Publishes the files of a watched folder, each line once.
//!
//! Lines go to the topic in transactions of a few thousand, in order, and the same transaction writes
//! how far the file is: a cursor each. Stop anywhere, and the next start reads the cursors and goes on
//! behind the last line that is on the topic. A broker without transactions may show lines of one that
//! was cut short: every record carries file and line, by which bronze drops repeats.
//!
//! | module | subject |
//! | --- | --- |
//! | [`folder`] | what is in the folder, and what of it is no file |
//! | [`content`] | a file's bytes, decompressed, and their digests |
//! | [`cursor`], [`resolve`] | how far each file is; what is to be done with one |
//! | [`text`], [`csv`], [`array`], [`json`], [`window`], [`lines`] | content to rows and bad lines |
//! | [`route`] | what a file's name says: its stream, and how it is written |
//! | [`form`], [`publish`] | rows to records; one file, a transaction at a time |
//! | [`reader`] | one look at the folder after the other, and what of it is published next |
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
mod reader;
mod resolve;
mod route;
mod text;
mod window;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use catalog::{Encoding, FileFormat, Topic};
use model::Reaction;
use runtime::CancellationToken;
use runtime::time::Instant;
use source::{About, Connector, Context, Opened, Publisher};

use crate::{Error, Settings};
use cursor::FileCursors;
use folder::{Aside, Folder};
use form::Form;
use lines::Written;
use reader::FolderReader;

pub use csv::BadCsv;
pub use lines::BadLine;
pub use route::Route;

/// A folder and the topic it feeds.
#[derive(Debug, Clone)]
pub struct Feed {
    /// The folder, and how its files are written.
    pub files: catalog::Files,
    /// Which of them go to this topic.
    pub route: Route,
    /// Where lines go.
    pub topic: Topic,
}

/// What was seen of the folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files of which something was published.
    pub files: u64,
    /// Files and other things in the folder that are not read. What has the content of a file that was
    /// published is none of them.
    pub aside: u64,
}

/// Publishes the files of a folder that go to one topic.
pub struct Files {
    context: Context,
    settings: Settings,
    feed: Feed,
    counts: Counts,
    /// What is set aside, and was said to be.
    said: BTreeSet<Aside>,
}
impl Files {
    /// Nothing is looked at before it is opened.
    pub fn new(context: Context, settings: Settings, feed: Feed) -> Self {
        Self { context, settings, feed, counts: Counts::default(), said: BTreeSet::new() }
    }
    /// What was seen of the folder so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }
    /// Who looks once at a folder that is not there has misspelt it; who watches it waits.
    fn failed(&self, error: Error) -> source::Error {
        if self.context.once && matches!(error, Error::Folder { .. }) {
            return source::Error::new(Reaction::Halt, error);
        }
        error.into()
    }
}

#[async_trait]
impl Connector for Files {
    fn about(&self) -> About {
        let topic = self.feed.topic.name.as_str();
        About {
            name: topic.to_owned(),
            goes_on: "files will be read on from their cursors",
            meter: Some(self.context.meters.stage("ingest", topic)),
        }
    }

    async fn open<'a>(&'a mut self, _stop: &CancellationToken) -> Result<Opened<'a>, source::Error> {
        // Before anything else: a folder that is not there needs no topic.
        let mut folder = Folder::new(self.feed.files.dir.clone());
        folder.look(Instant::now()).await.map_err(|error| self.failed(error))?;
        let form = Form::try_new(&self.context, &self.feed.topic).await?;
        let topic = self.feed.topic.name.clone();
        let (id, name) = (format!("files.{topic}"), topic.clone());
        let failed = move |source| Error::Stream { topic: name.clone(), source }.into();
        let (publisher, records) = Publisher::open(&self.context, &id, failed).await?;
        let cursors = FileCursors::parse(&topic, &form.id, records)?;
        let reader = Box::new(FolderReader::new(self, folder, Arc::new(form), cursors));
        Ok(Opened { publisher, reader })
    }
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
