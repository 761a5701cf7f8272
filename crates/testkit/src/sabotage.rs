//! Damages a finished lake as an outsider would: through valid commits, or by editing the log.
//!
//! | kind | damage |
//! | --- | --- |
//! | `delete-row` | a commit of no stage removes one row |
//! | `double-row` | one row is appended a second time |
//! | `change-value` | one row gets another value in a column that is not a key |
//! | `drop-commit` | a commit is removed from the log, and later ones move down |
//! | `skip-record` | a record is removed from a bronze table and from its commit's info |
//! | `lower-pin` | a position is set back without its rows |

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use arrow::array::{Array as _, ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int64Type, Schema};
use lake::digest::{Sum, row_hashes};
use lake::{Commit, Expect, Keys, Lake, LakeSettings, Landing, Remove, Table};
use model::{AppId, Positions, TableName};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use runtime::RandomIds;
use serde_json::{Value, json};

/// Damages `table` of the lake at `root`, as `kind` says.
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
            "skip-record" => skip_record(root, &table).await,
            other => bail!("no sabotage `{other}`"),
        }
    })
}

/// Columns that identify a row, by layer.
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

/// Path of the log entry of a version.
pub(crate) fn entry(root: &Path, table: &Table, version: u64) -> PathBuf {
    root.join(table.name().path()).join(format!("_delta_log/{version:020}.json"))
}

/// The newest version that added a file, with the lines of its entry.
fn last_added(root: &Path, table: &Table) -> Result<(u64, Vec<Value>)> {
    for version in (1..=table.version().0).rev() {
        let text = std::fs::read_to_string(entry(root, table, version))?;
        let lines = text.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
        if lines.iter().any(|line| line.get("add").is_some()) {
            return Ok((version, lines));
        }
    }
    bail!("no file was ever added")
}

/// Rewrites the file of `add` without the row in its middle, or with a replacement, and makes `add` refer to
/// the new file. Returns the old row.
fn rewrite_file(
    folder: &Path,
    add: &mut Value,
    other: impl Fn(&RecordBatch) -> Result<Option<RecordBatch>>,
) -> Result<RecordBatch> {
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
    add["path"] = new.as_str().into();
    add["size"] = std::fs::metadata(folder.join(&new))?.len().into();
    let count: usize = parts.iter().map(RecordBatch::num_rows).sum();
    add["stats"] = json!({ "numRecords": count }).to_string().into();
    Ok(rows.slice(at, 1))
}

/// Replaces the file that was added last, by a correct log entry. No commit of ours removes rows from an
/// append-only table.
fn rewrite(
    root: &Path,
    table: &Table,
    other: impl Fn(&RecordBatch) -> Result<Option<RecordBatch>>,
) -> Result<()> {
    let (_, lines) = last_added(root, table)?;
    let old = lines.into_iter().find_map(|mut line| line.get_mut("add").map(Value::take));
    let old = old.context("the entry adds a file")?;
    let mut add = old.clone();
    rewrite_file(&root.join(table.name().path()), &mut add, other)?;
    let remove = json!({"remove": {"path": old["path"], "dataChange": true, "deletionTimestamp": 0,
        "extendedFileMetadata": true, "partitionValues": old["partitionValues"], "size": old["size"]}});
    let info = json!({"commitInfo": {"timestamp": 0, "operation": "WRITE"}});
    let lines = format!("{info}\n{remove}\n{}\n", json!({ "add": add }));
    std::fs::write(entry(root, table, table.version().0 + 1), lines)?;
    Ok(())
}

