//! Two folds without common code, the stage's and this one, agree on random histories.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::json::ReaderBuilder;
use catalog::{Kind, Project};
use lake::{Commit, Expect, Lake, LakeSettings, Remove, Table, TableSpec};
use model::{Positions, TableName};
use runtime::{Ids as _, RandomIds};
use serde_json::{Value, json};

use super::*;
use crate::verify::compare;

/// Pseudorandom numbers from a seed.
struct Dice(u64);
impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.roll(of.len() as u64)).expect("small")]
    }
}

const ROW: &str = r#"{"type":"record","name":"Row","fields":[{"name":"id","type":["null","long"],"default":null},
    {"name":"name","type":["null","string"],"default":null},{"name":"notes","type":["null","string"],"default":null},
    {"name":"rate","type":["null","double"],"default":null}]}"#;

fn project(dir: &Path) {
    let write = |path: &str, text: &str| {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().expect("below")).expect("created");
        std::fs::write(path, text).expect("written");
    };
    write("lakepulse.yaml", "version: 1\nname: twice\n");
    write(
        "topics.yaml",
        "version: 1\ntopics:\n  shop.things: { schema: schemas/things.avsc, envelope: debezium, key: [id], \
         partitions: 2 }\n  \
         shop.plain: { schema: schemas/plain.avsc, key: [id], partitions: 2 }\n",
    );
    write(
        "schemas/plain.avsc",
        r#"{"type":"record","name":"Plain","fields":[{"name":"id","type":"long"},
            {"name":"name","type":["null","string"],"default":null},{"name":"count","type":["null","long"],"default":null},
            {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-micros"}],"default":null}]}"#,
    );
    write(
        "schemas/things.avsc",
        &format!(
            r#"{{"type":"record","name":"Envelope","fields":[{{"name":"before","type":["null",{ROW}],"default":null}},
            {{"name":"after","type":["null","Row"],"default":null}},{{"name":"source","type":{{"type":"record","name":"Source",
            "fields":[{{"name":"ts_ms","type":"long"}},{{"name":"snapshot","type":["null","string"],"default":null}},
            {{"name":"lsn","type":["null","long"],"default":null}}]}}}},{{"name":"op","type":"string"}},
            {{"name":"ts_ms","type":["null","long"],"default":null}},{{"name":"transaction","type":["null",{{"type":"record",
            "name":"Tx","fields":[{{"name":"id","type":"string"}},{{"name":"total_order","type":"long"}}]}}],"default":null}}]}}"#
        ),
    );
    let rules = "expect:\n  not_bad: { valid: \"name <> 'BAD'\", else: quarantine }\n  \
                 kept: { valid: \"name <> 'DROPPED'\", else: drop }";
    let sql = "SELECT id, upper(name) AS name, notes, rate FROM changes(bronze.things)";
    let plain = "SELECT id, upper(name) AS name, count FROM changes(bronze.plain)";
    let inverse = "SELECT id, name, notes, 100 / CAST(nullif(name, 'zero') AS BIGINT) AS part \
                   FROM changes(bronze.things) WHERE notes <> 'n'";
    for (name, header, sql) in [
        ("current", "kind: scd1\nkeys: [id]", format!("{sql} WHERE name <> 'hidden'")),
        ("by_notes", "kind: scd1\nkeys: [id]", format!("{sql} WHERE notes <> 'n'")),
        (
            "versions",
            "kind: scd2\nkeys: [id]\ntrack_history: [name]",
            format!("{sql} WHERE name <> 'hidden'"),
        ),
        ("all_versions", "kind: scd2\nkeys: [id]", sql.to_owned()),
        ("failing", "kind: scd1\nkeys: [id]", inverse.to_owned()),
        ("events", "kind: append", format!("{sql} WHERE notes IS DISTINCT FROM 'n'")),
        ("keyed_events", "kind: append\nkeys: [id]", sql.to_owned()),
        ("plain_current", "kind: scd1\nkeys: [id]\nsequence_by: count", plain.to_owned()),
        ("plain_versions", "kind: scd2\nkeys: [id]\nsequence_by: at", plain.to_owned()),
        (
            "plain_counted",
            "kind: scd2\nkeys: [id]\nsequence_by: count\ntrack_history: [name]\ndeletes_when: \"name = 'b'\"",
            format!("{plain} WHERE name <> 'hidden'"),
        ),
        (
            "plain_undecided",
            "kind: scd1\nkeys: [id]\nsequence_by: count\ndeletes_when: \"12 / count > 5\"",
            plain.to_owned(),
        ),
        ("plain_events", "kind: append", plain.to_owned()),
    ] {
        let rules = if name == "failing" { "" } else { rules };
        write(&format!("models/silver/{name}.sql"), &format!("/* lakepulse\n{header}\n{rules}\n*/\n{sql}\n"));
    }
}

