//! `lakepulse register`: statements that tell another engine where the tables are.
//!
//! They contain only locations. The engine reads columns, versions and rows from each table's log by itself,
//! so a table is registered once and may change later.

use std::sync::Arc;

use anyhow::anyhow;
use model::{Exit, TableName};
use ops::{select, wiring};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use url::Url;

use crate::args::{Common, Engine};
use crate::failure::Failure;

/// A table and its location for this engine.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Place {
    table: TableName,
    location: String,
}

/// Prints one statement per line, or the locations as JSON with `--json`. Reads only the lake.
#[allow(clippy::print_stdout, reason = "this is the verb's output")]
pub async fn run(common: &Common, engine: Engine, catalog: &str) -> Result<Exit, Failure> {
    let project = wiring::project(&common.location()).await?;
    let selected = select::tables(&project.catalog, &common.select)?;
    let lake = wiring::lake(&project, Arc::new(runtime::RandomIds)).await?;
    let mut places = Vec::new();
    for name in lake.tables().await?.into_iter().filter(|name| wanted(&selected, name)) {
        let Some(table) = lake.table(&name).await? else { continue };
        // Several projects may share a lake.
        if table.project() == Some(project.name.as_str()) {
            let location = location(engine, table.location()).map_err(|e| Failure::new(Exit::Usage, e))?;
            places.push(Place { table: name, location });
        }
    }
    if common.json {
        println!("{}", serde_json::to_string_pretty(&places)?);
        return Ok(Exit::Done);
    }
    for statement in statements(engine, catalog, &places) {
        println!("{statement};");
    }
    Ok(Exit::Done)
}

/// Whether a table or the main table of a sibling was selected. An empty selection means all.
fn wanted(selected: &[TableName], name: &TableName) -> bool {
    let main = name.table().split("__").next().unwrap_or_default();
    selected.is_empty()
        || selected.iter().any(|table| table.schema() == name.schema() && table.table() == main)
}

/// A table's folder in the engine's notation.
fn location(engine: Engine, url: &Url) -> anyhow::Result<String> {
    let (scheme, rest) = url.as_str().trim_end_matches('/').split_once(':').unwrap_or_default();
    let own = match (engine, scheme) {
        (Engine::Trino, "file") => {
            return Err(anyhow!(
                "`{url}` is a folder of this machine, Trino reads object stores: name another `--target`"
            ));
        }
        // Hadoop's client of S3 has its own scheme; the others know only the usual one.
        (Engine::Spark, "s3" | "s3a") => "s3a",
        (_, "s3a") => "s3",
        (_, other) => other,
    };
    // A URL writes a space as `%20`. Spark and Trino take a location literally, so they get the decoded name;
    // DuckDB's Delta extension reads a URL.
    let rest = match engine {
        Engine::Spark | Engine::Trino => percent_decode_str(rest).decode_utf8()?,
        Engine::Duckdb => rest.into(),
    };
    Ok(format!("{own}:{rest}"))
}

