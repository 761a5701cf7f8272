//! Text, and what is written as text: UUIDs, times, decimals.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, StringBuilder, StructArray, TimestampMicrosecondArray,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Fields, Int32Type};
use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime};
use num_bigint::BigInt;

use super::{Misfit, Reason, number};

/// Day 0 of 1970, counted from the year 1.
const EPOCH_FROM_CE: i32 = 719_163;
/// More digits behind the point than any database has.
const MOST_SCALE: i32 = 16_383;

/// The hyphenated, lowercase form of each 16 bytes.
pub(super) fn uuids(array: &ArrayRef) -> ArrayRef {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let raw = array.as_fixed_size_binary();
    let mut texts = StringBuilder::with_capacity(raw.len(), raw.len() * 36);
    for row in 0..raw.len() {
        if raw.is_null(row) {
            texts.append_null();
            continue;
        }
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (i, byte) in raw.value(row).iter().enumerate() {
            at += usize::from(matches!(i, 4 | 6 | 8 | 10));
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 15)];
            at += 2;
        }
        texts.append_value(str::from_utf8(&text).expect("hex digits and hyphens are ASCII"));
    }
    Arc::new(texts.finish())
}

/// Bytes that a schema later called text.
pub(super) fn texts(array: &ArrayRef, misfits: &mut Vec<Misfit>) -> ArrayRef {
    let raw = array.as_binary::<i32>();
    let mut texts = StringBuilder::with_capacity(raw.len(), raw.value_data().len());
    for (row, bytes) in raw.iter().enumerate() {
        let text = bytes.map(str::from_utf8);
        if let Some(Err(_)) = text {
            misfits.push(Misfit { row: row as u32, reason: Reason::Utf8 });
        }
        texts.append_option(text.and_then(Result::ok));
    }
    Arc::new(texts.finish())
}

/// A time of ISO 8601, as microseconds. Without a zone it is UTC's. `None`: it is no time at all.
pub(crate) fn instant(text: &str) -> Option<Result<i64, Reason>> {
    // Years of more than four digits have a sign, and so does one of the infinities.
    if text.starts_with(['+', '-']) || text == "infinity" {
        return Some(Err(Reason::Time));
    }
    let naive = || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").map(|time| time.and_utc());
    let at = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc()).or_else(|_| naive()).ok()?;
    if at.timestamp_subsec_nanos() % 1_000 != 0 {
        return Some(Err(Reason::FinerTime));
    }
    Some(number::micros(Some(at.timestamp_micros())))
}

/// A date of ISO 8601, as days since 1970.
pub(crate) fn day(text: &str) -> Option<i32> {
    let date = NaiveDate::parse_from_str(text.trim_end_matches('Z'), "%Y-%m-%d").ok()?;
    Some(date.num_days_from_ce() - EPOCH_FROM_CE)
}

/// The digits of a JSON number at this scale. `None`: it is no number.
pub(crate) fn unscaled(number: &str, scale: u32) -> Option<Result<i128, Reason>> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: i64 = exponent.parse().ok()?;
    let (whole, behind) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{behind}");
    if !digits.strip_prefix('-').unwrap_or(&digits).bytes().all(|b| b.is_ascii_digit()) || whole.is_empty() {
        return None;
    }
    let shift = i64::from(scale) + exponent - behind.len() as i64;
    let scaled = || {
        let digits: i128 = digits.parse().ok()?;
        let factor = 10_i128.checked_pow(u32::try_from(shift.unsigned_abs()).ok()?);
        match factor {
            _ if digits == 0 => Some(0),
            Some(factor) if shift >= 0 => digits.checked_mul(factor),
            Some(factor) if digits % factor == 0 => Some(digits / factor),
            _ => None,
        }
    };
    Some(scaled().ok_or(Reason::Decimal))
}

/// Times of ISO 8601 as instants.
pub(super) fn instants(array: &ArrayRef, zone: Option<Arc<str>>, misfits: &mut Vec<Misfit>) -> ArrayRef {
    let texts = array.as_string::<i32>();
    let mut times = TimestampMicrosecondBuilder::with_capacity(texts.len());
    for (row, text) in texts.iter().enumerate() {
        match text.map(|text| instant(text).unwrap_or(Err(Reason::NoTime))) {
            None => times.append_null(),
            Some(Ok(at)) => times.append_value(at),
            Some(Err(reason)) => {
                misfits.push(Misfit { row: row as u32, reason });
                times.append_null();
            }
        }
    }
    let times: TimestampMicrosecondArray = times.finish();
    Arc::new(times.with_timezone_opt(zone))
}