/// A random history of a source, as bronze stores it. It need not make sense: both folds must still agree on
/// it.
fn history(dice: &mut Dice, length: u64) -> Vec<Value> {
    const UNCHANGED: &str = "__debezium_unavailable_value";
    let mut rows: Vec<Value> = Vec::new();
    let (mut lsn, mut offsets) = (100_i64, [0_i64, 0]);
    // Our own sources send a header; changes of others are ordered by their offsets.
    let own = dice.roll(2) == 0;
    let mut push = |rows: &mut Vec<Value>, key: u64, mut row: Value, place: (Value, Value, Value)| {
        let partition = usize::try_from(key % 2).expect("small");
        let offset = offsets[partition];
        offsets[partition] += 1;
        let (epoch, lsn, order) = place;
        let into = row.as_object_mut().expect("an object");
        into.insert("_topic_id".to_owned(), "t".into());
        into.insert("_partition".to_owned(), partition.into());
        into.insert("_offset".to_owned(), offset.into());
        into.insert("_epoch".to_owned(), epoch);
        if let Some(source) = into.get_mut("source").and_then(Value::as_object_mut) {
            source.insert("lsn".to_owned(), lsn);
        }
        if own && into.contains_key("op") {
            let headers = into.entry("_headers").or_insert_with(|| json!([]));
            headers.as_array_mut().expect("a list").push(json!({ "key": "lp.epoch", "value": "31" }));
        }
        if into.contains_key("op") {
            into.insert("_schema_id".to_owned(), 1.into());
            into.insert("transaction".to_owned(), json!({ "id": "1", "total_order": order }));
            if order.is_null() {
                into.insert("transaction".to_owned(), Value::Null);
            }
        }
        rows.push(row);
    };
    for _ in 0..length {
        lsn += 10;
        // Some come late.
        let at = if dice.roll(6) == 0 { lsn - i64::try_from(dice.roll(60)).expect("small") - 5 } else { lsn };
        let key = dice.roll(4);
        let name = *dice.pick(&["a", "b", "hidden", "bad", "dropped", "zero", "7"]);
        let notes: Value = match dice.roll(8) {
            0..=2 => UNCHANGED.into(),
            3 => Value::Null,
            4 => "n".into(),
            5 => "".into(),
            _ => "x".into(),
        };
        let rate: Value = match dice.roll(4) {
            0 => Value::Null,
            1 => json!(0.1),
            2 => json!(-0.0),
            _ => json!(0.3),
        };
        let source = |snapshot: &str| json!({ "ts_ms": at, "snapshot": snapshot });
        let image = json!({ "id": key, "name": name, "notes": notes, "rate": rate });
        let order = if dice.roll(5) == 0 { Value::Null } else { json!(1) };
        let place = (json!(1), json!(at), order);
        let what = dice.roll(24);
        match what {
            0..=10 => {
                let op = *dice.pick(&["c", "u", "u"]);
                push(
                    &mut rows,
                    key,
                    json!({ "after": image, "op": op, "_keys": { "id": key }, "source": source("false") }),
                    place,
                );
            }
            11..=13 => {
                let made_up = (dice.roll(2) == 0).then(|| json!({ "id": key, "name": "", "notes": null }));
                push(
                    &mut rows,
                    key,
                    json!({ "before": made_up, "op": "d", "_keys": { "id": key }, "source": source("false") }),
                    place,
                );
                push(&mut rows, key, json!({ "_keys": { "id": key } }), (json!(1), Value::Null, Value::Null));
            }
            14 | 15 => {
                let new = (key + 1) % 4;
                let old_key = json!({ "id": key }).to_string();
                let hex: String = old_key.bytes().map(|b| format!("{b:02x}")).collect();
                push(
                    &mut rows,
                    key,
                    json!({ "op": "d", "_keys": { "id": key }, "source": source("false") }),
                    place,
                );
                let mut image = image;
                image["id"] = new.into();
                push(
                    &mut rows,
                    new,
                    json!({ "after": image, "op": "c", "_keys": { "id": new }, "source": source("false"),
                            "_headers": [{ "key": "__debezium.oldkey", "value": hex }] }),
                    (json!(1), json!(at), json!(2)),
                );
            }
            16 => push(&mut rows, 0, json!({ "op": "t", "source": source("false") }), place),
            17 => push(
                &mut rows,
                key,
                json!({ "_error": "wrong_magic_byte: no", "_raw": "00" }),
                (json!(1), Value::Null, Value::Null),
            ),
            18 | 19 if !rows.is_empty() => {
                let mut again = dice.pick(&rows).clone();
                let partition = again["_partition"].as_u64().unwrap_or_default();
                // A repeat: the same event at another offset.
                let lsn = again.pointer("/source/lsn").cloned().unwrap_or(Value::Null);
                let order = again.pointer("/transaction/total_order").cloned().unwrap_or(Value::Null);
                again.as_object_mut().expect("an object").remove("_schema_id");
                push(&mut rows, partition, again, (json!(1), lsn, order));
            }
            20 if !rows.is_empty() => {
                // A redrive of a record, at its own coordinates.
                let mut again = dice.pick(&rows).clone();
                again["_redrive"] = format!("01J{:023}", rows.len()).into();
                if again.pointer("/after/name").is_some() {
                    again["after"]["name"] = "repaired".into();
                }
                rows.push(again);
            }
            21 => push(
                &mut rows,
                key,
                json!({ "after": { "id": null, "name": name }, "op": "c", "source": source("false") }),
                place,
            ),
            _ => push(
                &mut rows,
                key,
                json!({ "after": image, "op": "m", "_keys": { "id": key }, "source": source("false") }),
                place,
            ),
        }
    }
    rows
}

