use arrow::datatypes::{DataType, Field, Schema};
use model::ClockMs;
use rstest::rstest;

use super::*;
use crate::affected::Method;
use crate::plan::Planner;
use crate::sql::parse;

fn planned(sql: &str) -> Planned {
    let planner = Planner::new(ClockMs(0));
    let schema = Schema::new(vec![
        Field::new("id", DataType::Utf8, true),
        Field::new("k", DataType::Int64, true),
        Field::new("v", DataType::Int64, true),
        Field::new("w", DataType::Int64, true),
        Field::new("s", DataType::Utf8, true),
    ]);
    for table in ["silver.e", "silver.b"] {
        planner.declare(&table.parse().expect("a name"), &schema, &["id".to_owned()]).expect("declared");
    }
    planner.plan(&parse(sql).expect("parses")).unwrap_or_else(|e| panic!("{sql}: {e}"))
}

fn faults(sql: &str) -> Vec<SqlFault> {
    rehearse(&planned(sql), &["id".to_owned()])
}

#[rstest]
#[case::scalar_subquery_without_equality(
    "SELECT a.id, (SELECT count(*) FROM silver.b b WHERE b.v > a.v) AS n FROM silver.e a"
)]
#[case::correlated_not_in(
    "SELECT id FROM silver.e a WHERE v NOT IN (SELECT b.v FROM silver.b b WHERE b.k = a.w)"
)]
#[case::escape("SELECT id FROM silver.e WHERE s LIKE '10$%' ESCAPE '$'")]
fn a_query_that_can_never_run_is_a_fault(#[case] sql: &str) {
    let faults = faults(sql);
    assert_eq!(faults.len(), 1, "{sql}: {faults:?}");
    assert!(!faults[0].help.is_empty());
}

#[rstest]
#[case::plain("SELECT id, v FROM silver.e")]
#[case::grouped("SELECT e.id, sum(b.v) AS v FROM silver.e e JOIN silver.b b ON b.k = e.k GROUP BY e.id")]
#[case::lateral(
    "SELECT a.id, max(l.m) AS m FROM silver.e a CROSS JOIN LATERAL (SELECT max(b.v) AS m FROM silver.b b WHERE b.k = a.k) l GROUP BY a.id"
)]
#[case::recursive(
    "WITH RECURSIVE t AS (SELECT id, 0 AS d FROM silver.e UNION ALL SELECT t.id, t.d + 1 FROM t WHERE t.d < 2) SELECT id, max(d) AS d FROM t GROUP BY id"
)]
#[case::division_by_a_column("SELECT id, v / w AS r FROM silver.e")]
fn a_query_that_can_run_has_no_fault(#[case] sql: &str) {
    assert_eq!(faults(sql), vec![]);
}

#[rstest]
#[case::lateral(
    "SELECT a.id, max(l.m) AS m FROM silver.e a CROSS JOIN LATERAL (SELECT max(b.v) AS m FROM silver.b b WHERE b.k = a.k) l GROUP BY a.id"
)]
#[case::recursive(
    "WITH RECURSIVE t AS (SELECT id, 0 AS d FROM silver.e UNION ALL SELECT t.id, t.d + 1 FROM t WHERE t.d < 2) SELECT id, max(d) AS d FROM t GROUP BY id"
)]
fn what_cannot_be_restricted_is_refreshed_in_full(#[case] sql: &str) {
    let maintenance = Maintenance::try_new(&planned(sql), &["id".to_owned()]).expect("decided");
    let full = match maintenance.method() {
        Method::Full { .. } => true,
        Method::AffectedKeys { full_for, .. } => !full_for.is_empty(),
    };
    assert!(full, "{}", maintenance.explain());
}

#[test]
fn a_rehearsal_works_within_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async { assert_eq!(faults("SELECT id, v FROM silver.e"), vec![]) });
}