/// What a reader leaves that never received a record: no row, and no trace in the commit's info.
async fn skip_record(root: &Path, table: &Table) -> Result<()> {
    let (version, mut lines) = last_added(root, table)?;
    let add = lines.iter_mut().find_map(|line| line.get_mut("add")).context("the entry adds a file")?;
    let gone = rewrite_file(&root.join(table.name().path()), add, |_| Ok(None))?;
    let at = |row: &RecordBatch, name: &str| {
        Some(row.column_by_name(name)?.as_primitive_opt::<Int64Type>()?.value(0))
    };
    let (partition, offset) = (at(&gone, "_partition"), at(&gone, "_offset"));
    let columns: Vec<String> = table.schema().fields().iter().map(|field| field.name().clone()).collect();
    let mut hash = None;
    for batch in table.scan(None).await? {
        let hashes = row_hashes(&batch, &columns);
        for (row, found) in hashes.into_iter().enumerate() {
            let row = batch.slice(row, 1);
            if (at(&row, "_partition"), at(&row, "_offset")) == (partition, offset) {
                hash = Some(found);
            }
        }
    }
    let hash = hash.context("the row is in the table")?;
    let info =
        lines.iter_mut().find_map(|line| line.get_mut("commitInfo")).context("a commit has an info")?;
    let ranges = info["lakepulse"]["ranges"].as_array_mut().context("a bronze commit states ranges")?;
    let stated = ranges.iter_mut().find(|range| {
        let within = |from: i64, to: i64| offset.is_some_and(|offset| (from..to).contains(&offset));
        range["partition"].as_i64() == partition
            && within(range["from"].as_i64().unwrap_or(0), range["to"].as_i64().unwrap_or(0))
    });
    let stated = stated.context("a range holds the row")?;
    let mut sum: Sum = stated["digest"].as_str().context("a range has a digest")?.parse()?;
    sum.remove(&[hash]);
    stated["digest"] = sum.to_string().into();
    stated["rows"] = (stated["rows"].as_u64().context("a range counts its rows")? - 1).into();
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    std::fs::write(entry(root, table, version), lines.join("\n") + "\n")?;
    Ok(())
}

/// Replaces the selected row of a bronze table as if its own commit had contained the others: file, counts and
/// digest match.
pub async fn restate(
    root: &Path,
    table: &Table,
    pick: &dyn Fn(&RecordBatch) -> bool,
    other: impl Fn(&RecordBatch) -> Result<Vec<RecordBatch>>,
) -> Result<()> {
    let folder = root.join(table.name().path());
    for version in (1..=table.version().0).rev() {
        let text = std::fs::read_to_string(entry(root, table, version))?;
        let mut lines = text.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
        let Some(add) = lines.iter_mut().find_map(|line| line.get_mut("add")) else { continue };
        let path = add["path"].as_str().context("an add names its file")?.to_owned();
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(folder.join(&path))?)?;
        let schema = reader.schema().clone();
        let rows = arrow::compute::concat_batches(&schema, &reader.build()?.collect::<Result<Vec<_>, _>>()?)?;
        let Some(at) = (0..rows.num_rows()).find(|row| pick(&rows.slice(*row, 1))) else { continue };
        let gone = rows.slice(at, 1);
        let came = other(&gone)?;
        let mut parts = vec![rows.slice(0, at)];
        parts.extend(came.iter().cloned());
        parts.push(rows.slice(at + 1, rows.num_rows() - at - 1));
        let new = format!("{}-mutant.parquet", path.trim_end_matches(".parquet"));
        let mut writer = ArrowWriter::try_new(File::create(folder.join(&new))?, rows.schema(), None)?;
        parts.iter().try_for_each(|part| writer.write(part))?;
        writer.close()?;
        add["path"] = new.as_str().into();
        add["size"] = std::fs::metadata(folder.join(&new))?.len().into();
        let count: usize = parts.iter().map(RecordBatch::num_rows).sum();
        add["stats"] = json!({ "numRecords": count }).to_string().into();
        restate_range(table, &mut lines, &gone, &came).await?;
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        std::fs::write(entry(root, table, version), lines.join("\n") + "\n")?;
        return Ok(());
    }
    bail!("no row of `{}` is picked", table.name())
}

