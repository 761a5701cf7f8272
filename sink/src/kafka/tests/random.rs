//! Tables with keys of any type, edited and compacted at random, with publishers that fail and die: the topic
//! folds to the table.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use proptest::prelude::*;
use runtime::Failure as _;
use tokio::runtime::Runtime;

use crate::Publisher;
use crate::kafka::encode::{Encoders, Registered};
use crate::tests::contract::Readable as _;
use crate::tests::memory::{Form, Kind, Memory};
use crate::tests::unsteady::{Failing, Unsteady};
use crate::tests::world::{World, name};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime"));

/// The number of keys: each value of the first key column with each of the second.
const KEYS: usize = 10;

/// Five keys of one type, including null.
fn column() -> impl Strategy<Value = ArrayRef> {
    let decimals = Decimal128Array::from(vec![None, Some(-10_000), Some(0), Some(1), Some(15_000)]);
    let nan = Float64Array::from(vec![None, Some(f64::NAN), Some(-0.0), Some(1.5), Some(f64::NEG_INFINITY)]);
    let times = vec![None, Some(-1), Some(0), Some(1), Some(1_700_000_000_000_001)];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![None, Some(i64::MIN), Some(-1), Some(0), Some(64)])),
        Arc::new(StringArray::from(vec![None, Some(""), Some("a"), Some("a\u{0}"), Some("é")])),
        Arc::new(decimals.with_precision_and_scale(24, 4).expect("fits")),
        Arc::new(nan),
        Arc::new(Date32Array::from(vec![None, Some(-1), Some(0), Some(1), Some(20_000)])),
        Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")),
    ];
    prop::sample::select(columns)
}

/// All keys, as rows of the columns `k1` and `k2`.
fn pool(column: &ArrayRef) -> RecordBatch {
    let twice: Vec<u64> = (0..KEYS as u64).map(|key| key / 2).collect();
    let first = arrow::compute::take(column, &UInt64Array::from(twice), None).expect("five values");
    let second: BooleanArray = (0..KEYS).map(|key| Some(key.is_multiple_of(2))).collect();
    let fields =
        vec![Field::new("k1", first.data_type().clone(), true), Field::new("k2", DataType::Boolean, true)];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![first, Arc::new(second)]).expect("two columns")
}

/// One step of a test.
#[derive(Debug, Clone)]
enum Event {
    /// Adds these keys with these values, and deletes these keys.
    Edit {
        puts: BTreeMap<usize, i64>,
        drops: Vec<usize>,
    },
    Pin,
    Compact,
    Publish,
    /// Another publisher takes over.
    Dies,
}

fn event() -> impl Strategy<Value = Event> {
    let puts = prop::collection::btree_map(0..KEYS, any::<i64>(), 1..5);
    let edit = (puts, prop::collection::vec(0..KEYS, 0..3)).prop_map(|(puts, mut drops)| {
        drops.retain(|key| !puts.contains_key(key));
        drops.sort_unstable();
        drops.dedup();
        Event::Edit { puts, drops }
    });
    prop_oneof![
        6 => edit,
        1 => Just(Event::Pin),
        1 => Just(Event::Compact),
        3 => Just(Event::Publish),
        1 => Just(Event::Dies),
    ]
}

/// Keys and rows as a topic has them: Avro, framed.
struct Framed(Encoders);
impl Form for Framed {
    fn keys(&self, rows: &RecordBatch) -> Vec<Bytes> {
        self.0.keys(rows).expect("keys")
    }
    fn rows(&self, rows: &RecordBatch) -> Vec<Bytes> {
        self.0.values(rows).expect("values")
    }
}

fn framed(schema: &SchemaRef) -> Framed {
    let keys = ["k1".to_owned(), "k2".to_owned()];
    let avro = |id, keys: &[String]| {
        let json = avro::from_arrow("t", "gold", schema, keys).expect("a schema");
        Registered { id, json: json.into() }
    };
    Framed(Encoders::try_new(schema, &keys, &avro(1, &keys), &avro(2, &[])).expect("encoders"))
}

async fn lives(column: ArrayRef, events: Vec<Event>, kind: Kind, failing: Failing) {
    let pool = pool(&column);
    let mut fields: Vec<_> = pool.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("v", DataType::Int64, true)));
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let of = |keys: &[usize]| {
        let keys: UInt64Array = keys.iter().map(|key| Some(*key as u64)).collect();
        take_record_batch(&pool, &keys).expect("keys of the pool")
    };
    let mut world = World::of(Arc::clone(&schema)).await;
    let sink = Unsteady::new(Memory::of(kind, Arc::new(framed(&schema))), failing);
    let publisher = || Publisher::new(name("gold.t"), sink.clone(), 3);
    let mut running = publisher();
    for event in events.into_iter().chain([Event::Publish]) {
        match event {
            Event::Edit { puts, drops } => {
                let keys: Vec<usize> = puts.keys().copied().collect();
                let mut columns = of(&keys).columns().to_vec();
                columns.push(Arc::new(puts.values().copied().collect::<Int64Array>()));
                let rows = RecordBatch::try_new(Arc::clone(&schema), columns).expect("three columns");
                world.write(rows, of(&[keys, drops].concat())).await;
            }
            Event::Pin => world.pin().await,
            Event::Compact => {
                world.table().await.compact(&lake::Compaction::default()).await.expect("compacted");
            }
            Event::Dies => running = publisher(),
            Event::Publish => {
                let table = world.table().await;
                while let Err(error) = running.step(&table).await {
                    assert_ne!(error.reaction(), model::Reaction::Halt, "{error}");
                }
                let wanted = sink.sink.wanted(&table).await;
                assert_eq!(sink.sink.rows(), wanted);
                assert_eq!(wanted.len() as u64, table.rows().unwrap_or_default(), "a key a row");
            }
        }
    }
}

proptest! {
    #![proptest_config(cases::few(32))]
    // Holds P3 (docs/invariants.md).
    // Holds P4 (docs/invariants.md).
    #[test]
    fn what_a_topic_folds_to_is_its_table_whatever_is_edited_and_fails(
        column in column(),
        events in prop::collection::vec(event(), 1..14),
        kind in prop::sample::select(vec![Kind::Hides, Kind::Shows]),
        failing in prop_oneof![Just(Failing::Never), (9..20usize).prop_map(Failing::Each)],
    ) {
        RUNTIME.block_on(lives(column, events, kind, failing));
    }
}
