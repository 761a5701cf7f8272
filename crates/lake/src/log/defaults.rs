//! Values of a column for rows written before the writer knew the column.
//!
//! A database that adds a column with a default also gives the default to its old rows, without an event.
//! Avro's schema resolution does the same for a reader with an additional field. In the files, such old rows
//! have null. So a table may record the default of a column at the time the column was added, and each input's
//! first row with the column. No file is rewritten, and other engines see the rows as written. The readers that
//! interpret rows (silver, `verify`) apply the default.
//!
//! The property is a JSON object with dotted paths as keys. A position is that of the commit protocol. Rows of
//! an input below the position, or all rows of an input without one, come from writers that did not know the
//! column yet. A later row without the column comes from a writer that no longer has it, so it stays null.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::json::{LineDelimitedWriter, ReaderBuilder};
use serde::{Deserialize, Serialize};

/// The table property. Under the same key, `Commit::properties` has the defaults of columns that the commit may
/// add, as [`offered`] prints them.
pub const DEFAULTS: &str = "lakepulse.defaults";

/// The default of one column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDefault {
    /// The value as JSON; [`one`] parses it.
    pub value: String,
    /// The position of each input's first row that has the column.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub from: BTreeMap<String, i64>,
}

/// Defaults by dotted path.
pub type Defaults = BTreeMap<String, ColumnDefault>;

/// Parses a property.
pub fn parse(property: Option<&str>) -> Result<Defaults, serde_json::Error> {
    property.map_or_else(|| Ok(Defaults::new()), serde_json::from_str)
}

/// The property with the values of columns that a table is created with or a commit may add.
pub fn offered(values: &BTreeMap<String, String>) -> String {
    let all: Defaults = values
        .iter()
        .map(|(path, value)| (path.clone(), ColumnDefault { value: value.clone(), from: BTreeMap::new() }))
        .collect();
    print(&all)
}

/// Prints a property.
pub fn print(defaults: &Defaults) -> String {
    serde_json::to_string(defaults).expect("texts and numbers are JSON")
}

/// One value as JSON. `None`: null, or a type that has no JSON form here.
pub fn text(one: &ArrayRef) -> Option<String> {
    if one.len() != 1 || one.is_null(0) {
        return None;
    }
    let batch = RecordBatch::try_from_iter([("x", one.clone())]).ok()?;
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(&batch).ok()?;
    writer.finish().ok()?;
    let line = String::from_utf8(writer.into_inner()).ok()?;
    let value = line.trim_end().strip_prefix("{\"x\":")?.strip_suffix('}')?;
    // A value that does not read back as itself cannot be a default.
    self::one(value, one.data_type()).filter(|again| again == one)?;
    Some(value.to_owned())
}

/// An array with this one value. `None`: the text is not a value of that type.
pub fn one(value: &str, data_type: &DataType) -> Option<ArrayRef> {
    let schema = Arc::new(Schema::new(vec![Field::new("x", data_type.clone(), true)]));
    let line = format!("{{\"x\":{value}}}");
    let mut reader = ReaderBuilder::new(schema).build(line.as_bytes()).ok()?;
    let batch = reader.next()?.ok()?;
    (batch.num_rows() == 1 && batch.column(0).is_valid(0)).then(|| batch.column(0).clone())
}

/// The property after a commit. It gains the offered defaults of columns that the commit adds, and the first
/// positions of columns it knows. Existing entries stay as they are.
pub(crate) fn after(
    mut known: Defaults,
    offered: Defaults,
    before: &Schema,
    schema: &Schema,
) -> Option<String> {
    for (path, ColumnDefault { value, from }) in offered {
        let is_gained = at(before.fields(), &path).is_none() && at(schema.fields(), &path).is_some();
        if is_gained {
            known.entry(path.clone()).or_insert(ColumnDefault { value, from: BTreeMap::new() });
        }
        if let Some(default) = known.get_mut(&path) {
            from.into_iter().for_each(|(app, first)| {
                default.from.entry(app).or_insert(first);
            });
        }
    }
    (!known.is_empty()).then(|| print(&known))
}

/// The type of the column at a dotted path. `None`: there is no such column.
pub fn at<'a>(fields: &'a Fields, path: &str) -> Option<&'a DataType> {
    let mut parts = path.split('.');
    let mut kind = fields.find(parts.next()?)?.1.data_type();
    for part in parts {
        let DataType::Struct(fields) = kind else { return None };
        kind = fields.find(part)?.1.data_type();
    }
    Some(kind)
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, ListArray,
        StringArray, TimestampMicrosecondArray,
    };
    use arrow::datatypes::Int64Type;
    use proptest::prelude::*;

    use super::*;

    fn comes_back(array: ArrayRef) {
        let text = text(&array).expect("it is written");
        assert_eq!(one(&text, array.data_type()).as_ref(), Some(&array), "{text}");
    }

    proptest! {
        #[test]
        fn a_value_of_any_type_comes_back(
            string: String, long: i64, truth: bool, raw: Vec<u8>, days in -700_000..2_900_000_i32,
            micros in -62_135_596_800_000_000..253_402_300_799_999_999_i64, digits: i64, scale in 0..18_i8,
            double in prop::num::f64::NORMAL, list: Vec<Option<i64>>,
        ) {
            comes_back(Arc::new(StringArray::from(vec![string])));
            comes_back(Arc::new(Int64Array::from(vec![long])));
            comes_back(Arc::new(BooleanArray::from(vec![truth])));
            comes_back(Arc::new(BinaryArray::from(vec![raw.as_slice()])));
            comes_back(Arc::new(Date32Array::from(vec![days])));
            comes_back(Arc::new(TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC")));
            let decimal = Decimal128Array::from(vec![i128::from(digits)]).with_precision_and_scale(38, scale);
            comes_back(Arc::new(decimal.expect("it fits")));
            comes_back(Arc::new(Float64Array::from(vec![double])));
            comes_back(Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(list)])));
        }
    }

    #[test]
    fn what_is_no_value_of_the_type_is_none() {
        assert!(one("\"x\"", &DataType::Int64).is_none());
        assert!(one("null", &DataType::Int64).is_none());
        assert!(one("1},{\"x\":2", &DataType::Int64).is_none());
        assert!(text(&(Arc::new(Int64Array::from(vec![None])) as ArrayRef)).is_none());
    }
}
