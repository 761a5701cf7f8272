//! What a run must have come to.

use arrow::util::display::array_value_to_string;
use cdc_sim::Summary;
use cdc_sim::oracle::{Dialect, checksum_sql, revenue_sql};
use cdc_sim::tables::SourceTable;

use crate::query;
use crate::verify::{self, Scope};
use crate::wiring::Wiring;

/// The tables that the oracle has, too.
const TABLES: [SourceTable; 3] = [SourceTable::Customers, SourceTable::Orders, SourceTable::OrderLines];

/// Compares the tables with the oracle, and lets `verify` compare them with each other.
///
/// # Errors
/// What does not hold.
pub async fn all(wiring: &Wiring, summary: &Summary) -> Result<(), String> {
    for table in TABLES {
        let wanted = &summary.tables[table.name()];
        let held = one(wiring, &checksum_sql(table, Dialect::DataFusion)).await?;
        let rows = one(wiring, &format!("SELECT count(*) FROM silver.{}", table.name())).await?;
        if (&held, &rows) != (&wanted.checksum, &wanted.live_rows.to_string()) {
            return Err(format!(
                "silver.{} has {rows} rows with the checksum {held}; the oracle has {} with {}",
                table.name(),
                wanted.live_rows,
                wanted.checksum
            ));
        }
    }
    let revenue = "SELECT CAST(COALESCE(sum(revenue), 0) AS DECIMAL(20, 2)) FROM gold.customer_sales";
    for sql in [revenue_sql(), revenue] {
        let held = one(wiring, sql).await?;
        if held != summary.totals.revenue {
            return Err(format!("{held} by `{sql}`, and the oracle has {}", summary.totals.revenue));
        }
    }
    let scope = Scope { deep: true, ..Scope::of(wiring) };
    let mut faults = Vec::new();
    for finding in verify::run(&scope, |_| ()).await {
        let checked = if finding.checked.is_empty() { Some("nothing was checked") } else { None };
        let found = finding.faults.iter().chain(&finding.unchecked).map(String::as_str).chain(checked);
        faults.extend(found.map(|fault| format!("verify, {}: {fault}", finding.name)));
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

/// The one value that a query answers.
async fn one(wiring: &Wiring, sql: &str) -> Result<String, String> {
    let rows =
        query::rows(&wiring.project, &wiring.lake, sql).await.map_err(|error| format!("{sql}: {error:?}"))?;
    let batch = rows.iter().find(|batch| batch.num_rows() > 0).ok_or_else(|| format!("{sql}: no row"))?;
    array_value_to_string(batch.column(0), 0).map_err(|error| error.to_string())
}
