//! Hashes of rows that any program can recompute.
//!
//! A row's hash is a chain over its columns in the given order: `h = 0`, then for each value that is not null
//! `h = xxh3_64(seed = h xor xxh3_64(name), tag ++ bytes)`. A null leaves the hash unchanged, so a column (or a
//! field of a struct) that is added later changes no hash of an older row. Tag and bytes depend on the value,
//! not on its representation in Arrow:
//!
//! | value | tag | bytes |
//! | --- | --- | --- |
//! | boolean | 1 | one byte, 0 or 1 |
//! | integer of any width but unsigned 64-bit | 2 | i64, little endian |
//! | float of any width | 3 | f64, little endian; -0 as 0, every NaN as one |
//! | decimal | 4 | unscaled i128, little endian, then the scale as one byte |
//! | string | 5 | UTF-8 |
//! | binary | 6 | the bytes |
//! | date | 7 | days since the epoch as i64 |
//! | timestamp | 8 | microseconds since the epoch as i64 |
//! | struct | 9 | the hash of its fields in order, chained from 0, as u64 |
//! | list, map | 10 | the number of items as u64, then each item's hash from 0; a map's item is a struct of key and value |
//! | anything else | 11 | its text |
//!
//! The digest of a set of rows is the sum of their hashes, so neither order nor batching changes it.

use std::fmt;
use std::str::FromStr;

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use arrow::util::display::array_value_to_string;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The hash of each row over `columns`, in their order. A column that the batch lacks is null.
pub fn row_hashes(batch: &RecordBatch, columns: &[impl AsRef<str>]) -> Vec<u64> {
    let mut hashes = vec![0; batch.num_rows()];
    for column in columns {
        if let Some(array) = batch.column_by_name(column.as_ref()) {
            chain(array, named(column.as_ref()), &mut hashes);
        }
    }
    hashes
}

/// Two independent hashes over all columns, side by side.
pub(crate) fn wide_hashes(batch: &RecordBatch) -> Vec<u128> {
    let mut low = vec![0; batch.num_rows()];
    let mut high = vec![0x9E37_79B9_7F4A_7C15; batch.num_rows()];
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        chain(column, named(field.name()), &mut low);
        chain(column, named(field.name()), &mut high);
    }
    low.into_iter().zip(high).map(|(low, high)| u128::from(high) << 64 | u128::from(low)).collect()
}

