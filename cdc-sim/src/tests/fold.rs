//! A reader that decodes the log with `apache-avro` and folds it by key and position, for a comparison with
//! the oracle.

use std::collections::{BTreeMap, HashMap};

use apache_avro::Schema;
use apache_avro::types::Value;
use rstest::rstest;

use super::{CHANGED, Sent, log, plain, spoiled};
use crate::discard;
use crate::oracle::hash;
use crate::schema::{self, Shape};
use crate::settings::Settings;
use crate::tables::SourceTable;

/// A decoded change.
#[derive(Debug, Clone)]
pub struct Decoded {
    pub table: SourceTable,
    pub key: i32,
    pub op: String,
    pub lsn: i64,
    pub transaction: i64,
    pub total_order: i64,
    pub before: Option<Row>,
    pub after: Option<Row>,
}
pub type Row = Vec<(String, Value)>;

/// Knows the schemas by the ids that the tests use.
pub struct Reader {
    values: HashMap<u32, Schema>,
    keys: HashMap<SourceTable, Schema>,
}
impl Reader {
    pub fn new() -> Self {
        let parse = |text: String| Schema::parse_str(&text).expect("valid schema");
        let changed = Shape { column: true, widen: true };
        let values = SourceTable::ALL.into_iter().flat_map(|table| {
            let id = table as u32;
            [
                (id, parse(schema::value(table, Shape::FIRST))),
                (CHANGED + id, parse(schema::value(table, changed))),
            ]
        });
        let keys = SourceTable::ALL.into_iter().map(|table| (table, parse(schema::key(table))));
        Self { values: values.collect(), keys: keys.collect() }
    }
    /// How a careful consumer reads a record: as a change, or as an error.
    pub fn read(&self, sent: &Sent) -> Result<Decoded, String> {
        let value = sent.value.as_deref().ok_or("tombstone")?;
        let (id, body) = unframe(value)?;
        let schema = self.values.get(&id).ok_or_else(|| format!("unknown schema {id}"))?;
        let envelope = fields(decode(schema, body)?);
        let (_, key) = unframe(&sent.key)?;
        let key = fields(decode(&self.keys[&sent.table], key)?);
        let image = |name: &str| match get(&envelope, name) {
            Value::Union(_, row) if matches!(**row, Value::Record(_)) => Some(fields((**row).clone())),
            _ => None,
        };
        let source = fields(get(&envelope, "source").clone());
        let transaction = fields(optional(get(&envelope, "transaction")).expect("always there").clone());
        Ok(Decoded {
            table: sent.table,
            key: i32::try_from(long(&key[0].1)).expect("an int"),
            op: text(get(&envelope, "op")),
            lsn: long(get(&source, "lsn")),
            transaction: long(get(&source, "txId")),
            total_order: long(get(&transaction, "total_order")),
            before: image("before"),
            after: image("after"),
        })
    }
    /// All changes of a log, in the order of arrival.
    pub fn changes(&self, log: &[Sent]) -> Vec<Decoded> {
        log.iter().filter_map(|sent| self.read(sent).ok()).collect()
    }
}

fn unframe(message: &[u8]) -> Result<(u32, &[u8]), String> {
    match message {
        [0, a, b, c, d, body @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), body)),
        _ => Err("no frame".to_owned()),
    }
}
fn decode(schema: &Schema, mut body: &[u8]) -> Result<Value, String> {
    let value = apache_avro::reader::datum::GenericDatumReader::builder(schema)
        .build()
        .and_then(|reader| reader.read_value(&mut body))
        .map_err(|error| error.to_string())?;
    if body.is_empty() { Ok(value) } else { Err("bytes behind the record".to_owned()) }
}
fn fields(value: Value) -> Row {
    match value {
        Value::Record(fields) => fields,
        other => panic!("{other:?} is no record"),
    }
}
pub fn get<'a>(row: &'a Row, name: &str) -> &'a Value {
    &row.iter().find(|(field, _)| field == name).unwrap_or_else(|| panic!("no `{name}`")).1
}
/// The value in a union; `None`: null.
pub fn optional(value: &Value) -> Option<&Value> {
    match value {
        Value::Union(_, inner) => optional(inner),
        Value::Null => None,
        other => Some(other),
    }
}
pub fn long(value: &Value) -> i64 {
    match optional(value) {
        Some(Value::Int(n) | Value::Date(n)) => i64::from(*n),
        Some(Value::Long(n) | Value::TimestampMicros(n)) => *n,
        other => panic!("{other:?} is no number"),
    }
}
pub fn text(value: &Value) -> String {
    match optional(value) {
        Some(Value::String(text)) => text.clone(),
        other => panic!("{other:?} is no text"),
    }
}
/// The unscaled number of a decimal.
pub fn unscaled(value: &Value) -> i64 {
    let Some(Value::Decimal(decimal)) = optional(value) else { panic!("{value:?} is no decimal") };
    let bytes: Vec<u8> = decimal.clone().try_into().expect("bytes");
    bytes.iter().fold(if bytes[0] >= 0x80 { -1 } else { 0 }, |n: i64, byte| n << 8 | i64::from(*byte))
}

