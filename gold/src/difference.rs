//! Computes what to write so that the current rows become the expected rows.
//!
//! Only rows that differ are written: a refresh that does not change a key's row leaves no trace in the table
//! or on the topic.

use std::collections::HashMap;

use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use lake::Keys;
use model::TableName;

use crate::error::{Error, OfTable as _, Result};

/// What to write.
#[derive(Debug)]
pub struct Difference {
    /// Keys whose rows are removed: changed and deleted ones.
    pub remove: Keys,
    /// Rows that are added: changed and new ones.
    pub append: RecordBatch,
    /// Number of added rows whose key had a row with other values.
    pub changed: usize,
}
impl Difference {
    /// True if the current rows are the expected rows.
    pub fn is_empty(&self) -> bool {
        self.append.num_rows() == 0 && self.remove.rows.num_rows() == 0
    }
    /// Number of deleted keys.
    pub fn deleted(&self) -> usize {
        self.remove.rows.num_rows() - self.changed
    }
    /// Number of new keys.
    pub fn inserted(&self) -> usize {
        self.append.num_rows() - self.changed
    }
}

/// Compares two sets of rows with the columns `schema`. Each key occurs at most once in each set; more than
/// one fresh row of a key is an error that names the key.
pub fn difference(
    table: &TableName,
    schema: &SchemaRef,
    keys: &[String],
    held: &[RecordBatch],
    fresh: &[RecordBatch],
) -> Result<Difference> {
    let held = concat_batches(schema, held).of(table)?;
    let fresh = concat_batches(schema, fresh).of(table)?;
    let key_at: Vec<usize> = keys.iter().map(|k| schema.index_of(k)).collect::<Result<_, _>>().of(table)?;
    let (held_keys, fresh_keys) = (held.project(&key_at).of(table)?, fresh.project(&key_at).of(table)?);
    let converter = converter(held_keys.schema_ref()).of(table)?;
    let held_by = converter.convert_columns(held_keys.columns()).of(table)?;
    let fresh_by = converter.convert_columns(fresh_keys.columns()).of(table)?;
    let same = Same::try_new(&held, &fresh).of(table)?;

    let mut at_hand: HashMap<&[u8], usize> = HashMap::with_capacity(held_by.num_rows());
    for (i, key) in held_by.iter().enumerate() {
        at_hand.insert(key.data(), i);
    }
    let mut seen: HashMap<&[u8], ()> = HashMap::with_capacity(fresh_by.num_rows());
    let rows = (0..fresh_by.num_rows()).map(|i| fresh_by.row(i)).collect::<Vec<_>>();
    let (mut append, mut remove, mut changed) = (Vec::new(), Vec::new(), 0);
    for (i, key) in rows.iter().enumerate() {
        if seen.insert(key.data(), ()).is_some() {
            let key = shown(&fresh_keys, i).of(table)?;
            return Err(Error::KeyTwice { table: table.clone(), key });
        }
        match at_hand.remove(key.data()) {
            Some(old) if same.rows(old, i) => {}
            Some(old) => {
                changed += 1;
                remove.push(old as u64);
                append.push(i as u64);
            }
            None => append.push(i as u64),
        }
    }
    remove.extend(at_hand.into_values().map(|old| old as u64));
    remove.sort_unstable();
    let remove = take_record_batch(&held_keys, &UInt64Array::from(remove)).of(table)?;
    let append = take_record_batch(&fresh, &UInt64Array::from(append)).of(table)?;
    Ok(Difference { remove: Keys { columns: keys.to_vec(), rows: remove }, append, changed })
}

pub(crate) fn converter(schema: &Schema) -> Result<RowConverter, ArrowError> {
    RowConverter::new(schema.fields().iter().map(|f| SortField::new(f.data_type().clone())).collect())
}

