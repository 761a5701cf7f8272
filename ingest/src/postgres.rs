//! Reads a PostgreSQL database: the rows of its tables once, then every change.
//!
//! The source of changes is a replication slot of the server's own `pgoutput`. Where reading stands is
//! the cursor, a record in the same Kafka transaction as the changes; the slot moves on afterwards, so it
//! never forgets what is not on the topics. The order of a start: shut out whoever read before; read the
//! cursor; compare it with the server and the slot; read the tables that were never read; follow.
//!
//! Another server, another timeline, a lost slot, a log that ends before the cursor: these are another
//! history. Its positions mean nothing beside the ones on the topics, so reading halts, and goes on only
//! when told, as the next epoch, with all tables read anew.
//!
//! | module | subject |
//! | --- | --- |
//! | `session` | SQL and replication commands |
//! | `preflight` | what must be true of a database before it can be read |
//! | `cursor` | how far it was read |
//! | `pgoutput`, `changes` | messages of the stream; the events they say |
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

use follow::Follower;

pub use replay::replay;
pub use session::Address;

/// A database and the topics its tables go to.
#[derive(Clone)]
pub struct Feed {
    /// Name of the source: of its cursor, and Debezium's `topic.prefix`.
    pub source: String,
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    /// Name of the replication slot.
    pub slot: String,
    /// Name of the publication.
    pub publication: String,
    /// How often the slot moves on while no table changes.
    pub heartbeat: Duration,
    /// `schema.table` to topic.
    pub tables: BTreeMap<String, Topic>,
}

/// What is done once, at the start.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Read these tables again.
    pub snapshot: BTreeSet<String>,
    /// Go on though the database has another history.
    pub new_epoch: bool,
}

/// Publishes the rows and the changes of a database.
pub struct Postgres {
    context: Context,
    feed: Feed,
    /// What of it has not been done yet.
    asked: Asked,
}
impl Postgres {
    /// Nobody is asked before it is opened.
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
        let (publisher, follower) = Follower::open(self).await?;
        Ok(Opened { publisher, reader: Box::new(follower) })
    }
}
