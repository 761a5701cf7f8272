//! A snapshot as a DataFusion table.
//!
//! DataFusion's own parquet source gets the files, each with its vector as a row selection, so a table with
//! deleted rows is scanned on all cores and with row-group pruning. (The Delta library's scan reads such a
//! table on one core, and returns views and dictionaries instead of the table's types.) Files whose bounds
//! exclude a filter are skipped before.
//!
//! The selections are beside the plan, not in it. A plan that is serialised for another machine loses them and
//! would show deleted rows. To send a query away, send this table's name and version instead of the plan.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, Int64Array, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, DFSchema, DataFusionError, Result, ScalarValue, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;

use crate::files::conform;
use crate::files::read::select;
use crate::files::stage::{at, without};
use crate::log::Log;
use crate::log::file::{Bound, DataFile};
use crate::log::snapshot::Snapshot;
use crate::table::lake::Shared;

/// One version of one table.
pub(crate) struct Provider {
    shared: Arc<Shared>,
    log: Log,
    snapshot: Arc<Snapshot>,
}

impl Provider {
    pub fn new(shared: Arc<Shared>, log: Log, snapshot: Arc<Snapshot>) -> Self {
        Self { shared, log, snapshot }
    }

    fn table_schema(&self) -> &SchemaRef {
        &self.snapshot.meta.schema
    }

    fn partition_fields(&self) -> Vec<FieldRef> {
        let by = &self.snapshot.meta.line.partition_columns;
        let field = |name: &String| self.table_schema().fields().find(name).map(|(_, field)| field.clone());
        by.iter().filter_map(field).collect()
    }

    /// The files that may contain rows for these filters.
    fn pruned(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<&Arc<DataFile>>> {
        let files: Vec<&Arc<DataFile>> = self.snapshot.files.values().collect();
        let Some(filter) = conjunction(filters.iter().cloned()) else { return Ok(files) };
        let schema = DFSchema::try_from(self.table_schema().as_ref().clone())?;
        let filter = state.create_physical_expr(filter, &schema)?;
        let builder = PruningPredicateBuilder::new().with_file_schema(self.table_schema().clone());
        let predicate = builder.try_build(filter)?;
        if predicate.always_true() {
            return Ok(files);
        }
        let keep = predicate.prune(&Bounds { schema: self.table_schema(), files: &files })?;
        Ok(files.into_iter().zip(keep).filter(|(_, keep)| *keep).map(|(file, _)| file).collect())
    }

    /// A file for the parquet source: its path, the values of its partition, its live rows.
    async fn scanned(&self, file: &DataFile, partition: &[FieldRef]) -> crate::Result<PartitionedFile> {
        let path = at(&self.log.dir, &file.add.path)?;
        let size = file.add.size.max(0).cast_unsigned();
        let values = partition
            .iter()
            .map(|field| value(&self.log.table, file, field))
            .collect::<crate::Result<_>>()?;
        // `new(path, ..)` would encode the path a second time.
        let mut scanned = PartitionedFile::new("", size).with_partition_values(values);
        scanned.object_meta.location = path;
        if file.add.deletion_vector.is_some() {
            let deleted: Vec<u64> = self.shared.vectors.of(&self.log, file).await?.iter().collect();
            let rows = match file.physical_rows() {
                Some(rows) => rows,
                None => self.shared.reader.count(&self.log, file).await?,
            };
            scanned = scanned.with_extension(ParquetRowSelection::new(select(&deleted, rows, false)));
        }
        Ok(scanned)
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.log.table, self.snapshot.version)
    }
}

