//! A value that was written is the value that is read, and the one by which its row is found.

use std::sync::LazyLock;

use arrow::array::{
    Array as _, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array,
    TimestampMicrosecondArray,
};
use arrow::datatypes::TimeUnit;
use datafusion::prelude::{SessionContext, col, lit};
use datafusion::scalar::ScalarValue;
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::*;
use crate::{Error, partition};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime"));

/// Texts that readers, paths and URLs have taken for something else.
fn text() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        " ",
        "  x",
        "x ",
        "/",
        "..",
        ".",
        "a/b",
        "%2F",
        "%",
        "=",
        "region=a",
        ":",
        "\\",
        "\"",
        "'",
        "#",
        "?",
        "*",
        "\n",
        "\t",
        "\0",
        "\u{7f}",
        "\u{feff}",
        "\u{10ffff}",
        "null",
        "NULL",
        "__HIVE_DEFAULT_PARTITION__",
        "NaN",
        "é",
        "e\u{301}",
        "😀",
        "0",
        "-0",
        "1e5",
        "true",
        "{}",
        "[]",
        "$",
        "~",
        "EU",
        "eu",
    ]);
    prop_oneof![
        3 => odd.prop_map(str::to_owned),
        3 => any::<String>(),
        1 => "[a-zÄ-ü/ %]{150,400}",
    ]
}

/// A key: a text, a day and a number, each of which may be null.
type Key = (Option<String>, Option<i32>, Option<i32>);

fn key() -> impl Strategy<Value = Key> {
    let day = prop_oneof![-719_528..2_932_896i32, Just(-719_528), Just(2_932_896), Just(0), any::<i32>()];
    let number = prop_oneof![any::<i32>(), Just(i32::MIN), Just(i32::MAX)];
    let text = prop_oneof![9 => text(), 1 => Just(String::new())];
    (prop::option::weighted(0.9, text), prop::option::weighted(0.9, day), prop::option::weighted(0.9, number))
}

fn columns(rows: &[Key]) -> Vec<ArrayRef> {
    vec![
        Arc::new(rows.iter().map(|r| r.0.clone()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|r| r.1).collect::<Date32Array>()),
        Arc::new(rows.iter().map(|r| r.2).collect::<Int32Array>()),
    ]
}

fn keyed() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("text", DataType::Utf8, true),
        Field::new("day", DataType::Date32, true),
        Field::new("number", DataType::Int32, true),
        Field::new("seq", DataType::Int64, true),
    ]))
}

fn keyed_rows(rows: &[Key], seq: i64) -> RecordBatch {
    let seqs: ArrayRef = Arc::new(Int64Array::from(vec![seq; rows.len()]));
    RecordBatch::try_new(keyed(), columns(rows).into_iter().chain([seqs]).collect()).expect("valid")
}

fn read(batches: &[RecordBatch]) -> BTreeSet<(Key, i64)> {
    let mut all = BTreeSet::new();
    for batch in batches {
        let texts = batch.column_by_name("text").expect("text").as_string::<i32>();
        let days = batch.column_by_name("day").expect("day").as_primitive::<arrow::datatypes::Date32Type>();
        let numbers = batch.column_by_name("number").expect("number");
        let numbers = numbers.as_primitive::<arrow::datatypes::Int32Type>();
        let seqs = batch.column_by_name("seq").expect("seq").as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let key = (
                texts.is_valid(row).then(|| texts.value(row).to_owned()),
                days.is_valid(row).then(|| days.value(row)),
                numbers.is_valid(row).then(|| numbers.value(row)),
            );
            assert!(all.insert((key, seqs.value(row))), "a row is there twice");
        }
    }
    all
}

async fn put(table: &mut Table, gone: Keys, came: RecordBatch) -> crate::Result<()> {
    let position = table.positions().get(&app("up"));
    let append = table.stage(vec![came]).await?;
    let commit = Commit {
        expect: Expect::All(table.positions().clone()),
        append,
        remove: Remove::Keys(gone),
        ..step("up", position, position.unwrap_or(0) + 1)
    };
    landed(table.commit(&commit).await?);
    Ok(())
}

async fn partition_values_come_back(all: BTreeSet<Key>, vectors: bool) {
    let site = site().await;
    let partition_by = ["text", "day", "number"].map(str::to_owned).to_vec();
    let spec = TableSpec {
        schema: keyed(),
        partition_by: partition_by.clone(),
        deletion_vectors: vectors,
        ..spec()
    };
    let mut table = site.lake.create(&name("silver.v"), spec).await.expect("creates");
    let by = |rows: &[Key]| Keys {
        columns: partition_by.clone(),
        rows: RecordBatch::try_from_iter(partition_by.iter().zip(columns(rows))).expect("valid"),
    };
    let all: Vec<Key> = all.into_iter().collect();
    let refused: BTreeSet<usize> =
        columns(&all).iter().flat_map(|c| partition::unfit(c)).map(|(row, _)| row).collect();
    let mut kept = Vec::new();
    for (at, key) in all.iter().enumerate() {
        let one = std::slice::from_ref(key);
        if refused.contains(&at) {
            let error = put(&mut table, by(one), keyed_rows(one, 0)).await.expect_err("refused");
            assert!(matches!(error, Error::BadPartitionValue { .. }), "{error}");
        } else {
            kept.push(key.clone());
        }
    }
    put(&mut table, by(&[]), keyed_rows(&kept, 0)).await.expect("written");
    // Each key replaces its own row and no other one.
    put(&mut table, by(&kept), keyed_rows(&kept, 1)).await.expect("replaced");
    let wanted: BTreeSet<(Key, i64)> = kept.iter().map(|key| (key.clone(), 1)).collect();
    let held = site.rival().await.table(&name("silver.v")).await.expect("opens").expect("is there");
    assert_eq!(read(&held.scan(None).await.expect("scans")), wanted);
    let context = SessionContext::new();
    context.register_table("v", held.provider().expect("provides")).expect("registers");
    for key in &kept {
        let one = BTreeSet::from([(key.clone(), 1)]);
        let all: Vec<String> = keyed().fields().iter().map(|f| f.name().clone()).collect();
        assert_eq!(read(&held.find(&by(std::slice::from_ref(key)), &all).await.expect("finds")), one);
        // Null-safe equality by a scan that may leave files out.
        let is = |column: &str, value: ScalarValue| {
            if value.is_null() { col(column).is_null() } else { col(column).eq(lit(value)) }
        };
        let filter = is("text", ScalarValue::Utf8(key.0.clone()))
            .and(is("day", ScalarValue::Date32(key.1)))
            .and(is("number", ScalarValue::Int32(key.2)));
        let frame = context.table("v").await.expect("a table").filter(filter).expect("plans");
        assert_eq!(read(&frame.collect().await.expect("runs")), one);
    }
}

