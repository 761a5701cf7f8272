//! The loop that publishes a table's versions as they land.

use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::Model;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use lake::Table;
use model::{Positions, Reaction, TableName, TopicName};
use runtime::{CancellationToken, Meter, Retry, State};
use stage::halts::{chain, note, unnote};
use stream::Reclaims;
use tokio::sync::Notify;

use super::Publisher;
use super::encode::Encoders;
use super::kafka::{KafkaWire, prepare};
use crate::error::{Error, OfTable as _, Result};
use crate::halt::judge;
use crate::run::Context;

/// Follows one table.
struct Follower {
    ctx: Arc<Context>,
    table: TableName,
    topic: TopicName,
    keys: Vec<String>,
    meter: Meter,
    open: Option<(Table, Publisher<KafkaWire>)>,
}

impl Follower {
    fn step(&mut self) -> BoxFuture<'_, Result<()>> {
        self.try_step().boxed()
    }

    async fn try_step(&mut self) -> Result<()> {
        let (mut table, mut publisher) = match self.open.take() {
            Some(open) => open,
            None => match self.open().await? {
                Some(open) => open,
                None => return Ok(()),
            },
        };
        let before = (table.version(), table.schema().clone());
        table.refresh().await.of(&self.table)?;
        if *table.schema() != before.1 {
            // A cutover: other columns, other schemas. Nothing is open but the producer.
            return Ok(());
        }
        let sent = publisher.step(&table).await?;
        self.meter.records_out(sent.records as u64);
        if let Some(arrived) = sent.arrived {
            self.meter.fresh(self.ctx.clock.now(), arrived);
        }
        self.meter.version(table.version());
        self.meter.state(if sent.records > 0 { State::Running } else { State::Idle });
        self.open = Some((table, publisher));
        Ok(())
    }

    /// Opens the table and prepares its topic. `None`: there is no table yet.
    async fn open(&self) -> Result<Option<(Table, Publisher<KafkaWire>)>> {
        let catalog = &self.ctx.project.catalog;
        let missing = || Error::NoContract { table: self.table.clone(), topic: self.topic.clone() };
        let contract = catalog.published.get(&self.topic).ok_or_else(missing)?;
        let Some(table) = self.ctx.lake.table(&self.table).await.of(&self.table)? else { return Ok(None) };
        let (key, value) = prepare(&self.ctx, contract).await?;
        let avro = |source| Error::Avro { table: self.table.clone(), source };
        let encoders = Encoders::try_new(table.schema(), &self.keys, &key, &value).map_err(avro)?;
        let wire = KafkaWire::new(
            self.ctx.kafka.clone(),
            &self.ctx.project.name,
            self.table.clone(),
            self.topic.clone(),
        );
        let limit = self.ctx.settings.max_transaction;
        let publisher = Publisher::new(self.table.clone(), self.topic.clone(), encoders, wire, limit);
        Ok(Some((table, publisher.traced(self.meter.traces().clone()))))
    }
}

/// Publishes `model`'s table on its topic whenever woken, and at least every `poll`, until stopped or
/// halted. A broker or registry that is away is waited for.
pub async fn follow(
    ctx: Arc<Context>,
    model: Arc<Model>,
    topic: TopicName,
    wake: Arc<Notify>,
    stop: CancellationToken,
) -> Result<()> {
    let meter = ctx.meters.stage("publish", &model.name.to_string());
    let (table, keys, poll) = (model.name.clone(), model.keys.clone(), ctx.settings.poll);
    let mut follower = Follower { ctx, table, topic, keys, meter, open: None };
    follower.meter.state(State::Starting);
    let mut retry = Retry::new(Duration::from_millis(100));
    let mut reclaims = Reclaims::default();
    let lake = follower.ctx.lake.clone();
    // What an earlier process said stands until this one has got further.
    let mut noted = true;
    while !stop.is_cancelled() {
        let stepped = follower.step().await;
        match stepped.map_err(|error| judge(&mut retry, &follower.table, error)) {
            Ok(()) => {
                retry.reset();
                if std::mem::take(&mut noted) {
                    unnote(&lake, "publish", &follower.table).await;
                }
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = wake.notified() => {}
                    () = tokio::time::sleep(poll) => {}
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
                note(&lake, "publish", &follower.table, reason.clone(), Positions::default()).await;
                follower.meter.halt(reason);
                return Err(error);
            }
            Err(error) => {
                tokio::select! {
                    _ = retry.again(&follower.table, "publisher tries again", &error, &stop) => {}
                    () = wake.notified() => {}
                }
            }
        }
    }
    Ok(())
}
