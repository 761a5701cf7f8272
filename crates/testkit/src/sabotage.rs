//! Breaks a finished lake as a foreign hand would: through valid commits, or by editing the log.
//!
//! | kind | what is done |
//! | --- | --- |
//! | `delete-row` | one row is removed by a commit of no stage |
//! | `double-row` | one row is appended a second time |
//! | `change-value` | one row gets another value in a column that is no key |
//! | `drop-commit` | a commit is taken out of the log and the later ones move down |
//! | `lower-pin` | a position is set back without its rows |

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use arrow::array::{Array as _, ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int64Type, Schema};
use lake::{Commit, Expect, Keys, Lake, LakeSettings, Landing, Remove, Table};
use model::{AppId, Positions, TableName};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use runtime::RandomIds;
use serde_json::{Value, json};

/// Breaks `table` of the lake at `root` in the way `kind` names.
pub fn run(root: &Path, kind: &str, table: &str) -> Result<()> {
    let name: TableName = table.parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let lake = Lake::connect(LakeSettings::local(root)?, Arc::new(RandomIds)).await?;
        let mut table = lake.table(&name).await?.with_context(|| format!("no table `{name}`"))?;
        match kind {
            "delete-row" if name.schema() == "bronze" => rewrite(root, &table, |_| Ok(None)),
            "change-value" if name.schema() == "bronze" => rewrite(root, &table, |row| change(row).map(Some)),
            "delete-row" => replace_one(&mut table, |_| Ok(None)).await,
            "double-row" => double(&mut table).await,
            "change-value" => replace_one(&mut table, |row| change(row).map(Some)).await,
            "drop-commit" => drop_commit(root, &table),
            "lower-pin" => lower_pin(root, &table),
            other => bail!("no sabotage `{other}`"),
        }
    })
}

/// Columns that tell one row from another, by layer.
fn key_columns(table: &Table) -> Vec<String> {
    if table.name().schema() == "bronze" {
        return vec!["_partition".to_owned(), "_offset".to_owned()];
    }
    vec![table.schema().field(0).name().clone()]
}

async fn one_row(table: &Table) -> Result<RecordBatch> {
    let batches = table.scan(None).await?;
    let batch = batches.iter().find(|batch| batch.num_rows() > 0).context("the table is empty")?;
    Ok(batch.slice(batch.num_rows() / 2, 1))
}

async fn replace_one(
    table: &mut Table,
    other: impl Fn(&RecordBatch) -> Result<Option<RecordBatch>>,
) -> Result<()> {
    let row = one_row(table).await?;
    let columns = key_columns(table);
    let at: Vec<usize> =
        columns.iter().map(|column| row.schema().index_of(column)).collect::<Result<_, _>>()?;
    let rows = row.project(&at)?;
    let append = match other(&row)? {
        Some(row) => table.stage(vec![row]).await?,
        None => Vec::new(),
    };
    land(table, append, Remove::Keys(Keys { columns, rows })).await
}

async fn double(table: &mut Table) -> Result<()> {
    let row = one_row(table).await?;
    let append = table.stage(vec![row]).await?;
    land(table, append, Remove::Nothing).await
}

/// Puts another file in the place of the last one that was added, by an entry of the log that says so.
/// No commit of ours takes rows out of a table that is only appended to.
fn rewrite(
    root: &Path,
    table: &Table,
    other: impl Fn(&RecordBatch) -> Result<Option<RecordBatch>>,
) -> Result<()> {
    let folder = root.join(table.name().path());
    let entry = |version: u64| folder.join("_delta_log").join(format!("{version:020}.json"));
    let last = table.version().0;
    let mut add = None;
    for version in (1..=last).rev() {
        let text = std::fs::read_to_string(entry(version))?;
        let lines = text.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
        add = lines.into_iter().find_map(|mut line| line.get_mut("add").map(Value::take));
        if add.is_some() {
            break;
        }
    }
    let mut add = add.context("no file was ever added")?;
    let path = add["path"].as_str().context("an add names its file")?.to_owned();
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(folder.join(&path))?)?;
    let schema = reader.schema().clone();
    let rows = arrow::compute::concat_batches(&schema, &reader.build()?.collect::<Result<Vec<_>, _>>()?)?;
    let at = rows.num_rows() / 2;
    let mut parts = vec![rows.slice(0, at), rows.slice(at + 1, rows.num_rows() - at - 1)];
    parts.extend(other(&rows.slice(at, 1))?);
    let new = format!("{}-sabotaged.parquet", path.trim_end_matches(".parquet"));
    let mut writer = ArrowWriter::try_new(File::create(folder.join(&new))?, rows.schema(), None)?;
    for part in &parts {
        writer.write(part)?;
    }
    writer.close()?;
    let remove = json!({"remove": {"path": path, "dataChange": true, "deletionTimestamp": 0,
        "extendedFileMetadata": true, "partitionValues": add["partitionValues"], "size": add["size"]}});
    add["path"] = new.as_str().into();
    add["size"] = std::fs::metadata(folder.join(&new))?.len().into();
    let rows: usize = parts.iter().map(RecordBatch::num_rows).sum();
    add["stats"] = json!({ "numRecords": rows }).to_string().into();
    let info = json!({"commitInfo": {"timestamp": 0, "operation": "WRITE"}});
    std::fs::write(entry(last + 1), format!("{info}\n{remove}\n{}\n", json!({ "add": add })))?;
    Ok(())
}

