use arrow::datatypes::{DataType, Field, TimeUnit};
use rstest::rstest;

use super::*;

fn name(text: &str) -> TableName {
    text.parse().expect("valid")
}

fn planner() -> Planner {
    let planner = Planner::new(ClockMs(0));
    let orders = Schema::new(vec![
        Field::new("order_id", DataType::Int64, true),
        Field::new("customer_id", DataType::Int64, true),
        Field::new("total", DataType::Decimal128(38, 2), true),
        Field::new("weight", DataType::Float64, true),
        Field::new("note", DataType::Utf8, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ]);
    planner.declare(&name("silver.orders"), &orders, &["order_id".to_owned()]).expect("declared");
    let changes = Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("_op", DataType::Utf8, true),
    ]);
    planner.declare(&name("changes.cdc_x"), &changes, &[]).expect("declared");
    planner
}

fn plan(sql: &str) -> Planned {
    planner().plan(&parse(sql).expect("parses")).unwrap_or_else(|e| panic!("{sql}: {e}"))
}

#[test]
fn the_schema_of_a_result_is_what_a_table_can_store() {
    let planned = plan(
        "SELECT customer_id, count(*) AS n, CAST(sum(total) AS DECIMAL(38,2)) AS revenue, max(note) AS note,
                CAST(max(at) AS DATE) AS day, date_trunc('hour', max(at)) AS hour, row_number() OVER (ORDER BY customer_id) AS r
         FROM silver.orders GROUP BY customer_id",
    );
    let types: Vec<(String, DataType)> =
        planned.schema.fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect();
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let expected = [
        ("customer_id", DataType::Int64),
        ("n", DataType::Int64),
        ("revenue", DataType::Decimal128(38, 2)),
        ("note", DataType::Utf8),
        ("day", DataType::Date32),
        ("hour", utc),
        ("r", DataType::Int64),
    ];
    assert_eq!(types, expected.map(|(n, t)| (n.to_owned(), t)));
}

#[test]
fn columns_of_changes_may_be_qualified_by_the_bronze_table() {
    let planned = plan("SELECT cdc_x.id FROM changes(bronze.cdc_x) WHERE cdc_x._op <> 'd'");
    assert_eq!(planned.schema.field(0).name(), "id");
}

/// Why `changes` is not a table function of the engine.
#[tokio::test]
async fn a_table_function_of_the_engine_gives_no_table_to_qualify_columns_by() {
    use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};

    #[derive(Debug)]
    struct Changes(Arc<dyn TableProvider>);
    impl TableFunctionImpl for Changes {
        fn call_with_args(
            &self,
            _: TableFunctionArgs<'_, '_>,
        ) -> datafusion::error::Result<Arc<dyn TableProvider>> {
            Ok(Arc::clone(&self.0))
        }
    }
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
    let table = MemTable::try_new(schema, vec![vec![]]).expect("no rows");
    let ctx = session::session();
    ctx.register_udtf("changes", Arc::new(Changes(Arc::new(table))));
    ctx.sql("SELECT id FROM changes(bronze.cdc_x)").await.expect("planned");
    ctx.sql("SELECT cdc_x.id FROM changes(bronze.cdc_x)").await.expect_err("there is no table of that name");
}

#[test]
fn an_unknown_column_is_reported_with_its_place() {
    let error =
        planner().plan(&parse("SELECT order_id,\n       custmer_id\nFROM silver.orders").expect("parses"));
    let Err(Error::Sql(fault)) = error else { panic!("{error:?}") };
    assert_eq!((fault.line, fault.column), (2, 8), "{fault}");
    assert!(fault.message.contains("custmer_id"), "{fault}");
}

