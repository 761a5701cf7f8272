//! Turns the messages of a replication stream into events of the tables that are read, each with its place in
//! its transaction. No I/O, no clock.
//!
//! It counts every change of a transaction, even of tables that are not read. So a change gets the same
//! number each time it is read, whatever the source's settings are.

use std::collections::HashMap;
use std::sync::Arc;

use super::encode::{ChangeEvent, Form, Operation, Origin, Place};
use super::pgoutput::{Cell, Message, Old, Tuple};

/// The transaction of the following changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transaction {
    pub xid: u32,
    /// Position of its commit.
    pub lsn: u64,
    /// Time of its commit in milliseconds.
    pub at_ms: i64,
}

/// The known tables and the open transaction.
#[derive(Debug)]
pub struct Changes {
    epoch: i64,
    /// Tables by their id in the stream. `None`: not read.
    forms: HashMap<u32, Option<Arc<Form>>>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    transaction: Transaction,
    total: i64,
    of_table: HashMap<u32, i64>,
}

/// A stream with messages in an invalid order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disorder {
    /// A change between two transactions.
    #[error("the replication stream holds a change outside of any transaction")]
    NoTransaction,
    /// A change of a table that was not described before.
    #[error("the replication stream holds a change of table {0}, which it has not described")]
    NoRelation(u32),
}

impl Changes {
    /// Reads changes of one epoch of the database.
    pub fn new(epoch: i64) -> Self {
        Self { epoch, forms: HashMap::new(), open: None }
    }
    /// Sets the form of a table's rows from here on. `None`: the table is not read.
    pub fn describe(&mut self, relation: u32, form: Option<Arc<Form>>) {
        self.forms.insert(relation, form);
    }
    /// Begins a transaction.
    pub fn begin(&mut self, transaction: Transaction) {
        self.open = Some(Open { transaction, total: 0, of_table: HashMap::new() });
    }
    /// Ends the transaction.
    pub fn commit(&mut self) {
        self.open = None;
    }
    /// Whether a transaction is open.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }
    /// Reads a message that does not describe a table.
    pub fn read(&mut self, message: Message) -> Result<Vec<ChangeEvent>, Disorder> {
        let changes = match message {
            Message::Relation(_) | Message::Other => return Ok(Vec::new()),
            Message::Insert { relation, new } => {
                vec![(relation, Operation::Insert { new, moved_from: None })]
            }
            Message::Update { relation, old, new } => match old {
                Some(old) if self.moved(relation, &old, &new) => vec![
                    (relation, Operation::Delete { old: old.clone(), moved_to: Some(new.clone()) }),
                    (relation, Operation::Insert { new, moved_from: Some(old) }),
                ],
                old => vec![(relation, Operation::Update { old, new })],
            },
            Message::Delete { relation, old } => vec![(relation, Operation::Delete { old, moved_to: None })],
            Message::Truncate { relations } => {
                relations.into_iter().map(|relation| (relation, Operation::Truncate)).collect()
            }
        };
        let mut events = Vec::with_capacity(changes.len());
        for (relation, change) in changes {
            events.extend(self.count(relation, change)?);
        }
        Ok(events)
    }

    /// Whether an update changes the key: then it counts as two changes, a delete and an insert. Unless it
    /// sends whole old rows, PostgreSQL sends the old key only in this case, so this also works for a table
    /// that is not read.
    fn moved(&self, relation: u32, old: &Old, new: &Tuple) -> bool {
        match (old, self.forms.get(&relation)) {
            (Old::Key(_), Some(None) | None) => true,
            (Old::Full(_), Some(None) | None) => false,
            (Old::Key(old) | Old::Full(old), Some(Some(form))) => {
                form.key.iter().any(|at| match (old.get(*at), new.get(*at)) {
                    (_, Some(Cell::Unchanged)) => false,
                    (old, new) => old != new,
                })
            }
        }
    }

    fn count(&mut self, relation: u32, change: Operation) -> Result<Option<ChangeEvent>, Disorder> {
        let open = self.open.as_mut().ok_or(Disorder::NoTransaction)?;
        let form = self.forms.get(&relation).ok_or(Disorder::NoRelation(relation))?;
        open.total += 1;
        let of_table = open.of_table.entry(relation).or_insert(0);
        *of_table += 1;
        let Transaction { xid, lsn, at_ms } = open.transaction;
        let origin = Origin::Transaction { xid, total: open.total, of_table: *of_table };
        let place = Place { epoch: self.epoch, lsn, at_ms, origin };
        Ok(form.as_ref().map(|form| ChangeEvent { form: form.clone(), change, place }))
    }
}