/// Compares rows of two batches.
enum Same<'a> {
    /// Each row as a byte string.
    Encoded(Rows, Rows),
    /// By value, for types without such an encoding.
    Plain(&'a RecordBatch, &'a RecordBatch),
}
impl<'a> Same<'a> {
    fn try_new(held: &'a RecordBatch, fresh: &'a RecordBatch) -> Result<Self, ArrowError> {
        let fields: Vec<SortField> =
            held.schema_ref().fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
        if !RowConverter::supports_fields(&fields) {
            return Ok(Self::Plain(held, fresh));
        }
        let converter = RowConverter::new(fields)?;
        Ok(Self::Encoded(
            converter.convert_columns(held.columns())?,
            converter.convert_columns(fresh.columns())?,
        ))
    }

    fn rows(&self, held: usize, fresh: usize) -> bool {
        match self {
            Self::Encoded(a, b) => a.row(held) == b.row(fresh),
            Self::Plain(a, b) => a.slice(held, 1).columns() == b.slice(fresh, 1).columns(),
        }
    }
}

/// A key as text, for messages.
pub(crate) fn shown(keys: &RecordBatch, row: usize) -> Result<String, ArrowError> {
    let options = FormatOptions::default().with_null("null");
    let mut parts = Vec::with_capacity(keys.num_columns());
    for (field, column) in keys.schema_ref().fields().iter().zip(keys.columns()) {
        let value = ArrayFormatter::try_new(column.as_ref(), &options)?.value(row).to_string();
        parts.push(format!("{}={value}", field.name()));
    }
    Ok(parts.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type};
    use proptest::prelude::*;

    use super::*;

    type Held = BTreeMap<Option<i64>, Option<&'static str>>;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("k", DataType::Int64, true),
            Field::new("v", DataType::Utf8, true),
        ]))
    }
    fn batch(rows: &[(Option<i64>, Option<&'static str>)]) -> RecordBatch {
        let keys = rows.iter().map(|(k, _)| *k).collect::<Int64Array>();
        let values = rows.iter().map(|(_, v)| *v).collect::<StringArray>();
        RecordBatch::try_new(schema(), vec![Arc::new(keys), Arc::new(values)]).expect("two columns")
    }
    fn name() -> TableName {
        "gold.t".parse().expect("valid")
    }
    fn rows() -> impl Strategy<Value = Held> {
        let value = prop::option::of(prop_oneof![Just("a"), Just("b")]);
        prop::collection::btree_map(prop::option::of(0..8i64), value, 0..8)
    }
    fn of(held: &Held) -> RecordBatch {
        batch(&held.iter().map(|(k, v)| (*k, *v)).collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn applied_to_the_rows_at_hand_it_gives_the_fresh_rows_and_touches_no_equal_row(held in rows(), fresh in rows()) {
            let difference = difference(&name(), &schema(), &["k".to_owned()], &[of(&held)], &[of(&fresh)]).expect("compared");
            let mut applied = held.clone();
            for key in difference.remove.rows.column(0).as_primitive::<Int64Type>().iter() {
                prop_assert!(applied.remove(&key).is_some());
                prop_assert_ne!(held.get(&key), fresh.get(&key));
            }
            let keys = difference.append.column(0).as_primitive::<Int64Type>();
            for (key, value) in keys.iter().zip(difference.append.column(1).as_string::<i32>()) {
                let value = value.map(|v| if v == "a" { "a" } else { "b" });
                prop_assert_eq!(applied.insert(key, value), None);
            }
            prop_assert_eq!(&applied, &fresh);
            prop_assert_eq!(difference.is_empty(), held == fresh);
        }
    }

    #[test]
    fn a_key_that_comes_twice_is_named() {
        let twice = batch(&[(Some(1), None), (Some(2), Some("a")), (Some(2), Some("b"))]);
        let error = difference(&name(), &schema(), &["k".to_owned()], &[], &[twice]).expect_err("refused");
        assert!(error.to_string().contains("k=2"), "{error}");
    }
}
