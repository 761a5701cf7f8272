//! Publishes CSV and JSON Lines files of a watched folder, each once.
//!
//! Lines go to the topic in transactions of a few thousand, in order, and the same transaction writes
//! how far the file is: the cursor. Stop anywhere, and the next start reads the cursors and goes on
//! behind the last line that is on the topic. A broker without transactions may show lines of one that
//! was cut short: every record carries file and line, by which bronze drops repeats, and a cursor is
//! sent only once all lines before it are acknowledged, so it never runs ahead of them.
//!
//! A file is its path in the folder and a hash of its bytes: moved in again it is not read again,
//! written anew it is another file. A file is taken once two looks at the folder found it the same;
//! names that start with a dot or end in `.tmp` or `.part` are left alone.
//!
//! A bad line goes to the dead-letter topic with file, line and reason, in the same transaction.

mod cursor;
mod folder;
mod lines;
mod publish;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::{FileFormat, Project, Topic};
use model::{Reaction, TopicName};
use runtime::{Backoff, CancellationToken, Meter, Meters, State};
use stream::{Kafka, Reclaims, Registry};

use crate::{Error, Settings};
use publish::Publisher;

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
    /// The folder.
    pub dir: PathBuf,
    /// What its files hold. `None`: their ending says.
    pub format: Option<FileFormat>,
    /// Where lines go.
    pub topic: Topic,
    /// Where bad lines go.
    pub dead_letter: TopicName,
    /// How often the folder is looked at.
    pub poll: Duration,
    /// Stop once every file that is there has been published.
    pub once: bool,
}

/// What was published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Files finished.
    pub files: u64,
    /// Records on the topic.
    pub records: u64,
    /// Lines on the dead-letter topic.
    pub bad_lines: u64,
}

/// Feeds a topic until `stop`, or once.
pub async fn run(context: Context, feed: Feed, stop: CancellationToken) -> Result<Summary, Error> {
    let meter = context.meters.stage("ingest", feed.topic.name.as_str());
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    let (mut summary, mut reclaims) = (Summary::default(), Reclaims::default());
    loop {
        meter.state(State::Starting);
        let ended = tokio::select! {
            // What a transaction holds is dropped with it; the cursor is where the topic is.
            () = stop.cancelled() => return Ok(summary),
            ended = follow(&context, &feed, &meter, &mut backoff, &mut summary) => ended,
        };
        match ended {
            Ok(()) => {
                meter.state(State::Drained);
                return Ok(summary);
            }
            Err(error)
                if error.reaction() == Reaction::Halt
                    && !(error.is_fenced() && reclaims.may(Instant::now())) =>
            {
                meter.state(State::Halted);
                return Err(error);
            }
            Err(error) => {
                let wait = backoff.pause();
                tracing::warn!(topic = %feed.topic.name, error = &error as &dyn std::error::Error, ?wait, "files will be read on from their cursors");
                tokio::select! {
                    () = stop.cancelled() => return Ok(summary),
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
    }
}

/// Publishes what is in the folder and what comes. Ends when there is no more and once is enough.
async fn follow(
    context: &Context,
    feed: &Feed,
    meter: &Meter,
    backoff: &mut Backoff,
    summary: &mut Summary,
) -> Result<(), Error> {
    // First shut out whoever fed this topic before, then read how far it came.
    let mut publisher = Publisher::open(context, feed).await?;
    backoff.reset();
    meter.state(State::Running);
    let mut folder = folder::Folder::new(feed.dir.clone());
    loop {
        let mut waiting = false;
        for file in folder.look().await? {
            waiting |= !file.is_still;
            if file.is_still && !publisher.cursors.is_done(&file) {
                let done = publisher.publish(context, feed, &file).await?;
                summary.files += 1;
                summary.records += done.records;
                summary.bad_lines += done.bad_lines;
                meter.records_out(done.records);
                meter.quarantined(done.bad_lines);
                tracing::info!(
                    file = file.name,
                    records = done.records,
                    bad_lines = done.bad_lines,
                    "file published"
                );
            }
        }
        if feed.once && !waiting {
            return Ok(());
        }
        tokio::time::sleep(feed.poll).await;
    }
}
