use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit, TimestampMicrosecondType};
use model::{ClockMs, column};
use rstest::rstest;

use super::*;
use crate::testing::{
    EVERYTHING, ID, Literal, all, body, everything, everything_stored, framed, log, records, schema,
};

const KEY_ID: u32 = 8;
const KEY: &str = r#"{"type":"record","name":"K","fields":[{"name":"id","type":"int"}]}"#;

fn layout(values: &Fields) -> Layout {
    let at = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let null = |name: &str, kind: DataType| Arc::new(Field::new(name, kind, true));
    let keys = DataType::Struct(vec![Field::new("id", DataType::Int64, true)].into());
    let header = vec![Field::new("key", DataType::Utf8, true), Field::new("value", DataType::Binary, true)];
    let header = Field::new("element", DataType::Struct(header.into()), true);
    let mut fields: Vec<_> = values.iter().cloned().collect();
    fields.extend([
        null(column::KEYS, keys),
        null(column::KEY, DataType::Binary),
        null(column::TOPIC_ID, DataType::Utf8),
        null(column::PARTITION, DataType::Int64),
        null(column::OFFSET, DataType::Int64),
        null(column::TIMESTAMP, at.clone()),
        null(column::HEADERS, DataType::List(header.into())),
        null(column::SCHEMA_ID, DataType::Int64),
        null(column::EPOCH, DataType::Int64),
        null(column::REDRIVE, DataType::Utf8),
        null(column::INGESTED_AT, at),
        null(column::ERROR, DataType::Utf8),
        null(column::RAW, DataType::Binary),
        null(column::INGESTED_DATE, DataType::Date32),
    ]);
    Layout::new(Arc::new(Schema::new(fields)))
}

fn reader() -> Reader {
    let mut reader = Reader::new(Format::Avro, layout(&everything_stored()));
    reader.values.put(ID, Known::Ready(Box::new(Decoder::try_new(ID, EVERYTHING.into()).expect("a schema"))));
    reader.keys.put(KEY_ID, Known::Ready(Box::new(Decoder::try_new(KEY_ID, KEY.into()).expect("a schema"))));
    reader
}

fn origin() -> Origin<'static> {
    Origin { topic_id: "T", partition: 3, epoch: Some(5), ingested_at: ClockMs(86_400_000 * 20_000 + 7) }
}

fn good(seed: i64) -> Vec<u8> {
    framed(ID, &body(&schema(EVERYTHING), everything(seed)))
}

fn harmed(harm: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut payload = good(11);
    harm(&mut payload);
    payload
}

fn record_text(batch: &RecordBatch, row: usize) -> Vec<String> {
    let values = everything_stored().len();
    batch.columns()[..values].iter().map(|column| crate::testing::arrow_text(column, row)).collect()
}

#[rstest]
#[case::zero_bytes(vec![], "empty")]
#[case::wrong_magic_byte(harmed(|p| p[0] = 1), "wrong_magic_byte")]
#[case::short_frame(vec![0, 0, 0], "short_frame")]
#[case::unknown_id(framed(99, &[0]), "unknown_schema_id")]
#[case::truncated(harmed(|p| p.truncate(20)), "truncated")]
#[case::trailing_bytes(harmed(|p| p.push(0)), "trailing_bytes")]
#[case::ten_mebibytes_of_noise({ let mut p = good(1); p.resize(10 << 20, 0xa5); p }, "trailing_bytes")]
fn a_bad_value_is_one_row_with_its_bytes_and_its_neighbours_are_whole(
    #[case] bad: Vec<u8>,
    #[case] label: &'static str,
) {
    let alone = reader().read(origin(), &log([Some(good(4)), Some(good(6))]), &[0, 1]).batch;
    let log = log([Some(good(4)), Some(bad.clone()), Some(good(6))]);
    let read = reader().read(origin(), &log, &all(&log));
    assert_eq!(read.errors, [(label, 1)]);
    assert_eq!(read.batch.num_rows(), 3);
    assert_eq!(record_text(&read.batch, 0), record_text(&alone, 0));
    assert_eq!(record_text(&read.batch, 2), record_text(&alone, 1));
    assert!(record_text(&read.batch, 1).iter().all(|cell| cell == "null"));
    let error = read.batch.column_by_name(column::ERROR).expect("column").as_string::<i32>();
    assert!(error.value(1).starts_with(label) && error.is_null(0) && error.is_null(2));
    let raw = read.batch.column_by_name(column::RAW).expect("column").as_binary::<i32>();
    assert_eq!(raw.value(1), bad);
    assert!(raw.is_null(0));
    let offsets = read.batch.column_by_name(column::OFFSET).expect("column").as_primitive::<Int64Type>();
    assert_eq!(offsets.values(), &[0, 1, 2]);
}

#[test]
fn a_tombstone_is_a_row_without_schema_error_or_value() {
    let log = log([Some(good(4)), None]);
    let batch = reader().read(origin(), &log, &all(&log)).batch;
    assert!(record_text(&batch, 1).iter().all(|cell| cell == "null"));
    for name in [column::SCHEMA_ID, column::ERROR, column::RAW] {
        assert!(batch.column_by_name(name).expect("column").is_null(1), "{name}");
    }
    assert!(batch.column_by_name(column::SCHEMA_ID).expect("column").is_valid(0));
}

