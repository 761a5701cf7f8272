//! Statistics of a file, for its `Add` action.
//!
//! Readers skip files by their bounds, so a bound that is too narrow loses rows. Bounds are written for
//! integers, dates and strings only: timestamp bounds are truncated to milliseconds, and decimal bounds pass
//! through a float. A long string is truncated; its upper bound is then a string that sorts after every value
//! with that prefix. A nested column has no null count: the log wants one for each of its leaves, and readers
//! refuse a plain number there.

use arrow::array::{Array, AsArray as _, RecordBatch};
use arrow::compute::{cast, max, max_string, min, min_string};
use arrow::datatypes::{DataType, Date32Type, FieldRef, Int64Type};
use serde_json::{Map, Value};

/// The most characters of a string bound.
const LENGTH: usize = 32;

/// Collects statistics over the batches of one file.
#[derive(Default)]
pub(crate) struct FileStats {
    rows: usize,
    columns: Vec<ColumnStats>,
}

struct ColumnStats {
    name: String,
    nested: bool,
    nulls: usize,
    bounds: Option<(Value, Value)>,
    /// False once a batch has no bounds.
    bounded: bool,
}

impl FileStats {
    pub fn add(&mut self, batch: &RecordBatch) {
        if self.columns.is_empty() {
            let column = |field: &FieldRef| ColumnStats {
                name: field.name().clone(),
                nested: field.data_type().is_nested(),
                nulls: 0,
                bounds: None,
                bounded: true,
            };
            self.columns = batch.schema_ref().fields().iter().map(column).collect();
        }
        self.rows += batch.num_rows();
        for (stats, array) in self.columns.iter_mut().zip(batch.columns()) {
            stats.nulls += array.null_count();
            if array.null_count() == array.len() || !stats.bounded {
                continue;
            }
            match bounds(array.as_ref()) {
                Some((least, greatest)) => stats.widen(least, greatest),
                None => stats.bounded = false,
            }
        }
    }

    pub fn json(&self) -> String {
        let (mut least, mut greatest, mut nulls) = (Map::new(), Map::new(), Map::new());
        for column in self.columns.iter().filter(|column| !column.nested) {
            nulls.insert(column.name.clone(), column.nulls.into());
            if let Some((min, max)) = column.bounds.as_ref().filter(|_| column.bounded) {
                let Some(max) = upper(max) else { continue };
                least.insert(column.name.clone(), lower(min));
                greatest.insert(column.name.clone(), max);
            }
        }
        serde_json::json!({
            "numRecords": self.rows,
            "minValues": least,
            "maxValues": greatest,
            "nullCount": nulls,
        })
        .to_string()
    }
}

impl ColumnStats {
    fn widen(&mut self, least: Value, greatest: Value) {
        self.bounds = Some(match self.bounds.take() {
            None => (least, greatest),
            Some((a, b)) => {
                (if less(&least, &a) { least } else { a }, if less(&b, &greatest) { greatest } else { b })
            }
        });
    }
}

fn less(a: &Value, b: &Value) -> bool {
    match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => a < b,
        _ => a.as_str() < b.as_str(),
    }
}

fn bounds(array: &dyn Array) -> Option<(Value, Value)> {
    match array.data_type() {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            let wide = cast(array, &DataType::Int64).ok()?;
            let ints = wide.as_primitive::<Int64Type>();
            Some((min(ints)?.into(), max(ints)?.into()))
        }
        DataType::Date32 => {
            let days = array.as_primitive::<Date32Type>();
            Some((date(min(days)?)?.into(), date(max(days)?)?.into()))
        }
        DataType::Utf8 => {
            let strings = array.as_string::<i32>();
            Some((min_string(strings)?.into(), max_string(strings)?.into()))
        }
        _ => None,
    }
}

