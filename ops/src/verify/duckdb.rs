//! Evaluates gold with another engine on request: DuckDB.
//!
//! The pinned inputs are written as Parquet files into a temporary folder, DuckDB runs the model's SQL over
//! them, and the result is compared with the table. SQL that DuckDB cannot run is reported as not checked,
//! with DuckDB's message: nothing counts as right just because it could not be checked.
//!
//! The engines use other types in places, so the last digits may differ: DuckDB divides and averages decimals
//! as doubles. A number that differs by no more than that is counted and reported as rounded.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, TimeUnit};
use catalog::{Catalog, Model};
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::logical_expr::{Expr, cast, col};
use datafusion::prelude::ParquetReadOptions;
use lake::Table;
use model::{ClockMs, TableName};
use runtime::{Ids as _, RandomIds};

use super::{Finding, compare};

/// How to start DuckDB.
#[derive(Debug, Clone)]
pub struct DuckDb {
    program: PathBuf,
    arguments: Vec<String>,
}

/// Gives SQL our meaning in DuckDB: integers divide to integers, NULL sorts as in PostgreSQL.
const SETTINGS: &str = "SET integer_division = true;\n\
    SET default_null_order = 'nulls_last_on_asc_first_on_desc';\n\
    CREATE MACRO nvl(a, b) AS coalesce(a, b);\n";

/// Executes the SQL on standard input.
const PYTHON: &str = "import sys, duckdb; duckdb.connect().execute(sys.stdin.read())";

impl DuckDb {
    /// Finds the program, or Python's module.
    pub fn find() -> Result<Self> {
        let candidates = [
            ("duckdb", vec!["-batch", "-bail", ":memory:"], "SELECT 1;"),
            ("python3", vec!["-c", PYTHON], "SELECT 1"),
        ];
        for (program, arguments, probe) in candidates {
            let arguments = arguments.into_iter().map(str::to_owned).collect();
            let found = Self { program: program.into(), arguments };
            if found.run(probe).is_ok_and(|output| output.status.success()) {
                return Ok(found);
            }
        }
        bail!(
            "`--with duckdb` needs DuckDB: neither a program `duckdb` nor a `python3` with the module `duckdb` is \
             in the path; install one of them (https://duckdb.org) and try again"
        )
    }

    /// A program in DuckDB's place, which is given the SQL on its standard input.
    #[cfg(test)]
    pub(super) fn stand_in(program: &str, arguments: &[&str]) -> Self {
        Self { program: program.into(), arguments: arguments.iter().map(|&text| text.to_owned()).collect() }
    }

    fn run(&self, script: &str) -> std::io::Result<Output> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(script.as_bytes())?;
        }
        child.wait_with_output()
    }

    /// Evaluates a model over these versions of its inputs and compares the result with the table.
    pub async fn check(
        &self,
        catalog: &Catalog,
        model: &Model,
        as_of: ClockMs,
        inputs: &BTreeMap<TableName, Table>,
        actual: Vec<RecordBatch>,
        finding: &mut Finding,
    ) -> Result<()> {
        let folder = Folder::new()?;
        let script = script(catalog, model, as_of, inputs, &folder.0).await?;
        let duck = self.clone();
        let output = runtime::cpu::run(move || duck.run(&script)).await.context("cannot start DuckDB")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().find(|line| line.contains("Error")).unwrap_or("it failed");
            // A value that overflows its type must not have a value in our table either.
            if said.contains("Out of Range Error") {
                finding.fault(format!("DuckDB refuses what the table holds: {}", said.trim()));
            } else {
                finding.leave_out(format!("DuckDB cannot evaluate it: {}", said.trim()));
            }
            return Ok(());
        }
        let path = folder.0.join("result.parquet");
        let frame = query::session()
            .read_parquet(path.to_string_lossy().into_owned(), ParquetReadOptions::default())
            .await?;
        let expected = frame.collect().await.context("the rows that DuckDB gives")?;
        let (schema, keys) = (model.schema.clone(), model.keys.clone());
        let compared =
            runtime::cpu::run(move || compare::compare_rounded(&schema, &keys, &expected, &actual)).await;
        let difference = match compared {
            Ok(difference) => difference,
            Err(error) => {
                finding.leave_out(format!("what DuckDB gives has other types: {error:#}"));
                return Ok(());
            }
        };
        if !difference.is_empty() {
            finding.fault(format!(
                "by DuckDB {} rows are missing, {} too many, {} have another value",
                difference.missing, difference.extra, difference.changed
            ));
            difference.named.iter().for_each(|named| finding.fault(format!("by DuckDB {named}")));
        }
        if difference.rounded > 0 {
            finding
                .leave_out(format!("{} numbers that DuckDB rounds in their last digits", difference.rounded));
        }
        finding.checked.push_str(", and by DuckDB");
        Ok(())
    }
}

