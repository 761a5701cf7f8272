//! Reads a PostgreSQL database: the rows of its tables once, then every change.
//!
//! Changes come from a replication slot with the server's own plugin `pgoutput`. The cursor says how far the
//! database was read; it is a record in the same Kafka transaction as the changes. The slot advances
//! afterwards, so the server keeps everything that is not on the topics. A start has these steps: shut out
//! the previous reader; read the cursor; compare it with the server and the slot; read tables that were never
//! read; follow the changes.
//!
//! Another server, another timeline, a lost slot, or a log that ends before the cursor mean another history:
//! its positions cannot be compared with those on the topics. So the source halts until a person asks for a
//! new epoch, in which all tables are read again.
//!
//! | module | subject |
//! | --- | --- |
//! | `session` | SQL and replication commands |
//! | `preflight` | what a database needs before it can be read |
//! | `cursor` | how far it was read |
//! | `pgoutput`, `changes` | messages of the stream; the events in them |
//! | `kind`, `schema`, `tables` | types of PostgreSQL, their Avro, the form of a table's records |
//! | `encode` | an event as a record |
//! | `snapshot` | the rows of tables as of one position |
//! | `publish` | events that wait for the end of their Kafka transaction |
//! | `follow` | what is published next: the first cursor, the rows, every change |

mod changes;
mod cursor;
mod encode;
mod follow;
mod kind;
mod pgoutput;
mod preflight;
mod publish;
mod replay;
mod schema;
mod session;
mod snapshot;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use catalog::Topic;
use runtime::CancellationToken;
use source::{About, Connector, Context, Opened};

use follow::DatabaseReader;

pub use replay::replay;
pub use session::Address;

/// A database and the topics of its tables.
#[derive(Clone)]
pub struct Feed {
    /// Name of the source: in its cursor's key, and Debezium's `topic.prefix`.
    pub source: String,
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    /// Name of the replication slot.
    pub slot: String,
    /// Name of the publication.
    pub publication: String,
    /// How often the slot advances while no table changes.
    pub heartbeat: Duration,
    /// Topics by `schema.table`.
    pub tables: BTreeMap<String, Topic>,
}

/// What to do once, at the start.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Read these tables again.
    pub snapshot: BTreeSet<String>,
    /// Continue although the database has another history.
    pub new_epoch: bool,
}

/// Publishes the rows and the changes of a database.
pub struct Postgres {
    context: Context,
    feed: Feed,
    /// The requests that have not been carried out yet.
    asked: Asked,
}
impl Postgres {
    /// A connector; it connects to nothing before it is opened.
    pub fn new(context: Context, feed: Feed, asked: Asked) -> Self {
        Self { context, feed, asked }
    }
}

#[async_trait]
impl Connector for Postgres {
    fn about(&self) -> About {
        About {
            name: self.feed.source.clone(),
            goes_on: "the database will be read on from its cursor",
            meter: Some(self.context.meters.stage("ingest", &self.feed.source)),
        }
    }

    async fn open<'a>(&'a mut self, _stop: &CancellationToken) -> Result<Opened<'a>, source::Error> {
        let (publisher, follower) = DatabaseReader::open(self).await?;
        Ok(Opened { publisher, reader: Box::new(follower) })
    }
}
