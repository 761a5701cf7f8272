#![allow(clippy::arithmetic_side_effects, reason = "a test's own numbers")]

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float64Array,
    Int32Array, Int64Array, ListArray, StringArray, StructArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Field, Fields, Int64Type, TimeUnit};
use model::text;
use proptest::prelude::*;
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

fn micros() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Types of tables and of records to convert to them.
fn kinds() -> Vec<DataType> {
    let item = |kind| DataType::List(Arc::new(Field::new("element", kind, true)));
    vec![
        DataType::Boolean,
        DataType::Int64,
        DataType::Float64,
        DataType::Utf8,
        DataType::Binary,
        DataType::Date32,
        micros(),
        DataType::Decimal128(38, 0),
        DataType::Decimal128(38, 9),
        item(DataType::Int64),
        DataType::Struct(vec![Field::new("a", DataType::Int64, true)].into()),
    ]
}

/// The check of a project agrees with what the stage converts.
#[test]
fn what_the_catalog_says_can_be_brought_can() {
    for from in kinds() {
        for to in kinds() {
            let brought = avro::is_brought(&from, &to);
            assert_eq!(brought, check(&from, &to).is_ok(), "{from} to {to}");
        }
    }
}

proptest! {
    /// A time stored in a declared type reads back as the same time, in every unit and for every year.
    #[test]
    fn a_time_that_is_declared_as_text_or_number_is_kept_whole(ticks: i64, day: i32, at in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
        let nanos = TimestampNanosecondArray::from(vec![Some(ticks), None]).with_timezone("UTC");
        let (number, misfits) = conformed(nanos.clone(), DataType::Int64);
        prop_assert_eq!((number.as_primitive::<Int64Type>().value(0), number.is_null(1), misfits), (ticks, true, vec![]));
        let (words, misfits) = conformed(nanos, DataType::Utf8);
        prop_assert!(misfits.is_empty() && words.is_null(1));
        let (words, whole) = (words.as_string::<i32>().value(0).to_owned(), ticks.rem_euclid(1_000) == 0);
        match text::instant(&words) {
            Ok(micros) => prop_assert_eq!(Some(ticks), micros.checked_mul(1_000)),
            Err(unread) => prop_assert_eq!((unread, whole), (text::Unread::Finer, false)),
        }
        let (words, _) = conformed(Date32Array::from(vec![day]), DataType::Utf8);
        prop_assert_eq!(words.as_string::<i32>().value(0), text::print_date(day));
        let (days, _) = conformed(Date32Array::from(vec![day]), DataType::Int64);
        prop_assert_eq!(days.as_primitive::<Int64Type>().value(0), i64::from(day));
        // There and back.
        let times = TimestampMicrosecondArray::from(vec![at]).with_timezone("UTC");
        let (words, _) = conformed(times, DataType::Utf8);
        let (back, misfits) = conformed(words.as_string::<i32>().clone(), micros());
        prop_assert_eq!((back.as_primitive::<TimestampMicrosecondType>().value(0), misfits), (at, vec![]));
    }

    #[test]
    fn a_decimal_goes_to_text_and_to_other_scales_and_back(
        unscaled in -(10_i128.pow(38) - 1)..10_i128.pow(38), scale in 0_i8..=38, other in 0_i8..=38, long: i64,
    ) {
        let (words, _) = conformed(decimals(vec![Some(unscaled)], 38, scale), DataType::Utf8);
        prop_assert_eq!(words.as_string::<i32>().value(0), text::print_decimal(unscaled, scale));
        // A value fits another scale or not, both directly and through its text.
        let (by_self, misfits) = conformed(
            decimals(vec![Some(unscaled)], 38, scale),
            DataType::Decimal128(38, other),
        );
        match text::decimal(words.as_string::<i32>().value(0), 38, u32::from(other.unsigned_abs())) {
            Ok(unscaled) => {
                let stored = by_self.as_primitive::<Decimal128Type>().value(0);
                prop_assert_eq!((stored, misfits), (unscaled, vec![]));
            }
            Err(_) => prop_assert_eq!(misfits, vec![0]),
        }
        let (wide, misfits) = conformed(Int64Array::from(vec![long]), DataType::Decimal128(38, other));
        let fits = text::decimal(&long.to_string(), 38, u32::from(other.unsigned_abs()));
        match fits {
            Ok(unscaled) => {
                prop_assert_eq!(wide.as_primitive::<Decimal128Type>().value(0), unscaled);
                let (back, _) = conformed(wide.as_primitive::<Decimal128Type>().clone(), DataType::Int64);
                prop_assert_eq!(back.as_primitive::<Int64Type>().value(0), long);
            }
            Err(_) => prop_assert_eq!(misfits, vec![0]),
        }
    }

    /// Any scale, any bytes: a text of digits, a decimal, or a misfit; never a panic.
    #[test]
    fn a_decimal_that_carries_its_scale_is_read_or_refused(scale: i32, small in -40_i32..40, raw in prop::collection::vec(any::<u8>(), 0..20)) {
        let fields = Fields::from(vec![
            Field::new("scale", DataType::Int32, false),
            Field::new("value", DataType::Binary, false),
        ]);
        for scale in [scale, small, i32::MIN, i32::MAX] {
            let scales: ArrayRef = Arc::new(Int32Array::from(vec![scale]));
            let values: ArrayRef = Arc::new(BinaryArray::from(vec![raw.as_slice()]));
            let free = StructArray::new(fields.clone(), vec![scales, values], None);
            let (words, misfits) = conformed(free, DataType::Utf8);
            prop_assert_eq!(misfits.is_empty(), scale.unsigned_abs() <= 16_383);
            if misfits.is_empty() {
                let words = words.as_string::<i32>().value(0);
                let read = u32::try_from(scale).map(|scale| text::decimal(words, 38, scale));
                prop_assert!(read.is_err() || read.is_ok_and(|read| read != Err(text::Unread::Form)));
            }
        }
    }
}

