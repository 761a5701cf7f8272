//! Reads bronze versions in bounded batches.

use arrow::array::{ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use lake::ChangedVersion;
use model::{Micros, Version, column};
use runtime::traces::Cause;
use stage::CommitInfo;

use super::{Open, Pipeline};
use crate::error::{Fitting as _, OfTable as _, Result};
use crate::judge::Rules;

/// Rows of consecutive bronze versions.
pub(super) struct BronzeBatch {
    pub rows: Vec<(Version, Vec<RecordBatch>)>,
    pub upto: Version,
    /// The traced bronze commits among them.
    pub causes: Vec<Cause>,
}

impl BronzeBatch {
    /// The newest event time.
    pub fn newest_event(&self, rules: &Rules) -> Result<Option<Micros>> {
        let newest =
            self.batches().map(|rows| rules.reader.newest_event(rows)).collect::<Result<Vec<_>, _>>();
        Ok(newest.fitting(&rules.table, "event times")?.into_iter().flatten().max())
    }
    /// The newest Kafka timestamp.
    pub fn arrived(&self) -> Option<Micros> {
        let column = |rows: &RecordBatch| rows.column_by_name(column::TIMESTAMP).cloned();
        let newest =
            |column: ArrayRef| arrow::compute::max(column.as_primitive_opt::<TimestampMicrosecondType>()?);
        self.batches().filter_map(column).filter_map(newest).max().map(Micros)
    }
    /// The number of rows.
    pub fn records(&self) -> usize {
        self.batches().map(RecordBatch::num_rows).sum()
    }
    fn batches(&self) -> impl Iterator<Item = &RecordBatch> {
        self.rows.iter().flat_map(|(_, rows)| rows)
    }
}

impl Pipeline {
    /// True if bronze has versions that were not read.
    pub(super) async fn is_behind(&self, open: &mut Open) -> Result<bool> {
        if open.pending.is_empty() {
            open.bronze.refresh().await.of(&self.name)?;
        }
        let [position, ..] = open.tables.positions(&open.input);
        Ok(!open.pending.is_empty() || position < Some(open.bronze.version().position()))
    }

    /// The bronze versions after the position, up to the row limit; at least up to `floor`, which a sibling
    /// has reached.
    pub(super) async fn next_batch(
        &self,
        open: &mut Open,
        position: Option<i64>,
        floor: Option<i64>,
    ) -> Result<BronzeBatch> {
        let consumed = position.and_then(Version::of_position);
        if open.pending.is_empty() {
            let newest = open.bronze.version();
            open.pending = open.bronze.changes(consumed, newest).await.of(&self.name)?.into();
            open.listed = Some(newest);
        }
        let mut batch = BronzeBatch {
            rows: Vec::new(),
            upto: open.listed.unwrap_or(open.bronze.version()),
            causes: Vec::new(),
        };
        let mut rows = 0;
        let columns = open.rules.reader.needs(open.bronze.schema());
        while let Some(version) = open.pending.pop_front() {
            let added = open.bronze.read_added(&version, &columns).await.of(&self.name)?;
            let at = version.entry().version;
            let cause = CommitInfo::parse_lossy(version.entry()).and_then(|info| info.cause());
            cause.into_iter().for_each(|cause| cause.add_to(&mut batch.causes));
            rows += added.iter().map(RecordBatch::num_rows).sum::<usize>();
            batch.rows.push((at, added));
            let full = rows >= self.ctx.settings.max_rows.get() && Some(at.position()) >= floor;
            if full && !open.pending.is_empty() {
                batch.upto = at;
                break;
            }
        }
        let waiting = open.pending.iter().map(rows_of).fold(rows as u64, u64::saturating_add);
        self.meter.lag(i64::try_from(waiting).unwrap_or(i64::MAX));
        Ok(batch)
    }
}

/// The number of rows that a version added, by its commit.
fn rows_of(version: &ChangedVersion) -> u64 {
    CommitInfo::parse_lossy(version.entry()).map_or(0, |info| info.records())
}
