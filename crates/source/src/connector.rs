//! What a source is to the loop that runs it.
//!
//! A connector is one declared source, for as long as the process runs. Opened, it gives a reader, which lives
//! until the first error: the next one is opened anew, from what the cursors say. So whatever a reader
//! remembers is true of its own attempt only, and what has to outlive an attempt is the connector's.
//!
//! A reader says what comes next; the loop does it. The unit is the source's: a few thousand lines of a file,
//! transactions of a database, a slice of an API. Each ends with [`Step::Commit`], which is one Kafka transaction
//! together with the cursor. A unit of many records is several [`Step::Send`]s before it.

use async_trait::async_trait;
use runtime::time::{Duration, Instant};
use runtime::{CancellationToken, Meter};

use crate::batch::{Sent, SourceBatch};
use crate::error::Error;
use crate::publisher::Publisher;

/// A source of records.
#[async_trait]
pub trait Connector: Send {
    /// What it is called, and what is said when it is tried again.
    fn about(&self) -> About;

    /// Begins to read, or begins again after an error.
    ///
    /// The order is the connector's: what can be checked without shutting anybody out comes first, then
    /// [`Publisher::open`], which does shut out whoever published this source before, and gives the
    /// cursors to go on from.
    async fn open<'a>(&'a mut self, stop: &CancellationToken) -> Result<Opened<'a>, Error>;

    /// What is done with what is being read when the source is stopped.
    fn on_stop(&self) -> OnStop {
        OnStop::Drop
    }
}

/// What a source is called.
#[derive(Clone)]
pub struct About {
    /// In logs: the source, or the topic that it feeds.
    pub name: String,
    /// In logs, when it is tried again: `files will be read on from their cursors`.
    pub goes_on: &'static str,
    /// Its metrics. `None`: it has several, and reports by itself.
    pub meter: Option<Meter>,
}

/// What becomes of an attempt when the source is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStop {
    /// It is dropped where it is, and what the transaction holds with it: the cursor is where the topics are.
    Drop,
    /// The reader watches the token and comes to its own end; Kafka has this long to acknowledge what was sent.
    Finish(Duration),
}

/// A source that is being read.
pub struct Opened<'a> {
    /// Where its records go.
    pub publisher: Publisher,
    /// What they are.
    pub reader: Box<dyn Reader + 'a>,
}

/// Reads a source, from one error to the next.
#[async_trait]
pub trait Reader: Send {
    /// What comes next. Waits for it, unless it is for long: then [`Step::Wait`] says until when.
    async fn next(&mut self) -> Result<Step, Error>;

    /// The records of the last [`Step::Send`] are on their way. Which of them are bad is known from here on.
    fn sent(&mut self, _sent: Sent) {}

    /// The transaction that the last [`Step::Commit`] ended is on the topics, with its cursors. `_sent` is all that
    /// it holds.
    async fn committed(&mut self, _sent: Sent) -> Result<(), Error> {
        Ok(())
    }

    /// False while it makes up for what it has missed, such as the first rows of a database: the source counts as
    /// starting, and failures make its pauses longer.
    fn is_ready(&self) -> bool {
        true
    }
}

/// What the loop does next.
pub enum Step {
    /// Sends records in the open transaction, which is begun if there is none, and leaves it open.
    Send(SourceBatch),
    /// Ends the open transaction, or one of its own, with records that say how far the source is then. They are
    /// sent once everything before them is acknowledged.
    Commit(Vec<CursorRecord>),
    /// Asks again then.
    Wait(Wait),
    /// The source has come to its end. What a transaction still holds is committed.
    Done,
}

/// A record of the cursors topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorRecord {
    /// Begins with the connector's name.
    pub key: Vec<u8>,
    /// `None`: the cursor is no longer needed.
    pub value: Option<Vec<u8>>,
}

/// How long a source has nothing to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// When to ask again.
    pub until: Instant,
    /// Why it has to wait although there is more to read, such as a budget that is used up: said once, and shown
    /// as idle. `None`: nothing new is there.
    pub held_back: Option<String>,
}
impl Wait {
    /// Looks again after a while.
    pub fn poll(after: Duration) -> Self {
        Self { until: Instant::now() + after, held_back: None }
    }
}
