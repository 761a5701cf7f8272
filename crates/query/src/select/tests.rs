use arrow::array::Int64Array;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::MemTable;
use rstest::rstest;

use super::*;

fn table(values: &[i64]) -> Arc<dyn TableProvider> {
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
    let column = Arc::new(Int64Array::from(values.to_vec()));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).expect("one column");
    Arc::new(MemTable::try_new(schema, vec![vec![batch]]).expect("one batch"))
}

fn reads(sql: &str) -> Vec<(String, At)> {
    let prepared = prepare(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    prepared.reads.into_iter().map(|r| (r.table.to_string(), r.at)).collect()
}

#[rstest]
#[case::latest("SELECT * FROM gold.t", At::Latest)]
#[case::version("SELECT * FROM gold.t VERSION AS OF 3", At::Version(Version(3)))]
#[case::alias("SELECT x.a FROM gold.T version as of 3 AS x WHERE x.a > 1", At::Version(Version(3)))]
#[case::day("SELECT * FROM gold.t TIMESTAMP AS OF '1970-01-02'", At::Time(86_400_000))]
#[case::time("SELECT * FROM gold.t TIMESTAMP AS OF '1970-01-01 00:00:01.5'", At::Time(1500))]
#[case::zone("SELECT * FROM gold.t TIMESTAMP AS OF '1970-01-01T01:00:01+01:00'", At::Time(1000))]
#[case::in_a_cte("WITH c AS (SELECT * FROM gold.t VERSION AS OF 0) SELECT * FROM c", At::Version(Version(0)))]
fn the_version_of_a_table_is_found(#[case] sql: &str, #[case] at: At) {
    assert_eq!(reads(sql), [("gold.t".to_owned(), at)]);
}

#[rstest]
#[case::text("SELECT * FROM gold.t VERSION AS OF 'x'", "whole number")]
#[case::negative("SELECT * FROM gold.t VERSION AS OF -1", "whole number")]
#[case::no_time("SELECT * FROM gold.t TIMESTAMP AS OF 'yesterday'", "takes a time")]
#[case::nothing_before("SELECT * FROM (SELECT 1) VERSION AS OF 1", "behind a table name")]
#[case::bare("SELECT * FROM t", "no table")]
fn a_bad_version_is_refused(#[case] sql: &str, #[case] says: &str) {
    let error = prepare(sql).expect_err("refused").to_string();
    assert!(error.contains(says), "{error}");
}

#[test]
fn a_column_called_version_is_no_clause() {
    assert_eq!(
        reads("SELECT version AS of_it, timestamp AS t FROM gold.t"),
        [("gold.t".to_owned(), At::Latest)]
    );
}

#[rstest]
#[case::a_column("SELECT version AS of FROM gold.t")]
#[case::two_columns("SELECT version AS of, timestamp AS t FROM gold.t")]
#[case::a_qualified_column("SELECT t.timestamp AS of FROM gold.t")]
#[case::a_text("SELECT 'gold.t VERSION AS OF 3' FROM gold.t")]
#[case::a_quoted_name("SELECT \"version\" AS OF FROM gold.t -- VERSION AS OF 3")]
#[case::aliases_that_begin_other_clauses(
    "SELECT before.a FROM gold.t before JOIN gold.t at ON before.a = at.a"
)]
fn the_words_elsewhere_are_no_clause(#[case] sql: &str) {
    assert_eq!(reads(sql), [("gold.t".to_owned(), At::Latest)]);
}

#[rstest]
#[case::behind_an_alias("SELECT x.a FROM gold.t AS x VERSION AS OF 3", 29)]
#[case::behind_a_bare_alias("SELECT x.a FROM gold.t x TIMESTAMP AS OF '2026-01-01'", 26)]
#[case::behind_a_column("SELECT t.a VERSION AS OF 3 FROM gold.t", 12)]
#[case::behind_a_subquery("SELECT * FROM (SELECT 1) VERSION AS OF 3", 26)]
#[case::behind_a_common_table("WITH t AS (SELECT 1 AS a) SELECT * FROM t VERSION AS OF 3", 43)]
#[case::twice("SELECT * FROM gold.t VERSION AS OF 3 VERSION AS OF 4", 38)]
fn a_version_that_moves_no_table_is_refused_where_it_stands(#[case] sql: &str, #[case] column: usize) {
    match prepare(sql) {
        Err(Error::Sql(fault)) => {
            assert_eq!((fault.line, fault.column), (1, column), "{fault}");
            assert!(fault.message.contains("behind a table name"), "{fault}");
        }
        other => panic!("`{sql}` gave {other:?}"),
    }
}

#[test]
fn a_common_table_of_the_same_name_stays_itself() {
    let sql = "WITH t AS (SELECT a FROM gold.T VERSION AS OF 3)
               SELECT * FROM t JOIN gold.\"t\" VERSION AS OF 4 AS later ON t.a = later.a JOIN gold.t ON true";
    let version = |version| ("gold.t".to_owned(), At::Version(Version(version)));
    assert_eq!(reads(sql), [("gold.t".to_owned(), At::Latest), version(3), version(4)]);
}

/// Why the clause is not parsed as part of the query. If this fails, sqlparser can do it, and we should use
/// it.
#[test]
fn no_dialect_of_sqlparser_reads_our_queries_with_the_clause() {
    use datafusion::sql::sqlparser::dialect::{DatabricksDialect, Dialect, GenericDialect};
    use datafusion::sql::sqlparser::parser::Parser;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    let read = |dialect: &dyn Dialect, sql: &str| {
        let statement = Parser::parse_sql(dialect, sql).ok()?.pop()?;
        Some(statement.to_string())
    };
    let clause = "SELECT * FROM t VERSION AS OF 3";
    let (ours, databricks) = (GenericDialect {}, DatabricksDialect {});
    assert_eq!(read(&ours, clause), None);
    assert_eq!(read(&databricks, clause).as_deref(), Some(clause));
    for sql in
        ["SELECT * FROM t before", "FROM t SELECT a", "SELECT first_value(a IGNORE NULLS) OVER () FROM t"]
    {
        assert!(read(&ours, sql).is_some(), "{sql}");
        assert_eq!(read(&databricks, sql), None, "{sql}");
    }
    let quoted = Tokenizer::new(&databricks, "\"a\"").tokenize().expect("tokens");
    assert_eq!(quoted, [Token::DoubleQuotedString("a".to_owned())]);
}

#[tokio::test]
async fn one_table_is_read_at_two_versions_in_one_query() {
    let sql = "SELECT t.a - old.a AS grown FROM gold.t CROSS JOIN gold.t VERSION AS OF 1 AS old
               UNION ALL SELECT t.a FROM gold.t VERSION AS OF 1";
    let query = prepare(sql).expect("valid");
    let ctx = session::session();
    for one in &query.reads {
        let values: &[i64] = if one.at == At::Latest { &[30] } else { &[10] };
        register(&ctx, one, table(values)).expect("registered");
    }
    let rows = run(&ctx, &query).await.expect("ran");
    let mut values: Vec<i64> = Vec::new();
    for batch in &rows.batches {
        let column = batch.column(0).as_any().downcast_ref::<Int64Array>().expect("integers");
        values.extend(column.values().iter());
    }
    values.sort_unstable();
    assert_eq!(values, [10, 20]);
    assert_eq!(rows.schema.field(0).name(), "grown");
}
