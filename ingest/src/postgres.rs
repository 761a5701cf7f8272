//! Reads a PostgreSQL database: the rows of its tables once, then every change.
//!
//! The source of changes is a replication slot of the server's own `pgoutput`. Where reading stands is
//! the cursor, a record in the same Kafka transaction as the changes; the slot is told afterwards, so it
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
//! | `publish`, `follow` | a Kafka transaction at a time; the loop |

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
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::{Project, Topic};
use model::Reaction;
use runtime::{CancellationToken, Clock, Meters, Retry, State};
use stream::{Kafka, Reclaims, Registry};

use crate::Error;
use follow::Follower;

pub use replay::replay;
pub use session::Address;

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
    /// Says when an event was read.
    pub clock: Arc<dyn Clock>,
}

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
    /// Stop once everything is published that was committed when it began.
    pub once: bool,
}

/// What is done once, at the start.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Read these tables again.
    pub snapshot: BTreeSet<String>,
    /// Go on though the database has another history.
    pub new_epoch: bool,
}

/// What was published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records on the topics, tombstones included.
    pub records: u64,
    /// Of these, changes that their schema could not hold.
    pub bad: u64,
}

/// Reads a database until `stop`, or once.
pub async fn run(
    context: Context,
    feed: Feed,
    mut asked: Asked,
    stop: CancellationToken,
) -> Result<Summary, Error> {
    let meter = context.meters.stage("ingest", &feed.source);
    let mut retry = Retry::new(Duration::from_millis(200));
    let (mut summary, mut reclaims) = (Summary::default(), Reclaims::default());
    loop {
        meter.state(State::Starting);
        let attempt = async {
            let mut follower = Follower::open(&context, &feed, &meter, &mut asked, &mut summary).await?;
            retry.hurry();
            follower.run(&mut summary).await
        };
        let ended = tokio::select! {
            // What a transaction holds is dropped with it; the cursor is where the topics are.
            () = stop.cancelled() => return Ok(summary),
            ended = attempt => ended,
        };
        let error = match ended {
            Ok(()) => {
                meter.state(State::Drained);
                return Ok(summary);
            }
            Err(error) => error,
        };
        let reclaimed = error.is_fenced() && reclaims.may(Instant::now());
        if error.reaction() == Reaction::Halt && !reclaimed {
            meter.halt(error.to_string());
            return Err(error);
        }
        let doing = "the database will be read on from its cursor";
        if !retry.again(&feed.source, doing, &error, &stop).await {
            return Ok(summary);
        }
    }
}
