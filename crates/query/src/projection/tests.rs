use arrow::array::{AsArray as _, Int64Array, StringArray};
use arrow::datatypes::{Int64Type, TimeUnit};
use rstest::rstest;

use super::*;
use crate::{session, sql};

fn changes() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("email", DataType::Utf8, true),
        Field::new("notes", DataType::Utf8, true),
        Field::new("_ts", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ]))
}

fn batch() -> RecordBatch {
    RecordBatch::try_new(
        changes(),
        vec![
            Arc::new(Int64Array::from(vec![Some(1), Some(2), None])),
            Arc::new(StringArray::from(vec![Some(" A@B "), None, Some("c")])),
            Arc::new(StringArray::from(vec![Some("x"), Some("y"), None])),
            arrow::array::new_null_array(changes().field(3).data_type(), 3),
        ],
    )
    .expect("columns fit")
}

async fn compiled(select: &str) -> Result<Projection, Error> {
    Projection::compile(&session(), &sql::parse(select)?, &changes()).await
}

#[tokio::test]
async fn columns_are_computed_and_the_where_is_a_mask_beside_them() {
    let model = compiled("SELECT id AS k, lower(trim(email)) AS mail, coalesce(notes, '-') AS n FROM changes(bronze.x) WHERE id > 1")
        .await
        .expect("row-wise");
    let rows = model.project(&batch()).expect("projects");
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().values()[..2], [1, 2]);
    assert_eq!(rows.column(1).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("a@b"), None, Some("c")]);
    assert_eq!(rows.column(2).as_string::<i32>().value(2), "-");
    let mask = model.matches(&batch()).expect("a mask");
    assert_eq!(mask, BooleanArray::from(vec![false, true, false]));
}

#[tokio::test]
async fn nested_selects_fold_to_the_source_columns() {
    let model = compiled(
        "WITH clean AS (SELECT c.id, trim(c.email) AS e, c.notes FROM changes(bronze.x) c WHERE c.id IS NOT NULL) \
         SELECT id, e || notes AS both, notes FROM clean WHERE e <> ''",
    )
    .await
    .expect("row-wise");
    assert_eq!(model.dependencies("both"), Some(vec!["email", "notes"]));
    assert_eq!(model.dependencies("notes"), Some(vec!["notes"]));
    assert_eq!(model.dependencies("nothing"), None);
    assert_eq!(model.filter_dependencies(), ["id", "email"]);
    assert_eq!(model.matches(&batch()).expect("a mask"), BooleanArray::from(vec![true, false, false]));
}

#[rstest]
#[case::aggregate("SELECT id, count(*) AS n FROM changes(bronze.x) GROUP BY id")]
#[case::sort("SELECT id FROM changes(bronze.x) ORDER BY id")]
#[case::distinct("SELECT DISTINCT id FROM changes(bronze.x)")]
#[case::window("SELECT id, row_number() OVER (ORDER BY id) AS n FROM changes(bronze.x)")]
#[case::join("SELECT a.id FROM changes(bronze.x) a JOIN changes(bronze.x) b ON a.id = b.id")]
#[case::limit("SELECT id FROM changes(bronze.x) LIMIT 1")]
#[case::subquery("SELECT id, (SELECT max(id) FROM changes(bronze.x)) AS m FROM changes(bronze.x)")]
#[case::clock("SELECT id, now() AS at FROM changes(bronze.x)")]
#[case::raw("SELECT id FROM bronze.x")]
#[case::unknown_column("SELECT nothing FROM changes(bronze.x)")]
#[tokio::test]
async fn what_is_not_row_wise_is_refused(#[case] select: &str) {
    assert!(matches!(compiled(select).await, Err(Error::Sql(_))), "{select}");
}

#[tokio::test]
async fn a_cast_that_fails_is_an_error_and_not_a_null() {
    let model =
        compiled("SELECT id, CAST(email AS BIGINT) AS n FROM changes(bronze.x)").await.expect("row-wise");
    assert!(model.project(&batch()).is_err());
    assert!(model.column(&batch(), 0).is_ok(), "the other column is untouched by it");
}