/// Sum of row hashes, in any order. It prints as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Sum(pub u128);
impl Sum {
    /// Adds rows.
    pub fn add(&mut self, hashes: &[u64]) {
        for hash in hashes {
            self.0 = self.0.wrapping_add(u128::from(*hash));
        }
    }
    /// Removes rows.
    pub fn remove(&mut self, hashes: &[u64]) {
        for hash in hashes {
            self.0 = self.0.wrapping_sub(u128::from(*hash));
        }
    }
}
impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
impl FromStr for Sum {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

/// A column name's part of the seed.
fn named(name: &str) -> u64 {
    xxh3_64_with_seed(name.as_bytes(), 0)
}

/// Chains one column onto the rows' hashes.
fn chain(array: &ArrayRef, name: u64, hashes: &mut [u64]) {
    match array.data_type() {
        DataType::Boolean => {
            let values = array.as_boolean();
            fixed(array, name, hashes, |row| [1, values.value(row).into()]);
        }
        // An unsigned 64-bit integer may not fit in an `i64`; then the cast, and with it the hash, would depend
        // on the other rows.
        t if t.is_integer() && *t != DataType::UInt64 => {
            with(array, name, &DataType::Int64, hashes, |array, hashes| {
                let values = array.as_primitive::<Int64Type>();
                let values = values.values();
                fixed(array, name, hashes, |row| tagged(2, values[row].to_le_bytes()));
            })
        }
        t if t.is_floating() => with(array, name, &DataType::Float64, hashes, |array, hashes| {
            let values = array.as_primitive::<Float64Type>();
            fixed(array, name, hashes, |row| tagged(3, float(values.value(row)).to_le_bytes()));
        }),
        DataType::Decimal128(_, scale) => {
            let (values, scale) = (array.as_primitive::<Decimal128Type>(), *scale);
            fixed(array, name, hashes, |row| {
                let mut bytes = [0; 18];
                bytes[0] = 4;
                bytes[1..17].copy_from_slice(&values.value(row).to_le_bytes());
                bytes[17] = scale.cast_unsigned();
                bytes
            });
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) => {
            with(array, name, &DataType::Utf8, hashes, |array, hashes| {
                let values = array.as_string::<i32>();
                each(array, name, hashes, 5, |row, out| out.extend_from_slice(values.value(row).as_bytes()));
            });
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            with(array, name, &DataType::Binary, hashes, |array, hashes| {
                let values = array.as_binary::<i32>();
                each(array, name, hashes, 6, |row, out| out.extend_from_slice(values.value(row)));
            });
        }
        DataType::Date32 => {
            let values = array.as_primitive::<Date32Type>();
            fixed(array, name, hashes, |row| tagged(7, i64::from(values.value(row)).to_le_bytes()));
        }
        DataType::Timestamp(_, zone) => {
            let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            with(array, name, &micros, hashes, |array, hashes| {
                let values = array.as_primitive::<TimestampMicrosecondType>();
                fixed(array, name, hashes, |row| tagged(8, values.value(row).to_le_bytes()));
            });
        }
        DataType::Struct(_) => {
            let fields = struct_hashes(array.as_struct());
            fixed(array, name, hashes, |row| tagged(9, fields[row].to_le_bytes()));
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let mut items = vec![0; list.values().len()];
            chain(list.values(), 0, &mut items);
            items_of(array, name, list.value_offsets(), &items, hashes);
        }
        DataType::Map(..) => {
            let map = array.as_map();
            items_of(array, name, map.value_offsets(), &struct_hashes(map.entries()), hashes);
        }
        _ => text(array, name, hashes),
    }
}

fn struct_hashes(rows: &StructArray) -> Vec<u64> {
    let mut hashes = vec![0; rows.len()];
    for (field, column) in rows.fields().iter().zip(rows.columns()) {
        chain(column, named(field.name()), &mut hashes);
    }
    hashes
}

fn items_of(array: &ArrayRef, name: u64, offsets: &[i32], items: &[u64], hashes: &mut [u64]) {
    let place =
        |row: usize| usize::try_from(offsets[row]).expect("arrow checks that offsets are not negative");
    each(array, name, hashes, 10, |row, out| {
        let items = &items[place(row)..place(row + 1)];
        out.extend((items.len() as u64).to_le_bytes());
        items.iter().for_each(|item| out.extend(item.to_le_bytes()));
    });
}

/// Calls `run` with the column cast to `to`. A value that does not fit is hashed as text.
fn with(array: &ArrayRef, name: u64, to: &DataType, hashes: &mut [u64], run: impl Fn(&ArrayRef, &mut [u64])) {
    match cast(array, to) {
        Ok(same) if same.null_count() == array.null_count() => run(&same, hashes),
        _ => text(array, name, hashes),
    }
}

fn text(array: &ArrayRef, name: u64, hashes: &mut [u64]) {
    each(array, name, hashes, 11, |row, out| {
        // What cannot be printed still has words of its own: they name the value.
        let text = array_value_to_string(array, row).unwrap_or_else(|refusal| refusal.to_string());
        out.extend(text.bytes());
    });
}

/// Chains values of a fixed width, with their tag.
fn fixed<const N: usize>(array: &ArrayRef, name: u64, hashes: &mut [u64], value: impl Fn(usize) -> [u8; N]) {
    let chained = |row: usize, hash: &mut u64| *hash = xxh3_64_with_seed(&value(row), *hash ^ name);
    match array.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
        None => hashes.iter_mut().enumerate().for_each(|(row, hash)| chained(row, hash)),
        Some(nulls) => nulls.valid_indices().for_each(|row| chained(row, &mut hashes[row])),
    }
}

