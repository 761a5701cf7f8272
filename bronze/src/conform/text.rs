//! Text, and values written as text: UUIDs, times, decimals.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, PrimitiveBuilder, StringArray,
    StringBuilder, StructArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Fields, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use model::text::{self, Unread};
use num_bigint::BigInt;

use super::{Misfit, Reason, number};

/// More decimal places than any database has.
const MOST_SCALE: u32 = 16_383;

/// Prints 16 bytes as a hyphenated, lowercase UUID.
pub(super) fn uuids(array: &ArrayRef) -> ArrayRef {
    let raw = array.as_fixed_size_binary();
    let mut texts = StringBuilder::with_capacity(raw.len(), raw.len().saturating_mul(36));
    for raw in raw {
        let raw: Option<[u8; 16]> = raw.and_then(|raw| raw.try_into().ok());
        texts.append_option(raw.map(text::print_uuid));
    }
    Arc::new(texts.finish())
}

/// Bytes that a later schema calls text.
pub(super) fn texts(array: &ArrayRef, misfits: &mut Vec<Misfit>) -> ArrayRef {
    let raw = array.as_binary::<i32>();
    let mut texts = StringBuilder::with_capacity(raw.len(), raw.value_data().len());
    for (row, bytes) in (0..).zip(raw) {
        let text = bytes.map(str::from_utf8);
        if let Some(Err(_)) = text {
            misfits.push(Misfit { row, reason: Reason::Utf8 });
        }
        texts.append_option(text.and_then(Result::ok));
    }
    Arc::new(texts.finish())
}

/// Parses each text with `read`. A refused text is a misfit.
fn read<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    misfits: &mut Vec<Misfit>,
    read: impl Fn(&str) -> Result<T::Native, Reason>,
) -> PrimitiveArray<T> {
    let texts = array.as_string::<i32>();
    let mut values = PrimitiveBuilder::<T>::with_capacity(texts.len());
    for (row, text) in (0..).zip(texts) {
        match text.map(&read) {
            None => values.append_null(),
            Some(Ok(value)) => values.append_value(value),
            Some(Err(reason)) => {
                misfits.push(Misfit { row, reason });
                values.append_null();
            }
        }
    }
    values.finish()
}

fn of_time(unread: Unread) -> Reason {
    match unread {
        Unread::Form => Reason::NoTime,
        Unread::Range => Reason::Time,
        Unread::Finer => Reason::FinerTime,
    }
}

/// ISO 8601 times as instants.
pub(super) fn instants(array: &ArrayRef, zone: Option<Arc<str>>, misfits: &mut Vec<Misfit>) -> ArrayRef {
    let times = read::<TimestampMicrosecondType>(array, misfits, |text| text::instant(text).map_err(of_time));
    Arc::new(times.with_timezone_opt(zone))
}

/// ISO 8601 dates.
pub(super) fn days(array: &ArrayRef, misfits: &mut Vec<Misfit>) -> ArrayRef {
    Arc::new(read::<Date32Type>(array, misfits, |text| text::date(text).map_err(of_time)))
}

/// Prints each value that is not null.
fn printed<T: ArrowPrimitiveType>(array: &ArrayRef, print: impl Fn(T::Native) -> String) -> ArrayRef {
    let values = array.as_primitive::<T>();
    Arc::new(values.iter().map(|value| value.map(&print)).collect::<StringArray>())
}

/// Instants as ISO 8601 text, in UTC, with all their digits.
pub(super) fn print_instants(array: &ArrayRef, unit: TimeUnit, is_zoned: bool) -> ArrayRef {
    let at = |ticks: i64, a_second: i64| {
        let nanos = 1_000_000_000_i64.div_euclid(a_second);
        let nanos = ticks.rem_euclid(a_second).saturating_mul(nanos);
        text::print_instant(
            ticks.div_euclid(a_second),
            u32::try_from(nanos).expect("less than a second"),
            is_zoned,
        )
    };
    match unit {
        TimeUnit::Second => printed::<TimestampSecondType>(array, |ticks| at(ticks, 1)),
        TimeUnit::Millisecond => printed::<TimestampMillisecondType>(array, |ticks| at(ticks, 1_000)),
        TimeUnit::Microsecond => printed::<TimestampMicrosecondType>(array, |ticks| at(ticks, 1_000_000)),
        TimeUnit::Nanosecond => printed::<TimestampNanosecondType>(array, |ticks| at(ticks, 1_000_000_000)),
    }
}

/// Dates as ISO 8601 text.
pub(super) fn print_days(array: &ArrayRef) -> ArrayRef {
    printed::<Date32Type>(array, text::print_date)
}

