//! A model's SQL: read, planned over declared inputs, judged, and run on a few rows.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use model::{ClockMs, TableName};
use query::plan::{Planner, function_of_pins, row_wise};
use query::select;

use crate::project;

/// Longer texts say nothing new and take long.
const MOST: usize = 1_024;
/// A query over five rows that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(5);

static INPUTS: LazyLock<Vec<(TableName, RecordBatch)>> = LazyLock::new(|| {
    let rows = |from: i64| {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter((0..5).map(|i| (i != 3).then_some(from + i))));
        let texts: ArrayRef =
            Arc::new(StringArray::from(vec![Some("a"), Some(""), None, Some("b"), Some("é")]));
        let doubles: ArrayRef = Arc::new(Float64Array::from(vec![
            Some(1.5),
            Some(f64::NAN),
            None,
            Some(-0.0),
            Some(f64::INFINITY),
        ]));
        let decimals =
            Decimal128Array::from(vec![Some(1), Some(-250), None, Some(0), Some(i128::from(i64::MAX))]);
        let decimals: ArrayRef = Arc::new(decimals.with_precision_and_scale(38, 2).expect("digits fit"));
        RecordBatch::try_from_iter_with_nullable([
            ("id", ids, true),
            ("t", texts, true),
            ("f", doubles, true),
            ("d", decimals, true),
        ])
        .expect("columns of one length")
    };
    let name = |name: &str| name.parse::<TableName>().expect("a table name");
    vec![(name("silver.a"), rows(0)), (name("silver.b"), rows(2)), (name("changes.c"), rows(1))]
});

/// The text.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.len() > MOST {
        return;
    }
    if let Ok(parsed) = query::sql::parse(text) {
        let planner = Planner::new(ClockMs(0));
        for (name, rows) in INPUTS.iter() {
            planner.declare(name, &rows.schema(), &["id".to_owned()]).expect("a schema of ours");
        }
        if let Ok(planned) = planner.plan(&parsed) {
            let _ = row_wise(&planned.plan);
            let _ = function_of_pins(&planned.plan);
        }
    }
    let Ok(prepared) = select::prepare(text) else { return };
    let context = query::session();
    for reads in &prepared.reads {
        let Some((_, rows)) = INPUTS.iter().find(|(name, _)| *name == reads.table) else { return };
        let table = MemTable::try_new(rows.schema(), vec![vec![rows.clone()]]).expect("rows of their schema");
        let table: Arc<dyn TableProvider> = Arc::new(table);
        select::register(&context, reads, table).expect("a name of ours");
    }
    project::block_on(async {
        let ran = tokio::time::timeout(PATIENCE, select::run(&context, &prepared)).await;
        assert!(ran.is_ok(), "a query over five rows takes more than {PATIENCE:?}");
    });
}