fn tagged(tag: u8, value: [u8; 8]) -> [u8; 9] {
    let mut bytes = [tag; 9];
    bytes[1..].copy_from_slice(&value);
    bytes
}

/// Chains values of any width.
fn each(array: &ArrayRef, name: u64, hashes: &mut [u64], tag: u8, value: impl Fn(usize, &mut Vec<u8>)) {
    let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
    let mut bytes = Vec::with_capacity(32);
    let mut chained = |row: usize| {
        bytes.clear();
        bytes.push(tag);
        value(row, &mut bytes);
        hashes[row] = xxh3_64_with_seed(&bytes, hashes[row] ^ name);
    };
    match nulls {
        None => (0..array.len()).for_each(&mut chained),
        Some(nulls) => nulls.valid_indices().for_each(&mut chained),
    }
}

fn float(value: f64) -> f64 {
    if value.is_nan() {
        f64::NAN
    } else if value == 0.0 {
        0.0
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
        ListArray, StringArray, StringViewArray, TimestampMicrosecondArray,
    };
    use rstest::rstest;

    use super::*;

    fn hash(array: ArrayRef) -> Vec<u64> {
        let batch = RecordBatch::try_from_iter([("c", array)]).expect("valid");
        row_hashes(&batch, &["c"])
    }
    fn decimals(values: Vec<i128>, scale: i8) -> ArrayRef {
        Arc::new(Decimal128Array::from(values).with_precision_and_scale(38, scale).expect("valid"))
    }

    #[rstest]
    #[case::strings_and_views(Arc::new(StringArray::from(vec!["a", ""])), Arc::new(StringViewArray::from(vec!["a", ""])))]
    #[case::ints_of_two_widths(Arc::new(Int32Array::from(vec![-1, 7])), Arc::new(Int64Array::from(vec![-1, 7])))]
    #[case::zeros(Arc::new(Float64Array::from(vec![-0.0, f64::NAN])), Arc::new(Float64Array::from(vec![0.0, -f64::NAN])))]
    fn equal_values_hash_equally_however_they_are_held(#[case] one: ArrayRef, #[case] other: ArrayRef) {
        assert_eq!(hash(one), hash(other));
    }

    #[rstest]
    #[case::null_and_empty(Arc::new(StringArray::from(vec![None::<&str>])), Arc::new(StringArray::from(vec![""])))]
    #[case::null_and_zero(Arc::new(Int64Array::from(vec![None])), Arc::new(Int64Array::from(vec![0])))]
    #[case::text_and_number(Arc::new(StringArray::from(vec!["1"])), Arc::new(Int64Array::from(vec![1])))]
    #[case::scales(decimals(vec![10], 1), decimals(vec![10], 2))]
    fn different_values_hash_differently(#[case] one: ArrayRef, #[case] other: ArrayRef) {
        assert_ne!(hash(one), hash(other));
    }

    #[test]
    fn a_list_hashes_by_its_items_also_behind_a_slice() {
        let lists = |rows: Vec<Vec<i64>>| {
            let rows = rows.into_iter().map(|r| Some(r.into_iter().map(Some).collect::<Vec<_>>()));
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(rows)) as ArrayRef
        };
        let all = hash(lists(vec![vec![1], vec![2, 3], vec![]]));
        assert_eq!(hash(lists(vec![vec![1], vec![2, 3], vec![]]).slice(1, 2)), all[1..]);
        assert_ne!(hash(lists(vec![vec![1, 2], vec![3]])), hash(lists(vec![vec![1], vec![2, 3]])));
    }

    #[test]
    fn a_sum_knows_no_order_and_is_read_back_from_its_text() {
        let (mut one, mut other) = (Sum::default(), Sum::default());
        one.add(&[1, u64::MAX, 3]);
        other.add(&[3, 1]);
        other.add(&[u64::MAX]);
        assert_eq!(one, other);
        assert_eq!(one.to_string().parse(), Ok(one));
        other.remove(&[1, 3, u64::MAX]);
        assert_eq!(other, Sum::default());
    }

    #[test]
    fn the_documented_recipe_gives_these_hashes() {
        let mut bytes = vec![2];
        bytes.extend(5i64.to_le_bytes());
        let first = xxh3_64_with_seed(&bytes, xxh3_64_with_seed(b"a", 0));
        let batch = RecordBatch::try_from_iter([
            ("a", Arc::new(Int64Array::from(vec![5])) as ArrayRef),
            ("b", Arc::new(StringArray::from(vec!["x"])) as ArrayRef),
        ]);
        let hashes = row_hashes(&batch.expect("valid"), &["a", "b"]);
        assert_eq!(hashes, [xxh3_64_with_seed(&[5, b'x'], first ^ xxh3_64_with_seed(b"b", 0))]);
    }

    #[test]
    fn each_kind_of_value_is_hashed_as_the_table_says() {
        let of = |bytes: &[u8]| xxh3_64_with_seed(bytes, xxh3_64_with_seed(b"c", 0));
        let with = |tag: u8, value: &[u8]| of(&[&[tag], value].concat());
        let five = 5_i64.to_le_bytes();
        let zoned = TimestampMicrosecondArray::from(vec![Some(5), None]).with_timezone("UTC");
        let inner: ArrayRef = Arc::new(Int64Array::from(vec![5, 6]));
        let of_inner = |value: i64| {
            let bytes = [&[2][..], &value.to_le_bytes()].concat();
            xxh3_64_with_seed(&bytes, xxh3_64_with_seed(b"a", 0))
        };
        let nested = StructArray::try_from(vec![("a", inner)]).expect("valid");
        let cases: [(ArrayRef, Vec<u64>); 8] = [
            (Arc::new(BooleanArray::from(vec![Some(true), None])), vec![with(1, &[1]), 0]),
            (Arc::new(Int64Array::from(vec![None, Some(5)])), vec![0, with(2, &five)]),
            (Arc::new(Float64Array::from(vec![2.5])), vec![with(3, &2.5_f64.to_le_bytes())]),
            (decimals(vec![-7], 2), vec![with(4, &[&(-7_i128).to_le_bytes()[..], &[2]].concat())]),
            (Arc::new(StringArray::from(vec!["é", ""])), vec![with(5, "é".as_bytes()), with(5, b"")]),
            (Arc::new(BinaryArray::from(vec![&b"\0x"[..]])), vec![with(6, b"\0x")]),
            (Arc::new(Date32Array::from(vec![5])), vec![with(7, &five)]),
            (Arc::new(zoned), vec![with(8, &five), 0]),
        ];
        for (array, expected) in cases {
            assert_eq!(hash(array.clone()), expected, "{}", array.data_type());
        }
        let expected = [5, 6].map(|value| with(9, &of_inner(value).to_le_bytes()));
        assert_eq!(hash(Arc::new(nested)), expected);
    }

    #[test]
    fn a_column_added_later_changes_no_hash_of_an_older_row_but_a_value_moved_to_it_does() {
        let ints = |values: Vec<Option<i64>>| Arc::new(Int64Array::from(values)) as ArrayRef;
        let of = |a: Option<i64>, b: Option<i64>| {
            let batch = RecordBatch::try_from_iter_with_nullable([
                ("a", ints(vec![a]), true),
                ("b", ints(vec![b]), true),
            ]);
            row_hashes(&batch.expect("valid"), &["a", "b"])
        };
        let narrow = RecordBatch::try_from_iter([("a", ints(vec![Some(1)]))]).expect("valid");
        assert_eq!(row_hashes(&narrow, &["a"]), of(Some(1), None));
        assert_ne!(of(Some(1), None), of(None, Some(1)));
    }
}