proptest! {
    #![proptest_config(cases::few(24))]
    #[test]
    fn a_partition_value_is_read_as_written_or_refused(
        all in prop::collection::btree_set(key(), 1..8),
        vectors in any::<bool>(),
    ) {
        RUNTIME.block_on(partition_values_come_back(all, vectors));
    }
}

/// Values of every type a key may have, by which rows differ.
#[derive(Debug, Clone)]
struct Odd {
    float: f64,
    decimal: i128,
    micros: i64,
    bytes: Vec<u8>,
    flag: bool,
    text: String,
}

fn odd() -> impl Strategy<Value = Odd> {
    let float = prop_oneof![
        any::<f64>(),
        Just(0.0),
        Just(-0.0),
        Just(f64::NAN),
        Just(-f64::NAN),
        Just(f64::INFINITY),
        Just(f64::MIN_POSITIVE),
    ];
    let decimal = prop_oneof![
        any::<i64>().prop_map(i128::from),
        Just(10i128.pow(38) - 1),
        Just(1 - 10i128.pow(38)),
        Just(0)
    ];
    let micros =
        prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), Just(-1), Just(1_700_000_000_000_001)];
    let bytes = prop_oneof![prop::collection::vec(any::<u8>(), 0..40), Just(vec![]), Just(vec![0])];
    let text = prop_oneof![text(), Just(String::new())];
    (float, decimal, micros, bytes, any::<bool>(), text).prop_map(
        |(float, decimal, micros, bytes, flag, text)| Odd { float, decimal, micros, bytes, flag, text },
    )
}

fn odd_columns(rows: &[&Odd]) -> Vec<(&'static str, ArrayRef)> {
    let decimals = rows.iter().map(|r| Some(r.decimal)).collect::<Decimal128Array>();
    let micros = rows.iter().map(|r| Some(r.micros)).collect::<TimestampMicrosecondArray>();
    vec![
        ("float", Arc::new(rows.iter().map(|r| Some(r.float)).collect::<Float64Array>()) as ArrayRef),
        ("decimal", Arc::new(decimals.with_precision_and_scale(38, 9).expect("fits"))),
        ("at", Arc::new(micros.with_timezone("UTC"))),
        ("bytes", Arc::new(rows.iter().map(|r| Some(r.bytes.clone())).collect::<BinaryArray>())),
        ("flag", Arc::new(rows.iter().map(|r| Some(r.flag)).collect::<BooleanArray>())),
        ("text", Arc::new(rows.iter().map(|r| Some(r.text.clone())).collect::<StringArray>())),
    ]
}

async fn keys_are_found(all: Vec<Odd>) {
    let site = site().await;
    let bits = |row: &Odd| format!("{:x} {row:?}", row.float.to_bits());
    let distinct: BTreeMap<String, &Odd> = all.iter().map(|row| (bits(row), row)).collect();
    let rows: Vec<&Odd> = distinct.values().copied().collect();
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("float", DataType::Float64, true),
        Field::new("decimal", DataType::Decimal128(38, 9), true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("bytes", DataType::Binary, true),
        Field::new("flag", DataType::Boolean, true),
        Field::new("text", DataType::Utf8, true),
    ]));
    let batch = |rows: &[&Odd]| {
        let columns = odd_columns(rows).into_iter().map(|(_, column)| column).collect();
        RecordBatch::try_new(schema.clone(), columns).expect("valid")
    };
    let names: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
    let by = |rows: &[&Odd]| Keys { columns: names.clone(), rows: batch(rows) };
    let mut table = site
        .lake
        .create(&name("gold.v"), TableSpec { schema: schema.clone(), ..spec() })
        .await
        .expect("creates");
    put(&mut table, by(&[]), batch(&rows)).await.expect("written");
    put(&mut table, by(&rows), batch(&rows)).await.expect("replaced");
    assert_eq!(table.rows(), Some(rows.len() as u64), "each key replaces its own row");
    for row in &rows {
        let found = table.find(&by(&[row]), &names).await.expect("finds");
        assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 1, "{row:?}");
        let found = found.iter().find(|batch| batch.num_rows() > 0).expect("one");
        let same = format!("{:?}", batch(&[row]).columns());
        assert_eq!(format!("{:?}", found.columns()), same);
        let float = found.column(0).as_primitive::<arrow::datatypes::Float64Type>().value(0);
        assert_eq!(float.to_bits(), row.float.to_bits());
    }
}

proptest! {
    #![proptest_config(cases::few(24))]
    #[test]
    fn a_row_is_found_by_the_very_key_it_was_written_with(all in prop::collection::vec(odd(), 1..8)) {
        RUNTIME.block_on(keys_are_found(all));
    }
}
