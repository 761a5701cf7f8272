//! Keys of one decision, as bytes, numbers and columns.

use std::sync::Arc;

use ahash::AHashMap;
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};

use crate::event::KeyId;

/// Numbers keys in the order they are met. Keys are equal if arrow's row format is: by value, and null equals
/// null.
pub struct Keys {
    schema: SchemaRef,
    converter: Arc<RowConverter>,
    numbers: AHashMap<Arc<[u8]>, KeyId>,
    bytes: Vec<Arc<[u8]>>,
}
impl Keys {
    /// Starts without keys, for the columns of `schema`.
    pub fn try_new(schema: SchemaRef) -> Result<Self, ArrowError> {
        let fields = schema.fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
        let converter = Arc::new(RowConverter::new(fields)?);
        Ok(Self { schema, converter, numbers: AHashMap::new(), bytes: Vec::new() })
    }
    /// The same columns without keys.
    pub fn fresh(&self) -> Self {
        let (schema, converter) = (Arc::clone(&self.schema), Arc::clone(&self.converter));
        Self { schema, converter, numbers: AHashMap::new(), bytes: Vec::new() }
    }
    /// The key columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
    /// The number of keys.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }
    /// True if there are no keys.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
    /// Encodes key columns, one key per row.
    pub fn encode(&self, columns: &[ArrayRef]) -> Result<Rows, ArrowError> {
        self.converter.convert_columns(columns)
    }
    /// The number of a key; a new number if it was not met before.
    pub fn number(&mut self, key: &[u8]) -> KeyId {
        if let Some(&number) = self.numbers.get(key) {
            return number;
        }
        let number = KeyId(u32::try_from(self.bytes.len()).expect("a decision has fewer than 2^32 keys"));
        let key: Arc<[u8]> = Arc::from(key);
        self.bytes.push(Arc::clone(&key));
        self.numbers.insert(key, number);
        number
    }
    /// The number of each row's key, from the key columns by name.
    pub fn numbers(&mut self, batch: &RecordBatch) -> Result<Vec<KeyId>, ArrowError> {
        let columns = self.columns_of(batch)?;
        let rows = self.encode(&columns)?;
        Ok(rows.iter().map(|row| self.number(row.data())).collect())
    }
    /// The number of each row's key, if it was met before.
    pub fn look_up(&self, columns: &[ArrayRef]) -> Result<Vec<Option<KeyId>>, ArrowError> {
        let rows = self.encode(columns)?;
        Ok(rows.iter().map(|row| self.numbers.get(row.data()).copied()).collect())
    }
    /// The bytes of a key.
    pub fn bytes(&self, key: KeyId) -> &Arc<[u8]> {
        &self.bytes[key.0 as usize]
    }
    /// The key columns of these keys, one row each.
    pub fn batch(&self, keys: impl IntoIterator<Item = KeyId>) -> Result<RecordBatch, ArrowError> {
        let parser = self.converter.parser();
        let rows: Vec<_> = keys.into_iter().map(|key| parser.parse(self.bytes(key))).collect();
        if rows.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.schema)));
        }
        let columns = self.converter.convert_rows(rows)?;
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }
    fn columns_of(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>, ArrowError> {
        let column = |name: &String| {
            let missing = || ArrowError::SchemaError(format!("there is no key column `{name}`"));
            batch.column_by_name(name).cloned().ok_or_else(missing)
        };
        self.schema.fields().iter().map(|f| column(f.name())).collect()
    }
}

/// For each row, whether any of the key columns is null.
pub fn any_null(columns: &[ArrayRef], rows: usize) -> Vec<bool> {
    let mut null = vec![false; rows];
    for column in columns.iter().filter(|c| c.null_count() > 0) {
        for (row, null) in null.iter_mut().enumerate() {
            *null |= column.is_null(row);
        }
    }
    null
}
