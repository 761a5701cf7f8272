//! Random tables and queries: the result with the optimiser's rules equals the result without them, and a
//! result updated by affected keys equals one computed in full.
//!
//! `DIFFERENTIAL_CASES` is the number of cases, `DIFFERENTIAL_SEED` the first seed, and `DIFFERENTIAL_OUT` a
//! file for the cases with their answers, one JSON object per line. `crates/query/differential.py` compares
//! them with DuckDB and PostgreSQL.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use model::{ClockMs, TableName};

use crate::affected::{Affected, Input, InputChange, Inputs, Maintenance};
use crate::plan::Planner;
use crate::session::{register, session, unoptimised};
use crate::sql::parse;

mod generate;
mod values;
use generate::{Dice, Query};
use values::Table;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}

/// A value as text; different values have different texts.
fn shown(array: &ArrayRef, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Float64 => format!("{:?}", array.as_primitive::<Float64Type>().value(row)),
        _ => {
            let formatter =
                ArrayFormatter::try_new(array.as_ref(), &FormatOptions::default()).expect("shown");
            formatter.value(row).to_string()
        }
    })
}

type Row = Vec<Option<String>>;

fn rows(batches: &[RecordBatch]) -> Vec<Row> {
    let mut all = Vec::new();
    for batch in batches {
        all.extend(
            (0..batch.num_rows()).map(|row| batch.columns().iter().map(|c| shown(c, row)).collect::<Row>()),
        );
    }
    all.sort();
    all
}

fn name(table: usize) -> TableName {
    format!("silver.t{table}").parse().expect("a name")
}

fn provider(table: &Table) -> Arc<dyn TableProvider> {
    Arc::new(MemTable::try_new(table.schema(), vec![vec![table.batch()]]).expect("one batch"))
}

/// The rows of a query, or why there are none.
async fn ask(ctx: &SessionContext, tables: &[Table], sql: &str) -> Result<(Vec<String>, Vec<Row>), String> {
    for (at, table) in tables.iter().enumerate() {
        register(ctx, &name(at), provider(table)).expect("registered");
    }
    let prepared = crate::select::prepare(sql).map_err(|e| e.to_string())?;
    let given = crate::select::run(ctx, &prepared).await.map_err(|e| {
        let cause = std::error::Error::source(&e).map(ToString::to_string).unwrap_or_default();
        format!("{e}: {cause}")
    })?;
    let types = given.schema.fields().iter().map(|f| f.data_type().to_string()).collect();
    Ok((types, rows(&given.batches)))
}

fn write(
    out: &mut Option<std::fs::File>,
    seed: u64,
    tables: &[Table],
    sql: &str,
    answer: &Result<(Vec<String>, Vec<Row>), String>,
) {
    let Some(out) = out else { return };
    let tables: serde_json::Map<String, serde_json::Value> =
        tables.iter().enumerate().map(|(at, t)| (name(at).to_string(), t.to_json())).collect();
    let case = match answer {
        Ok((types, rows)) => {
            serde_json::json!({ "seed": seed, "tables": tables, "sql": sql, "types": types, "rows": rows })
        }
        Err(error) => serde_json::json!({ "seed": seed, "tables": tables, "sql": sql, "error": error }),
    };
    writeln!(out, "{case}").expect("written");
}

/// Errors that depend on which rows an operator sees: in every engine, a rule that drops rows earlier may
/// avoid them. Also errors that the engine calls its own bug, such as a plan of two equal groups that no rule
/// has merged.
fn depends_on_rows(error: &str) -> bool {
    [
        "bug in DataFusion",
        "too small",
        "verflow",
        "Divide by zero",
        "Cast error",
        "does not fit",
        "out of range",
        "beyond",
        "too large",
        "Cannot cast",
        "Can't cast",
    ]
    .iter()
    .any(|known| error.contains(known))
}

#[test]
fn the_optimisers_rules_change_no_answer() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let mut out =
        std::env::var_os("DIFFERENTIAL_OUT").map(|path| std::fs::File::create(path).expect("a file"));
    let (first, cases) = (number("DIFFERENTIAL_SEED", 1), number("DIFFERENTIAL_CASES", 60));
    let (mut answered, mut differing) = (0, Vec::new());
    for seed in first..first + cases {
        let mut dice = Dice::new(seed);
        let tables: Vec<Table> = (0..3).map(|_| Table::random(&mut dice)).collect();
        let sql = Query::random(&mut dice, &tables).sql;
        let optimised = runtime.block_on(ask(&session(), &tables, &sql));
        let plain = runtime.block_on(ask(&unoptimised(), &tables, &sql));
        write(&mut out, seed, &tables, &sql, &optimised);
        match (&optimised, &plain) {
            (Ok(a), Ok(b)) if a == b => answered += 1,
            (Err(_), Err(_)) => {}
            (Err(e), Ok(_)) | (Ok(_), Err(e)) if depends_on_rows(e) => {}
            _ => differing
                .push(format!("seed {seed}: {sql}\n  with the rules: {optimised:?}\n  without: {plain:?}")),
        }
    }
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
    assert!(
        answered * 2 > cases,
        "only {answered} of {cases} queries have an answer: the generator is of no use"
    );
}

