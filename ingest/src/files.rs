//! Publishes the files of a watched folder, each line once.
//!
//! Lines go to the topic in order, in transactions of a few thousand. The same transaction writes the file's
//! cursor: how far the file is published. After a stop anywhere, the next start reads the cursors and
//! continues after the last line on the topic. Readers of a broker without transactions may see an aborted
//! transaction, so each record has its file and line, by which bronze drops repeats.
//!
//! | module | subject |
//! | --- | --- |
//! | [`folder`] | what is in the folder, and which of it are files |
//! | [`content`] | a file's bytes, decompressed, and their digests |
//! | [`cursor`], [`resolve`] | how far each file is published; what to do with a file |
//! | [`text`], [`csv`], [`array`], [`json`], [`window`], [`lines`] | content to rows and bad lines |
//! | [`route`] | finds a file's stream and format by its name |
//! | [`form`], [`publish`] | rows to records; one file, transaction by transaction |
//! | [`reader`] | looks at the folder repeatedly, and decides what is published next |
//!
//! A file is identified by its content: it is not read again after it is moved, copied or replaced by the
//! same content, and a file that has grown is read from the end of its published part ([`resolve`] has the
//! rules). A file is read once two looks at the folder found it unchanged, and later if its last line has no
//! end, because it may grow.
//!
//! A bad line goes to the dead-letter topic with file, line and reason, in the same transaction. A file that
//! cannot be read at all is set aside and logged once; the other files go on.

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

/// A folder and the topic that its files go to.
#[derive(Debug, Clone)]
pub struct Feed {
    /// The folder, and the format of its files.
    pub files: catalog::Files,
    /// Which of the files go to this topic.
    pub route: Route,
    /// The topic.
    pub topic: Topic,
}

/// What was found in the folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files with at least one published row.
    pub files: u64,
    /// Files and other entries of the folder that are not read, without copies of published files.
    pub aside: u64,
}

/// Publishes the files of a folder that go to one topic.
pub struct Files {
    context: Context,
    settings: Settings,
    feed: Feed,
    counts: Counts,
    /// Entries that are set aside and have been logged.
    said: BTreeSet<Aside>,
}
impl Files {
    /// A connector; it looks at nothing before it is opened.
    pub fn new(context: Context, settings: Settings, feed: Feed) -> Self {
        Self { context, settings, feed, counts: Counts::default(), said: BTreeSet::new() }
    }
    /// What was found in the folder so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }
    /// A missing folder is probably misspelt if it is read only once; if it is watched, wait for it.
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
        // Before anything else: a missing folder is an error even without a topic.
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

/// Reads files for a topic without sending anything.
#[derive(Debug)]
pub struct Replay(crate::shape::Shape);
impl Replay {
    /// For records of `schema`. `None`: no records can have that schema.
    pub fn of(topic: &Topic, schema: &str) -> Option<Self> {
        crate::shape::Shape::try_new(schema, topic).ok().map(Self)
    }
    /// How many lines of the file would become records, and how many are bad.
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