/// A date in the log's form. Years with more than four digits sort wrongly as text, so they have no bound.
pub(crate) fn date(days: i32) -> Option<String> {
    let date = chrono::NaiveDate::default().checked_add_signed(chrono::TimeDelta::days(days.into()))?;
    (0..=9999).contains(&chrono::Datelike::year(&date)).then(|| date.to_string())
}

fn lower(min: &Value) -> Value {
    match min.as_str() {
        Some(text) => text.chars().take(LENGTH).collect::<String>().into(),
        None => min.clone(),
    }
}

fn upper(max: &Value) -> Option<Value> {
    match max.as_str() {
        Some(text) => upper_text(text).map(Into::into),
        None => Some(max.clone()),
    }
}

/// The text itself if it is short. Otherwise its prefix, with the last character that can be incremented
/// incremented, so that it sorts after everything with that prefix. `None` if no character can be incremented.
fn upper_text(text: &str) -> Option<String> {
    let mut kept: Vec<char> = text.chars().take(LENGTH + 1).collect();
    if kept.len() <= LENGTH {
        return Some(text.to_owned());
    }
    kept.truncate(LENGTH);
    while let Some(last) = kept.pop() {
        // After U+D7FF comes U+E000: the surrogates in between are not characters.
        let next = if last == '\u{D7FF}' { Some('\u{E000}') } else { char::from_u32(u32::from(last) + 1) };
        if let Some(next) = next {
            kept.push(next);
            return Some(kept.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int32Array, StringArray};
    use proptest::prelude::*;

    use super::*;

    fn stats(columns: Vec<(&str, ArrayRef)>) -> Value {
        let mut stats = FileStats::default();
        stats.add(&RecordBatch::try_from_iter(columns).expect("valid"));
        serde_json::from_str(&stats.json()).expect("json")
    }

    #[test]
    fn only_ints_dates_and_strings_are_bounded() {
        let stats = stats(vec![
            ("i", Arc::new(Int32Array::from(vec![Some(3), None, Some(-1)]))),
            ("d", Arc::new(Date32Array::from(vec![0, 1, 2]))),
            ("s", Arc::new(StringArray::from(vec!["b", "a", "c"]))),
            ("m", Arc::new(Decimal128Array::from(vec![1, 2, 3]))),
            ("empty", Arc::new(StringArray::from(vec![None::<&str>; 3]))),
        ]);
        assert_eq!(stats["minValues"], serde_json::json!({"i": -1, "d": "1970-01-01", "s": "a"}));
        assert_eq!(stats["maxValues"], serde_json::json!({"i": 3, "d": "1970-01-03", "s": "c"}));
        assert_eq!(stats["nullCount"], serde_json::json!({"i": 1, "d": 0, "s": 0, "m": 0, "empty": 3}));
        assert_eq!(stats["numRecords"], 3);
    }

    #[test]
    fn a_nested_column_has_no_count_of_nulls() {
        let inner: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
        let nested = arrow::array::StructArray::try_from(vec![("a", inner)]).expect("valid");
        assert_eq!(stats(vec![("n", Arc::new(nested))])["nullCount"], serde_json::json!({}));
    }

    #[test]
    fn dates_beyond_four_digits_of_year_have_no_bound() {
        assert_eq!(
            stats(vec![("d", Arc::new(Date32Array::from(vec![0, i32::MAX])))])["maxValues"],
            serde_json::json!({})
        );
    }

    #[test]
    fn a_string_without_a_greater_beginning_has_no_bound() {
        assert_eq!(upper_text(&"\u{10FFFF}".repeat(40)), None);
        assert_eq!(upper_text(&"\u{D7FF}".repeat(40)).map(|t| t.chars().last()), Some(Some('\u{E000}')));
    }

    proptest! {
        #[test]
        fn no_string_lies_outside_its_bounds(text in "\\PC{0,60}") {
            let low = lower(&text.clone().into());
            prop_assert!(low.as_str() <= Some(&text));
            if let Some(high) = upper_text(&text) {
                prop_assert!(high.as_str() >= text.as_str());
            }
        }
    }
}
