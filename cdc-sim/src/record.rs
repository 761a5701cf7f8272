//! Records changes as Debezium would: one Avro envelope per change, in database transactions.
//!
//! The encoder is written by hand for these tables: it encodes a change straight from the rows into one
//! buffer, without a value tree or allocations. The position in the database's log (`source.lsn`) rises with
//! every change, `transaction.total_order` within its transaction. Rows are complete before and after
//! (replica identity full).

use std::collections::VecDeque;

use avro::Frame;
use stream::hash::murmur2;

use crate::block::BLOCK;
use crate::field::Instant;
use crate::oracle::{Oracle, State};
use crate::row::TableRow;
use crate::schema::{CONNECTOR, DATABASE, SERVER, SOURCE_VERSION, Shape};
use crate::script::{Script, Statements};
use crate::settings::SchemaChange;
use crate::tables::{SourceTable, TABLES};
use crate::wire;

/// A range of bytes in a buffer.
pub type ByteRange = std::ops::Range<usize>;

/// An encoded change.
#[derive(Debug, Clone)]
pub struct EncodedChange {
    /// Its number in the database's log, from 0.
    pub sequence: u64,
    /// Its table.
    pub table: SourceTable,
    /// Primary key of its row.
    pub row: i32,
    /// Whether a tombstone follows.
    pub delete: bool,
    /// Whether the value has the changed schema.
    pub changed: bool,
    /// Hash of the value that decides the partition.
    pub route: u32,
    /// Framed key.
    pub key: ByteRange,
    /// Framed value.
    pub value: ByteRange,
}

/// Records the changes of the simulated database.
#[derive(Debug)]
pub struct Recorder {
    schema_change: Option<SchemaChange>,
    /// The log ends after this many changes, even within a transaction; further ones are dropped.
    limit: u64,
    transaction: Transaction,
    lsn: i64,
    oracle: Oracle,
    /// The oracle's state at the end of each whole block that was not taken yet.
    states: VecDeque<State>,
    changes: Vec<EncodedChange>,
    bytes: Vec<u8>,
    frames: Vec<[Vec<u8>; 2]>,
    /// The same changes as SQL, if requested.
    script: Option<Script>,
}

/// The open database transaction.
#[derive(Debug, Default)]
struct Transaction {
    id: i64,
    /// `<id>:<lsn>` in Debezium's form, encoded.
    name: Vec<u8>,
    committed: Instant,
    shape: Shape,
    changes: i64,
    by_table: [i64; TABLES],
}

/// The beginning of a message; the block fills in its schema id.
const UNKNOWN: Frame<'static> = Frame::begin(0);
const FIRST_TRANSACTION: i64 = 700;
const FIRST_LSN: i64 = 24_000_000;
const LSN_STEP: i64 = 96;

impl Recorder {
    /// Records at most `limit` changes.
    pub fn new(schema_change: Option<SchemaChange>, limit: u64) -> Self {
        Self {
            schema_change,
            limit,
            transaction: Transaction { id: FIRST_TRANSACTION, ..Transaction::default() },
            lsn: FIRST_LSN,
            oracle: Oracle::default(),
            states: VecDeque::new(),
            changes: Vec::new(),
            bytes: Vec::new(),
            frames: SourceTable::ALL.into_iter().map(source_frames).collect(),
            script: None,
        }
    }
    /// Also records changes as SQL.
    pub fn scripted(self) -> Self {
        Self { script: Some(Script::default()), ..self }
    }
    /// Takes the transactions recorded as SQL, and the state of the tables after all changes. Drops the Avro
    /// records.
    pub fn take_script(&mut self) -> (Vec<Statements>, State) {
        while self.pending() > 0 {
            self.take_block();
        }
        self.states.clear();
        (self.script.as_mut().map(Script::take).unwrap_or_default(), *self.oracle.state())
    }
    /// Begins the next transaction, committed at `committed`.
    pub fn begin(&mut self, committed: Instant) {
        let shape = Shape::at(self.schema_change, self.oracle.state().events());
        let transaction = &mut self.transaction;
        transaction.id += 1;
        transaction.committed = committed;
        transaction.shape = shape;
        transaction.changes = 0;
        transaction.by_table = [0; TABLES];
        if let Some(script) = &mut self.script {
            script.begin(shape);
        }
        let mut id = wire::Digits::default();
        let mut lsn = wire::Digits::default();
        let (id, lsn) = (id.of(transaction.id), lsn.of(self.lsn));
        transaction.name.clear();
        wire::long((id.len() + 1 + lsn.len()) as i64, &mut transaction.name);
        transaction.name.extend_from_slice(id.as_bytes());
        transaction.name.push(b':');
        transaction.name.extend_from_slice(lsn.as_bytes());
    }
    /// Records a new row.
    pub fn insert<R: TableRow>(&mut self, row: &R) {
        self.record(None, Some(row), b'c');
    }
    /// Records a changed row.
    pub fn update<R: TableRow>(&mut self, before: &R, after: &R) {
        self.record(Some(before), Some(after), b'u');
    }
    /// Records a deleted row.
    pub fn delete<R: TableRow>(&mut self, row: &R) {
        self.record(Some(row), None, b'd');
    }
    /// Whether the log has ended.
    pub fn is_full(&self) -> bool {
        self.oracle.state().events() >= self.limit
    }
    /// Number of changes that were recorded and not taken yet.
    pub fn pending(&self) -> usize {
        self.changes.len()
    }
    /// The schema changes that are in force for the open transaction.
    pub fn shape(&self) -> Shape {
        self.transaction.shape
    }

