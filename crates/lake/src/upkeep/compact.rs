//! Merges files into fewer, larger ones, without the rows that vectors hide.
//!
//! A step rewrites a bounded number of bytes of one partition and lands as one commit that changes no row. Its
//! removes and adds have `dataChange` false, so followers skip it, and it carries the table's positions
//! unchanged. A table with one owner is compacted by that owner between two of its commits, so the step
//! compares all positions. An append-only table has many writers, whose commits may land during the rewrite, so
//! the step compares only the compaction's own position, which decides between two compactors. In both cases
//! the step lands only if all files it rewrote are unchanged.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use deltalake::kernel::Add;
use model::{AppId, Positions, Version};
use serde_json::{Map, json};

use crate::files::read::Pick;
use crate::log::Log;
use crate::log::file::{DataFile, FileKey};
use crate::log::snapshot::Snapshot;
use crate::store::wall_ms;
use crate::table::commit::{Entry, Expect, Landing, Work, land};
use crate::table::lake::Shared;
use crate::table::{Table, positions};
use crate::{Error, Result};

/// When to compact, and how much at once.
#[derive(Debug, Clone)]
pub struct Compaction {
    /// Files below half of this are small.
    pub target_bytes: u64,
    /// A step starts when a partition has this many small files.
    pub min_files: usize,
    /// A step rewrites at most this many bytes.
    pub max_bytes: u64,
    /// A file with more than this share of its rows deleted is rewritten by itself.
    pub max_deleted: f64,
    /// Order of rows in the new files; if empty, the order in the old files.
    pub sort_by: Vec<String>,
}
impl Default for Compaction {
    fn default() -> Self {
        Self {
            target_bytes: 128 * 1024 * 1024,
            min_files: 16,
            max_bytes: 256 * 1024 * 1024,
            max_deleted: 0.2,
            sort_by: Vec::new(),
        }
    }
}

impl Table {
    /// Runs one bounded step of compaction. `None`: there was nothing to do, or another compactor did it.
    pub async fn compact(&mut self, compaction: &Compaction) -> Result<Option<Version>> {
        step(self, compaction).await
    }
}

/// One step: choose, rewrite, land.
pub(crate) async fn step(table: &mut Table, compaction: &Compaction) -> Result<Option<Version>> {
    let chosen = choose(table.snapshot(), compaction);
    if chosen.is_empty() {
        return Ok(None);
    }
    let rewritten = rewrite(table, &chosen, &compaction.sort_by).await?;
    let mut work = Step::new(table, chosen, rewritten);
    match land(table, &mut work).await? {
        Landing::Landed(version) => Ok(Some(version)),
        Landing::Moved => Ok(None),
    }
}

/// The files of one step: those of the partition with the most to gain.
fn choose(snapshot: &Snapshot, compaction: &Compaction) -> Vec<Arc<DataFile>> {
    let mut partitions: BTreeMap<BTreeMap<_, _>, Vec<&Arc<DataFile>>> = BTreeMap::new();
    for file in snapshot.files.values() {
        partitions.entry(file.add.partition_values.iter().collect()).or_default().push(file);
    }
    let steps = partitions.into_values().filter_map(|files| choose_in(files, compaction));
    steps.max_by_key(Vec::len).unwrap_or_default()
}

fn choose_in(files: Vec<&Arc<DataFile>>, compaction: &Compaction) -> Option<Vec<Arc<DataFile>>> {
    let bytes = |file: &DataFile| file.add.size.max(0).cast_unsigned();
    let sparse = |file: &DataFile| {
        let rows = file.physical_rows().unwrap_or_default() as f64;
        file.deleted_rows() as f64 > rows * compaction.max_deleted
    };
    let small = |file: &DataFile| bytes(file) < compaction.target_bytes / 2;
    let (mut chosen, mut smalls): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| sparse(file));
    smalls.retain(|file| small(file));
    together(&mut smalls, weight);
    if smalls.len() < compaction.min_files.max(2) {
        smalls.clear();
    }
    // Oldest first: later commits are least likely to change those during the step.
    chosen.append(&mut smalls);
    chosen
        .sort_by(|a, b| (a.add.modification_time, &a.add.path).cmp(&(b.add.modification_time, &b.add.path)));
    let mut sum = 0;
    let within = |file: &&Arc<DataFile>| {
        sum += bytes(file);
        sum <= compaction.max_bytes
    };
    let step: Vec<_> = chosen.into_iter().take_while(within).cloned().collect();
    let gains = step.len() > 1 || step.iter().any(|file| sparse(file));
    gains.then_some(step)
}

