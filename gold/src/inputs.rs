//! The inputs of a gold table: their newest versions, and the changes between two versions.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use lake::{KeptLog, Lake, LogEntry, Table};
use model::{AppId, ClockMs, Millis, Positions, TableName, Version};
use query::affected::{Input as Source, InputChange, Inputs as World, Maintenance};
use runtime::traces::Cause;
use stage::CommitInfo;

use crate::error::{Error, OfTable as _, Result};
use crate::refresh::Input;

/// Open inputs of one gold table.
#[derive(Debug, Clone)]
pub struct Inputs {
    table: TableName,
    open: BTreeMap<TableName, Table>,
}

/// The changes of inputs with new versions.
#[derive(Debug)]
pub enum Between {
    /// These rows were added and removed.
    Rows {
        /// Changes by input; inputs without changed rows are left out.
        changes: BTreeMap<TableName, InputChange>,
        /// The newest Kafka timestamp behind them.
        arrived: Option<Millis>,
        /// The traced commits among them.
        causes: Vec<Cause>,
    },
    /// The changes are unknown or too many: compute everything, for this reason.
    Unknown(String),
}

impl Inputs {
    /// Opens the inputs of `table` at their newest versions.
    pub async fn open(lake: &Lake, table: &TableName, names: &[TableName]) -> Result<Self> {
        let mut open = BTreeMap::new();
        for name in names {
            let missing = || Error::NoInput { table: table.clone(), input: name.clone() };
            open.insert(name.clone(), lake.table(name).await.of(table)?.ok_or_else(missing)?);
        }
        Ok(Self { table: table.clone(), open })
    }

    /// Opens the inputs at the versions in `pins`.
    pub async fn at(lake: &Lake, table: &TableName, names: &[TableName], pins: &Positions) -> Result<Self> {
        let mut inputs = Self::open(lake, table, names).await?;
        for (name, open) in &mut inputs.open {
            let id = open.id().to_string();
            let gone = || Error::InputRecreated { table: table.clone(), input: name.clone(), id };
            let pin = pins.get(&AppId::table(open.id())).and_then(Version::of_position).ok_or_else(gone)?;
            *open = open.at(pin).await.of(table)?;
        }
        Ok(inputs)
    }

    /// Moves all inputs to their newest versions.
    pub async fn refresh(&mut self) -> Result<()> {
        for open in self.open.values_mut() {
            open.refresh().await.of(&self.table)?;
        }
        Ok(())
    }

    /// Names, ids and versions.
    pub fn now(&self) -> Vec<Input> {
        let input = |(name, open): (&TableName, &Table)| Input {
            name: name.clone(),
            id: open.id().clone(),
            version: open.version(),
        };
        self.open.iter().map(input).collect()
    }

    /// The rows of all inputs together, if every table knows its own number.
    pub fn rows(&self) -> Option<u64> {
        self.open.values().map(Table::rows).sum()
    }

    /// All rows of one input.
    pub async fn scan(&self, name: &TableName) -> Result<Vec<RecordBatch>> {
        match self.open.get(name) {
            Some(open) => open.scan(None).await.of(&self.table),
            None => Ok(Vec::new()),
        }
    }

    /// True if no input ever had a row. An emptied input has had rows.
    pub async fn have_seen_nothing(&self) -> Result<bool> {
        for open in self.open.values() {
            if open.rows() != Some(0) {
                return Ok(false);
            }
            match open.changes(None, open.version()).await {
                Ok(changes) if changes.is_empty() => {}
                Ok(_) | Err(lake::Error::LogGone { .. }) => return Ok(false),
                Err(error) => return Err(error).of(&self.table),
            }
        }
        Ok(true)
    }

    /// True if an input has other rows than at the versions `tried`.
    pub async fn moved_since(&self, tried: &Positions) -> Result<bool> {
        for open in self.open.values() {
            let at = tried.get(&AppId::table(open.id())).and_then(Version::of_position);
            if at == Some(open.version()) {
                continue;
            }
            match open.changes(at, open.version()).await {
                Ok(changes) if changes.is_empty() => {}
                Ok(_) | Err(lake::Error::LogGone { .. }) => return Ok(true),
                Err(error) => return Err(error).of(&self.table),
            }
        }
        Ok(false)
    }

    /// The inputs for a query, with the changes of some of them.
    pub fn world(&self, mut changes: BTreeMap<TableName, InputChange>) -> Result<World> {
        let mut world = World::new();
        for (name, open) in &self.open {
            let now = open.provider().of(&self.table)?;
            world.insert(name.clone(), Source { now, change: changes.remove(name) });
        }
        Ok(world)
    }