    fn record<R: TableRow>(&mut self, before: Option<&R>, after: Option<&R>, op: u8) {
        let Some(row) = after.or(before).filter(|_| !self.is_full()) else { return };
        let sequence = self.oracle.state().events();
        let table = R::TABLE as usize;
        let shape = self.transaction.shape;
        if let Some(script) = &mut self.script {
            script.change(sequence, before, after, shape);
        }
        let out = &mut self.bytes;

        let key_start = out.len();
        UNKNOWN.encode(out);
        wire::long(i64::from(row.key()), out);
        let value_start = out.len();
        let route = if row.route() == row.key() {
            murmur2(&out[key_start + Frame::LEN..])
        } else {
            // Equals the bytes of that customer's key, so that both go to the same partition.
            wire::long(i64::from(row.route()), out);
            let route = murmur2(&out[value_start..]);
            out.truncate(value_start);
            route
        };

        UNKNOWN.encode(out);
        for image in [before, after] {
            match image {
                None => out.push(wire::NULL),
                Some(row) => {
                    out.push(wire::PRESENT);
                    row.avro(shape.column, out);
                }
            }
        }
        let transaction = &mut self.transaction;
        transaction.changes += 1;
        transaction.by_table[table] += 1;
        let committed = transaction.committed.millis();
        let [names, place] = &self.frames[table];
        out.extend_from_slice(names);
        wire::long(committed, out);
        out.extend_from_slice(place);
        out.push(wire::PRESENT);
        wire::long(transaction.id, out);
        out.push(wire::PRESENT);
        wire::long(self.lsn, out);
        out.extend_from_slice(&[2, op]);
        // The connector reads the log a moment after the commit.
        out.push(wire::PRESENT);
        wire::long(committed + 2 + transaction.id % 17, out);
        out.push(wire::PRESENT);
        out.extend_from_slice(&transaction.name);
        wire::long(transaction.changes, out);
        wire::long(transaction.by_table[table], out);
        self.lsn += LSN_STEP;

        let value = value_start..out.len();
        self.changes.push(EncodedChange {
            sequence,
            table: R::TABLE,
            row: row.key(),
            delete: after.is_none(),
            changed: shape.changes(R::TABLE),
            route,
            key: key_start..value_start,
            value,
        });
        self.oracle.fold(before, after);
        if self.oracle.state().events().is_multiple_of(BLOCK as u64) {
            self.states.push_back(*self.oracle.state());
        }
    }

    /// Takes the changes of the next block; fewer if the log ended within it.
    pub fn take_block(&mut self) -> Taken {
        let n = BLOCK.min(self.changes.len());
        let cut = self.changes.get(n).map_or(self.bytes.len(), |next| next.key.start);
        let left = self.bytes.split_off(cut);
        let bytes = std::mem::replace(&mut self.bytes, left);
        let mut left = self.changes.split_off(n);
        for change in &mut left {
            change.key = change.key.start - cut..change.key.end - cut;
            change.value = change.value.start - cut..change.value.end - cut;
        }
        let changes = std::mem::replace(&mut self.changes, left);
        let whole = if n == BLOCK { self.states.pop_front() } else { None };
        Taken { changes, bytes, whole: whole.is_some(), state: whole.unwrap_or(*self.oracle.state()) }
    }
}

/// The changes of one block.
#[derive(Debug)]
pub struct Taken {
    /// In the order of the database's log.
    pub changes: Vec<EncodedChange>,
    /// The buffer of their byte ranges.
    pub bytes: Vec<u8>,
    /// Whether the block was not cut short.
    pub whole: bool,
    /// The state of the tables after them.
    pub state: State,
}

/// The constant parts of `source`, before and after its time.
fn source_frames(table: SourceTable) -> [Vec<u8>; 2] {
    let mut names = Vec::new();
    for text in [SOURCE_VERSION, CONNECTOR, SERVER] {
        wire::text(text, &mut names);
    }
    let mut place = vec![wire::PRESENT];
    for text in ["false", DATABASE, table.schema(), table.name()] {
        wire::text(text, &mut place);
    }
    [names, place]
}