// Holds P7 (docs/invariants.md).
#[test]
fn a_result_kept_by_keys_is_the_result_in_full() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let (first, cases) = (number("DIFFERENTIAL_SEED", 1), number("DIFFERENTIAL_CASES", 60));
    let (mut narrow, mut wrong) = (0, Vec::new());
    for seed in first..first + cases {
        let mut dice = Dice::new(seed ^ 0x5eed);
        let tables: Vec<Table> = (0..3).map(|_| Table::random(&mut dice)).collect();
        let query = Query::random_keyed(&mut dice, &tables);
        match runtime.block_on(keep(&mut dice, tables, &query)) {
            Ok(refreshed) => narrow += refreshed,
            Err(why) if depends_on_rows(&why) => {}
            Err(why) => wrong.push(format!("seed {seed}: {}\n  keys {:?}: {why}", query.sql, query.keys)),
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(narrow > cases / 4, "only {narrow} refreshes went by keys: the generator is of no use");
}

/// Three refreshes, each after changes of one or more tables. Returns how many used keys.
async fn keep(dice: &mut Dice, mut tables: Vec<Table>, query: &Query) -> Result<u64, String> {
    let planner = Planner::new(ClockMs(0));
    for (at, table) in tables.iter().enumerate() {
        planner.declare(&name(at), &table.schema(), &["id".to_owned()]).expect("declared");
    }
    let parsed = parse(&query.sql).map_err(|e| e.to_string())?;
    let planned = match planner.plan(&parsed) {
        Ok(planned) => planned,
        // A query that cannot be planned cannot be updated either.
        Err(_) => return Ok(0),
    };
    let Ok(maintenance) = Maintenance::try_new(&planned, &query.keys) else { return Ok(0) };
    let told = |e: crate::Error| {
        let cause = std::error::Error::source(&e).map(ToString::to_string).unwrap_or_default();
        format!("{e}: {cause}")
    };
    let inputs = |tables: &[Table]| -> Inputs {
        let all =
            tables.iter().enumerate().map(|(at, t)| (name(at), Input { now: provider(t), change: None }));
        all.filter(|(name, _)| maintenance.inputs().contains(name)).collect()
    };
    let mut held = maintenance.compute(&inputs(&tables), None).await.map_err(told)?;
    let mut narrow = 0;
    for _ in 0..3 {
        let old = tables.clone();
        let mut world = BTreeMap::new();
        for (at, table) in tables.iter_mut().enumerate() {
            if dice.one_in(3) {
                continue;
            }
            let (removed, added) = table.change(dice);
            world.insert(name(at), (old[at].clone(), removed, added));
        }
        let mut now = inputs(&tables);
        for (table, (old, removed, added)) in world {
            if let Some(input) = now.get_mut(&table) {
                input.change = Some(InputChange {
                    old: Some(provider(&old)),
                    added: vec![added],
                    removed: vec![removed],
                });
            }
        }
        let full = maintenance.compute(&now, None).await.map_err(told)?;
        if now.values().all(|input| input.change.is_none()) {
            held = full;
            continue;
        }
        match maintenance.affected(&now).await.map_err(told)? {
            Affected::All(_) => held = full,
            Affected::Keys(keys) => {
                narrow += 1;
                let fresh = maintenance.compute(&now, Some(&keys)).await.map_err(told)?;
                let touched: BTreeSet<Row> = rows(&[keys]).into_iter().collect();
                let mut kept: Vec<Row> = rows(&held)
                    .into_iter()
                    .filter(|row| !touched.contains(&key_of(row, &maintenance, &query.keys)))
                    .collect();
                kept.extend(rows(&fresh));
                kept.sort();
                if kept != rows(&full) {
                    return Err(format!(
                        "kept {kept:?}\n  in full {:?}\n  of keys {touched:?}\n{}",
                        rows(&full),
                        maintenance.explain()
                    ));
                }
                held = full;
            }
        }
    }
    Ok(narrow)
}

fn key_of(row: &Row, maintenance: &Maintenance, keys: &[String]) -> Row {
    keys.iter().map(|key| row[maintenance.schema().index_of(key).expect("a column")].clone()).collect()
}

/// A column of texts as an array of this type.
fn column(texts: Vec<Option<String>>, given: &DataType) -> ArrayRef {
    let texts: ArrayRef = Arc::new(texts.into_iter().collect::<arrow::array::StringArray>());
    cast(&texts, given).expect("every text is a value of its type")
}
