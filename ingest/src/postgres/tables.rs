//! From a relation of the stream to the form of its records: key, schemas and topic.
//!
//! The existing schema is the registry's newest, else the declared one, else one created from the table.
//! Missing columns are added and registered before the first record that needs them.

use std::collections::BTreeMap;
use std::sync::Arc;

use avro::text::Shape;
use catalog::{Envelope, Topic, ValueFormat};
use model::TopicId;
use serde_json::Value as Json;
use stream::{Admin, Kafka, Registry};

use super::encode::{Form, Written};
use super::kind::{Kind, PgType, Types};
use super::pgoutput::{self, Relation};
use super::preflight::{self, quoted_table};
use super::schema::{self, Column};
use super::session::{Session, literal};
use crate::Error;

/// Creates forms.
pub struct Tables {
    pub source: String,
    pub database: String,
    pub registry: Registry,
    pub kafka: Kafka,
    /// Topics of the tables that are read.
    pub topics: BTreeMap<String, Topic>,
    types: Types,
}

impl Tables {
    /// Tables of a database; queries nothing yet.
    pub fn new(
        source: String,
        database: String,
        registry: Registry,
        kafka: Kafka,
        topics: BTreeMap<String, Topic>,
    ) -> Self {
        Self { source, database, registry, kafka, topics, types: Types::new() }
    }

    /// Topic ids by table, without topics that do not exist.
    pub async fn topic_ids(&self) -> Result<BTreeMap<String, TopicId>, Error> {
        let mut ids = BTreeMap::new();
        for (table, topic) in &self.topics {
            let failed = |source| Error::Stream { topic: topic.name.clone(), source };
            let found = Admin::try_new(&self.kafka).map_err(failed)?.describe(&topic.name).await;
            if let Some(found) = found.map_err(failed)? {
                ids.insert(table.clone(), found.id);
            }
        }
        Ok(ids)
    }

    /// The form of a relation's records. `None`: the table is not read.
    pub async fn form(
        &mut self,
        session: &mut Session,
        relation: &Relation,
    ) -> Result<Option<Arc<Form>>, Error> {
        let name = format!("{}.{}", relation.schema, relation.table);
        let Some(topic) = self.topics.get(&name).cloned() else { return Ok(None) };
        let bad = |why: String| Error::BadTopic { topic: topic.name.clone(), why };
        if topic.envelope != Envelope::Debezium || topic.value != ValueFormat::Avro {
            return Err(bad("changes of a database go to topics of `envelope: debezium` in Avro".to_owned()));
        }
        self.learn_types(session, relation).await?;
        let columns = self.columns(session, relation).await?;
        let mut keys = preflight::primary_keys(session).await?;
        let key = key_of(&topic, relation, keys.remove(&name).unwrap_or_default()).map_err(bad)?;

        let value_form = self.value_form(&topic, &name, &columns, &key).await?;
        let key_form = match key.is_empty() {
            true => None,
            false => Some(self.key_form(&topic, &name, &columns, &key).await?),
        };
        let failed = |source| Error::Stream { topic: topic.name.clone(), source };
        let admin = Admin::try_new(&self.kafka).map_err(failed)?;
        let found = admin.describe(&topic.name).await.map_err(failed)?;
        let missing = || failed(stream::Error::NoTopic { topic: topic.name.clone() });
        let partitions = found.ok_or_else(missing)?.partitions;

        let at = |name: &String| columns.iter().position(|column| column.name == *name);
        let all = |names: &[String]| names.iter().filter_map(at).collect::<Vec<_>>();
        let other = !topic.partition_by.is_empty() && topic.partition_by != key;
        Ok(Some(Arc::new(Form {
            partitions,
            server: self.source.clone(),
            database: self.database.clone(),
            schema: relation.schema.clone(),
            table: relation.table.clone(),
            partition_by: if other { all(&topic.partition_by) } else { Vec::new() },
            key: all(&key),
            key_form,
            value_form,
            columns: columns.into_iter().map(|column| (column.name, column.kind)).collect(),
            topic: topic.name,
        })))
    }

    /// The relation of a table, as the stream would describe it.
    pub async fn relation(&self, session: &mut Session, name: &str) -> Result<Relation, Error> {
        let sql = format!(
            "SELECT c.oid, a.attname, a.atttypid, a.atttypmod, \
                    c.relreplident = 'f' OR coalesce(i.indkey::int2[] @> ARRAY[a.attnum], false) \
             FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
             LEFT JOIN pg_index i ON i.indrelid = c.oid AND \
                  CASE c.relreplident WHEN 'i' THEN i.indisreplident WHEN 'd' THEN i.indisprimary ELSE false END \
             WHERE a.attrelid = {}::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' \
             ORDER BY a.attnum",
            literal(&quoted_table(name))
        );
        let rows = session.texts(&sql).await?;
        let (schema, table) = name.split_once('.').unwrap_or(("public", name));
        let id = rows.first().and_then(|row| row[0].parse().ok()).unwrap_or(0);
        let column = |row: Vec<String>| pgoutput::Column {
            name: row[1].clone(),
            is_identity: row[4] == "t",
            type_oid: row[2].parse().unwrap_or(0),
            modifier: row[3].parse().unwrap_or(-1),
        };
        let columns = rows.into_iter().map(column).collect();
        Ok(Relation { id, schema: schema.to_owned(), table: table.to_owned(), columns })
    }