#[rstest]
#[case::two_digit_year("26-01-31", None)]
#[case::date("2026-01-31", Some(20_484))]
#[case::far("+12026-01-31", None)]
fn a_text_is_a_date_or_a_misfit(#[case] words: &str, #[case] expected: Option<i32>) {
    let (days, misfits) = conformed(StringArray::from(vec![words]), DataType::Date32);
    assert_eq!(misfits.is_empty(), expected.is_some());
    assert_eq!(days.as_primitive::<Date32Type>().iter().next().flatten(), expected);
}

proptest! {
    /// A decimal with its own scale, or in a text, becomes a decimal of the table if it is exact there.
    #[test]
    fn decimals_that_carry_their_scale_are_those_of_the_table_or_misfits(
        unscaled in -(10_i128.pow(20))..10_i128.pow(20), scale in 0_i8..=12,
        (precision, wanted) in (1_u8..=38).prop_flat_map(|most| (Just(most), 0..=most.min(12))),
    ) {
        let wanted = wanted.cast_signed();
        let words = text::print_decimal(unscaled, scale);
        let exact = text::decimal(&words, u32::from(precision), wanted.unsigned_abs().into()).ok();
        let to = DataType::Decimal128(precision, wanted);
        let fields = Fields::from(vec![
            Field::new("scale", DataType::Int32, true), Field::new("value", DataType::Binary, true),
        ]);
        let raw = unscaled.to_be_bytes();
        let own = StructArray::new(
            fields,
            vec![
                Arc::new(Int32Array::from(vec![i32::from(scale)])) as ArrayRef,
                Arc::new(BinaryArray::from(vec![raw.as_slice()])),
            ],
            None,
        );
        for (stored, misfits) in
            [conformed(own, to.clone()), conformed(StringArray::from(vec![words.clone()]), to.clone())]
        {
            prop_assert_eq!(misfits.is_empty(), exact.is_some(), "{}", &words);
            if let Some(exact) = exact {
                prop_assert_eq!(stored.as_primitive::<Decimal128Type>().value(0), exact);
            }
        }
    }
}
