//! Numbers, decimals, dates and times.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int64Type, Time32MillisecondType,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, i256,
};

use super::{Misfit, Reason};

/// 0001-01-01 and 9999-12-31 in days since 1970.
const FIRST_DAY: i32 = -719_162;
const LAST_DAY: i32 = 2_932_896;
const MICROS_A_DAY: i64 = 86_400_000_000;

/// Converts each value. A refused value that is not null is a misfit.
fn each<S: ArrowPrimitiveType, T: ArrowPrimitiveType>(
    array: &PrimitiveArray<S>,
    misfits: &mut Vec<Misfit>,
    convert: impl Fn(S::Native) -> Result<T::Native, Reason>,
) -> PrimitiveArray<T> {
    let values = array.values().iter().enumerate().map(|(row, &value)| {
        convert(value).unwrap_or_else(|reason| {
            if array.is_valid(row) {
                let row = u32::try_from(row).expect("a batch has fewer than 2^32 rows");
                misfits.push(Misfit { row, reason });
            }
            T::default_value()
        })
    });
    PrimitiveArray::new(values.collect::<Vec<_>>().into(), array.nulls().cloned())
}

pub(super) fn dates(array: &ArrayRef, misfits: &mut Vec<Misfit>) -> ArrayRef {
    let days = array.as_primitive::<Date32Type>();
    Arc::new(each::<_, Date32Type>(days, misfits, |day| {
        if (FIRST_DAY..=LAST_DAY).contains(&day) { Ok(day) } else { Err(Reason::Time) }
    }))
}

/// Checks that an instant lies in the years that readers can show.
pub(super) fn micros(micros: Option<i64>) -> Result<i64, Reason> {
    const FIRST: i64 = FIRST_DAY as i64 * MICROS_A_DAY;
    const END: i64 = (LAST_DAY as i64 + 1) * MICROS_A_DAY;
    let years = FIRST..END;
    micros.filter(|micros| years.contains(micros)).ok_or(Reason::Time)
}

pub(super) fn timestamps(
    array: &ArrayRef,
    unit: TimeUnit,
    zone: Option<Arc<str>>,
    misfits: &mut Vec<Misfit>,
) -> ArrayRef {
    let stored: PrimitiveArray<TimestampMicrosecondType> = match unit {
        TimeUnit::Second => each(array.as_primitive::<TimestampSecondType>(), misfits, |seconds| {
            micros(seconds.checked_mul(1_000_000))
        }),
        TimeUnit::Millisecond => each(array.as_primitive::<TimestampMillisecondType>(), misfits, |millis| {
            micros(millis.checked_mul(1_000))
        }),
        TimeUnit::Microsecond => {
            each(array.as_primitive::<TimestampMicrosecondType>(), misfits, |at| micros(Some(at)))
        }
        TimeUnit::Nanosecond => each(array.as_primitive::<TimestampNanosecondType>(), misfits, |nanos| {
            if nanos % 1_000 == 0 { micros(Some(nanos / 1_000)) } else { Err(Reason::FinerTime) }
        }),
    };
    Arc::new(stored.with_timezone_opt(zone))
}

/// Times of day, as microseconds since midnight.
pub(super) fn times(array: &ArrayRef) -> ArrayRef {
    let none = &mut Vec::new();
    Arc::new(match array.as_primitive_opt::<Time32MillisecondType>() {
        Some(millis) => {
            each::<_, Int64Type>(millis, none, |millis| Ok(i64::from(millis).saturating_mul(1_000)))
        }
        None => match array.as_primitive_opt::<Time64MicrosecondType>() {
            Some(micros) => each::<_, Int64Type>(micros, none, Ok),
            // The decoder produces no other unit.
            None => PrimitiveArray::new_null(array.len()),
        },
    })
}

pub(super) fn to_integers(array: &ArrayRef, misfits: &mut Vec<Misfit>) -> ArrayRef {
    Arc::new(each::<_, Int64Type>(array.as_primitive::<Float64Type>(), misfits, |value| {
        // As doubles, 2^63 is just out of range and -2^63 is just within.
        let inside = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value);
        if inside && value.fract() == 0.0 { Ok(value as i64) } else { Err(Reason::Number) }
    }))
}

pub(super) fn to_doubles(array: &ArrayRef, misfits: &mut Vec<Misfit>) -> ArrayRef {
    Arc::new(each::<_, Float64Type>(array.as_primitive::<Int64Type>(), misfits, |value| {
        let double = value as f64;
        // i128, because i64::MAX rounds up to 2^63 and would saturate back to itself.
        if double as i128 == i128::from(value) { Ok(double) } else { Err(Reason::Number) }
    }))
}

pub(super) fn to_decimals(
    array: &ArrayRef,
    precision: u8,
    wanted: i8,
    misfits: &mut Vec<Misfit>,
) -> ArrayRef {
    let stored = each::<_, Decimal128Type>(array.as_primitive::<Int64Type>(), misfits, |value| {
        rescale(value.into(), 0, wanted, precision).ok_or(Reason::Decimal)
    });
    Arc::new(typed(stored, precision, wanted))
}

pub(super) fn decimals_to_integers(array: &ArrayRef, scale: i8, misfits: &mut Vec<Misfit>) -> ArrayRef {
    Arc::new(each::<_, Int64Type>(array.as_primitive::<Decimal128Type>(), misfits, |value| {
        rescale(value, scale, 0, 38).and_then(|value| i64::try_from(value).ok()).ok_or(Reason::Number)
    }))
}

/// Changes the scale if no digit is lost and at most `precision` digits are needed.
fn rescale(value: i128, from: i8, to: i8, precision: u8) -> Option<i128> {
    let shift = i32::from(to).saturating_sub(from.into());
    let factor = 10_i128.checked_pow(shift.unsigned_abs());
    let scaled = match factor {
        _ if value == 0 => 0,
        Some(factor) if shift >= 0 => value.checked_mul(factor)?,
        Some(factor) if value.checked_rem(factor) == Some(0) => value.checked_div(factor)?,
        _ => return None,
    };
    (scaled.unsigned_abs() < 10_u128.checked_pow(u32::from(precision))?).then_some(scaled)
}

pub(super) fn decimals(
    array: &ArrayRef,
    scale: i8,
    precision: u8,
    wanted: i8,
    misfits: &mut Vec<Misfit>,
) -> ArrayRef {
    let stored = each::<_, Decimal128Type>(array.as_primitive::<Decimal128Type>(), misfits, |value| {
        rescale(value, scale, wanted, precision).ok_or(Reason::Decimal)
    });
    Arc::new(typed(stored, precision, wanted))
}

pub(super) fn wide_decimals(
    array: &ArrayRef,
    scale: i8,
    precision: u8,
    wanted: i8,
    misfits: &mut Vec<Misfit>,
) -> ArrayRef {
    let stored = each::<_, Decimal128Type>(array.as_primitive::<Decimal256Type>(), misfits, |value: i256| {
        value.to_i128().and_then(|value| rescale(value, scale, wanted, precision)).ok_or(Reason::Decimal)
    });
    Arc::new(typed(stored, precision, wanted))
}

fn typed(array: PrimitiveArray<Decimal128Type>, precision: u8, scale: i8) -> PrimitiveArray<Decimal128Type> {
    array.with_precision_and_scale(precision, scale).expect("the table's own precision and scale are valid")
}