/// Records without an envelope that a column orders: some late, some without an order, some null.
fn plain(dice: &mut Dice, length: u64) -> Vec<Value> {
    let mut rows: Vec<Value> = Vec::new();
    let mut offsets = [0_i64, 0];
    for _ in 0..length {
        let key = dice.roll(3);
        let partition = usize::try_from(key % 2).expect("small");
        let mut row = json!({ "_keys": { "id": key }, "_topic_id": "p", "_partition": partition,
            "_offset": offsets[partition], "_epoch": (dice.roll(9) > 0).then_some(1),
            "_timestamp": format!("2024-05-01T00:00:{:02}Z", dice.roll(60)) });
        match dice.roll(12) {
            0..=2 => {}
            3 if !rows.is_empty() => {
                // A redrive of a record, at its own coordinates.
                let mut again = dice.pick(&rows).clone();
                again["_redrive"] = format!("01J{:023}", rows.len()).into();
                if again.get("name").is_some() {
                    again["name"] = "repaired".into();
                }
                rows.push(again);
                continue;
            }
            _ => {
                let own = json!({ "id": key, "_schema_id": 1,
                    "name": dice.pick(&["a", "b", "bad", "dropped", "hidden"]),
                    "count": (dice.roll(9) > 0).then_some(i64::try_from(dice.roll(9)).expect("small") - 3),
                    "at": (dice.roll(9) > 0).then(|| format!("2024-05-01T00:00:{:02}Z", dice.roll(20))) });
                row.as_object_mut().expect("one").extend(own.as_object().expect("one").clone());
            }
        }
        offsets[partition] += 1;
        rows.push(row);
    }
    rows
}

async fn bronze(lake: &Lake, project: &Project, name: &str, rows: &[Value]) -> Table {
    let name: TableName = name.parse().expect("a name");
    let topic = project.catalog.topic_of(&name).expect("declared");
    let schema = catalog::columns::bronze_schema_of(topic).expect("columns").expect("known");
    let mut table =
        lake.create(&name, TableSpec::new(project.name.clone(), Arc::clone(&schema))).await.expect("created");
    for part in rows.chunks(7) {
        let mut decoder = ReaderBuilder::new(Arc::clone(&schema))
            .with_batch_size(part.len())
            .build_decoder()
            .expect("a decoder");
        decoder.serialize(part).expect("rows");
        let batch: RecordBatch = decoder.flush().expect("rows").expect("some");
        let append = table.stage(vec![batch]).await.expect("staged");
        let commit = Commit {
            operation: "WRITE",
            op: RandomIds.ulid(),
            expect: Expect::All(table.positions().clone()),
            set: Positions::default(),
            append,
            remove: Remove::Nothing,
            schema: None,
            properties: BTreeMap::new(),
            info: serde_json::Map::default(),
        };
        table.commit(&commit).await.expect("landed");
    }
    table
}

