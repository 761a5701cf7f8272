//! Replacing 1,000 keys in a table of a million rows a file, on the local disk, in this process.
//!
//! A round stages the new rows and commits them with the keys they replace; both are timed, making the
//! rows is not. The keys lie all over the table, so that no file's bounds exclude it: what a round costs
//! beyond a fixed part is finding the old rows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use arrow::array::{ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use lake::{Commit, Expect, Keys, Lake, LakeSettings, Landing, Remove, StagedFile, Table, TableSpec};
use model::{AppId, Positions, TableId};
use runtime::{Ids as _, RandomIds};

use crate::process::Threads;
use crate::report::{Grid, grouped, median};

const KEYS: usize = 1_000;
const ROUNDS: i64 = 7;
const ROWS_A_FILE: i64 = 1_000_000;

/// What a round cost, in the middle of all rounds.
pub struct Upsert {
    rows: i64,
    wall: Duration,
    cpu: Duration,
    spread: (Duration, Duration),
}

/// Fills a table with `rows` rows and replaces keys in it.
pub async fn measure(rows: i64) -> Result<Upsert> {
    eprintln!("upsert into {rows} rows …");
    let dir = tempfile::Builder::new().prefix("lakepulse-bench-").tempdir()?;
    let lake = Lake::connect(LakeSettings::local(dir.path())?, Arc::new(RandomIds)).await?;
    let spec = TableSpec::new("bench".parse()?, batch(&[], 0)?.schema());
    let mut table = lake.create(&"silver.customers".parse()?, spec).await?;
    let files = (rows / ROWS_A_FILE).max(1);
    let mut staged = Vec::new();
    for file in 0..files {
        let ids: Vec<i64> = (file..rows).step_by(usize::try_from(files)?).collect();
        staged.extend(table.stage(vec![batch(&ids, 0)?]).await?);
    }
    land(&mut table, staged, Remove::Nothing, 0).await?;
    let (mut walls, mut cpus) = (Vec::new(), Vec::new());
    let (mut random, mut touched) = (Random(0x9e37_79b9_7f4a_7c15), BTreeSet::<i64>::new());
    for round in 1..=ROUNDS {
        let mut ids = BTreeSet::new();
        while ids.len() < KEYS {
            ids.insert(random.below(rows));
        }
        touched.extend(&ids);
        let ids: Vec<i64> = ids.into_iter().collect();
        let came = batch(&ids, round)?;
        let keys = Keys { columns: vec!["id".to_owned()], rows: came.project(&[0])? };
        let (before, started) = (Threads::now().await?, Instant::now());
        let staged = table.stage(vec![came]).await?;
        land(&mut table, staged, Remove::Keys(keys), round).await?;
        walls.push(started.elapsed());
        cpus.push(Threads::now().await?.since(&before));
    }
    check(&table, rows, touched.len()).await?;
    lake.settle().await;
    let spread =
        (walls.iter().min().copied().unwrap_or_default(), walls.iter().max().copied().unwrap_or_default());
    Ok(Upsert { rows, wall: median(&walls), cpu: median(&cpus), spread })
}

/// Commits the way silver does: a compare-and-set of all positions.
async fn land(table: &mut Table, append: Vec<StagedFile>, remove: Remove, position: i64) -> Result<()> {
    let source: TableId = "bench-source".parse()?;
    let commit = Commit {
        operation: "MERGE",
        op: RandomIds.ulid(),
        expect: Expect::All(table.positions().clone()),
        set: Positions::default().with(AppId::table(&source), position),
        append,
        remove,
        schema: None,
        properties: Default::default(),
        info: Default::default(),
    };
    match table.commit(&commit).await? {
        Landing::Landed(_) => Ok(()),
        Landing::Moved => bail!("someone else writes to the benchmark's table"),
    }
}

/// As many rows as before, and of each touched key the new one.
async fn check(table: &Table, rows: i64, touched: usize) -> Result<()> {
    let (mut all, mut new) = (0, 0);
    for batch in table.scan(Some(&["seq".to_owned()])).await? {
        let rounds = batch.column(0).as_primitive::<Int64Type>();
        all += rounds.len();
        new += rounds.values().iter().filter(|round| **round > 0).count();
    }
    ensure!(all == usize::try_from(rows)?, "{all} rows after upserts that replace: there were {rows}");
    ensure!(new == touched, "{new} rows are new, but {touched} keys were replaced");
    Ok(())
}

fn batch(ids: &[i64], round: i64) -> Result<RecordBatch> {
    let names = ids.iter().map(|id| format!("customer number {}", id.wrapping_mul(7_919) % 1_000_003));
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new(Int64Array::from(ids.to_vec()))),
        ("name", Arc::new(StringArray::from_iter_values(names))),
        ("amount", Arc::new(Int64Array::from_iter_values(ids.iter().map(|id| id + round)))),
        ("seq", Arc::new(Int64Array::from(vec![round; ids.len()]))),
    ];
    let columns = columns.map(|(name, column)| (name, column, true));
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

/// The same keys in every run (xorshift).
struct Random(u64);
impl Random {
    fn below(&mut self, end: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.unsigned_abs()).cast_signed()
    }
}

/// Prints what upserts of several tables cost, and by how much more the larger ones do.
pub fn print(costs: &[Upsert]) {
    let mut grid = Grid::new(&["into", "wall ms", "fastest", "slowest", "CPU ms", "CPU, times the first"]);
    let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
    let first = costs.first().map_or(1e-9, |cost| cost.cpu.as_secs_f64().max(1e-9));
    for cost in costs {
        grid.row([
            format!("{} rows", grouped(cost.rows.unsigned_abs())),
            ms(cost.wall),
            ms(cost.spread.0),
            ms(cost.spread.1),
            ms(cost.cpu),
            format!("{:.2}", cost.cpu.as_secs_f64() / first),
        ]);
    }
    grid.print(&format!(
        "Upsert of {} keys by deletion vectors and append: median of {ROUNDS} rounds",
        grouped(KEYS as u64)
    ));
}
