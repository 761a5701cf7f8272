//! What another engine makes of a gold table. A shell stands in for it: most machines have no DuckDB.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::dataframe::DataFrameWriteOptions;

use super::faults;
use super::finished::{Project, block_on};
use crate::verify::duckdb::DuckDb;

#[test]
fn a_value_that_another_engine_refuses_is_a_fault() {
    let script = "cat > /dev/null; echo 'Out of Range Error: Overflow in addition' >&2; exit 1";
    let engine = DuckDb::stand_in("sh", &["-c", script]);
    let findings = block_on(Project::copy().verify_by(Some(&engine)));
    let fault = "gold.totals: DuckDB refuses what the table holds: Out of Range Error: Overflow in addition";
    assert_eq!(faults(&findings), [fault], "{findings:#?}");
}

#[test]
fn rows_that_another_engine_gives_otherwise_are_faults() {
    let folder = tempfile::tempdir().expect("a folder");
    let given = folder.path().join("given.parquet");
    let given = given.to_str().expect("UTF-8");
    let names: ArrayRef = Arc::new(StringArray::from(vec!["a", "c", "d"]));
    let counts: ArrayRef = Arc::new(Int64Array::from(vec![1, 3, 1]));
    let rows = RecordBatch::try_from_iter([("name", names), ("n", counts)]).expect("columns fit");
    block_on(async {
        let frame = query::session().read_batch(rows).expect("rows");
        let one = DataFrameWriteOptions::new().with_single_file_output(true);
        frame.write_parquet(given, one, None).await.expect("written");
    });
    // Puts the rows where the SQL says that its result goes.
    let script = r#"cp "$0" "$(sed -n "s/.*TO .\(.*result\.parquet\).*/\1/p")""#;
    let engine = DuckDb::stand_in("sh", &["-c", script, given]);
    let findings = block_on(Project::copy().verify_by(Some(&engine)));
    let mut faults = faults(&findings);
    faults.sort();
    let told = [
        "gold.totals: by DuckDB 1 rows are missing, 1 too many, 1 have another value",
        "gold.totals: by DuckDB name=b is there and must not be (or is there twice)",
        "gold.totals: by DuckDB name=c has `n` = 2 where 3 is right",
        "gold.totals: by DuckDB name=d is missing",
    ];
    assert_eq!(faults, told, "{findings:#?}");
}
