//! Converts decoded columns to the table's types, exactly or not at all.
//!
//! A bronze table stores wide types (BIGINT, DOUBLE, `decimal(38, s)`, microseconds), so that a promotion in
//! the writer's schema needs no rewrite. A value that does not fit exactly (a larger scale, a day that no
//! reader can show) is a [`Misfit`]: its row becomes an error row and keeps its bytes. Columns are converted
//! as a whole; misfits are rare, so they are a sparse list.

#![deny(clippy::arithmetic_side_effects)]

mod number;
mod text;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, ListArray, MapArray, StructArray, new_empty_array, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, nullif};
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

/// A value that the stored type cannot hold exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Misfit {
    /// Row number at the level that is being converted.
    pub row: u32,
    /// Why it does not fit.
    pub reason: Reason,
}

/// Why a value does not fit. Also a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// More integer digits than `decimal(38, s)` has, or a scale beyond the table's.
    #[error("a decimal does not fit the table's scale exactly")]
    Decimal,
    /// A number that the table's number type cannot represent.
    #[error("a number does not fit the table's type exactly")]
    Number,
    /// Outside the years 1 to 9999, which readers of the table can show.
    #[error("a date or time lies outside the years 1 to 9999")]
    Time,
    /// Text that is not a time but should be.
    #[error("a text is no time")]
    NoTime,
    /// Finer than a microsecond.
    #[error("a time is finer than a microsecond")]
    FinerTime,
    /// Bytes that are not UTF-8 text but should be.
    #[error("bytes are not valid UTF-8")]
    Utf8,
}
impl Reason {
    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Decimal => "inexact_decimal",
            Self::Number => "inexact_number",
            Self::Time => "time_out_of_range",
            Self::NoTime => "bad_time",
            Self::FinerTime => "inexact_time",
            Self::Utf8 => "invalid_utf8",
        }
    }
}

/// A pair of types without an exact conversion.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{from}` cannot be stored as `{to}`")]
pub struct Incompatible {
    /// The writer's type.
    pub from: DataType,
    /// The table's.
    pub to: DataType,
}

/// Checks whether columns of `from` can be converted to `to` at all.
pub fn check(from: &DataType, to: &DataType) -> Result<(), Incompatible> {
    conform(&new_empty_array(from), to, &mut Vec::new()).map(drop)
}

/// Converts a column. Lists the values that do not fit; their result is undefined.
pub fn conform(array: &ArrayRef, to: &DataType, misfits: &mut Vec<Misfit>) -> Result<ArrayRef, Incompatible> {
    use DataType as T;
    let from = array.data_type();
    let refuse = || Incompatible { from: from.clone(), to: to.clone() };
    // The casts below exist for their types: an error means that an unsupported pair got here.
    let plain = |array: &ArrayRef, to: &DataType| cast(array, to).map_err(|_| refuse());
    Ok(match (from, to) {
        (T::Null, _) => new_null_array(to, array.len()),
        (T::Struct(_), T::Struct(fields)) => conform_struct(array.as_struct(), fields, misfits)?,
        (T::List(_), T::List(item)) => conform_list(array.as_list(), item, misfits)?,
        (T::Map(..), T::Map(entries, sorted)) => conform_map(array.as_map(), entries, *sorted, misfits)?,
        (T::Date32, T::Date32) => number::dates(array, misfits),
        (T::Timestamp(unit, _), T::Timestamp(TimeUnit::Microsecond, zone)) => {
            number::timestamps(array, *unit, zone.clone(), misfits)
        }
        (T::Time32(_) | T::Time64(_), T::Int64) => number::times(array),
        // A table may declare a time as text or as a number. It then keeps what no instant of a table can
        // hold, such as nanoseconds and far years.
        (T::Timestamp(unit, zone), T::Utf8) => text::print_instants(array, *unit, zone.is_some()),
        (T::Timestamp(..) | T::Date32, T::Int64) => plain(array, to)?,
        (T::Date32, T::Utf8) => text::print_days(array),
        (T::Time32(_) | T::Time64(_), T::Utf8) => text::print_times(array, misfits),
        (T::Utf8, T::Date32) => text::days(array, misfits),
        (T::Int32, T::Int64) | (T::Int32 | T::Float32, T::Float64) => plain(array, to)?,
        (T::Float32, T::Int64) => number::to_integers(&plain(array, &T::Float64)?, misfits),
        (T::Float64, T::Int64) => number::to_integers(array, misfits),
        (T::Int64, T::Float64) => number::to_doubles(array, misfits),
        (T::Decimal128(_, scale), T::Decimal128(precision, wanted)) => {
            number::decimals(array, *scale, *precision, *wanted, misfits)
        }
        (T::Decimal256(_, scale), T::Decimal128(precision, wanted)) => {
            number::wide_decimals(array, *scale, *precision, *wanted, misfits)
        }
        (T::Int32, T::Decimal128(precision, wanted)) => {
            number::to_decimals(&plain(array, &T::Int64)?, *precision, *wanted, misfits)
        }
        (T::Int64, T::Decimal128(precision, wanted)) => {
            number::to_decimals(array, *precision, *wanted, misfits)
        }
        (T::Decimal128(_, scale), T::Int64) => number::decimals_to_integers(array, *scale, misfits),
        (T::Decimal128(_, scale), T::Utf8) => text::print_decimals(array, *scale),
        (T::Dictionary(..), T::Utf8) => plain(array, to)?,
        (T::FixedSizeBinary(16), T::Utf8) => text::uuids(array),
        (T::FixedSizeBinary(_) | T::Utf8, T::Binary) => plain(array, to)?,
        (T::Binary, T::Utf8) => text::texts(array, misfits),
        // Debezium's forms of an instant with a zone and of a decimal without a fixed scale.
        (T::Utf8, T::Timestamp(TimeUnit::Microsecond, zone)) => text::instants(array, zone.clone(), misfits),
        (T::Struct(fields), T::Utf8) if text::is_scaled(fields) => text::scaled(array.as_struct(), misfits),
        (T::Utf8, T::Decimal128(precision, scale)) => text::decimals(array, *precision, *scale, misfits),
        (T::Struct(fields), T::Decimal128(precision, scale)) if text::is_scaled(fields) => {
            text::decimals(&text::scaled(array.as_struct(), misfits), *precision, *scale, misfits)
        }
        (from, to) if from == to => array.clone(),
        _ => return Err(refuse()),
    })
}