/// Live rows by table and key: the newest change of each key, by its position in the database's log.
pub fn fold(changes: &[Decoded]) -> BTreeMap<(SourceTable, i32), Row> {
    let mut newest: BTreeMap<(SourceTable, i32), &Decoded> = BTreeMap::new();
    for change in changes {
        let held = newest.entry((change.table, change.key)).or_insert(change);
        if change.lsn > held.lsn {
            *held = change;
        }
    }
    newest.into_iter().filter_map(|(key, change)| Some((key, change.after.clone()?))).collect()
}

/// The documented canonical text, computed from decoded values.
fn canonical(table: SourceTable, row: &Row) -> String {
    let shown = |column: &crate::row::Column| {
        let value = get(row, column.name);
        match optional(value) {
            None => "~".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Boolean(b)) => b.to_string(),
            Some(Value::Date(days)) => {
                let (year, month, day) = crate::calendar::civil(crate::field::Date(*days));
                format!("{year:04}-{month:02}-{day:02}")
            }
            Some(Value::Decimal(_)) => {
                let crate::field::Kind::Decimal(scale) = column.kind else { panic!("not a decimal column") };
                let (n, one) = (unscaled(value), 10_i64.pow(u32::from(scale)));
                let sign = if n < 0 { "-" } else { "" };
                format!("{sign}{}.{:0width$}", n.abs() / one, n.abs() % one, width = usize::from(scale))
            }
            Some(_) => long(value).to_string(),
        }
    };
    let columns = table.columns().iter().filter(|column| column.change != crate::row::ColumnChange::Added);
    columns.map(shown).collect::<Vec<_>>().join("|")
}

#[rstest]
#[case::nothing_spoiled(plain(12_345))]
#[case::everything_spoiled(spoiled(12_345))]
#[case::cut_within_the_first_block(spoiled(777))]
#[case::whole_blocks(spoiled(9_000))]
fn the_oracle_says_what_an_independent_reader_finds(#[case] settings: Settings) {
    let changes = Reader::new().changes(&log(&settings));
    let summary = discard(&settings).summary;
    let live = fold(&changes);
    for table in SourceTable::ALL {
        let said = &summary.tables[table.name()];
        let count = |op: &str| {
            let mine = changes.iter().filter(|change| change.table == table && change.op == op);
            mine.map(|change| change.lsn).collect::<std::collections::BTreeSet<_>>().len() as u64
        };
        assert_eq!((said.inserts, said.updates, said.deletes), (count("c"), count("u"), count("d")));
        let rows: Vec<&Row> = live.iter().filter(|((of, _), _)| *of == table).map(|(_, row)| row).collect();
        assert_eq!(said.live_rows, rows.len() as u64, "{}", table.name());
        let sum: u128 = rows.iter().map(|row| u128::from(hash(canonical(table, row).as_bytes()))).sum();
        assert_eq!(said.checksum, sum.to_string(), "{}", table.name());
    }
    let lines = live.iter().filter(|((table, _), _)| *table == SourceTable::OrderLines);
    let revenue: i64 =
        lines.map(|(_, row)| long(get(row, "quantity")) * unscaled(get(row, "unit_price"))).sum();
    assert_eq!(summary.totals.revenue, format!("{}.{:02}", revenue / 100, revenue % 100));
    assert_eq!(summary.events, settings.events.expect("given"));
}

#[test]
fn what_is_spoiled_changes_no_table() {
    let (clean, dirty) = (discard(&plain(30_000)).summary, discard(&spoiled(30_000)).summary);
    assert_eq!((clean.tables, clean.totals), (dirty.tables, dirty.totals));
    assert!(dirty.injected.duplicates > 0 && dirty.injected.disordered > 0 && dirty.injected.poison > 0);
    assert_eq!(dirty.injected.schema_changes, 2);
}
