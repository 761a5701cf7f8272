//! How the task reacts to answers of the group, the broker and the lake.

use lake::Table;
use runtime::State;
use stage::halts::{chain, note_partition};

use super::*;
use crate::commit::CommitResult;

impl Task {
    /// Starts assigned partitions at the table's positions. Drops what was read of them before.
    pub(super) async fn on_assigned(&mut self, partitions: Vec<(i32, u64)>) -> Result<(), Error> {
        self.meter.rebalanced();
        // First, because if a later step fails, the table is opened again with these partitions.
        for (partition, generation) in &partitions {
            self.release(*partition);
            self.assigned.insert(*partition, Ours { generation: *generation, begin: None });
        }
        self.settle().await?;
        self.refresh().await?;
        for (partition, generation) in partitions {
            if self.ours(partition, generation).is_none() {
                continue; // restarted meanwhile, because a running commit did not land
            }
            let position = self.position(partition);
            self.start(partition, generation, position);
            // The consumer was answered from memory and may have started elsewhere.
            if position != self.shared.starts.answered(&self.topic.name, partition) {
                self.begin_partition(partition, Ours { generation, begin: None });
            }
            self.report(partition);
        }
        Ok(())
    }

    /// Restarts every assigned partition at the table's position.
    pub(super) fn begin_again(&mut self) {
        self.parked.clear();
        self.ends.clear();
        for (partition, ours) in self.assigned.clone() {
            self.begin_partition(partition, ours);
        }
    }

    fn begin_partition(&mut self, partition: i32, ours: Ours) {
        let Ours { generation: expected, begin } = ours;
        let position = self.position(partition);
        let Some(offset) = position.or(begin) else {
            // Never read and never sought: the consumer starts it at the log's start.
            self.start(partition, expected, None);
            return;
        };
        let generation = self.shared.generation();
        self.assigned.insert(partition, Ours { generation, begin });
        self.start(partition, generation, position);
        self.parked.remove(&partition);
        self.ends.remove(&partition);
        let topic = self.topic.name.clone();
        self.command(Command::Seek { topic, partition, offset, expected, generation });
    }

    /// Sets the start of a partition in everything that decides which records are new.
    fn start(&mut self, partition: i32, generation: u64, position: Option<Offset>) {
        self.decider.start(partition, generation, position);
        self.ledger.begin(partition, position);
    }

    /// A position is not in the log: it was stale, or records are lost.
    pub(super) async fn on_lost(
        &mut self,
        loss: &stream::LostPosition,
        generation: u64,
    ) -> Result<(), Error> {
        let partition = loss.partition;
        if self.ours(partition, generation).is_none() {
            return Ok(());
        }
        self.settle().await?;
        self.refresh().await?;
        let Some(ours) = self.ours(partition, generation).copied() else { return Ok(()) };
        let position = self.position(partition);
        if position.is_some() && position != loss.position {
            self.begin_partition(partition, ours);
            return Ok(());
        }
        let position = position.map_or(0, |position| position.0);
        let loss = Loss::of(&loss.cause, partition, position, &self.topic_id);
        let is_whole = matches!(loss, Loss::Recreated { .. });
        let error = self.loss(loss);
        if is_whole {
            return Err(error);
        }
        // This partition halts; the table's others go on.
        tracing::error!(table = %self.topic.table, topic = %self.topic.name, partition, %error, "records are lost, the partition halts");
        self.release(partition);
        let app = self.app(partition);
        if let Some(table) = &self.table {
            let lake = &self.shared.context.lake;
            note_partition(lake, "bronze", table, app, position, chain(&error)).await;
        }
        self.meter.state(State::Halted);
        self.shared.input.progress.halt(&self.topic.table, &self.topic.name);
        Ok(())
    }