/// Whether these are the fields of a decimal that carries its scale.
pub(super) fn is_scaled(fields: &Fields) -> bool {
    let kinds = fields.iter().map(|field| (field.name().as_str(), field.data_type()));
    kinds.eq([("scale", &DataType::Int32), ("value", &DataType::Binary)])
}

/// Decimals that carry their scale, in digits: no one scale would hold them all.
pub(super) fn scaled(array: &StructArray, misfits: &mut Vec<Misfit>) -> ArrayRef {
    let (scales, values) = (array.column(0).as_primitive::<Int32Type>(), array.column(1).as_binary::<i32>());
    let mut texts = StringBuilder::with_capacity(array.len(), array.len() * 16);
    for row in 0..array.len() {
        if array.is_null(row) || scales.is_null(row) || values.is_null(row) {
            texts.append_null();
            continue;
        }
        let (scale, raw) = (scales.value(row), values.value(row));
        if scale.abs() > MOST_SCALE {
            misfits.push(Misfit { row: row as u32, reason: Reason::Decimal });
            texts.append_null();
            continue;
        }
        texts.append_value(in_digits(raw, scale));
    }
    Arc::new(texts.finish())
}

/// Big-endian two's complement at a scale, as PostgreSQL would print it.
fn in_digits(raw: &[u8], scale: i32) -> String {
    let number = BigInt::from_signed_bytes_be(raw).to_string();
    let (sign, digits) = number.strip_prefix('-').map_or(("", number.as_str()), |digits| ("-", digits));
    let places = usize::try_from(scale.unsigned_abs()).unwrap_or_default();
    if scale <= 0 {
        let zeros = if digits == "0" { 0 } else { places };
        return format!("{sign}{digits}{}", "0".repeat(zeros));
    }
    let padded = format!("{digits:0>width$}", width = places + 1);
    let (whole, behind) = padded.split_at(padded.len() - places);
    format!("{sign}{whole}.{behind}")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::utc("1970-01-01T00:00:00.000001Z", Some(Ok(1)))]
    #[case::zone("1970-01-01T01:00:00+01:00", Some(Ok(0)))]
    #[case::no_zone("1970-01-01T00:00:01", Some(Ok(1_000_000)))]
    #[case::first("0001-01-01T00:00:00Z", Some(Ok(-62_135_596_800_000_000)))]
    #[case::last("9999-12-31T23:59:59.999999Z", Some(Ok(253_402_300_799_999_999)))]
    #[case::infinity("infinity", Some(Err(Reason::Time)))]
    #[case::minus_infinity("-infinity", Some(Err(Reason::Time)))]
    #[case::late("+294276-12-31T23:59:59Z", Some(Err(Reason::Time)))]
    #[case::year_zero("0000-01-01T00:00:00Z", Some(Err(Reason::Time)))]
    #[case::nanos("1970-01-01T00:00:00.000000001Z", Some(Err(Reason::FinerTime)))]
    #[case::no_time("__debezium_unavailable_value", None)]
    fn a_time_is_exact_or_refused(#[case] text: &str, #[case] expected: Option<Result<i64, Reason>>) {
        assert_eq!(instant(text), expected);
    }

    #[rstest]
    #[case::whole("12", 2, Some(Ok(1_200)))]
    #[case::fraction("-0.01", 2, Some(Ok(-1)))]
    #[case::trailing_zeros("1.5000", 2, Some(Ok(150)))]
    #[case::power("1.5E+3", 2, Some(Ok(150_000)))]
    #[case::negative_power("150e-2", 1, Some(Ok(15)))]
    #[case::zero("0e-99999999999", 0, Some(Err(Reason::Decimal)))]
    #[case::too_fine("0.001", 2, Some(Err(Reason::Decimal)))]
    #[case::too_long("1e39", 0, Some(Err(Reason::Decimal)))]
    #[case::no_number("true", 2, None)]
    fn a_number_is_exact_at_a_scale_or_refused(
        #[case] number: &str,
        #[case] scale: u32,
        #[case] expected: Option<Result<i128, Reason>>,
    ) {
        assert_eq!(unscaled(number, scale), expected);
    }

    #[rstest]
    #[case::from_the_fixtures(&[0x27, 0xe4, 0x1b, 0x32, 0x46, 0xbe, 0xc9, 0xb1, 0x6e, 0x39, 0x81, 0x15], 9, "12345678901234567890.123456789")]
    #[case::zero(&[0], 0, "0")]
    #[case::zero_at_a_scale(&[0], 2, "0.00")]
    #[case::small(&[0xff], 3, "-0.001")]
    #[case::negative_scale(&[5], -2, "500")]
    fn a_decimal_of_its_own_scale_is_in_digits(#[case] raw: &[u8], #[case] scale: i32, #[case] text: &str) {
        assert_eq!(in_digits(raw, scale), text);
    }
}
