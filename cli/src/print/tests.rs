use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int64Array, ListArray, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use model::text::{self, BytesForm};
use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn print(batch: &RecordBatch, format: Format) -> String {
    let mut out = Vec::new();
    rows(&mut out, std::slice::from_ref(batch), format).expect("in memory");
    String::from_utf8(out).expect("text")
}
fn one(array: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter([("x", array)]).expect("one column")
}
/// The JSON value of `x` in one row, and its field in CSV.
fn printed(array: ArrayRef) -> (String, String) {
    let batch = one(array);
    let json = print(&batch, Format::Json);
    let json = json.strip_prefix("{\"x\":").and_then(|json| json.strip_suffix("}\n")).expect("an object");
    let csv = print(&batch, Format::Csv);
    let csv = csv.strip_prefix("x\n").and_then(|csv| csv.strip_suffix('\n')).expect("a header");
    (json.to_owned(), csv.to_owned())
}

#[test]
fn the_three_formats_say_the_same() {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("sum", DataType::Decimal128(38, 2), true),
    ]);
    let sums = Decimal128Array::from(vec![Some(1_050), None]).with_precision_and_scale(38, 2).expect("fits");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2])),
        Arc::new(StringArray::from(vec![Some("a,b"), None])),
        Arc::new(sums),
    ];
    let batch = RecordBatch::try_new(Arc::new(schema), columns).expect("columns fit");
    assert_eq!(print(&batch, Format::Csv), "id,name,sum\n1,\"a,b\",10.50\n2,,\n");
    assert_eq!(
        print(&batch, Format::Json),
        "{\"id\":1,\"name\":\"a,b\",\"sum\":10.50}\n{\"id\":2,\"name\":null,\"sum\":null}\n"
    );
    assert!(print(&batch, Format::Table).contains("| 1  | a,b  | 10.50 |"));
}

#[test]
fn null_and_the_empty_text_are_told_apart() {
    let texts = || StringArray::from(vec![None, Some(""), Some("null"), Some("\"")]);
    let numbers = Int64Array::from(vec![1, 2, 3, 4]);
    let columns = [("t", Arc::new(texts()) as ArrayRef), ("n", Arc::new(numbers) as ArrayRef)];
    let batch = RecordBatch::try_from_iter(columns).expect("two columns");
    assert_eq!(print(&batch, Format::Csv), "t,n\n,1\n\"\",2\nnull,3\n\"\"\"\",4\n");
    let json = print(&batch, Format::Json);
    let t: Vec<Value> =
        json.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["t"].clone()).collect();
    assert_eq!(t, [Value::Null, "".into(), "null".into(), "\"".into()]);
}

#[test]
fn columns_of_one_name_are_refused_in_json() {
    let schema =
        Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("a", DataType::Int64, true)]);
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let batch = RecordBatch::try_new(Arc::new(schema), vec![column.clone(), column]).expect("two columns");
    assert!(rows(&mut Vec::new(), &[batch], Format::Json).is_err());
}

#[test]
fn what_lies_inside_of_a_value_is_printed_as_outside() {
    let inner: ArrayRef = Arc::new(Float64Array::from(vec![Some(f64::NAN), None]));
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1), None]), None]);
    let list: ArrayRef = Arc::new(list);
    let nested = StructArray::try_from(vec![("d", inner), ("l", list)]).expect("a struct");
    assert_eq!(
        print(&one(Arc::new(nested)), Format::Json),
        "{\"x\":{\"d\":\"NaN\",\"l\":[1,null]}}\n{\"x\":{\"d\":null,\"l\":null}}\n"
    );
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_as_the_value(
        double_bits: u64, float_bits: u32, long: i64, truth: bool, words: String, raw: Vec<u8>,
        unscaled in -(10_i128.pow(38) - 1)..10_i128.pow(38), scale in 0_i8..=38,
        day in -719_162_i32..=2_932_896,
        micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000,
    ) {
        let (double, float) = (f64::from_bits(double_bits), f32::from_bits(float_bits));
        // The text of a number or a string in JSON.
        let bare = |json: &str| -> String {
            serde_json::from_str::<String>(json).unwrap_or_else(|_| json.to_owned())
        };
        let (json, csv) = printed(Arc::new(Float64Array::from(vec![double])));
        for text in [bare(&json), csv] {
            let read = text::double(&text).expect("a double");
            prop_assert!(read.to_bits() == double_bits || read.is_nan() && double.is_nan());
        }
        let (json, csv) = printed(Arc::new(Float32Array::from(vec![float])));
        for text in [bare(&json), csv] {
            let read = text::float(&text).expect("a float");
            prop_assert!(read.to_bits() == float_bits || read.is_nan() && float.is_nan());
        }
        let (json, csv) = printed(Arc::new(Int64Array::from(vec![long])));
        prop_assert_eq!((text::integer(&json), text::integer(&csv)), (Ok(long), Ok(long)));
        let (json, csv) = printed(Arc::new(BooleanArray::from(vec![truth])));
        prop_assert_eq!((text::boolean(&json), text::boolean(&csv)), (Ok(truth), Ok(truth)));
        let decimals = Decimal128Array::from(vec![unscaled]).with_precision_and_scale(38, scale).expect("fits");
        let (json, csv) = printed(Arc::new(decimals));
        prop_assert!(serde_json::from_str::<Value>(&json).is_ok_and(|json| json.is_number()), "{}", json);
        for text in [json, csv] {
            prop_assert_eq!(text::decimal(&text, 38, scale as u32), Ok(unscaled));
        }
        let (json, csv) = printed(Arc::new(Date32Array::from(vec![day])));
        prop_assert_eq!((text::date(&bare(&json)), text::date(&csv)), (Ok(day), Ok(day)));
        let times = TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC");
        let (json, csv) = printed(Arc::new(times));
        prop_assert!(csv.ends_with('Z'));
        prop_assert_eq!((text::instant(&bare(&json)), text::instant(&csv)), (Ok(micros), Ok(micros)));
        let (json, csv) = printed(Arc::new(BinaryArray::from(vec![raw.as_slice()])));
        for text in [bare(&json), csv.trim_matches('"').to_owned()] {
            prop_assert_eq!(text::bytes(&text, BytesForm::Hex), Ok(raw.clone()));
        }
        let (json, csv) = printed(Arc::new(StringArray::from(vec![words.as_str()])));
        prop_assert_eq!(bare(&json), words.clone());
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(csv.as_bytes());
        let field = reader.records().next().expect("a record").expect("CSV");
        prop_assert_eq!(&field[0], words.as_str());
    }
}