    /// Queries unknown types. Built-in types never change; others may have been created since.
    async fn learn_types(&mut self, session: &mut Session, relation: &Relation) -> Result<(), Error> {
        if relation.columns.iter().all(|column| self.types.contains_key(&column.type_oid)) {
            return Ok(());
        }
        let sql = "SELECT oid, typtype, CASE WHEN typcategory = 'A' THEN typelem ELSE 0 END, typbasetype, \
                   typtypmod FROM pg_type";
        for row in session.texts(sql).await? {
            let number = |at: usize| row.get(at).and_then(|text| text.parse().ok()).unwrap_or(0);
            let modifier = row.get(4).and_then(|text| text.parse().ok()).unwrap_or(-1);
            let kind = row.get(1).and_then(|text| text.chars().next()).unwrap_or('b');
            let found = PgType { kind, element: number(2), base: (number(3), modifier) };
            self.types.insert(number(0), found);
        }
        Ok(())
    }

    async fn columns(&self, session: &mut Session, relation: &Relation) -> Result<Vec<Column>, Error> {
        let sql = format!(
            "SELECT attname FROM pg_attribute WHERE attrelid = {} AND attnum > 0 AND attnotnull",
            relation.id
        );
        let rows = session.texts(&sql).await?;
        let required: Vec<&String> = rows.iter().filter_map(|row| row.first()).collect();
        let column = |column: &pgoutput::Column| Column {
            name: column.name.clone(),
            kind: Kind::of(&self.types, column.type_oid, column.modifier),
            nullable: !required.contains(&&column.name),
        };
        Ok(relation.columns.iter().map(column).collect())
    }

    async fn value_form(
        &self,
        topic: &Topic,
        table: &str,
        columns: &[Column],
        key: &[String],
    ) -> Result<Written, Error> {
        let subject = topic.value_subject();
        let Some(mut held) = self.held(topic, &subject, topic.value_schema.as_deref()).await? else {
            let made = schema::value(&self.source, table, columns, key);
            return self.written(topic, &subject, Held::made(&made)).await;
        };
        let bad = |why: String| Error::BadTopic { topic: topic.name.clone(), why };
        if schema::follow(&mut held.json, columns).map_err(bad)? {
            tracing::info!(topic = %topic.name, table, "the table has changed, and the schema follows it");
            held = Held::made(&held.json);
        }
        self.written(topic, &subject, held).await
    }

    async fn key_form(
        &self,
        topic: &Topic,
        table: &str,
        columns: &[Column],
        key: &[String],
    ) -> Result<Written, Error> {
        let subject = topic.key_subject();
        let held = self.held(topic, &subject, topic.key_schema.as_deref()).await?;
        let Some(mut held) = held else {
            let named = key.iter().filter_map(|name| columns.iter().find(|column| column.name == *name));
            let made = schema::key(&self.source, table, &named.collect::<Vec<_>>());
            return self.written(topic, &subject, Held::made(&made)).await;
        };
        if schema::follow_key(&mut held.json, columns) {
            held = Held::made(&held.json);
        }
        self.written(topic, &subject, held).await
    }

    /// Looks up the existing schema.
    async fn held(
        &self,
        topic: &Topic,
        subject: &str,
        declared: Option<&str>,
    ) -> Result<Option<Held>, Error> {
        let failed = |source| Error::Registry { topic: topic.name.clone(), source };
        let newest = self.registry.latest(subject).await.map_err(failed)?;
        let id = newest.as_ref().map(|newest| newest.id);
        let Some(text) = newest.as_ref().map(|newest| &*newest.schema).or(declared) else { return Ok(None) };
        let json = serde_json::from_str(text).map_err(|error| Error::BadTopic {
            topic: topic.name.clone(),
            why: format!("its schema is no JSON: {error}"),
        })?;
        Ok(Some(Held { json, text: text.to_owned(), id }))
    }

    async fn written(&self, topic: &Topic, subject: &str, held: Held) -> Result<Written, Error> {
        let bad = |why: String| Error::BadTopic { topic: topic.name.clone(), why };
        let shape = Shape::lenient(&held.text);
        let shape = shape.map_err(|error| bad(format!("its schema is not usable: {error}")))?;
        let id = match held.id {
            Some(id) => id,
            None => {
                let id = self.registry.register(subject, &held.text).await;
                id.map_err(|source| Error::Registry { topic: topic.name.clone(), source })?
            }
        };
        Ok(Written { id, shape })
    }
}

/// A schema, with its id if it is registered in this form.
struct Held {
    json: Json,
    text: String,
    id: Option<u32>,
}
impl Held {
    fn made(json: &Json) -> Self {
        Self { json: json.clone(), text: json.to_string(), id: None }
    }
}

/// The key columns: the declared ones, else the primary key's, else those of the replica identity.
fn key_of(topic: &Topic, relation: &Relation, primary: Vec<String>) -> Result<Vec<String>, String> {
    let has = |name: &String| relation.columns.iter().any(|column| column.name == *name);
    let whole = relation.columns.iter().all(|column| column.is_identity);
    if !topic.key.is_empty() {
        if let Some(missing) = topic.key.iter().find(|name| !has(name)) {
            return Err(format!("its key column `{missing}` is no column of the table"));
        }
        let known =
            |name: &String| relation.columns.iter().any(|column| column.name == *name && column.is_identity);
        let unknown = topic.key.iter().find(|name| !known(name));
        return match unknown {
            Some(name) => Err(format!(
                "its key column `{name}` is not in the table's replica identity, so a delete would not say \
                 it: use the primary key, or give the table REPLICA IDENTITY FULL"
            )),
            None => Ok(topic.key.clone()),
        };
    }
    if !primary.is_empty() && primary.iter().all(has) {
        return Ok(primary);
    }
    if whole {
        return Ok(Vec::new());
    }
    let identity = relation.columns.iter().filter(|column| column.is_identity);
    Ok(identity.map(|column| column.name.clone()).collect())
}
