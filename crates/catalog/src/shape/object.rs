//! A checked mapping: typed values that remember their lines.

use std::time::Duration;

use indexmap::IndexMap;

use super::Shape;
use crate::Setting;

/// A checked mapping. Keys with a fault are absent.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    /// `None` if keys are free.
    pub shape: Option<&'static Shape>,
    /// Line it begins on.
    pub line: usize,
    pub entries: IndexMap<String, Entry>,
    /// Keys whose values had a fault.
    pub faulty: Vec<String>,
}
/// A value and the line of its key.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub line: usize,
    pub value: Value,
}
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    Setting(Setting),
    Flag(bool),
    Whole(i64),
    Number(f64),
    Duration(Duration),
    Forever,
    Size(u64),
    List(Vec<Entry>),
    Object(Object),
    Any(serde_json::Value),
}

impl Object {
    /// An absent mapping.
    pub fn empty(shape: &'static Shape) -> Self {
        Self { shape: Some(shape), line: 1, entries: IndexMap::new(), faulty: Vec::new() }
    }
    fn value(&self, key: &str) -> Option<&Value> {
        debug_assert!(
            self.shape.is_none_or(|shape| shape.key(key).is_some()),
            "`{key}` is in no table of keys"
        );
        self.entries.get(key).map(|entry| &entry.value)
    }
    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }
    /// Whether the key exists with a value that had a fault.
    pub fn is_faulty(&self, key: &str) -> bool {
        self.faulty.iter().any(|faulty| faulty == key)
    }
    /// Line of a key, or of the mapping if the key is absent.
    pub fn line_of(&self, key: &str) -> usize {
        self.entries.get(key).map_or(self.line, |entry| entry.line)
    }
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.value(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
    pub fn owned(&self, key: &str) -> Option<String> {
        self.text(key).map(str::to_owned)
    }
    pub fn setting(&self, key: &str) -> Option<&Setting> {
        match self.value(key)? {
            Value::Setting(setting) => Some(setting),
            _ => None,
        }
    }
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.value(key)? {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        }
    }
    pub fn whole(&self, key: &str) -> Option<i64> {
        match self.value(key)? {
            Value::Whole(whole) => Some(*whole),
            _ => None,
        }
    }
    /// An integer whose bounds, in the table of keys, are those of `i32`.
    pub fn small(&self, key: &str) -> Option<i32> {
        self.whole(key).and_then(|whole| i32::try_from(whole).ok())
    }
    /// An integer whose minimum, in the table of keys, is not negative.
    pub fn count(&self, key: &str) -> Option<u64> {
        self.whole(key).and_then(|whole| u64::try_from(whole).ok())
    }
    pub fn number(&self, key: &str) -> Option<f64> {
        match self.value(key)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }
    pub fn duration(&self, key: &str) -> Option<Duration> {
        match self.value(key)? {
            Value::Duration(duration) => Some(*duration),
            _ => None,
        }
    }
    /// `Some(None)` for `forever`.
    pub fn retention(&self, key: &str) -> Option<Option<Duration>> {
        match self.value(key)? {
            Value::Duration(duration) => Some(Some(*duration)),
            Value::Forever => Some(None),
            _ => None,
        }
    }
    pub fn size(&self, key: &str) -> Option<u64> {
        match self.value(key)? {
            Value::Size(size) => Some(*size),
            _ => None,
        }
    }
    pub fn object(&self, key: &str) -> Option<&Self> {
        match self.value(key)? {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }
    pub fn any(&self, key: &str) -> Option<&serde_json::Value> {
        match self.value(key)? {
            Value::Any(value) => Some(value),
            _ => None,
        }
    }
    pub fn list(&self, key: &str) -> &[Entry] {
        match self.value(key) {
            Some(Value::List(list)) => list,
            _ => &[],
        }
    }
    /// The strings of a list.
    pub fn texts(&self, key: &str) -> Vec<String> {
        self.list(key).iter().filter_map(|entry| entry.text().map(str::to_owned)).collect()
    }
    /// Keys with their lines, and the mappings they hold.
    pub fn objects(&self) -> impl Iterator<Item = (&String, usize, &Self)> {
        self.entries.iter().filter_map(|(key, entry)| match &entry.value {
            Value::Object(object) => Some((key, entry.line, object)),
            _ => None,
        })
    }
}
impl Entry {
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}
