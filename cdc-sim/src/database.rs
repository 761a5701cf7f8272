//! Applies the workload to a real PostgreSQL, in its own transactions.
//!
//! The progress is a row of the same database, changed by the same transactions. After a stop or kill at any
//! time, the next run generates the log from its start, skips what was applied, and continues.

use std::time::Duration;

use pgwire_replication::{ReplicationClient, ReplicationConfig, TlsConfig};
use runtime::time::{Instant, sleep};
use runtime::{CancellationToken, cpu};

use crate::error::Error;
use crate::oracle::{Injected, State, Summary};
use crate::pace::Pace;
use crate::record::Recorder;
use crate::script::Statements;
use crate::settings::Settings;
use crate::world::World;

/// Bytes of SQL per request: transactions share a round trip, but not their commit.
const BATCH: usize = 256 << 10;
/// Pause between two looks at the clock in a paced run.
const LOOK: Duration = Duration::from_millis(20);

/// Applies the workload to the database until its end, or until stopped: then it finishes the current day, so
/// that the summary is exact.
pub async fn run(settings: Settings, login: Login, stop: CancellationToken) -> Result<Summary, Error> {
    let spoiling = [
        ("disorder", settings.disorder.is_none()),
        ("duplicates", settings.duplicates.is_none()),
        ("poison", settings.poison.is_none()),
    ];
    if let Some((setting, _)) = spoiling.into_iter().find(|(_, none)| !none) {
        return Err(Error::NoSpoiling { setting });
    }
    let Login { host, port, user, password, database } = login;
    let config = ReplicationConfig::new(host, user, password, database, "none", "none");
    let config =
        config.with_port(port).with_tls(TlsConfig::disabled()).with_application_name("lakepulse sim");
    let mut client = ReplicationClient::connect_gated(config).await?;
    apply(&settings, &mut client, &stop).await
}

async fn apply(
    settings: &Settings,
    client: &mut ReplicationClient,
    stop: &CancellationToken,
) -> Result<Summary, Error> {
    let mut applied = progress(client, settings.seed).await?;
    client.simple_query("SET synchronous_commit = off").await?;
    let recorder = Recorder::new(settings.schema_change, settings.events.unwrap_or(u64::MAX)).scripted();
    let mut days = Days { world: World::new(settings.seed), recorder, opened: false };
    let (pace, begun, before) = (Pace::of(settings), Instant::now(), applied);
    let mut state = State::default();
    while !(days.recorder.is_full() || stop.is_cancelled() && state.events() >= applied) {
        let (back, transactions, reached) = cpu::run(move || days.next()).await;
        (days, state) = (back, reached);
        let mut batch = String::new();
        for transaction in &transactions {
            let Some(sql) = transaction.sql(applied) else { continue };
            applied = transaction.changes.last().map_or(applied, |(sequence, _)| sequence + 1);
            batch.push_str(&sql);
            if batch.len() >= BATCH || !matches!(pace, Pace::Unbounded) {
                client.simple_query(&std::mem::take(&mut batch)).await?;
            }
            while !stop.is_cancelled() && !is_due(pace, begun, applied - before) {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = sleep(LOOK) => {}
                }
            }
        }
        if !batch.is_empty() {
            client.simple_query(&batch).await?;
        }
    }
    // A commit that waits for the disk, which also makes all earlier ones durable.
    let last = "SET synchronous_commit = on; UPDATE lakepulse_sim.progress SET events = events";
    client.simple_query(last).await?;
    Ok(state.summary(settings.seed, Injected::default()))
}

/// Address and login of the database. The client is a replication client, so the user needs the attribute
/// `REPLICATION`.
#[derive(Clone)]
#[allow(missing_docs, reason = "the parts of an address")]
pub struct Login {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
    pub database: String,
}

fn is_due(pace: Pace, begun: Instant, events: u64) -> bool {
    matches!(pace, Pace::Unbounded)
        || pace.allowed(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)) >= events
}

/// The log, one day of business at a time.
struct Days {
    world: World,
    recorder: Recorder,
    opened: bool,
}
impl Days {
    fn next(mut self) -> (Self, Vec<Statements>, State) {
        if self.opened {
            self.world.day(&mut self.recorder);
        } else {
            self.world.open(&mut self.recorder);
            self.opened = true;
        }
        let (transactions, state) = self.recorder.take_script();
        (self, transactions, state)
    }
}

/// How many changes of this seed's log are in the database.
async fn progress(client: &mut ReplicationClient, seed: u64) -> Result<u64, Error> {
    let made = "CREATE SCHEMA IF NOT EXISTS lakepulse_sim; \
                CREATE TABLE IF NOT EXISTS lakepulse_sim.progress (seed text PRIMARY KEY, events bigint NOT NULL)";
    client.simple_query(made).await?;
    let rows = client.simple_query("SELECT seed, events FROM lakepulse_sim.progress").await?;
    let text =
        |cell: &Option<bytes::Bytes>| cell.as_ref().map(|text| String::from_utf8_lossy(text).into_owned());
    if let Some(row) = rows.first() {
        let (found, events) = (row.first().and_then(text), row.get(1).and_then(text));
        return match (found, events.and_then(|events| events.parse().ok())) {
            (Some(found), Some(events)) if found == seed.to_string() => Ok(events),
            (found, _) => {
                let found = found.unwrap_or_default();
                Err(Error::OtherDatabase { why: format!("holds the workload of seed {found}") })
            }
        };
    }
    if !client.simple_query("SELECT 1 FROM sales.customers LIMIT 1").await?.is_empty() {
        return Err(Error::OtherDatabase { why: "holds customers of its own".to_owned() });
    }
    client.simple_query(&format!("INSERT INTO lakepulse_sim.progress VALUES ('{seed}', 0)")).await?;
    Ok(0)
}