/// Statements for schemas, then for tables. `places` are sorted by name.
fn statements(engine: Engine, catalog: &str, places: &[Place]) -> Vec<String> {
    let mut schemas: Vec<&str> = places.iter().map(|place| place.table.schema()).collect();
    schemas.dedup();
    let named = |name: &str| match engine {
        Engine::Spark => format!("`{}`", name.replace('`', "``")),
        Engine::Trino | Engine::Duckdb => format!("\"{}\"", name.replace('"', "\"\"")),
    };
    let text = |text: &str| match engine {
        Engine::Spark => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        Engine::Trino | Engine::Duckdb => format!("'{}'", text.replace('\'', "''")),
    };
    let schema = |schema: &str| match engine {
        Engine::Trino => format!("CREATE SCHEMA IF NOT EXISTS {}.{}", named(catalog), named(schema)),
        Engine::Spark | Engine::Duckdb => format!("CREATE SCHEMA IF NOT EXISTS {}", named(schema)),
    };
    let table = |Place { table, location }: &Place| {
        let name = format!("{}.{}", named(table.schema()), named(table.table()));
        match engine {
            Engine::Spark => {
                format!("CREATE TABLE IF NOT EXISTS {name} USING delta LOCATION {}", text(location))
            }
            Engine::Trino => format!(
                "CALL {}.system.register_table(schema_name => {}, table_name => {}, table_location => {})",
                named(catalog),
                text(table.schema()),
                text(table.table()),
                text(location)
            ),
            Engine::Duckdb => {
                format!("CREATE OR REPLACE VIEW {name} AS SELECT * FROM delta_scan({})", text(location))
            }
        }
    };
    schemas.into_iter().map(schema).chain(places.iter().map(table)).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn name(name: &str) -> TableName {
        name.parse().expect("a table name")
    }
    fn place(table: &str, location: &str) -> Place {
        Place { table: name(table), location: location.to_owned() }
    }

    #[rstest]
    #[case::spark(
        Engine::Spark,
        "CREATE SCHEMA IF NOT EXISTS `gold`",
        "CREATE TABLE IF NOT EXISTS `gold`.`order` USING delta LOCATION 's3a://l/it\\'s'"
    )]
    #[case::trino(
        Engine::Trino,
        "CREATE SCHEMA IF NOT EXISTS \"my-lake\".\"gold\"",
        "CALL \"my-lake\".system.register_table(schema_name => 'gold', table_name => 'order', table_location => 's3://l/it''s')"
    )]
    #[case::duckdb(
        Engine::Duckdb,
        "CREATE SCHEMA IF NOT EXISTS \"gold\"",
        "CREATE OR REPLACE VIEW \"gold\".\"order\" AS SELECT * FROM delta_scan('s3://l/it''s')"
    )]
    fn names_and_places_are_quoted_as_the_engine_reads_them(
        #[case] engine: Engine,
        #[case] schema: &str,
        #[case] table: &str,
    ) {
        let scheme = if engine == Engine::Spark { "s3a" } else { "s3" };
        let places = [place("gold.order", &format!("{scheme}://l/it's"))];
        assert_eq!(statements(engine, "my-lake", &places), [schema, table]);
    }

    #[test]
    fn a_schema_is_made_once_and_before_its_tables() {
        let places =
            [place("gold.a", "s3://l/a"), place("gold.b", "s3://l/b"), place("silver.a", "s3://l/c")];
        let made = statements(Engine::Duckdb, "lake", &places);
        assert_eq!(made.len(), 5);
        assert!(made[0].ends_with("\"gold\"") && made[1].ends_with("\"silver\""), "{made:?}");
    }

    #[rstest]
    #[case::s3(Engine::Trino, "s3://lake/wwi/gold/a/", "s3://lake/wwi/gold/a")]
    #[case::hadoop(Engine::Spark, "s3://lake/wwi/gold/a/", "s3a://lake/wwi/gold/a")]
    #[case::hadoops_own(Engine::Duckdb, "s3a://lake/gold/a/", "s3://lake/gold/a")]
    #[case::folder(Engine::Duckdb, "file:///tmp/x/gold/a/", "file:///tmp/x/gold/a")]
    #[case::taken_as_it_stands(Engine::Spark, "file:///my%20lake/100%25/%C3%A9/", "file:///my lake/100%/é")]
    #[case::a_key_as_it_stands(Engine::Trino, "s3://lake/my%20lake/a/", "s3://lake/my lake/a")]
    #[case::read_as_a_url(Engine::Duckdb, "file:///my%20lake/a/", "file:///my%20lake/a")]
    fn a_place_has_the_engines_own_scheme(#[case] engine: Engine, #[case] url: &str, #[case] place: &str) {
        assert_eq!(location(engine, &url.parse().expect("a url")).expect("readable"), place);
    }

    #[test]
    fn trino_is_given_no_folder() {
        let said = location(Engine::Trino, &"file:///tmp/x/".parse().expect("a url")).expect_err("refused");
        assert!(said.to_string().contains("--target"), "{said}");
    }

    #[test]
    fn what_is_kept_beside_a_table_comes_with_it() {
        let selected = [name("silver.orders")];
        assert!(wanted(&selected, &name("silver.orders__deleted")));
        assert!(!wanted(&selected, &name("silver.order_lines")) && !wanted(&selected, &name("gold.orders")));
        assert!(wanted(&[], &name("gold.orders")));
    }
}