#[async_trait]
impl TableProvider for Provider {
    fn schema(&self) -> SchemaRef {
        self.table_schema().clone()
    }
    fn table_type(&self) -> TableType {
        TableType::Base
    }
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
    fn statistics(&self) -> Option<Statistics> {
        let mut statistics = Statistics::new_unknown(self.table_schema());
        statistics.num_rows = match self.snapshot.live_rows().and_then(|n| usize::try_from(n).ok()) {
            Some(rows) => Precision::Exact(rows),
            None => Precision::Absent,
        };
        Some(statistics)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let store = &self.shared.store;
        state.runtime_env().register_object_store(store.key.as_ref(), store.objects.clone());
        let partition = self.partition_fields();
        let file_schema = without(self.table_schema(), &self.snapshot.meta.line.partition_columns);
        let source = TableSchema::builder(file_schema).with_table_partition_cols(partition.clone()).build();
        // The source puts partition columns last; the table may have them anywhere.
        let all: Vec<usize> = (0..self.table_schema().fields().len()).collect();
        let wanted = projection.unwrap_or(&all).iter();
        let wanted = wanted
            .map(|i| source.table_schema().index_of(self.table_schema().field(*i).name()))
            .collect::<Result<Vec<_>, _>>()?;
        let mut groups: Vec<Vec<PartitionedFile>> =
            vec![Vec::new(); state.config().target_partitions().max(1)];
        let mut rows = Some(0);
        for file in self.pruned(state, filters)? {
            let scanned =
                self.scanned(file, &partition).await.map_err(|e| DataFusionError::External(e.into()))?;
            let live = file.physical_rows().map(|n| n.saturating_sub(file.deleted_rows()));
            rows = rows.zip(live).map(|(a, b)| a + b);
            // The file group with the fewest bytes gets the next file.
            let size =
                |group: &Vec<PartitionedFile>| group.iter().map(PartitionedFile::effective_size).sum::<u64>();
            if let Some(group) = groups.iter_mut().min_by_key(|group| size(group)) {
                group.push(scanned);
            }
        }
        let mut statistics = Statistics::new_unknown(source.table_schema());
        if let Some(rows) = rows.and_then(|n| usize::try_from(n).ok()) {
            statistics.num_rows =
                if filters.is_empty() { Precision::Exact(rows) } else { Precision::Inexact(rows) };
        }
        let groups: Vec<FileGroup> =
            groups.into_iter().filter(|g| !g.is_empty()).map(FileGroup::new).collect();
        if groups.is_empty() {
            // A source without files has no partitions, and the engine needs at least one.
            let schema = match projection {
                Some(projection) => Arc::new(self.table_schema().project(projection)?),
                None => self.table_schema().clone(),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let source = Arc::new(ParquetSource::new(source));
        let config = FileScanConfigBuilder::new(store.key.clone(), source)
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(Some(wanted))?
            .with_limit(limit.filter(|_| filters.is_empty()))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

fn value(table: &str, file: &DataFile, field: &Field) -> crate::Result<ScalarValue> {
    let bad =
        |source: DataFusionError| crate::Error::BadLog { table: table.to_owned(), source: source.into() };
    match file.add.partition_values.get(field.name()).and_then(Option::as_deref) {
        None => ScalarValue::try_from(field.data_type()).map_err(bad),
        Some(text) => ScalarValue::try_from_string(text.to_owned(), field.data_type()).map_err(bad),
    }
}

/// The log's statistics of files, in the form that DataFusion prunes by.
struct Bounds<'a> {
    schema: &'a Schema,
    files: &'a [&'a Arc<DataFile>],
}

impl Bounds<'_> {
    fn ends(&self, column: &Column, end: impl Fn((Bound, Bound)) -> Bound) -> Option<ArrayRef> {
        let (_, field) = self.schema.fields().find(&column.name)?;
        let data_type = field.data_type();
        let ends = self.files.iter().map(|file| file.bounds(&column.name, data_type).map(&end));
        let int = |bound: Option<Bound>| match bound {
            Some(Bound::Int(value)) => Some(value),
            _ => None,
        };
        let array: ArrayRef = match data_type {
            DataType::Utf8 => Arc::new(ends.map(|b| b.and_then(text)).collect::<StringArray>()),
            DataType::Date32 => {
                Arc::new(ends.map(|b| int(b).and_then(|v| i32::try_from(v).ok())).collect::<Date32Array>())
            }
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
                Arc::new(ends.map(int).collect::<Int64Array>())
            }
            _ => return None,
        };
        conform::array(&array, data_type).ok()
    }
}

fn text(bound: Bound) -> Option<String> {
    match bound {
        Bound::Text(text) => Some(text),
        Bound::Int(_) => None,
    }
}

impl PruningStatistics for Bounds<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.ends(column, |(least, _)| least)
    }
    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.ends(column, |(_, greatest)| greatest)
    }
    fn num_containers(&self) -> usize {
        self.files.len()
    }
    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        Some(Arc::new(self.files.iter().map(|file| file.nulls(&column.name)).collect::<UInt64Array>()))
    }
    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.files.iter().map(|file| file.physical_rows()).collect::<UInt64Array>()))
    }
    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