/// Removes files that weigh more than twice as much as all lighter ones together. So each rewrite grows the
/// data by at least half, and a row is rewritten only a few times until its file is large, however often small
/// files arrive.
fn together(files: &mut Vec<&Arc<DataFile>>, weight: impl Fn(&DataFile) -> u64) {
    files.sort_by_key(|file| weight(file));
    let mut lighter: u64 = files.iter().map(|file| weight(file)).sum();
    while let Some(heaviest) = files.last() {
        lighter -= weight(heaviest);
        if weight(heaviest) / 2 <= lighter {
            return;
        }
        files.pop();
    }
}

/// The cost of rewriting a file: its number of rows. Bytes are no measure, because large files are compressed
/// better than small ones. They are used only for files of other engines that have no row count.
fn weight(file: &DataFile) -> u64 {
    const ROW_BYTES: u64 = 64;
    file.physical_rows().unwrap_or_else(|| file.add.size.max(0).cast_unsigned() / ROW_BYTES)
}

async fn rewrite(table: &Table, files: &[Arc<DataFile>], sort_by: &[String]) -> Result<Vec<Add>> {
    let mut rows = Vec::new();
    for file in files {
        let deleted = table.shared.vectors.of(&table.log, file).await?;
        rows.extend(
            table.shared.reader.rows(&table.log, file, table.schema(), Pick::Without(deleted)).await?,
        );
    }
    if !sort_by.is_empty() && !rows.is_empty() {
        let (name, sort_by) = (table.log.table.clone(), sort_by.to_vec());
        let bad = move |source| Error::BadRows { table: name.clone(), source };
        rows = vec![runtime::cpu::run(move || sort(&rows, &sort_by)).await.map_err(bad)?];
    }
    let staged = table.stage(rows).await?;
    Ok(staged.into_iter().map(|file| Add { data_change: false, ..file.add }).collect())
}

fn sort(rows: &[RecordBatch], by: &[String]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let all = concat_batches(rows[0].schema_ref(), rows)?;
    let column = |name: &String| {
        let values: Option<&ArrayRef> = all.column_by_name(name);
        let missing = || arrow::error::ArrowError::SchemaError(format!("no column `{name}` to sort by"));
        Ok(SortColumn { values: values.ok_or_else(missing)?.clone(), options: None })
    };
    let columns = by.iter().map(column).collect::<Result<Vec<_>, arrow::error::ArrowError>>()?;
    take_record_batch(&all, &lexsort_to_indices(&columns, None)?)
}

/// The work of a step whose files are already rewritten.
struct Step {
    op: String,
    expect: Expect,
    set: Positions,
    old: HashSet<FileKey>,
    new: Vec<Add>,
}

impl Step {
    fn new(table: &Table, old: Vec<Arc<DataFile>>, new: Vec<Add>) -> Self {
        let many_writers = table.property("delta.appendOnly") == Some("true");
        let (expect, set) = if many_writers {
            let app = AppId::compaction();
            let last = table.positions().get(&app);
            let set = Positions::default().with(app.clone(), last.map_or(0, |n| n + 1));
            (Expect::These(BTreeMap::from([(app, last)])), set)
        } else {
            (Expect::All(table.positions().clone()), Positions::default())
        };
        let op = table.shared.ids.0.ulid();
        Self { op, expect, set, old: old.iter().map(|file| file.key()).collect(), new }
    }
}

#[async_trait::async_trait]
impl Work for Step {
    fn op(&self) -> &str {
        &self.op
    }
    fn expect(&self) -> &Expect {
        &self.expect
    }
    async fn derive(&mut self, _: &Arc<Shared>, _: &Log, snapshot: &Snapshot) -> Result<Option<Entry>> {
        let active: Vec<_> = snapshot.files.values().filter(|file| self.old.contains(&file.key())).collect();
        if active.len() < self.old.len() {
            return Ok(None);
        }
        let now = wall_ms();
        let mut info = Map::new();
        info.insert("stage".to_owned(), json!("compaction"));
        info.insert("files".to_owned(), json!({ "from": self.old.len(), "to": self.new.len() }));
        Ok(Some(Entry {
            operation: "OPTIMIZE",
            info,
            metadata: None,
            positions: positions::written(&self.expect, &snapshot.positions, &self.set),
            removes: active.into_iter().map(|file| file.remove(false, now)).collect(),
            adds: self.new.clone(),
        }))
    }
}