/// Times of day as ISO 8601 text. A value outside of a day is a misfit.
pub(super) fn print_times(array: &ArrayRef, misfits: &mut Vec<Misfit>) -> ArrayRef {
    let micros = number::times(array);
    let micros = micros.as_primitive::<Int64Type>();
    let mut texts = StringBuilder::with_capacity(micros.len(), micros.len().saturating_mul(15));
    for (row, micros) in (0..).zip(micros) {
        let of_day = micros.filter(|micros| (0..86_400_000_000).contains(micros));
        if micros.is_some() && of_day.is_none() {
            misfits.push(Misfit { row, reason: Reason::Time });
        }
        texts.append_option(of_day.map(|micros| text::print_time(micros.saturating_mul(1_000))));
    }
    Arc::new(texts.finish())
}

/// Decimals as text, with all digits of their scale.
pub(super) fn print_decimals(array: &ArrayRef, scale: i8) -> ArrayRef {
    printed::<Decimal128Type>(array, |unscaled| text::print_decimal(unscaled, scale))
}

/// True if these are the fields of a decimal that carries its own scale.
pub(super) fn is_scaled(fields: &Fields) -> bool {
    let kinds = fields.iter().map(|field| (field.name().as_str(), field.data_type()));
    kinds.eq([("scale", &DataType::Int32), ("value", &DataType::Binary)])
}

/// Decimals with their own scale, as text: no single scale can hold them all.
pub(super) fn scaled(array: &StructArray, misfits: &mut Vec<Misfit>) -> ArrayRef {
    let (scales, values) = (array.column(0).as_primitive::<Int32Type>(), array.column(1).as_binary::<i32>());
    let mut texts = StringBuilder::with_capacity(array.len(), array.len().saturating_mul(16));
    for (row, (scale, raw)) in (0..).zip(scales.iter().zip(values)) {
        let is_null = array.is_null(row as usize);
        let Some((scale, raw)) = scale.zip(raw).filter(|_| !is_null) else {
            texts.append_null();
            continue;
        };
        if scale.unsigned_abs() > MOST_SCALE {
            misfits.push(Misfit { row, reason: Reason::Decimal });
            texts.append_null();
            continue;
        }
        texts.append_value(in_digits(raw, scale));
    }
    Arc::new(texts.finish())
}

/// Texts of digits as decimals of the table.
pub(super) fn decimals(array: &ArrayRef, precision: u8, scale: i8, misfits: &mut Vec<Misfit>) -> ArrayRef {
    let digits = |text: &str| {
        let scale = u32::try_from(scale).map_err(|_| Reason::Decimal)?;
        text::decimal(text, u32::from(precision), scale).map_err(|_| Reason::Decimal)
    };
    let values = read::<Decimal128Type>(array, misfits, digits);
    Arc::new(values.with_data_type(DataType::Decimal128(precision, scale)))
}

/// Prints a big-endian two's complement number at a scale, as PostgreSQL would.
fn in_digits(raw: &[u8], scale: i32) -> String {
    let number = BigInt::from_signed_bytes_be(raw).to_string();
    let (sign, digits) = number.strip_prefix('-').map_or(("", number.as_str()), |digits| ("-", digits));
    let places = usize::try_from(scale.unsigned_abs()).expect("memory counts with 32 bits or more");
    if scale <= 0 {
        let zeros = if digits == "0" { 0 } else { places };
        return format!("{sign}{digits}{}", "0".repeat(zeros));
    }
    let padded = format!("{digits:0>width$}", width = places.saturating_add(1));
    let (whole, behind) = padded.split_at(padded.len().saturating_sub(places));
    format!("{sign}{whole}.{behind}")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::from_the_fixtures(&[0x27, 0xe4, 0x1b, 0x32, 0x46, 0xbe, 0xc9, 0xb1, 0x6e, 0x39, 0x81, 0x15], 9, "12345678901234567890.123456789")]
    #[case::zero(&[0], 0, "0")]
    #[case::zero_at_a_scale(&[0], 2, "0.00")]
    #[case::small(&[0xff], 3, "-0.001")]
    #[case::negative_scale(&[5], -2, "500")]
    #[case::deepest_scale(&[1], 16_383, &format!("0.{}1", "0".repeat(16_382)))]
    fn a_decimal_of_its_own_scale_is_in_digits(#[case] raw: &[u8], #[case] scale: i32, #[case] text: &str) {
        assert_eq!(in_digits(raw, scale), text);
    }
}