    /// The rows that were added and removed after the versions in `from`, at most `limit` rows.
    pub async fn between(
        &self,
        from: &BTreeMap<TableName, Version>,
        limit: usize,
        maintenance: &Maintenance,
    ) -> Result<Between> {
        let (mut rows, mut changes, mut arrived, mut causes) = (0, BTreeMap::new(), None, Vec::new());
        for (name, after) in from {
            let Some(open) = self.open.get(name) else { continue };
            let versions = match open.changes(Some(*after), open.version()).await {
                Err(lake::Error::LogGone { version, .. }) => {
                    return Ok(Between::Unknown(format!("version {version} of {name} is gone from its log")));
                }
                other => other.of(&self.table)?,
            };
            let (mut added, mut removed) = (Vec::new(), Vec::new());
            for version in &versions {
                let change = open.read_change(version).await.of(&self.table)?;
                if let Some(info) = CommitInfo::parse_lossy(version.entry()) {
                    arrived = arrived.max(info.newest_arrival_ms());
                    info.cause().into_iter().for_each(|cause| cause.add_to(&mut causes));
                }
                rows += count(&change.added) + count(&change.removed);
                if rows > limit {
                    return Ok(Between::Unknown(format!("more than {limit} rows changed")));
                }
                added.extend(change.added);
                removed.extend(change.removed);
            }
            if count(&added) + count(&removed) > 0 {
                changes.insert(name.clone(), InputChange { old: None, added, removed });
            }
        }
        let changed: BTreeSet<TableName> = changes.keys().cloned().collect();
        if maintenance.reads_old(&changed).of(&self.table)? {
            for (name, change) in &mut changes {
                if let (Some(open), Some(version)) = (self.open.get(name), from.get(name)) {
                    change.old = old(open, *version).await.of(&self.table)?;
                }
            }
        }
        Ok(Between::Rows { changes, arrived, causes })
    }

    /// The newest Kafka timestamp of the commits after `pins` that their logs still have. Only metrics use it.
    pub async fn newest_arrival(&self, pins: &Positions) -> Result<Option<Millis>> {
        let mut newest = None;
        for open in self.open.values() {
            let said = |entry: &LogEntry| CommitInfo::parse_lossy(entry)?.newest_arrival_ms();
            newest = newest.max(self.behind(open, pins).await?.entries.iter().filter_map(said).max());
        }
        Ok(newest)
    }

    /// The newest event time of the commits after `pins` that their logs still have, for a project whose clock
    /// follows events. `None`: no event has come. An unreadable commit is an error, because its rows may be newer
    /// than all others.
    ///
    /// # Errors
    /// [`Error::TimeGone`]: no commit that is left says a time, and some that did may be gone.
    async fn newest_event(&self, pins: &Positions) -> Result<Option<ClockMs>> {
        let (mut newest, mut cleaned) = (None, None);
        for (name, open) in &self.open {
            let unreadable = |source| {
                let (table, input) = (self.table.clone(), name.clone());
                Error::InputUnreadable { table, input, source }
            };
            let log = self.behind(open, pins).await?;
            for entry in &log.entries {
                let info = CommitInfo::parse(entry).map_err(unreadable)?;
                newest = newest.max(info.and_then(|info| info.newest_event_ms()).map(Millis::on_clock));
            }
            // A gold input follows the same clock: its time is already rounded down. 0 says nothing.
            let as_of = open.positions().get(&AppId::as_of()).filter(|as_of| *as_of > 0);
            newest = newest.max(as_of.map(ClockMs));
            if !log.is_whole {
                cleaned.get_or_insert(name);
            }
        }
        match (newest, cleaned) {
            (None, Some(input)) => Err(Error::TimeGone { table: self.table.clone(), input: input.clone() }),
            (newest, _) => Ok(newest),
        }
    }

    /// The project's time by the events of the commits after `pins`; 0 where there was none. `held` is the time of
    /// the table so far.
    ///
    /// # Errors
    /// [`Error::TimeGone`] where the query `uses` the time and there is none to hold on to.
    pub async fn event_time(&self, pins: &Positions, uses: bool, held: Option<i64>) -> Result<ClockMs> {
        match self.newest_event(pins).await {
            Err(Error::TimeGone { .. }) if !uses || held.is_some() => Ok(ClockMs(0)),
            newest => Ok(newest?.unwrap_or(ClockMs(0))),
        }
    }

    /// What is left of the log of one input after its pin.
    async fn behind(&self, open: &Table, pins: &Positions) -> Result<KeptLog> {
        let pin = pins.get(&AppId::table(open.id())).and_then(Version::of_position);
        open.kept_log(pin, open.version()).await.of(&self.table)
    }
}

fn count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// An older version to query, if it is readable and has the same columns.
async fn old(
    table: &Table,
    version: Version,
) -> lake::Result<Option<std::sync::Arc<dyn datafusion::catalog::TableProvider>>> {
    match table.at(version).await {
        Ok(old) if old.schema() == table.schema() => old.provider().map(Some),
        Ok(_) | Err(lake::Error::LogGone { .. } | lake::Error::FileMissing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
