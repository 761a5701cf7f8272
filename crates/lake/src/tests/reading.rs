//! Reading a version: DataFusion, older schemas, time travel, other readers.

use arrow::array::{Array as _, Date32Array, StructArray};
use datafusion::prelude::SessionContext;

use super::*;
use crate::Error;

async fn sql(table: &Table, query: &str) -> Vec<RecordBatch> {
    let context = SessionContext::new();
    context.register_table("t", table.provider().expect("provides")).expect("registers");
    context.sql(query).await.expect("plans").collect().await.expect("runs")
}

async fn number(table: &Table, query: &str) -> i64 {
    sql(table, query).await[0].column(0).as_primitive::<Int64Type>().value(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_sees_a_table_with_vectors_as_a_scan_does() {
    let site = site().await;
    let mut table = site.create().await;
    upsert(&mut table, [], rows(0..1000, 0)).await;
    upsert(&mut table, (0..1000).step_by(3), rows((0..1000).step_by(6), 1)).await;
    let held = held(&table).await;
    assert_eq!(number(&table, "SELECT count(*) FROM t").await, i64::try_from(held.len()).expect("small"));
    assert_eq!(number(&table, "SELECT count(id) FROM t").await, i64::try_from(held.len()).expect("small"));
    assert_eq!(number(&table, "SELECT sum(id) FROM t").await, held.iter().map(|r| r.0).sum::<i64>());
    assert_eq!(number(&table, "SELECT count(*) FROM t WHERE id < 10 AND seq = 0").await, 6);
    assert_eq!(number(&table, "SELECT count(*) FROM (SELECT * FROM t WHERE id >= 0 LIMIT 400)").await, 400);
    assert_eq!(number(&table, "SELECT count(*) FROM t WHERE name = 'name 3'").await, 0);
    let all = sql(&table, "SELECT seq, name, id FROM t").await;
    assert_eq!(all[0].schema().field(1).data_type(), &DataType::Utf8);
    assert_eq!(pairs(&all), held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partitioned_table_keeps_its_column_order_and_reads_only_what_a_filter_needs() {
    let site = site().await;
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("day", DataType::Date32, true),
        Field::new("id", DataType::Int64, true),
        Field::new("seq", DataType::Int64, true),
    ]));
    let spec =
        TableSpec { schema: schema.clone(), partition_by: vec!["day".into()], append_only: true, ..spec() };
    let mut table = site.lake.create(&name("bronze.p"), spec).await.expect("creates");
    let days = Date32Array::from(vec![Some(0), Some(1), None, Some(1)]);
    let (ids, seqs) = (Int64Array::from(vec![1, 2, 3, 4]), Int64Array::from(vec![0; 4]));
    let batch =
        RecordBatch::try_new(schema, vec![Arc::new(days), Arc::new(ids), Arc::new(seqs)]).expect("valid");
    let append = table.stage(vec![batch]).await.expect("stages");
    assert_eq!(append.len(), 3, "a file a day");
    landed(table.commit(&Commit { append, ..step("a", None, 4) }).await.expect("commits"));
    assert_eq!(sql(&table, "SELECT * FROM t").await[0].schema().field(0).name(), "day");
    assert_eq!(number(&table, "SELECT sum(id) FROM t WHERE day = DATE '1970-01-02'").await, 6);
    assert_eq!(number(&table, "SELECT sum(id) FROM t WHERE day IS NULL").await, 3);
    let explained = sql(&table, "EXPLAIN SELECT id FROM t WHERE day = DATE '1970-01-02'").await;
    let plan = arrow::util::pretty::pretty_format_batches(&explained).expect("prints").to_string();
    assert_eq!(plan.matches(".parquet").count(), 1, "{plan}");
    assert_eq!(held(&table).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_may_have_any_text_for_a_name() {
    let site = site().await;
    let spec = TableSpec { partition_by: vec!["name".into()], ..spec() };
    let mut table = site.lake.create(&name("gold.p"), spec).await.expect("creates");
    let names = [Some("Far West"), Some("a/b=c"), Some("50% \u{394}"), Some("%2F"), None];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..5)),
        Arc::new(StringArray::from(names.to_vec())),
        Arc::new(Int64Array::from(vec![0; 5])),
    ];
    let batch = RecordBatch::try_new(schema(), columns).expect("valid");
    upsert(&mut table, [], batch).await;
    table.checkpoint().await.expect("writes");
    // Rows of two partitions go, by their files' names as the log has them.
    upsert(&mut table, [1, 2], rows([], 1)).await;
    for table in [table.clone(), open(&site.rival().await, &table).await] {
        assert_eq!(table.rows(), Some(3));
        let found = sql(&table, "SELECT string_agg(coalesce(name, 'none'), ' ' ORDER BY id) FROM t").await;
        let found = arrow::util::display::array_value_to_string(found[0].column(0), 0).expect("prints");
        assert_eq!(found, "Far West %2F none");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_older_than_a_nested_column_reads_it_as_null() {
    let site = site().await;
    let inner =
        |names: &[&str]| names.iter().map(|n| Field::new(*n, DataType::Int64, true)).collect::<Vec<_>>();
    let schema = |names: &[&str]| -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("after", DataType::Struct(inner(names).into()), true)]))
    };
    let batch = |names: &[&str]| {
        let columns = names.iter().map(|_| Arc::new(Int64Array::from(vec![7])) as ArrayRef).collect();
        let rows = StructArray::new(inner(names).into(), columns, None);
        RecordBatch::try_new(schema(names), vec![Arc::new(rows)]).expect("valid")
    };
    let spec = TableSpec { schema: schema(&["id"]), append_only: true, ..spec() };
    let mut table = site.lake.create(&name("bronze.n"), spec).await.expect("creates");
    let append = table.stage(vec![batch(&["id"])]).await.expect("stages");
    landed(table.commit(&Commit { append, ..step("a", None, 1) }).await.expect("commits"));
    let append = table.stage(vec![batch(&["id", "x"])]).await.expect("stages");
    let wider = Commit { append, schema: Some(schema(&["id", "x"])), ..step("a", Some(1), 2) };
    landed(table.commit(&wider).await.expect("commits"));
    let x = |rows: &[RecordBatch]| -> i64 {
        rows.iter()
            .map(|b| i64::try_from(b.column(0).as_struct().column(1).null_count()).expect("small"))
            .sum()
    };
    assert_eq!(x(&table.scan(None).await.expect("scans")), 1);
    assert_eq!(number(&table, "SELECT count(*) FROM t WHERE after['x'] IS NULL").await, 1);
    assert_eq!(number(&table, "SELECT sum(after['x']) FROM t").await, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_travel_reads_a_version_as_it_was_by_number_and_by_time() {
    let site = site().await;
    let mut table = site.create().await;
    upsert(&mut table, [], rows(0..5, 0)).await;
    let before = open(&site.lake, &table).await;
    let folder = site.settings.url.to_file_path().expect("local").join("silver/t/_delta_log");
    // The store's times tell versions apart, so the test sets them instead of waiting.
    let set_time = |version: u64, seconds: u64| {
        let entry = std::fs::File::options().append(true).open(folder.join(format!("{version:020}.json")));
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        entry.expect("is there").set_modified(time).expect("sets");
    };
    upsert(&mut table, 0..5, rows(0..5, 1)).await;
    [(0, 100), (1, 200), (2, 300)].into_iter().for_each(|(version, seconds)| set_time(version, seconds));
    assert_eq!(held(&table.at(Version(1)).await.expect("opens")).await, held(&before).await);
    assert_eq!(table.at_time(299_999).await.expect("opens").version(), Version(1));
    assert_eq!(table.at_time(300_000).await.expect("opens").version(), Version(2));
    assert!(matches!(table.at_time(99_999).await, Err(Error::LogGone { .. })));
    assert!(matches!(table.at(Version(9)).await, Err(Error::NoVersion { newest: 2, .. })));
    assert_eq!(number(&table.at(Version(1)).await.expect("opens"), "SELECT sum(seq) FROM t").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn find_gives_the_live_rows_of_keys_with_the_columns_asked_for() {
    let site = site().await;
    let mut table = site.create().await;
    upsert(&mut table, [], rows(0..100, 0)).await;
    upsert(&mut table, [7], rows([7], 1)).await;
    let found = table.find(&keys([7, 8, 1000]), &["seq".into(), "id".into()]).await.expect("finds");
    assert_eq!(pairs(&found), [(7, 1), (8, 0)]);
    assert_eq!(found[0].num_columns(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_delta_reader_sees_the_same_rows() {
    let site = site().await;
    let mut table = site.create().await;
    upsert(&mut table, [], rows(0..100, 0)).await;
    upsert(&mut table, (0..100).step_by(3), rows((0..100).step_by(6), 1)).await;
    table.checkpoint().await.expect("writes");
    upsert(&mut table, [50], rows([50], 2)).await;
    let url = site.settings.url.join("silver/t").expect("a url");
    let theirs = deltalake::open_table(url).await.expect("opens");
    let context = SessionContext::new();
    context.register_table("t", theirs.table_provider().await.expect("provides")).expect("registers");
    let read = context.sql("SELECT id, seq FROM t").await.expect("plans").collect().await.expect("runs");
    assert_eq!(pairs(&read), held(&table).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_needs_what_we_do_not_know_is_refused() {
    let site = site().await;
    let table = site.create().await;
    let entry = site
        .settings
        .url
        .to_file_path()
        .expect("local")
        .join("silver/t/_delta_log/00000000000000000001.json");
    let protocol = r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["columnMapping"],"writerFeatures":["columnMapping"]}}"#;
    std::fs::write(entry, protocol).expect("writes");
    let mut table = table;
    let error = table.refresh().await.expect_err("unknown feature");
    assert!(matches!(error, Error::Unsupported { feature, .. } if feature == "columnMapping"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_over_a_version_without_a_file_to_read_gives_no_rows() {
    let site = site().await;
    let mut table = site.create().await;
    let join = "SELECT count(*) FROM t a JOIN t b ON a.id = b.id WHERE a.seq > 100";
    assert_eq!(number(&table, "SELECT count(*) FROM t").await, 0);
    assert_eq!(number(&table, join).await, 0);
    upsert(&mut table, [], rows(0..10, 0)).await;
    assert_eq!(number(&table, "SELECT count(*) FROM t WHERE id > 1000").await, 0, "every file is left out");
    assert_eq!(number(&table, join).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_does_not_answer_is_not_a_log_that_cannot_be_read() {
    let site = site().await;
    let mut table = site.create().await;
    upsert(&mut table, [], rows(0..10, 0)).await;
    site.faults.answer(false);
    let found = table.at(Version(0)).await;
    assert!(matches!(found, Err(Error::Unreachable { .. })), "{:?}", found.err());
    site.faults.answer(true);
    assert!(table.at(Version(0)).await.is_ok());
}