/// Folds one history with both, in one part and in several.
async fn agree(seed: u64, length: u64) {
    let dir = std::env::temp_dir().join(format!("lakepulse-twice-{seed}-{}", RandomIds.ulid()));
    project(&dir);
    let project = catalog::load(&dir, "embedded").await.expect("a project");
    let lake = LakeSettings::local(&dir.join("lake")).expect("a folder");
    let lake = Lake::connect(lake, Arc::new(RandomIds)).await.expect("a lake");
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let rows = history(&mut dice, length);
    let things = bronze(&lake, &project, "bronze.things", &rows).await;
    let unwrapped = plain(&mut dice, length);
    let plain = bronze(&lake, &project, "bronze.plain", &unwrapped).await;
    for model in project.catalog.models.values() {
        let of_plain = model.source.as_ref() == Some(plain.name());
        let (table, rows) = if of_plain { (&plain, &unwrapped) } else { (&things, &rows) };
        let expected = silver::recompute(&project.catalog, model, &lake, table.version()).await;
        let expected = expected.unwrap_or_else(|error| panic!("seed {seed} {}: {error:?}", model.name));
        let keys: Vec<String> = match model.kind {
            Kind::Scd2 => model.keys.iter().cloned().chain(["__START_AT".to_owned()]).collect(),
            Kind::Append => ["_topic_id", "_partition", "_offset"].map(str::to_owned).to_vec(),
            _ => model.keys.clone(),
        };
        let topic = project.catalog.topic_of(table.name()).expect("declared");
        for parts in [1, 3] {
            let refold = Refold::in_parts(model, topic, table.clone(), parts).await.expect("it opens");
            let (mut found, mut outcomes, mut aside) = (Vec::new(), stage::Outcomes::default(), 0);
            for part in 0..parts {
                let (folded, put_aside) = refold.fold(part).await.expect("it folds");
                outcomes += folded.outcomes;
                aside += put_aside.len();
                let own = refold.of_part(&folded.rows, part).expect("parts");
                let what = format!("seed {seed} {} part {part} of {parts}: a row is in its part", model.name);
                assert_eq!(own.num_rows(), folded.rows.num_rows(), "{what}");
                found.push(folded.rows);
            }
            let schema = fold::columns(model.kind, &model.schema);
            let difference = compare::compare(&schema, &keys, &found, &expected.rows).expect("comparable");
            let what = format!("seed {seed} {} in {parts} parts", model.name);
            assert!(difference.is_empty(), "{what}: {difference:#?}\n{rows:#?}");
            let put_aside: usize = expected.quarantine.iter().map(RecordBatch::num_rows).sum();
            assert_eq!(aside, put_aside, "{what}: rows put aside");
            let theirs = json!(expected.outcomes);
            let ours = json!({ "applied": outcomes.applied, "superseded": outcomes.superseded,
                "repeat": outcomes.repeat, "filtered": outcomes.filtered, "quarantined": outcomes.quarantined,
                "dropped": outcomes.dropped, "tombstone": outcomes.tombstone, "error": outcomes.error });
            assert_eq!(ours, theirs, "{what}: outcomes of\n{rows:#?}");
        }
    }
    std::fs::remove_dir_all(&dir).expect("removed");
}

/// `LAKEPULSE_FOLDS`: how many histories. `LAKEPULSE_SEED`: the first seed.
// Holds P6 (docs/invariants.md).
#[tokio::test]
async fn two_folds_without_common_code_agree() {
    let number =
        |name: &str, usual: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (first, count) = (number("LAKEPULSE_SEED", 1), number("LAKEPULSE_FOLDS", 12));
    for seed in first..first + count {
        agree(seed, 4 + seed % 40).await;
    }
}