/// The row with another value in its first column of text or whole numbers that is no key.
fn change(row: &RecordBatch) -> Result<RecordBatch> {
    let schema = row.schema();
    let is_key = |name: &str| matches!(name, "_partition" | "_offset" | "_topic_id");
    for (at, field) in schema.fields().iter().enumerate().skip(1) {
        let column = row.column(at);
        if is_key(field.name()) || column.is_null(0) {
            continue;
        }
        let other: ArrayRef = match field.data_type() {
            DataType::Utf8 => {
                Arc::new(StringArray::from(vec![format!("{}!", column.as_string::<i32>().value(0))]))
            }
            DataType::Int64 => {
                Arc::new(Int64Array::from(vec![column.as_primitive::<Int64Type>().value(0) + 1]))
            }
            _ => continue,
        };
        let mut columns = row.columns().to_vec();
        columns[at] = other;
        return Ok(RecordBatch::try_new(Arc::new(Schema::new(schema.fields().clone())), columns)?);
    }
    bail!("no column to change")
}

/// No commit of ours sets a position back: the entry is written by hand.
fn lower_pin(root: &Path, table: &Table) -> Result<()> {
    let own = [AppId::plan(), AppId::as_of(), AppId::compaction()];
    let mut lines = vec![json!({"commitInfo": {"timestamp": 0, "operation": "WRITE"}}).to_string()];
    for (app, position) in table.positions().0.iter().filter(|(app, _)| !own.contains(app)) {
        ensure!(*position > 1, "position `{app}` is too low to lower");
        lines.push(json!({"txn": {"appId": app.as_str(), "version": 1}}).to_string());
    }
    let entry = format!("_delta_log/{:020}.json", table.version().0 + 1);
    std::fs::write(root.join(table.name().path()).join(entry), lines.join("\n") + "\n")?;
    Ok(())
}

async fn land(table: &mut Table, append: Vec<lake::StagedFile>, remove: Remove) -> Result<()> {
    let commit = Commit {
        operation: "WRITE",
        op: ulid(),
        expect: Expect::These(BTreeMap::new()),
        set: Positions::default(),
        append,
        remove,
        schema: None,
        properties: BTreeMap::new(),
        info: serde_json::Map::new(),
    };
    match table.commit(&commit).await? {
        Landing::Landed(_) => Ok(()),
        Landing::Moved => bail!("another writer moved the table"),
    }
}

fn ulid() -> String {
    use runtime::Ids as _;
    RandomIds.ulid()
}

/// Takes a commit that added rows out of the middle of the log.
fn drop_commit(root: &Path, table: &Table) -> Result<()> {
    let log = root.join(table.name().path()).join("_delta_log");
    let entry = |version: u64| log.join(format!("{version:020}.json"));
    let last = table.version().0;
    let adds =
        |version: &u64| std::fs::read_to_string(entry(*version)).is_ok_and(|text| text.contains("\"add\""));
    let victim = (1..last).find(adds).context("no commit to drop")?;
    for file in std::fs::read_dir(&log)?.flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        if name.contains("checkpoint") {
            std::fs::remove_file(file.path())?;
        }
    }
    for version in victim..last {
        std::fs::rename(entry(version + 1), entry(version))?;
    }
    Ok(())
}
