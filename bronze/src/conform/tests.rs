use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float64Array,
    Int64Array, ListArray, StructArray, TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Decimal128Type, Field, Fields, Int64Type, TimeUnit};
use rstest::rstest;

use super::*;

fn conformed(array: impl Array + 'static, to: DataType) -> (ArrayRef, Vec<u32>) {
    let mut misfits = Vec::new();
    let stored = conform(&(Arc::new(array) as ArrayRef), &to, &mut misfits).expect("types fit");
    assert_eq!(stored.data_type(), &to);
    (stored, misfits.iter().map(|misfit| misfit.row).collect())
}

fn decimals(values: Vec<Option<i128>>, precision: u8, scale: i8) -> Decimal128Array {
    Decimal128Array::from(values).with_precision_and_scale(precision, scale).expect("valid")
}

#[rstest]
#[case::same_scale(10_i128.pow(38) - 1, 2, 2, Some(10_i128.pow(38) - 1))]
#[case::one_digit_too_many(10_i128.pow(38), 2, 2, None)]
#[case::finer_table(123, 2, 4, Some(12_300))]
#[case::finer_table_overflows(10_i128.pow(37), 0, 2, None)]
#[case::grown_scale_that_fits(12_300, 4, 2, Some(123))]
#[case::grown_scale_that_does_not(12_301, 4, 2, None)]
#[case::negative(-12_300, 4, 2, Some(-123))]
fn a_decimal_fits_exactly_or_not_at_all(
    #[case] value: i128,
    #[case] from: i8,
    #[case] to: i8,
    #[case] expected: Option<i128>,
) {
    let (stored, misfits) =
        conformed(decimals(vec![None, Some(value)], 38, from), DataType::Decimal128(38, to));
    let stored = stored.as_primitive::<Decimal128Type>();
    assert!(stored.is_null(0));
    match expected {
        Some(expected) => assert_eq!((stored.value(1), misfits), (expected, vec![])),
        None => assert_eq!(misfits, [1]),
    }
}

#[test]
fn doubles_and_integers_meet_only_where_they_are_equal() {
    let (stored, misfits) = conformed(
        Float64Array::from(vec![5.0, 5.5, f64::NAN, 9.3e18, -9_223_372_036_854_775_808.0]),
        DataType::Int64,
    );
    assert_eq!(misfits, [1, 2, 3]);
    assert_eq!(stored.as_primitive::<Int64Type>().values()[4], i64::MIN);
    let (_, misfits) =
        conformed(Int64Array::from(vec![1 << 53, (1 << 53) + 1, i64::MAX, i64::MIN]), DataType::Float64);
    assert_eq!(misfits, [1, 2]);
}

#[test]
fn days_and_times_outside_the_years_of_people_are_misfits() {
    let (_, misfits) = conformed(
        Date32Array::from(vec![-719_162, 2_932_896, -719_163, 2_932_897, i32::MAX]),
        DataType::Date32,
    );
    assert_eq!(misfits, [2, 3, 4]);
    let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let (_, misfits) = conformed(
        TimestampMillisecondArray::from(vec![0, 253_402_300_799_999, 253_402_300_800_000, i64::MIN]),
        micros.clone(),
    );
    assert_eq!(misfits, [2, 3]);
    let (_, misfits) = conformed(TimestampNanosecondArray::from(vec![1_000, 1_001]), micros);
    assert_eq!(misfits, [1]);
}

#[test]
fn a_misfit_in_a_list_is_charged_to_the_row_of_the_list() {
    let values: ArrayRef = Arc::new(Date32Array::from(vec![1, 2, i32::MAX, 3]));
    let item = Arc::new(Field::new("item", DataType::Date32, true));
    let list = ListArray::new(item, OffsetBuffer::new(vec![0, 0, 2, 2, 4].into()), values, None);
    let to = DataType::List(Arc::new(Field::new("element", DataType::Date32, true)));
    assert_eq!(conformed(list, to).1, [3]);
}

#[test]
fn what_lies_under_a_null_struct_is_null_and_no_misfit() {
    let fields: Fields = vec![Field::new("day", DataType::Date32, false)].into();
    let days: ArrayRef = Arc::new(Date32Array::from(vec![i32::MAX, i32::MAX]));
    let rows = StructArray::new(fields, vec![days], Some(NullBuffer::from(vec![false, true])));
    let more = Fields::from(vec![
        Field::new("day", DataType::Date32, true),
        Field::new("late", DataType::Utf8, true),
    ]);
    let (stored, misfits) = conformed(rows, DataType::Struct(more));
    assert_eq!(misfits, [1]);
    assert!(stored.as_struct().column(0).is_null(0));
    assert_eq!(stored.as_struct().column(1).null_count(), 2);
}

#[test]
fn a_misfit_beside_a_null_struct_stays_one() {
    let fields: Fields = vec![Field::new("d", DataType::Date32, true)].into();
    let days: ArrayRef = Arc::new(Date32Array::from(vec![1]));
    let inner: ArrayRef =
        Arc::new(StructArray::new(fields.clone(), vec![days], Some(NullBuffer::from(vec![false]))));
    let outer_fields: Fields =
        vec![Field::new("a", DataType::Date32, true), Field::new("b", DataType::Struct(fields), true)].into();
    let bad: ArrayRef = Arc::new(Date32Array::from(vec![i32::MAX]));
    let outer = StructArray::new(outer_fields.clone(), vec![bad, inner], None);
    assert_eq!(conformed(outer, DataType::Struct(outer_fields)).1, [0]);
}

#[test]
fn uuids_are_text_and_bytes_become_text_where_they_are_text() {
    let raw = FixedSizeBinaryArray::try_from_iter(std::iter::once([0xABu8; 16])).expect("16 bytes");
    let (stored, _) = conformed(raw, DataType::Utf8);
    assert_eq!(stored.as_string::<i32>().value(0), "abababab-abab-abab-abab-abababababab");
    let (_, misfits) = conformed(BinaryArray::from(vec![&b"ok"[..], b"\xff"]), DataType::Utf8);
    assert_eq!(misfits, [1]);
}

#[test]
fn a_column_the_table_lacks_is_never_dropped_in_silence() {
    let wide: Fields =
        vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Int64, true)].into();
    let narrow: Fields = vec![Field::new("a", DataType::Int64, true)].into();
    assert!(check(&DataType::Struct(wide.clone()), &DataType::Struct(narrow.clone())).is_err());
    assert!(check(&DataType::Struct(narrow), &DataType::Struct(wide)).is_ok());
}
