//! The loop that publishes a table's versions as they land.

use std::sync::Arc;
use std::time::Duration;

use runtime::time::Instant;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use lake::{Lake, Table};
use model::{Positions, Reaction, TableName};
use runtime::{CancellationToken, Clock, Meters, Retry, State};
use stage::halts::{chain, note, unnote};
use stream::Reclaims;
use tokio::sync::Notify;

use crate::error::{OfTable as _, Result};
use crate::publisher::Publisher;
use crate::seam::Sink;

/// What a table is followed with.
pub struct Follow<S> {
    /// The table.
    pub table: TableName,
    /// Where it lies.
    pub lake: Lake,
    /// Where it is published.
    pub sink: S,
    /// Changes of one transaction at most.
    pub limit: usize,
    /// Look for new versions at least this often, woken or not.
    pub poll: Duration,
    /// How old what is published is.
    pub clock: Arc<dyn Clock>,
    /// Metrics.
    pub meters: Meters,
}

/// Follows one table.
struct Follower<S: Sink> {
    table: TableName,
    lake: Lake,
    clock: Arc<dyn Clock>,
    meter: runtime::Meter,
    publisher: Publisher<S>,
    /// The table as it was seen last. `None`: to be opened, and the publisher's writer with it.
    open: Option<Table>,
}

impl<S: Sink> Follower<S> {
    fn step(&mut self) -> BoxFuture<'_, Result<()>> {
        self.try_step().boxed()
    }

    async fn try_step(&mut self) -> Result<()> {
        let mut table = match self.open.take() {
            Some(table) => table,
            None => {
                self.publisher.close();
                match self.lake.table(&self.table).await.of(&self.table)? {
                    Some(table) => table,
                    None => return Ok(()),
                }
            }
        };
        let schema = table.schema().clone();
        table.refresh().await.of(&self.table)?;
        if *table.schema() != schema {
            // A cutover: other columns. The writer was opened for the old ones.
            self.publisher.close();
            return Ok(());
        }
        let sent = self.publisher.step(&table).await?;
        self.meter.records_out(sent.records as u64);
        if let Some(arrived) = sent.arrived {
            self.meter.fresh(self.clock.now(), arrived);
        }
        self.meter.version(table.version());
        self.meter.state(if sent.records > 0 { State::Running } else { State::Idle });
        self.open = Some(table);
        Ok(())
    }
}

/// Publishes a table whenever `landed` is notified, and at least every `poll`, until stopped or
/// halted. A system that is away is waited for.
pub async fn follow<S: Sink>(with: Follow<S>, landed: Arc<Notify>, stop: CancellationToken) -> Result<()> {
    let Follow { table, lake, sink, limit, poll, clock, meters } = with;
    let meter = meters.stage(S::NAME, &table.to_string());
    let publisher = Publisher::new(table.clone(), sink, limit).traced(meter.traces().clone());
    let mut follower = Follower { table, lake, clock, meter, publisher, open: None };
    follower.meter.state(State::Starting);
    let mut retry = Retry::new(Duration::from_millis(100));
    let mut reclaims = Reclaims::default();
    let lake = follower.lake.clone();
    // What an earlier process said stands until this one has got further.
    let mut noted = true;
    while !stop.is_cancelled() {
        let stepped = follower.step().await;
        match stepped.map_err(|error| error.counted(&mut retry, &follower.table)) {
            Ok(()) => {
                retry.reset();
                if std::mem::take(&mut noted) {
                    unnote(&lake, S::NAME, &follower.table).await;
                }
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = landed.notified() => {}
                    () = runtime::time::sleep(poll) => {}
                }
            }
            // Whoever took the table over has fenced us or is further, and we stop anyway.
            Err(error) if stop.is_cancelled() => {
                tracing::debug!(table = %follower.table, error = &error as &dyn std::error::Error, "the publisher stops");
                return Ok(());
            }
            Err(error)
                if error.reaction() == Reaction::Halt
                    && !(error.is_fenced() && reclaims.may(Instant::now())) =>
            {
                let reason = chain(&error);
                tracing::error!(table = %follower.table, error = &error as &dyn std::error::Error, "publisher halted");
                note(&lake, S::NAME, &follower.table, reason.clone(), Positions::default()).await;
                follower.meter.halt(reason);
                return Err(error);
            }
            Err(error) => {
                tokio::select! {
                    biased;
                    _ = retry.again(&follower.table, "publisher tries again", &error, &stop) => {}
                    () = landed.notified() => {}
                }
            }
        }
    }
    Ok(())
}