#[cfg(test)]
mod tests {
    use avro::text::Shape;
    use bytes::Bytes;

    use super::super::encode::Written;
    use super::super::kind::Kind;
    use super::*;

    const ORDERS: u32 = 5;
    const UNREAD: u32 = 6;

    fn tuple(cells: &[&str]) -> Tuple {
        cells.iter().map(|text| Cell::Text(Bytes::copy_from_slice(text.as_bytes()))).collect()
    }
    fn changes() -> Changes {
        let form = Form {
            topic: "shop.orders".parse().expect("a topic name"),
            partitions: 1,
            server: "shop".to_owned(),
            database: "shop".to_owned(),
            schema: "public".to_owned(),
            table: "orders".to_owned(),
            columns: vec![("id".to_owned(), Kind::Int), ("note".to_owned(), Kind::Text(None))],
            key: vec![0],
            partition_by: Vec::new(),
            key_form: None,
            value_form: Written { id: 1, shape: Shape::lenient(r#""null""#).expect("a schema") },
        };
        let mut changes = Changes::new(3);
        changes.describe(ORDERS, Some(Arc::new(form)));
        changes.describe(UNREAD, None);
        changes.begin(Transaction { xid: 77, lsn: 900, at_ms: 5 });
        changes
    }
    fn places(events: &[ChangeEvent]) -> Vec<(i64, i64)> {
        let place = |event: &ChangeEvent| match event.place.origin {
            Origin::Transaction { total, of_table, .. } => (total, of_table),
            Origin::Snapshot(_) => (0, 0),
        };
        events.iter().map(place).collect()
    }

    #[test]
    fn changes_of_tables_that_are_not_read_are_counted() {
        let mut changes = changes();
        let insert = |relation| Message::Insert { relation, new: tuple(&["1", "a"]) };
        assert!(changes.read(insert(UNREAD)).expect("in a transaction").is_empty());
        let events = changes.read(insert(ORDERS)).expect("in a transaction");
        assert_eq!(places(&events), [(2, 1)]);
        assert_eq!((events[0].place.epoch, events[0].place.lsn), (3, 900));
    }

    #[test]
    fn a_changed_key_is_a_delete_and_an_insert() {
        for old in [Old::Key(tuple(&["1", ""])), Old::Full(tuple(&["1", "a"]))] {
            let new = tuple(&["2", "a"]);
            let message = Message::Update { relation: ORDERS, old: Some(old.clone()), new: new.clone() };
            let events = changes().read(message).expect("in a transaction");
            assert_eq!(places(&events), [(1, 1), (2, 2)]);
            assert_eq!(events[0].change, Operation::Delete { old: old.clone(), moved_to: Some(new.clone()) });
            assert_eq!(events[1].change, Operation::Insert { new, moved_from: Some(old) });
        }
    }

    #[test]
    fn an_update_that_keeps_its_key_is_one_change() {
        let old = Some(Old::Full(tuple(&["1", "a"])));
        let message = Message::Update { relation: ORDERS, old, new: tuple(&["1", "b"]) };
        let events = changes().read(message).expect("in a transaction");
        assert!(matches!(events[..], [ChangeEvent { change: Operation::Update { .. }, .. }]));
    }

    #[test]
    fn a_truncate_is_one_change_of_each_table() {
        let events = changes().read(Message::Truncate { relations: vec![UNREAD, ORDERS] });
        assert_eq!(places(&events.expect("in a transaction")), [(2, 1)]);
    }

    #[test]
    fn what_has_no_transaction_or_table_is_refused() {
        let mut changes = changes();
        let insert = |relation| Message::Insert { relation, new: tuple(&["1", "a"]) };
        assert!(matches!(changes.read(insert(9)), Err(Disorder::NoRelation(9))));
        changes.commit();
        assert!(matches!(changes.read(insert(ORDERS)), Err(Disorder::NoTransaction)));
    }
}