    /// Waits for the running commit.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        if self.commit.is_some() {
            let finished = joined(&mut self.commit).await;
            self.finished(finished).await?;
        }
        Ok(())
    }

    /// Handles the end of a commit.
    pub(super) async fn finished(&mut self, finished: Option<Finished>) -> Result<(), Error> {
        let Some(finished) = finished else {
            // It panicked and took the table with it: open it again.
            return Err(Error::CommitTask { table: self.topic.table.clone() });
        };
        let Finished { table, ranges, lines, result, newest } = finished;
        self.table = Some(table);
        match result {
            CommitResult::Landed(version) => {
                for (range, lines) in ranges.iter().zip(&lines) {
                    self.ledger.landed(range.partition, range.position, range.to, lines);
                }
                self.landed(version, &ranges, newest);
            }
            CommitResult::Recreated(now) => {
                let before = self.topic_id.to_string();
                return Err(self.loss(Loss::Recreated { before, now: now.to_string() }));
            }
            CommitResult::Moved => {
                tracing::info!(table = %self.topic.table, "another process has moved the table on, reading from its positions");
                self.meter.conflict();
                self.refresh().await?;
                self.begin_again();
            }
            CommitResult::Failed(error) if error.reaction() == Reaction::Reload => {
                tracing::warn!(table = %self.topic.table, %error, "table changed, reading it again");
                self.refresh().await?;
                self.begin_again();
            }
            CommitResult::Failed(error) => return Err(self.lake(error)),
        }
        Ok(())
    }

    fn landed(
        &mut self,
        version: model::Version,
        ranges: &[crate::decider::OffsetRange],
        newest: Option<Millis>,
    ) {
        self.decider.landed(ranges);
        self.adopt();
        self.compact_when_due();
        let now = self.shared.context.clock.now();
        let rows: u64 = ranges.iter().map(|range| range.rows).sum();
        tracing::debug!(table = %self.topic.table, version = version.0, rows, "batch committed");
        self.meter.records_out(rows);
        self.meter.version(version);
        self.meter.commit(now.seconds_since(self.committing_since));
        if let Some(newest) = newest {
            self.meter.fresh(now, newest);
        }
        if let Some(table) = &self.table {
            self.meter.set_table_size(table.rows(), table.files());
        }
        for range in ranges.iter().filter(|range| self.assigned.contains_key(&range.partition)) {
            self.report(range.partition);
            let (topic, partition) = (self.topic.name.clone(), range.partition);
            self.command(Command::ShowLag { topic, partition, offset: range.to });
        }
        let context = &self.shared.context;
        for downstream in context.project.catalog.followers(&self.topic.table) {
            context.announce.announce(&downstream, &self.topic.table, version);
        }
    }

    /// Takes over the table's positions, and columns that another process added.
    fn adopt(&mut self) {
        let (Some(table), Some(reader)) = (&self.table, &mut self.reader) else { return };
        self.shared.starts.learn(table.positions());
        let ours = reader.layout().schema();
        let said = defaults_of(table);
        let is_said = said.iter().all(|(path, value)| reader.layout().defaults().get(path) == Some(value));
        if table.schema() == ours && is_said {
            return;
        }
        // Both only ever gain columns, so one is wider, or each has columns of its own.
        match evolve::widen(table.schema(), ours) {
            Ok(merged) => {
                let mut defaults = reader.layout().defaults().clone();
                defaults.extend(said);
                let merged = Layout::new(merged.unwrap_or_else(|| table.schema().clone()));
                reader.widen(merged.with_defaults(defaults));
            }
            Err(clash) => {
                // Or both gained the same column, and the other process was first. Rows read with our columns
                // do not fit the table, and values of columns that it lacks must not vanish.
                tracing::warn!(table = %self.topic.table, %clash, "another process has added columns that ours clash with, reading again");
                reader.begin_again(layout_of(table));
                self.declare();
                self.begin_again();
            }
        }
    }

    async fn refresh(&mut self) -> Result<(), Error> {
        let refreshed = match self.table.as_mut() {
            Some(table) => table.refresh().await,
            None => Ok(()),
        };
        refreshed.map_err(|source| self.lake(source))?;
        self.adopt();
        Ok(())
    }

    pub(super) fn position(&self, partition: i32) -> Option<Offset> {
        self.table.as_ref().map(Table::positions)?.get(&self.app(partition)).map(Offset)
    }

    /// Reports how far a partition is.
    pub(super) fn report(&self, partition: i32) {
        let position = self.decider.position(partition);
        let settled = self.decider.is_settled(partition) && !self.parked.contains_key(&partition);
        // Only markers may follow the last record: then the end counts as reached.
        let end = self.ends.get(&partition).copied().filter(|_| settled);
        let reached = end.max(position).unwrap_or(Offset(0));
        self.shared.input.progress.reach(&self.topic.name, partition, reached);
    }

    fn command(&self, command: Command) {
        // A router that is gone has no partitions either.
        drop(self.commands.send(command));
    }
}
