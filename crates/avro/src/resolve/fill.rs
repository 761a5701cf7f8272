//! Puts into columns what the declared schema says of what their writer's lacks.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, ListArray, MapArray, StringArray, StructArray, UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Fields, Int32Type};

use super::Fill;

/// The column with defaults in it.
pub(super) fn fill(array: &ArrayRef, with: &Fill) -> ArrayRef {
    match (with, array.data_type()) {
        (Fill::Record { absent, .. }, DataType::Struct(_)) => {
            let record = array.as_struct();
            let own = record.fields().iter().zip(record.columns());
            let own =
                own.map(|(field, column)| (field.name().clone(), fill(column, with.field(field.name()))));
            let absent = absent.iter().map(|(name, one)| (name.clone(), repeat(one, array.len())));
            let (names, columns): (Vec<_>, Vec<_>) = own.chain(absent).unzip();
            let fields = names.iter().zip(&columns).map(|(name, c)| nullable(name, c.data_type().clone()));
            let fields: Fields = fields.collect();
            Arc::new(StructArray::new(fields, columns, record.nulls().cloned()))
        }
        (Fill::Items(with), DataType::List(item)) => {
            let list: &ListArray = array.as_list();
            let values = fill(list.values(), with);
            let item = Arc::new(nullable(item.name(), values.data_type().clone()));
            Arc::new(ListArray::new(item, list.offsets().clone(), values, list.nulls().cloned()))
        }
        (Fill::Items(with), DataType::Map(entries, sorted)) => {
            let map = array.as_map();
            let (keys, values) = (map.keys().clone(), fill(map.values(), with));
            let DataType::Struct(fields) = entries.data_type() else { return array.clone() };
            let [key, value] = fields.as_ref() else { return array.clone() };
            let value = Arc::new(nullable(value.name(), values.data_type().clone()));
            let fields = Fields::from(vec![key.clone(), value]);
            let entry = entries.as_ref().clone().with_data_type(DataType::Struct(fields.clone()));
            let pairs = StructArray::new(fields, vec![keys, values], None);
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            Arc::new(MapArray::new(Arc::new(entry), offsets, pairs, nulls, *sorted))
        }
        (Fill::Symbols { known, default }, DataType::Dictionary(..)) => symbols(array, known, default),
        _ => array.clone(),
    }
}

/// One value as often as there are rows.
pub fn repeat(one: &ArrayRef, rows: usize) -> ArrayRef {
    take(one, &UInt32Array::from(vec![0; rows]), None).expect("the column has a first row")
}

fn nullable(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, true)
}

fn symbols(array: &ArrayRef, known: &HashSet<String>, default: &str) -> ArrayRef {
    let Some(dictionary) = array.as_dictionary_opt::<Int32Type>() else { return array.clone() };
    let Some(words) = dictionary.values().as_string_opt::<i32>() else { return array.clone() };
    let declared =
        words.iter().map(|word| word.map(|word| if known.contains(word) { word } else { default }));
    let declared: StringArray = declared.collect();
    let replaced = DictionaryArray::try_new(dictionary.keys().clone(), Arc::new(declared));
    replaced.map_or_else(|_| array.clone(), |replaced| Arc::new(replaced) as ArrayRef)
}
