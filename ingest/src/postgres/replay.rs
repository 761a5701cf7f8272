//! Replays messages of a stream without a database, up to the records for the topics.

use std::sync::Arc;

use avro::text::Shape;
use bytes::Bytes;

use super::changes::{Changes, Transaction};
use super::encode::{Form, Written, records};
use super::kind::{Kind, Types};
use super::pgoutput::{self, Message, Relation};
use super::schema::{self, Column};

/// Reads the messages of one transaction. Takes tables from their relation messages, with the replica
/// identity as key, and reads every table. Returns how many records would be sent, or why the stream would
/// halt.
pub fn replay(messages: impl IntoIterator<Item = Bytes>) -> Result<usize, String> {
    let mut changes = Changes::new(1);
    changes.begin(Transaction { xid: 1, lsn: 1, at_ms: 1_700_000_000_000 });
    let mut sent = 0;
    for message in messages {
        match pgoutput::parse(&message).map_err(|error| error.to_string())? {
            Message::Relation(relation) => changes.describe(relation.id, form(&relation)),
            message => {
                let events = changes.read(message).map_err(|error| error.to_string())?;
                sent += events.iter().map(|event| records(event, 1_700_000_000_000).len()).sum::<usize>();
            }
        }
    }
    changes.commit();
    Ok(sent)
}

/// The form of a table without a declared topic. `None`: no schema can hold it.
fn form(relation: &Relation) -> Option<Arc<Form>> {
    let column = |column: &pgoutput::Column| Column {
        name: column.name.clone(),
        kind: Kind::of(&Types::new(), column.type_oid, column.modifier),
        nullable: true,
    };
    let columns: Vec<Column> = relation.columns.iter().map(column).collect();
    let is_key = |at: &usize| relation.columns.get(*at).is_some_and(|column| column.is_identity);
    let key: Vec<usize> = (0..columns.len()).filter(is_key).collect();
    let names: Vec<String> = key.iter().filter_map(|at| Some(columns.get(*at)?.name.clone())).collect();
    let written =
        |schema: serde_json::Value| Some(Written { id: 1, shape: Shape::lenient(&schema.to_string()).ok()? });
    let key_columns: Vec<&Column> = key.iter().filter_map(|at| columns.get(*at)).collect();
    Some(Arc::new(Form {
        topic: "replay".parse().ok()?,
        partitions: 4,
        server: "replay".to_owned(),
        database: "replay".to_owned(),
        schema: relation.schema.clone(),
        table: relation.table.clone(),
        key_form: match key.is_empty() {
            true => None,
            false => Some(written(schema::key("replay", "t", &key_columns))?),
        },
        value_form: written(schema::value("replay", "t", &columns, &names))?,
        columns: columns.into_iter().map(|column| (column.name, column.kind)).collect(),
        partition_by: Vec::new(),
        key,
    }))
}
