//! The loop that publishes a table's versions as they land.

use std::sync::Arc;
use std::time::Duration;

use runtime::time::Instant;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use lake::{Lake, Table};
use model::{Positions, TableName};
use runtime::{After, CancellationToken, Clock, Meters, Reclaims, Retry, State};
use stage::halts::{note, unnote};
use tokio::sync::Notify;

use crate::error::{OfTable as _, Result};
use crate::publisher::Publisher;
use crate::seam::Sink;

/// The arguments of [`follow`].
pub struct Follow<S> {
    /// The table.
    pub table: TableName,
    /// The lake with the table.
    pub lake: Lake,
    /// The sink to publish to.
    pub sink: S,
    /// The most changes in one transaction.
    pub limit: usize,
    /// Looks for new versions at least this often.
    pub poll: Duration,
    /// Measures how old the published rows are.
    pub clock: Arc<dyn Clock>,
    /// Metrics.
    pub meters: Meters,
}

/// The state of the loop for one table.
struct FollowState<S: Sink> {
    table: TableName,
    lake: Lake,
    clock: Arc<dyn Clock>,
    meter: runtime::Meter,
    publisher: Publisher<S>,
    /// The table as last seen. `None`: open it, and then a new writer.
    open: Option<Table>,
}

impl<S: Sink> FollowState<S> {
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
            // A cutover changed the columns, and the writer was opened for the old ones.
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

/// Publishes a table whenever `landed` is notified, and at least every `poll`, until stopped or halted.
/// Retries for ever while a system does not answer.
pub async fn follow<S: Sink>(with: Follow<S>, landed: Arc<Notify>, stop: CancellationToken) -> Result<()> {
    let Follow { table, lake, sink, limit, poll, clock, meters } = with;
    let meter = meters.stage(S::NAME, &table.to_string());
    let publisher = Publisher::new(table.clone(), sink, limit).traced(meter.traces().clone());
    let mut state = FollowState { table, lake, clock, meter, publisher, open: None };
    state.meter.state(State::Starting);
    let mut retry = Retry::new(Duration::from_millis(100));
    let mut reclaims = Reclaims::default();
    let lake = state.lake.clone();
    // An earlier process's halt note stays until this one succeeds.
    let mut noted = true;
    while !stop.is_cancelled() {
        match state.step().await {
            Ok(()) => {
                retry.reset();
                if std::mem::take(&mut noted) {
                    unnote(&lake, S::NAME, &state.table).await;
                }
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = landed.notified() => {}
                    () = runtime::time::sleep(poll) => {}
                }
            }
            // The table's new owner has fenced us or is ahead, and we are stopping anyway.
            Err(error) if stop.is_cancelled() => {
                tracing::debug!(table = %state.table, error = &error as &dyn std::error::Error, "the publisher stops");
                return Ok(());
            }
            Err(error) => match retry.after(&error) {
                After::Halt { reason } if !(error.is_fenced() && reclaims.may(Instant::now())) => {
                    tracing::error!(table = %state.table, error = reason, "publisher halted");
                    note(&lake, S::NAME, &state.table, reason.clone(), Positions::default()).await;
                    state.meter.halt(reason);
                    return Err(error);
                }
                After::Halt { .. } | After::Reload | After::Retry => {
                    tokio::select! {
                        biased;
                        _ = retry.again(&state.table, "publisher tries again", &error, &stop) => {}
                        () = landed.notified() => {}
                    }
                }
            },
        }
    }
    Ok(())
}