#[test]
fn a_column_that_no_table_can_hold_is_refused_with_all_others() {
    let sql = "SELECT order_id + 1, NULL AS nothing, at - at AS pause, order_id AS a, customer_id AS A FROM silver.orders";
    match planner().plan(&parse(sql).expect("parses")) {
        Err(Error::Refused(refusal)) => assert_eq!(refusal.reasons.len(), 4, "{refusal}"),
        Err(Error::Sql(fault)) => assert!(fault.message.contains("unique"), "{fault}"),
        Ok(planned) => panic!("{:?}", planned.schema),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_view_is_planned_through() {
    let planner = planner();
    let view = parse("SELECT customer_id, sum(total) AS total FROM silver.orders GROUP BY customer_id")
        .expect("parses");
    planner.declare_view(&name("gold.totals"), &view).expect("planned");
    let planned =
        planner.plan(&parse("SELECT max(total) AS best FROM gold.totals").expect("parses")).expect("planned");
    assert!(
        format!("{}", planned.plan.display_indent()).contains("silver.orders"),
        "{}",
        planned.plan.display_indent()
    );
}

#[test]
fn the_pinned_time_is_in_the_plan() {
    let planned =
        plan("SELECT order_id, current_date AS today FROM silver.orders WHERE at < now() - INTERVAL '1 day'");
    assert_eq!(planned.schema.field(1).data_type(), &DataType::Date32);
    assert!(function_of_pins(&planned.plan).is_ok());
}

#[rstest]
#[case::projection("SELECT id, lower(name) AS name FROM changes(bronze.cdc_x)")]
#[case::with_where_and_alias("SELECT c.id FROM changes(bronze.cdc_x) AS c WHERE c._op <> 'd'")]
#[case::everything("SELECT * FROM changes(bronze.cdc_x)")]
fn these_are_row_wise(#[case] sql: &str) {
    assert_eq!(row_wise(&plan(sql).plan), Ok(()));
}

#[rstest]
#[case::group("SELECT id, count(*) AS n FROM changes(bronze.cdc_x) GROUP BY id", "GROUP BY")]
#[case::distinct("SELECT DISTINCT id FROM changes(bronze.cdc_x)", "DISTINCT")]
#[case::join("SELECT c.id FROM changes(bronze.cdc_x) c JOIN silver.orders o ON o.order_id = c.id", "a join")]
#[case::window("SELECT id, row_number() OVER (ORDER BY id) AS r FROM changes(bronze.cdc_x)", "window")]
#[case::subquery(
    "SELECT id FROM changes(bronze.cdc_x) WHERE id IN (SELECT order_id FROM silver.orders)",
    "subquery"
)]
#[case::limit("SELECT id FROM changes(bronze.cdc_x) LIMIT 3", "LIMIT")]
#[case::nested("SELECT id FROM (SELECT id + 1 AS id FROM changes(bronze.cdc_x)) x", "nested")]
#[case::no_table("SELECT 1 AS id", "no table")]
fn these_are_not_row_wise(#[case] sql: &str, #[case] says: &str) {
    let refusal = row_wise(&plan(sql).plan).expect_err("refused");
    assert!(refusal.to_string().contains(says), "{refusal}");
}

#[rstest]
#[case::exact_sums(
    "SELECT customer_id, sum(total) AS t, avg(order_id) AS a, avg(total) AS b, count(DISTINCT note) AS n FROM silver.orders GROUP BY customer_id"
)]
#[case::float_extremes("SELECT customer_id, max(weight) AS w FROM silver.orders GROUP BY customer_id")]
#[case::list_by_itself(
    "SELECT customer_id, array_agg(note ORDER BY note) AS notes FROM silver.orders GROUP BY customer_id"
)]
#[case::list_by_key(
    "SELECT customer_id, array_agg(note ORDER BY at, order_id) AS notes FROM silver.orders GROUP BY customer_id"
)]
#[case::limit_by_key("SELECT order_id FROM silver.orders ORDER BY at, order_id LIMIT 3")]
#[case::number_by_key(
    "SELECT order_id, row_number() OVER (PARTITION BY customer_id ORDER BY at, order_id) AS r FROM silver.orders"
)]
#[case::rank("SELECT order_id, rank() OVER (PARTITION BY customer_id ORDER BY at) AS r FROM silver.orders")]
#[case::running_sum_by_range(
    "SELECT order_id, sum(total) OVER (PARTITION BY customer_id ORDER BY at) AS r FROM silver.orders"
)]
fn these_are_functions_of_their_pins(#[case] sql: &str) {
    assert_eq!(function_of_pins(&plan(sql).plan), Ok(()));
}

// Holds P7 (docs/invariants.md).
#[rstest]
#[case::float_sum("SELECT sum(weight) AS w FROM silver.orders", "adds floats")]
#[case::float_avg_in_an_expression(
    "SELECT customer_id, round(avg(weight * 2)) AS w FROM silver.orders GROUP BY customer_id",
    "adds floats"
)]
#[case::decimal_made_float("SELECT sum(CAST(total AS DOUBLE)) AS w FROM silver.orders", "adds floats")]
#[case::float_window(
    "SELECT order_id, sum(weight) OVER (PARTITION BY customer_id) AS w FROM silver.orders",
    "adds floats"
)]
#[case::unordered_list("SELECT array_agg(note) AS n FROM silver.orders", "order of rows")]
#[case::list_with_ties("SELECT array_agg(note ORDER BY at) AS n FROM silver.orders", "order of rows")]
#[case::limit("SELECT order_id FROM silver.orders LIMIT 3", "LIMIT")]
#[case::limit_with_ties("SELECT order_id, at FROM silver.orders ORDER BY customer_id LIMIT 3", "LIMIT")]
#[case::number_with_ties(
    "SELECT order_id, row_number() OVER (PARTITION BY customer_id ORDER BY at) AS r FROM silver.orders",
    "row_number"
)]
#[case::rows_frame_with_ties(
    "SELECT order_id, sum(total) OVER (PARTITION BY customer_id ORDER BY at ROWS 3 PRECEDING) AS r FROM silver.orders",
    "add the key"
)]
#[case::estimate("SELECT approx_distinct(note) AS n FROM silver.orders", "estimates")]
#[case::in_a_subquery(
    "SELECT order_id FROM silver.orders WHERE weight > (SELECT avg(weight) FROM silver.orders)",
    "adds floats"
)]
fn these_are_not(#[case] sql: &str, #[case] says: &str) {
    let refusal = function_of_pins(&plan(sql).plan).expect_err("refused");
    assert!(refusal.to_string().contains(says), "{refusal}");
}
