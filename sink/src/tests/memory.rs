//! A sink in memory. By default, its keys and rows are arrow's row format instead of Avro.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use arrow::array::RecordBatch;
use arrow::row::{RowConverter, SortField};
use async_trait::async_trait;
use bytes::Bytes;
use lake::Table;
use model::{TableId, TableName, Version};
use runtime::traces::Span;

use crate::error::Result;
use crate::{Changes, Destination, Keys, Progress, Sink, Writer};

/// A change as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub key: Bytes,
    pub value: Option<Bytes>,
    pub table: TableId,
    pub version: Version,
    pub last: bool,
}

/// The destination and its open transaction.
#[derive(Debug, Default)]
pub struct Place {
    /// Changes that readers see, in order.
    pub records: Vec<Record>,
    pub progress: BTreeMap<String, Progress>,
    open: Vec<Sent>,
    /// How often it was opened: only the last writer can do anything.
    generation: usize,
}

#[derive(Debug, Clone)]
enum Sent {
    Record(Record),
    Progress(Progress),
}

/// How the destination treats an uncommitted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Readers never see its changes.
    Hides,
    /// Readers see its changes, in order.
    Shows,
}

impl Place {
    /// Ends a transaction; `seen` says whether readers see its changes.
    fn end(&mut self, seen: bool) {
        for sent in std::mem::take(&mut self.open) {
            match sent {
                _ if !seen => {}
                Sent::Record(record) => self.records.push(record),
                Sent::Progress(progress) => drop(self.progress.insert(progress.id.to_string(), progress)),
            }
        }
    }
}

/// How rows are encoded at the destination.
pub trait Form: Send + Sync {
    /// One key per row.
    fn keys(&self, rows: &RecordBatch) -> Vec<Bytes>;
    /// The rows.
    fn rows(&self, rows: &RecordBatch) -> Vec<Bytes>;
}

/// The sink.
#[derive(Clone)]
pub struct Memory {
    place: Arc<Mutex<Place>>,
    pub form: Arc<dyn Form>,
    pub kind: Kind,
    destination: Destination,
}
impl Memory {
    pub fn new(kind: Kind) -> Self {
        Self::of(kind, Arc::new(ById))
    }
    pub fn of(kind: Kind, form: Arc<dyn Form>) -> Self {
        let destination = Destination { kind: "place", name: "gold.t.v1".to_owned() };
        Self { place: Arc::default(), form, kind, destination }
    }
    pub fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().expect("no test panics while it holds the place")
    }
    /// The destination as a reader of all its changes has it: rows by key.
    pub fn rows(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut state = BTreeMap::new();
        for record in &self.place().records {
            match &record.value {
                Some(value) => drop(state.insert(record.key.to_vec(), value.to_vec())),
                None => drop(state.remove(record.key.as_ref())),
            }
        }
        state
    }
}

fn bytes(rows: &RecordBatch) -> Vec<Bytes> {
    let fields = rows.schema().fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
    let converter = RowConverter::new(fields).expect("columns that have a row format");
    let rows = converter.convert_columns(rows.columns()).expect("converted");
    rows.iter().map(|row| Bytes::copy_from_slice(row.data())).collect()
}

/// Keyed by the first column.
struct ById;
impl Form for ById {
    fn keys(&self, rows: &RecordBatch) -> Vec<Bytes> {
        bytes(&rows.project(&[0]).expect("a first column"))
    }
    fn rows(&self, rows: &RecordBatch) -> Vec<Bytes> {
        bytes(rows)
    }
}

/// The keys of a form.
struct KeysOf(Arc<dyn Form>);
impl Keys for KeysOf {
    fn of(&self, rows: &RecordBatch) -> Result<Vec<Bytes>> {
        Ok(self.0.keys(rows))
    }
}

#[async_trait]
impl Sink for Memory {
    type Writer = MemoryWriter;
    const NAME: &'static str = "memory";

    fn destination(&self) -> &Destination {
        &self.destination
    }
    async fn open(&self, _: &Table) -> Result<MemoryWriter> {
        let mut place = self.place();
        place.end(self.kind == Kind::Shows);
        place.generation += 1;
        Ok(MemoryWriter { generation: place.generation, sink: self.clone() })
    }
    fn describe(&self, _: &mut Span, _: usize) {}
    fn published(&self, _: &TableName, _: Version, _: usize) {}
}

pub struct MemoryWriter {
    sink: Memory,
    generation: usize,
}
impl MemoryWriter {
    fn place(&self) -> MutexGuard<'_, Place> {
        let place = self.sink.place();
        assert_eq!(place.generation, self.generation, "an earlier writer is shut out");
        place
    }
}

#[async_trait]
impl Writer for MemoryWriter {
    fn keys(&self) -> Arc<dyn Keys> {
        Arc::new(KeysOf(Arc::clone(&self.sink.form)))
    }
    async fn progress(&mut self) -> Result<Vec<Progress>> {
        Ok(self.place().progress.values().cloned().collect())
    }
    async fn held(&mut self) -> Result<Vec<Bytes>> {
        Ok(self.sink.rows().into_keys().map(Bytes::from).collect())
    }
    async fn begin(&mut self) -> Result<()> {
        assert!(self.place().open.is_empty(), "a transaction is open already");
        Ok(())
    }
    async fn write(&mut self, changes: Changes) -> Result<()> {
        let Changes { table, version, last, keys, rows, .. } = changes;
        let values = rows.as_ref().map(|rows| self.sink.form.rows(rows)).unwrap_or_default();
        assert!(keys.is_sorted_by(|a, b| a.key < b.key), "keys come once and in order");
        assert_eq!(keys.iter().filter(|change| change.row.is_some()).count(), values.len());
        let count = keys.len();
        let records = keys.into_iter().enumerate().map(|(at, change)| {
            let value = change.row.map(|row| values[row].clone());
            let (table, last) = (table.clone(), last && at + 1 == count);
            Sent::Record(Record { key: change.key, value, table, version, last })
        });
        self.place().open.extend(records);
        Ok(())
    }
    async fn flush(&mut self) -> Result<()> {
        drop(self.place());
        Ok(())
    }
    async fn note(&mut self, progress: &Progress) -> Result<()> {
        self.place().open.push(Sent::Progress(progress.clone()));
        Ok(())
    }
    async fn commit(&mut self) -> Result<()> {
        self.place().end(true);
        Ok(())
    }
}