/// Converts members by name. A member that the writer lacks is null. A null struct gets null members, so that
/// reading one member alone gives the same result as reading the struct.
fn conform_struct(
    array: &StructArray,
    fields: &Fields,
    misfits: &mut Vec<Misfit>,
) -> Result<ArrayRef, Incompatible> {
    if let Some(lost) = array.fields().iter().find(|field| fields.find(field.name()).is_none()) {
        let to = DataType::Struct(fields.clone());
        return Err(Incompatible { from: DataType::Struct(Fields::from(vec![lost.clone()])), to });
    }
    let absent =
        array.nulls().filter(|nulls| nulls.null_count() > 0).map(|n| BooleanArray::new(!n.inner(), None));
    let mut inner = Vec::new();
    let mut columns = Vec::with_capacity(fields.len());
    for field in fields {
        let Some(column) = array.column_by_name(field.name()) else {
            columns.push(new_null_array(field.data_type(), array.len()));
            continue;
        };
        let column = conform(column, field.data_type(), &mut inner)?;
        columns.push(match &absent {
            Some(absent) => nullif(&column, absent).unwrap_or(column),
            None => column,
        });
    }
    // Values that the decoder left under a null struct do not count.
    inner.retain(|misfit| absent.as_ref().is_none_or(|absent| !absent.value(misfit.row as usize)));
    misfits.append(&mut inner);
    Ok(Arc::new(rebuild_struct(fields, columns, array)))
}

fn rebuild_struct(fields: &Fields, columns: Vec<ArrayRef>, like: &StructArray) -> StructArray {
    if columns.is_empty() {
        return StructArray::new_empty_fields(like.len(), like.nulls().cloned());
    }
    StructArray::new(fields.clone(), columns, like.nulls().cloned())
}

fn conform_list(
    array: &ListArray,
    item: &Arc<Field>,
    misfits: &mut Vec<Misfit>,
) -> Result<ArrayRef, Incompatible> {
    let values =
        of_items(array.offsets(), misfits, |inner| conform(array.values(), item.data_type(), inner))?;
    Ok(Arc::new(ListArray::new(item.clone(), array.offsets().clone(), values, array.nulls().cloned())))
}

fn conform_map(
    array: &MapArray,
    entries: &Arc<Field>,
    sorted: bool,
    misfits: &mut Vec<Misfit>,
) -> Result<ArrayRef, Incompatible> {
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(Incompatible { from: array.data_type().clone(), to: entries.data_type().clone() });
    };
    let columns = of_items(array.offsets(), misfits, |inner| {
        let keys = conform(array.keys(), fields[0].data_type(), inner)?;
        let values = conform(array.values(), fields[1].data_type(), inner)?;
        Ok(vec![keys, values])
    })?;
    let pairs = StructArray::new(fields.clone(), columns, None);
    let nulls = array.nulls().cloned();
    Ok(Arc::new(MapArray::new(entries.clone(), array.offsets().clone(), pairs, nulls, sorted)))
}

/// Converts the items and assigns each misfit to the row that contains the item.
fn of_items<T>(
    offsets: &OffsetBuffer<i32>,
    misfits: &mut Vec<Misfit>,
    convert: impl FnOnce(&mut Vec<Misfit>) -> Result<T, Incompatible>,
) -> Result<T, Incompatible> {
    let mut inner = Vec::new();
    let converted = convert(&mut inner)?;
    misfits.extend(inner.into_iter().filter_map(|misfit| {
        let after = offsets.partition_point(|&start| start as usize <= misfit.row as usize);
        Some(Misfit { row: u32::try_from(after.checked_sub(1)?).ok()?, reason: misfit.reason })
    }));
    Ok(converted)
}

#[cfg(test)]
mod tests;
