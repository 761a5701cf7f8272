//! Creates all sessions of the process, so that all plans have the same functions, rules and settings and
//! share one memory budget. Only tables are registered later.

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider, TableProvider};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::optimizer::OptimizerRule;
use datafusion::prelude::{SessionConfig, SessionContext};
use model::TableName;

use crate::engine;
use crate::error::{Doing, Error};

/// Memory limit of all queries of the process together. Sorts, aggregations and repartitions beyond it spill
/// to disk; the build side of a hash join beyond it is an error.
const MEMORY: usize = 1 << 30;

/// Rows of a batch between operators.
const BATCH_ROWS: usize = 8192;

/// A session with the workspace's settings and no tables.
///
/// Unquoted identifiers are lower-cased as in plain SQL. A decimal literal such as `1.1` is a decimal, not a
/// float, so sums with it stay exact; beside a double it is a double. Strings are `Utf8`, never views. Times
/// are UTC microseconds. A value that does not fit its type is an error, never another number.
pub fn session() -> SessionContext {
    built(engine::optimizer_rules(), true)
}

/// A session that computes the same with only those rules without which a plan cannot run. Gives a second
/// opinion on [`session`].
pub fn unoptimised() -> SessionContext {
    built(engine::necessary_rules(), false)
}

fn built(rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>, dynamic_filters: bool) -> SessionContext {
    let mut config = SessionConfig::new()
        .with_batch_size(BATCH_ROWS)
        .with_target_partitions(std::thread::available_parallelism().map_or(2, NonZeroUsize::get))
        .with_create_default_catalog_and_schema(true)
        .with_information_schema(true);
    let options = config.options_mut();
    options.execution.time_zone = Some("UTC".to_owned());
    options.execution.parquet.schema_force_view_types = false;
    options.sql_parser.enable_ident_normalization = true;
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = true;
    // Join keys that are pushed into scans as lists panic on dictionary-encoded partition columns.
    options.optimizer.hash_join_inlist_pushdown_max_size = 0;
    options.optimizer.hash_join_inlist_pushdown_max_distinct_values = 0;
    options.optimizer.enable_dynamic_filter_pushdown &= dynamic_filters;
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(Arc::clone(runtime()))
        .with_default_features()
        .with_analyzer_rules(engine::analyzer_rules())
        .with_optimizer_rules(rules)
        .build();
    for function in engine::scalar_functions() {
        state.register_udf(Arc::new(function)).expect("a function in memory can be replaced");
    }
    for aggregate in engine::aggregates() {
        state.register_udaf(Arc::new(aggregate)).expect("an aggregate in memory can be replaced");
    }
    SessionContext::new_with_state(state)
}

/// One memory pool and spill area for all sessions of the process.
fn runtime() -> &'static Arc<RuntimeEnv> {
    static RUNTIME: OnceLock<Arc<RuntimeEnv>> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let named = NonZeroUsize::MIN.saturating_add(4);
        let pool = TrackConsumersPool::new(FairSpillPool::new(MEMORY), named);
        RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(pool))
            .build_arc()
            .expect("a runtime without object stores or caches has nothing to fail on")
    })
}

/// Makes `schema.table` readable in the session. Replaces an earlier table with that name.
pub fn register(ctx: &SessionContext, name: &TableName, table: Arc<dyn TableProvider>) -> Result<(), Error> {
    register_as(ctx, name.schema(), name.table(), table)
}

/// [`register`] for names that are not table names, such as one with a version.
pub(crate) fn register_as(
    ctx: &SessionContext,
    schema: &str,
    table: &str,
    provider: Arc<dyn TableProvider>,
) -> Result<(), Error> {
    let catalog = ctx.catalog("datafusion").expect("the default catalog is created with the session");
    let folder = match catalog.schema(schema) {
        Some(folder) => folder,
        None => {
            let folder: Arc<dyn SchemaProvider> = Arc::new(MemorySchemaProvider::new());
            catalog.register_schema(schema, Arc::clone(&folder)).doing("register a schema")?;
            folder
        }
    };
    if folder.table_exist(table) {
        folder.deregister_table(table).doing("replace a table")?;
    }
    folder.register_table(table.to_owned(), provider).map(drop).doing("register a table")
}

/// The type in which a column of this type is stored. `None`: no table can store it.
///
/// Views and dictionaries become plain arrays, timestamps UTC microseconds, unsigned integers the next wider
/// signed type. Delta has no time of day, interval or union.
pub fn stored_type(given: &DataType) -> Option<DataType> {
    use DataType as T;
    let field = |f: &Arc<Field>| -> Option<Arc<Field>> {
        Some(Arc::new(Field::new(f.name(), stored_type(f.data_type())?, f.is_nullable())))
    };
    Some(match given {
        T::Utf8 | T::LargeUtf8 | T::Utf8View => T::Utf8,
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        T::Boolean | T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::Float32 | T::Float64 | T::Date32 => {
            given.clone()
        }
        T::UInt8 => T::Int16,
        T::UInt16 => T::Int32,
        T::UInt32 | T::UInt64 => T::Int64,
        T::Float16 => T::Float32,
        T::Date64 => T::Date32,
        T::Timestamp(_, _) => T::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) if *s >= 0 => T::Decimal128(*p, *s),
        T::Decimal256(p, s) if *s >= 0 && *p <= 38 => T::Decimal128(*p, *s),
        T::Dictionary(_, value) => stored_type(value)?,
        T::List(item) | T::LargeList(item) | T::ListView(item) | T::FixedSizeList(item, _) => {
            T::List(field(item)?)
        }
        T::Struct(fields) => T::Struct(fields.iter().map(field).collect::<Option<Vec<_>>>()?.into()),
        T::Map(entries, sorted) => T::Map(field(entries)?, *sorted),
        _ => return None,
    })
}

/// The schema of a table that stores these columns: every column nullable, no metadata. The error names all
/// columns that cannot be stored.
pub fn stored_schema(given: &Schema) -> Result<SchemaRef, Vec<String>> {
    let mut faults = Vec::new();
    let mut fields: Vec<Field> = Vec::with_capacity(given.fields().len());
    for field in given.fields() {
        let name = field.name();
        if name.is_empty() || name.contains([' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '=']) {
            faults.push(format!("the column `{name}` has no plain name: write `... AS name`"));
        }
        if fields.iter().any(|f| f.name() == name) {
            faults.push(format!("two columns are called `{name}`: write `... AS name`"));
        }
        match stored_type(field.data_type()) {
            Some(stored) => fields.push(Field::new(name, stored, true)),
            None if *field.data_type() == DataType::Null => {
                faults.push(format!(
                    "the column `{name}` is always null and has no type: write `CAST(NULL AS ...)`"
                ));
            }
            None => faults.push(format!(
                "the column `{name}` is of type {}, which a table cannot hold: cast it",
                field.data_type()
            )),
        }
    }
    if faults.is_empty() { Ok(Arc::new(Schema::new(fields))) } else { Err(faults) }
}

/// The batch with exactly these columns, cast to their types. A missing column is null. A value that does not
/// fit its type is an error, never a null.
pub fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Error> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
        Some(column) => cast_with_options(column, field.data_type(), &options).map_err(|source| {
            let what = format!("`{}` from {} to {}", field.name(), column.data_type(), field.data_type());
            Error::Shape { what, source }
        }),
        None => Ok(arrow::array::new_null_array(field.data_type(), batch.num_rows())),
    });
    let columns = columns.collect::<Result<Vec<_>, Error>>()?;
    let rows = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &rows)
        .map_err(|source| Error::Shape { what: "a batch of a query".to_owned(), source })
}
