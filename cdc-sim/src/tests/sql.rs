//! Claims about the documented SQL, run by the engine on the tables from the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use apache_avro::types::Value;
use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use datafusion::catalog::MemorySchemaProvider;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;

use super::fold::{Reader, Row, fold, get, long, optional, text, unscaled};
use super::{log, plain};
use crate::discard;
use crate::field::Kind;
use crate::oracle::{Dialect, checksum_sql, revenue_sql};
use crate::row::{Column, ColumnChange};
use crate::tables::SourceTable;

pub const EVENTS: u64 = 12_000;

/// A column in the type of a silver table.
fn array(column: &Column, rows: &[Row]) -> ArrayRef {
    let values =
        || rows.iter().map(|row| Some(get(row, column.name)).filter(|value| optional(value).is_some()));
    match column.kind {
        Kind::Int | Kind::Long => Arc::new(values().map(|value| value.map(long)).collect::<Int64Array>()),
        Kind::Decimal(scale) => {
            let unscaled = values().map(|value| value.map(|value| i128::from(unscaled(value))));
            let array =
                unscaled.collect::<Decimal128Array>().with_precision_and_scale(38, scale.cast_signed());
            Arc::new(array.expect("a valid scale"))
        }
        Kind::Date => {
            let days = values().map(|value| value.map(|value| i32::try_from(long(value)).expect("days")));
            Arc::new(days.collect::<Date32Array>())
        }
        Kind::Instant => {
            let micros = values().map(|value| value.map(long)).collect::<TimestampMicrosecondArray>();
            Arc::new(micros.with_timezone("UTC"))
        }
        Kind::Bool => {
            let truth = |value| matches!(optional(value), Some(Value::Boolean(true)));
            Arc::new(values().map(|value| value.map(truth)).collect::<BooleanArray>())
        }
        Kind::Text => Arc::new(values().map(|value| value.map(text)).collect::<StringArray>()),
    }
}

fn batch(table: SourceTable, rows: &[Row]) -> RecordBatch {
    let columns = table.columns().iter().filter(|column| column.change != ColumnChange::Added);
    RecordBatch::try_from_iter_with_nullable(columns.map(|column| (column.name, array(column, rows), true)))
        .expect("columns of one length")
}

pub fn register(ctx: &SessionContext, table: SourceTable, rows: &[Row]) {
    let batch = batch(table, rows);
    let provider = MemTable::try_new(batch.schema(), vec![vec![batch]]).expect("one schema");
    ctx.register_table(format!("silver.{}", table.name()), Arc::new(provider)).expect("a new name");
}

/// A session with the schemas `silver` and `gold`.
pub fn session() -> SessionContext {
    let ctx = SessionContext::new();
    let catalog = ctx.catalog("datafusion").expect("the default catalog");
    for schema in ["silver", "gold"] {
        catalog.register_schema(schema, Arc::new(MemorySchemaProvider::new())).expect("a new name");
    }
    ctx
}

pub async fn answer(ctx: &SessionContext, sql: &str) -> String {
    let found = ctx.sql(sql).await.expect("plans").collect().await.expect("runs");
    let shown = arrow::util::display::ArrayFormatter::try_new(found[0].column(0), &Default::default());
    shown.expect("a plain type").value(0).to_string()
}

pub fn tables() -> BTreeMap<SourceTable, Vec<Row>> {
    let mut tables: BTreeMap<SourceTable, Vec<Row>> = BTreeMap::new();
    for ((table, _), row) in fold(&Reader::new().changes(&log(&plain(EVENTS)))) {
        tables.entry(table).or_default().push(row);
    }
    tables
}

#[tokio::test]
async fn the_documented_sql_gives_the_oracles_numbers() {
    let ctx = session();
    let summary = discard(&plain(EVENTS)).summary;
    for (table, rows) in tables() {
        register(&ctx, table, &rows);
    }
    for table in SourceTable::ALL {
        let said = &summary.tables[table.name()];
        assert!(said.live_rows > 0, "{} has rows", table.name());
        assert_eq!(
            answer(&ctx, &checksum_sql(table, Dialect::DataFusion)).await,
            said.checksum,
            "{}",
            table.name()
        );
        let count = answer(&ctx, &format!("SELECT count(*) FROM silver.{}", table.name())).await;
        assert_eq!(count, said.live_rows.to_string());
    }
    assert_eq!(answer(&ctx, revenue_sql()).await, summary.totals.revenue);
}

#[tokio::test]
async fn the_sql_of_an_empty_table_gives_the_oracles_nothing() {
    let ctx = session();
    register(&ctx, SourceTable::Orders, &[]);
    register(&ctx, SourceTable::OrderLines, &[]);
    assert_eq!(answer(&ctx, &checksum_sql(SourceTable::Orders, Dialect::DataFusion)).await, "0");
    assert_eq!(answer(&ctx, revenue_sql()).await, "0.00");
}

/// The smallest change of any column of any table changes its checksum.
#[tokio::test]
async fn a_change_of_any_column_changes_the_checksum() {
    for (table, mut rows) in tables() {
        let checksum = async |rows: &[Row]| {
            let ctx = session();
            register(&ctx, table, rows);
            answer(&ctx, &checksum_sql(table, Dialect::DataFusion)).await
        };
        rows.truncate(20);
        let right = checksum(&rows).await;
        for column in table.columns().iter().filter(|column| column.change != ColumnChange::Added) {
            let mut wrong = rows.clone();
            let value = &mut wrong[0].iter_mut().find(|(name, _)| name == column.name).expect("a column").1;
            *value = changed(value, column.kind);
            assert_ne!(checksum(&wrong).await, right, "{}.{}", table.name(), column.name);
        }
    }
}

/// The smallest change of a value: null becomes a value, a value increases.
fn changed(value: &Value, kind: Kind) -> Value {
    let bump = |value: &Value| match value {
        Value::Int(n) => Value::Int(n + 1),
        Value::Long(n) => Value::Long(n + 1),
        Value::Date(n) => Value::Date(n + 1),
        Value::TimestampMicros(n) => Value::TimestampMicros(n + 1),
        Value::Boolean(b) => Value::Boolean(!b),
        Value::String(text) => Value::String(format!("{text} ")),
        decimal @ Value::Decimal(_) => Value::Decimal((unscaled(decimal) + 1).to_be_bytes().into()),
        other => panic!("{other:?} is in no table"),
    };
    match optional(value) {
        Some(value) => bump(value),
        None => match kind {
            Kind::Int => Value::Int(0),
            Kind::Long => Value::Long(0),
            Kind::Decimal(_) => Value::Decimal([0_u8].into()),
            Kind::Date => Value::Date(0),
            Kind::Instant => Value::TimestampMicros(0),
            Kind::Bool => Value::Boolean(false),
            Kind::Text => Value::String(String::new()),
        },
    }
}