/// A folder that is deleted on drop.
struct Folder(PathBuf);
impl Folder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("lakepulse-duckdb-{}", RandomIds.ulid()));
        std::fs::create_dir_all(&path).with_context(|| format!("cannot create `{}`", path.display()))?;
        Ok(Self(path))
    }
}
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Writes the inputs and returns the SQL to run over them.
async fn script(
    catalog: &Catalog,
    model: &Model,
    as_of: ClockMs,
    inputs: &BTreeMap<TableName, Table>,
    folder: &Path,
) -> Result<String> {
    let mut script = SETTINGS.to_owned();
    for (name, table) in inputs {
        let path = folder.join(format!("{name}.parquet"));
        write(catalog, name, table, &path).await?;
        view(&mut script, name, &format!("SELECT * FROM read_parquet({})", quoted(&path)));
    }
    for inner in catalog.views_of(&model.name) {
        let sql = query::sql::parse(&inner.sql)?.at(as_of).to_string();
        view(&mut script, &inner.name, &sql);
    }
    let sql = query::sql::parse(&model.sql)?.at(as_of).to_string();
    let result = quoted(&folder.join("result.parquet"));
    let columns: Vec<String> = model.schema.fields().iter().map(|field| column(field)).collect();
    let columns = columns.join(", ");
    script.push_str(&format!("COPY (SELECT {columns} FROM (\n{sql}\n) t) TO {result} (FORMAT parquet);\n"));
    Ok(script)
}

/// Casts a column of the result to the table's type: DuckDB would write a sum of integers as a double.
fn column(field: &Field) -> String {
    let name = format!("\"{}\"", field.name());
    let kind = match field.data_type() {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INTEGER".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float32 => "FLOAT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Utf8 => "VARCHAR".to_owned(),
        DataType::Binary => "BLOB".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Timestamp(_, _) => "TIMESTAMP".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        _ => return name,
    };
    format!("CAST({name} AS {kind}) AS {name}")
}

fn view(script: &mut String, name: &TableName, sql: &str) {
    let (schema, table) = (name.schema(), name.table());
    script.push_str(&format!(
        "CREATE SCHEMA IF NOT EXISTS \"{schema}\";\nCREATE VIEW \"{schema}\".\"{table}\" AS {sql};\n"
    ));
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "''"))
}

/// Writes the columns that models see. Timestamps lose their zone, because all of them are UTC.
async fn write(catalog: &Catalog, name: &TableName, table: &Table, path: &Path) -> Result<()> {
    let schema = catalog.schema_of(name).with_context(|| format!("columns of `{name}`"))?;
    let column = |field: &Arc<Field>| -> Expr {
        let named = col(format!("\"{}\"", field.name()));
        match field.data_type() {
            DataType::Timestamp(_, Some(_)) => {
                cast(named, DataType::Timestamp(TimeUnit::Microsecond, None)).alias(field.name())
            }
            _ => named,
        }
    };
    let frame = query::session().read_table(table.provider()?)?;
    let frame = frame.select(schema.fields().iter().map(column).collect::<Vec<_>>())?;
    let options = DataFrameWriteOptions::new().with_single_file_output(true);
    frame.write_parquet(&path.to_string_lossy(), options, None).await?;
    Ok(())
}
