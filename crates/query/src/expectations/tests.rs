use arrow::array::{Int64Array, StringArray};
use arrow::datatypes::{Field, Schema};
use datafusion::datasource::MemTable;
use rstest::rstest;

use super::*;
use crate::session::{register, session};

fn rows() -> RecordBatch {
    let schema =
        Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("email", DataType::Utf8, true)]);
    RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])),
            Arc::new(StringArray::from(vec![Some("a@b.c"), Some("nothing"), None])),
        ],
    )
    .expect("columns fit")
}

#[test]
fn only_false_breaks_an_expectation() {
    let rows = rows();
    let all = [("has_id", "id IS NOT NULL"), ("shape", "email LIKE '%_@_%._%'"), ("never", "NULL")];
    let expectations = Expectations::compile(&session(), all, &rows.schema()).expect("boolean");
    let held = expectations.evaluate(&rows).expect("evaluates");
    assert_eq!(held[0], BooleanArray::from(vec![true, false, true]));
    assert_eq!(held[1], BooleanArray::from(vec![true, false, true]), "NULL is not known to be wrong");
    assert_eq!(held[2], BooleanArray::from(vec![true, true, true]));
    assert_eq!(expectations.dependencies(1), ["email"]);
}

#[rstest]
#[case::not_boolean("id + 1")]
#[case::unknown_column("name IS NOT NULL")]
#[case::not_sql("id IS IS")]
fn what_is_no_condition_is_refused(#[case] text: &str) {
    assert!(Expectations::compile(&session(), [("x", text)], &rows().schema()).is_err());
}

#[test]
fn a_condition_is_false_where_it_is_unknown() {
    let condition = Condition::compile(&session(), "email = 'nothing'", &rows().schema()).expect("boolean");
    assert_eq!(condition.is_true(&rows()).expect("evaluates"), BooleanArray::from(vec![false, true, false]));
}

#[rstest]
#[case::average("SELECT avg(CAST(email IS NOT NULL AS INT)) FROM silver.t", Some(2.0 / 3.0))]
#[case::nothing("SELECT avg(id) FROM silver.t WHERE id > 9", None)]
#[tokio::test]
async fn a_measure_is_one_number(#[case] query: &str, #[case] expected: Option<f64>) {
    let ctx = session();
    let table = MemTable::try_new(rows().schema(), vec![vec![rows()]]).expect("fits");
    register(&ctx, &"silver.t".parse().expect("a name"), Arc::new(table)).expect("registers");
    assert_eq!(measure(&ctx, query, ClockMs(0)).await.expect("measures"), expected);
    assert!(measure(&ctx, "SELECT id, email FROM silver.t", ClockMs(0)).await.is_err());
}

#[rstest]
#[case::inside(Some(0.8), true)]
#[case::below(Some(0.79), false)]
#[case::above(Some(1.1), false)]
#[case::nothing(None, true)]
#[case::not_a_number(Some(f64::NAN), false)]
fn bounds_are_inclusive(#[case] value: Option<f64>, #[case] holds: bool) {
    assert_eq!(Bounds { at_least: Some(0.8), at_most: Some(1.0) }.hold(value), holds);
}