#[test]
fn keys_are_decoded_and_a_bad_or_absent_one_is_null_beside_its_bytes() {
    let key = framed(KEY_ID, &[10]);
    let record = |offset: i64, key: Option<Vec<u8>>| Literal {
        offset,
        key,
        value: Some(good(offset)),
        ..Literal::default()
    };
    let log = records(&[
        record(0, Some(key)),
        record(1, None),
        record(2, Some(b"text".to_vec())),
        record(3, Some(framed(99, &[1]))),
    ]);
    let read = reader().read(origin(), &log, &all(&log));
    assert_eq!(read.errors, [], "a bad key is no bad record");
    let keys = read.batch.column_by_name(column::KEYS).expect("column");
    assert_eq!(crate::testing::arrow_text(keys, 0), "{id:5}");
    assert_eq!((1..4).map(|row| keys.is_null(row)).collect::<Vec<_>>(), [true; 3]);
    let raw = read.batch.column_by_name(column::KEY).expect("column").as_binary::<i32>();
    assert_eq!((raw.is_null(1), raw.value(2)), (true, &b"text"[..]));
}

#[test]
fn coordinates_headers_and_times_are_the_records_own() {
    let headers = vec![("lp.epoch", Some(&b"9"[..])), ("empty", None)];
    let first =
        Literal { offset: 41, timestamp: 1_700_000_000_123, key: None, value: Some(good(1)), headers };
    let log = records(&[first, Literal { offset: 57, timestamp: -1, ..Literal::default() }]);
    let batch = reader().read(origin(), &log, &all(&log)).batch;
    let long = |name: &str| batch.column_by_name(name).expect("column").as_primitive::<Int64Type>().clone();
    assert_eq!(long(column::OFFSET).values(), &[41, 57]);
    assert_eq!(long(column::PARTITION).values(), &[3, 3]);
    assert_eq!(long(column::EPOCH).values(), &[9, 5], "a header speaks louder than the contract");
    let times = batch.column_by_name(column::TIMESTAMP).expect("column");
    assert_eq!(times.as_primitive::<TimestampMicrosecondType>().value(0), 1_700_000_000_123_000);
    assert!(times.is_null(1), "unknown");
    let headers = batch.column_by_name(column::HEADERS).expect("column").as_list::<i32>();
    assert_eq!((headers.value(0).len(), headers.value(1).len()), (2, 0));
    let days = batch.column_by_name(column::INGESTED_DATE).expect("column");
    assert_eq!(crate::testing::arrow_text(days, 0), "20000");
}

#[test]
fn only_the_rows_kept_are_read() {
    let log = log((0..5).map(|seed| Some(good(seed))));
    let batch = reader().read(origin(), &log, &[1, 4]).batch;
    let whole = reader().read(origin(), &log, &all(&log)).batch;
    assert_eq!(
        (record_text(&batch, 0), record_text(&batch, 1)),
        (record_text(&whole, 1), record_text(&whole, 4))
    );
}

#[test]
fn how_a_log_is_cut_does_not_show_in_its_rows() {
    let payload = |seed: i64| match seed % 5 {
        0 => None,
        1 => Some(vec![7, 7]),
        _ => Some(good(seed)),
    };
    let log = log((0..40).map(payload));
    let whole = reader().read(origin(), &log, &all(&log)).batch;
    for size in [1, 3, 7, 39] {
        let mut reader = reader();
        let parts: Vec<_> =
            all(&log).chunks(size).map(|kept| reader.read(origin(), &log, kept).batch).collect();
        let glued = arrow::compute::concat_batches(whole.schema_ref(), &parts).expect("one schema");
        for (at, column) in whole.columns().iter().enumerate() {
            let text =
                |column| (0..40).map(|row| crate::testing::arrow_text(column, row)).collect::<Vec<_>>();
            assert_eq!(text(column), text(glued.column(at)), "{}", whole.schema().field(at).name());
        }
    }
}

#[test]
fn two_schemas_in_one_batch_keep_the_logs_order() {
    let older = r#"{"type":"record","name":"R","fields":[{"name":"small","type":"int"}]}"#;
    let mut reader = reader();
    reader.values.put(9, Known::Ready(Box::new(Decoder::try_new(9, older.into()).expect("a schema"))));
    let log = log([Some(framed(9, &[2])), Some(good(70)), Some(framed(9, &[4]))]);
    let batch = reader.read(origin(), &log, &all(&log)).batch;
    let small = batch.column_by_name("small").expect("column").as_primitive::<Int64Type>().clone();
    assert_eq!(small.values(), &[1, 70, 2]);
    let ids = batch.column_by_name(column::SCHEMA_ID).expect("column").as_primitive::<Int64Type>().clone();
    assert_eq!(ids.values(), &[9, i64::from(ID), 9]);
}

#[test]
fn ids_nobody_looked_up_are_asked_for_once() {
    let log = log([Some(framed(99, &[])), Some(good(1)), Some(framed(99, &[])), Some(vec![1]), None]);
    let needs = Needs { must: vec![(Part::Value, 99)], spare: Vec::new() };
    assert_eq!(reader().needs(&log, &all(&log)), needs);
}

#[test]
fn json_without_a_schema_is_kept_as_text_and_must_be_json() {
    let fields: Fields = vec![Field::new("value", DataType::Utf8, true)].into();
    let log =
        log([Some(br#"{"a":1}"#.to_vec()), Some(b"{".to_vec()), Some(b"\xff".to_vec()), None, Some(vec![])]);
    let read = Reader::new(Format::Text, layout(&fields)).read(origin(), &log, &all(&log));
    let values = read.batch.column(0).as_string::<i32>();
    assert_eq!(values.value(0), r#"{"a":1}"#);
    assert_eq!(values.null_count(), 4);
    assert_eq!(read.errors, [("bad_json", 1), ("invalid_utf8", 1), ("empty", 1)]);
}