/// Adjusts the range in a commit's info: without the old row, with the new rows.
async fn restate_range(
    table: &Table,
    lines: &mut [Value],
    gone: &RecordBatch,
    came: &[RecordBatch],
) -> Result<()> {
    let at = |row: &RecordBatch, name: &str| {
        Some(row.column_by_name(name)?.as_primitive_opt::<Int64Type>()?.value(0))
    };
    let (partition, offset) = (at(gone, "_partition"), at(gone, "_offset"));
    let columns: Vec<String> = table.schema().fields().iter().map(|field| field.name().clone()).collect();
    let mut before = None;
    for batch in table.scan(None).await? {
        let hashes = row_hashes(&batch, &columns);
        for (row, hash) in hashes.into_iter().enumerate() {
            let row = batch.slice(row, 1);
            if (at(&row, "_partition"), at(&row, "_offset")) == (partition, offset) {
                before = Some((hash, row));
            }
        }
    }
    let (hash, stored) = before.context("the row is in the table")?;
    let info =
        lines.iter_mut().find_map(|line| line.get_mut("commitInfo")).context("a commit has an info")?;
    let ranges = info["lakepulse"]["ranges"].as_array_mut().context("a bronze commit states ranges")?;
    let stated = ranges.iter_mut().find(|range| {
        let within = |from: i64, to: i64| offset.is_some_and(|offset| (from..to).contains(&offset));
        range["partition"].as_i64() == partition
            && within(range["from"].as_i64().unwrap_or(0), range["to"].as_i64().unwrap_or(0))
    });
    let stated = stated.context("a range holds the row")?;
    let mut sum: Sum = stated["digest"].as_str().context("a range has a digest")?.parse()?;
    sum.remove(&[hash]);
    for row in came {
        // The columns that a file lacks, those of its partition, come from the old row.
        let column =
            |name: &String| row.column_by_name(name).or_else(|| stored.column_by_name(name)).cloned();
        let whole: Vec<ArrayRef> = columns.iter().filter_map(column).collect();
        let fields = table.schema().fields().iter().zip(&whole);
        let cast = fields.map(|(field, column)| arrow::compute::cast(column, field.data_type()));
        let whole = RecordBatch::try_new(table.schema().clone(), cast.collect::<Result<Vec<_>, _>>()?)?;
        sum.add(&row_hashes(&whole, &columns));
    }
    stated["digest"] = sum.to_string().into();
    let rows = stated["rows"].as_u64().context("a range counts its rows")?;
    stated["rows"] = (rows + came.len() as u64 - 1).into();
    Ok(())
}

/// The row with another value in its first column of strings or integers that is not a key.
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

/// No commit of ours lowers a position, so this writes the entry directly.
fn lower_pin(root: &Path, table: &Table) -> Result<()> {
    let own = [AppId::plan(), AppId::as_of(), AppId::compaction()];
    let mut lines = vec![json!({"commitInfo": {"timestamp": 0, "operation": "WRITE"}}).to_string()];
    for (app, position) in table.positions().0.iter().filter(|(app, _)| !own.contains(app)) {
        ensure!(*position > 1, "position `{app}` is too low to lower");
        lines.push(json!({"txn": {"appId": app.as_str(), "version": 1}}).to_string());
    }
    std::fs::write(entry(root, table, table.version().0 + 1), lines.join("\n") + "\n")?;
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

pub(crate) fn ulid() -> String {
    use runtime::Ids as _;
    RandomIds.ulid()
}

/// Removes a commit that added rows from the middle of the log.
fn drop_commit(root: &Path, table: &Table) -> Result<()> {
    let log = root.join(table.name().path()).join("_delta_log");
    let last = table.version().0;
    let adds = |version: &u64| {
        std::fs::read_to_string(entry(root, table, *version)).is_ok_and(|text| text.contains("\"add\""))
    };
    let victim = (1..last).find(adds).context("no commit to drop")?;
    for file in std::fs::read_dir(&log)?.flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        if name.contains("checkpoint") {
            std::fs::remove_file(file.path())?;
        }
    }
    for version in victim..last {
        std::fs::rename(entry(root, table, version + 1), entry(root, table, version))?;
    }
    Ok(())
}
