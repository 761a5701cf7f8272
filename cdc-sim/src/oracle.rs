//! What the tables must contain in the end, computed while the changes are generated.
//!
//! The oracle folds every change once and keeps a few numbers per table instead of rows: an insert adds the
//! row's hash to the table's sum, a delete subtracts it, an update does both. So the sum is that of the live
//! rows in any order, and anyone can recompute it from the silver table.
//!
//! **Checksum of a table**: each live row as text, its columns in table order joined by `|`, absent values as
//! `~`, instants as microseconds since 1970, all else as `CAST(column AS VARCHAR)`. MD5 of that text in
//! lowercase hex; the letters `abcdef` replaced by `012345`; the first 18 digits read as a number; the sum of
//! these numbers over all rows, in decimal. (Reading hex digits as decimal digits avoids a conversion in SQL
//! that no two engines share, and leaves more than 57 bits.) Columns that a schema change adds are left out.
//! [`checksum_sql`] is that query.
//!
//! MD5 protects nothing here: it is the one hash that DataFusion, DuckDB, Spark and PostgreSQL all have as a
//! SQL function, so the checksum can be recomputed in each.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};

use crate::field::Kind;
use crate::row::{ColumnChange, TableRow};
use crate::tables::{SourceTable, TABLES};

/// Sums over the changes of one table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    inserts: u64,
    updates: u64,
    deletes: u64,
    checksum: u128,
}

/// The state of the tables after a number of changes from the first on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State {
    tables: [Sum; TABLES],
    revenue_cents: i128,
    events: u64,
}

/// Folds changes one by one.
#[derive(Debug, Default)]
pub struct Oracle {
    state: State,
    scratch: Vec<u8>,
}
impl Oracle {
    /// Folds one change: `before` is `None` for an insert, `after` for a delete.
    pub fn fold<R: TableRow>(&mut self, before: Option<&R>, after: Option<&R>) {
        let (mut taken, mut added) = (0, 0);
        if let Some(row) = before {
            taken = self.row_hash(row);
            self.state.revenue_cents -= i128::from(row.revenue());
        }
        if let Some(row) = after {
            added = self.row_hash(row);
            self.state.revenue_cents += i128::from(row.revenue());
        }
        let sum = &mut self.state.tables[R::TABLE as usize];
        match (before, after) {
            (None, _) => sum.inserts += 1,
            (Some(_), Some(_)) => sum.updates += 1,
            (Some(_), None) => sum.deletes += 1,
        }
        // A row is subtracted only after it was added, so this never falls below 0.
        sum.checksum = sum.checksum + u128::from(added) - u128::from(taken);
        self.state.events += 1;
    }
    /// The state of the tables after the changes so far.
    pub fn state(&self) -> &State {
        &self.state
    }
    fn row_hash<R: TableRow>(&mut self, row: &R) -> u64 {
        self.scratch.clear();
        row.canonical(&mut self.scratch);
        hash(&self.scratch)
    }
}

impl State {
    /// Number of change events.
    pub fn events(&self) -> u64 {
        self.events
    }
    /// The summary of a run that ends with this state.
    pub fn summary(&self, seed: u64, injected: Injected) -> Summary {
        let state = |sum: &Sum| TableState {
            inserts: sum.inserts,
            updates: sum.updates,
            deletes: sum.deletes,
            live_rows: sum.inserts - sum.deletes,
            checksum: sum.checksum.to_string(),
        };
        let (whole, cents) = (self.revenue_cents / 100, self.revenue_cents % 100);
        let orders = self.tables[SourceTable::Orders as usize];
        Summary {
            seed,
            events: self.events,
            injected,
            tables: SourceTable::ALL
                .into_iter()
                .map(|table| (table.name().to_owned(), state(&self.tables[table as usize])))
                .collect(),
            totals: Totals {
                revenue: format!("{whole}.{cents:02}"),
                orders: orders.inserts - orders.deletes,
            },
        }
    }
}

/// Hash of a row's canonical text: 18 decimal digits from its MD5.
pub fn hash(canonical: &[u8]) -> u64 {
    let mut number = 0;
    for byte in &Md5::digest(canonical)[..9] {
        for digit in [byte >> 4, byte & 15] {
            number = number * 10 + u64::from(if digit < 10 { digit } else { digit - 10 });
        }
    }
    number
}

/// The oracle's summary, as `--summary` writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Seed of the run.
    pub seed: u64,
    /// Change events in the log.
    pub events: u64,
    /// What was spoiled.
    pub injected: Injected,
    /// Final state by table.
    pub tables: BTreeMap<String, TableState>,
    /// Totals that business tables must agree with.
    pub totals: Totals,
}

/// What was spoiled. None of it changes the final state of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Injected {
    /// Events sent a second time.
    pub duplicates: u64,
    /// Events that came late in their partition; their number depends on the number of partitions.
    pub disordered: u64,
    /// Records that cannot be decoded.
    pub poison: u64,
    /// Tables whose schema changed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub schema_changes: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Final state of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableState {
    /// Rows inserted.
    pub inserts: u64,
    /// Updates of rows.
    pub updates: u64,
    /// Rows deleted.
    pub deletes: u64,
    /// Rows in the end.
    pub live_rows: u64,
    /// Order-free checksum of the live rows: see [`crate::oracle`].
    pub checksum: String,
}

/// Totals that business tables must agree with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Sum of `quantity * unit_price` over `order_lines`, without tax.
    pub revenue: String,
    /// Rows of `orders`.
    pub orders: u64,
}

/// An engine that recomputes a checksum. The engines convert an instant to microseconds in different ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `lakepulse query` and other tools on DataFusion.
    DataFusion,
    /// DuckDB on the Delta table.
    DuckDb,
}

/// Query for a table's checksum over its silver table: one row, one column, text.
pub fn checksum_sql(table: SourceTable, dialect: Dialect) -> String {
    let mut parts = String::new();
    for column in table.columns().iter().filter(|column| column.change != ColumnChange::Added) {
        let name = column.name;
        let text = match (column.kind, dialect) {
            (Kind::Instant, Dialect::DataFusion) => format!("CAST(CAST({name} AS BIGINT) AS VARCHAR)"),
            (Kind::Instant, Dialect::DuckDb) => format!("CAST(epoch_us({name}) AS VARCHAR)"),
            (Kind::Text, _) => name.to_owned(),
            _ => format!("CAST({name} AS VARCHAR)"),
        };
        let comma = if parts.is_empty() { "" } else { ", " };
        // Writing to a string never fails.
        let _ = if column.nullable {
            write!(parts, "{comma}COALESCE({text}, '~')")
        } else {
            write!(parts, "{comma}{text}")
        };
    }
    format!(
        "SELECT CAST(COALESCE(SUM(CAST(CAST(substr(translate(md5(concat_ws('|', {parts})), 'abcdef', '012345'), \
         1, 18) AS BIGINT) AS DECIMAL(38, 0))), 0) AS VARCHAR) AS checksum FROM silver.{}",
        table.name()
    )
}

/// Query for the oracle's revenue: one row, one column, a decimal with two places.
pub fn revenue_sql() -> &'static str {
    "SELECT COALESCE(SUM(quantity * CAST(unit_price AS DECIMAL(18, 2))), 0) AS revenue FROM silver.order_lines"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Instant;
    use crate::tables::BuyingGroup;

    fn group(id: i32, name: &'static str) -> BuyingGroup {
        BuyingGroup { buying_group_id: id, buying_group_name: name.into(), valid_from: Instant(5_000_000) }
    }
    fn checksum(oracle: &Oracle) -> String {
        oracle.state().summary(1, Injected::default()).tables["buying_groups"].checksum.clone()
    }

    #[test]
    fn the_hash_is_the_documented_one() {
        // echo -n '1|Toys|5000000' | md5sum | tr abcdef 012345 | cut -c1-18
        let mut oracle = Oracle::default();
        oracle.fold(None, Some(&group(1, "Toys")));
        assert_eq!(checksum(&oracle), "314955922405271530");
    }

    #[test]
    fn the_way_there_does_not_matter() {
        let (mut straight, mut detour) = (Oracle::default(), Oracle::default());
        straight.fold(None, Some(&group(1, "Toys")));
        straight.fold(None, Some(&group(2, "Games")));
        detour.fold(None, Some(&group(3, "Gone")));
        detour.fold(None, Some(&group(2, "Games?")));
        detour.fold(None, Some(&group(1, "Toys")));
        detour.fold(Some(&group(2, "Games?")), Some(&group(2, "Games")));
        detour.fold(Some(&group(3, "Gone")), None);
        assert_eq!(checksum(&straight), checksum(&detour));
    }

    #[test]
    fn a_changed_value_a_swapped_value_and_a_lost_row_show() {
        let folded = |rows: &[BuyingGroup]| {
            let mut oracle = Oracle::default();
            rows.iter().for_each(|row| oracle.fold(None, Some(row)));
            checksum(&oracle)
        };
        let right = folded(&[group(1, "Toys"), group(2, "Games")]);
        assert_ne!(right, folded(&[group(1, "Toys"), group(2, "Gamez")]));
        assert_ne!(right, folded(&[group(1, "Games"), group(2, "Toys")]));
        assert_ne!(right, folded(&[group(1, "Toys")]));
        assert_ne!(right, folded(&[group(1, "Toys"), group(2, "Games"), group(2, "Games")]));
    }

    #[test]
    fn the_summary_has_the_documented_shape() {
        let summary =
            serde_json::to_value(State::default().summary(7, Injected::default())).expect("plain data");
        assert_eq!(summary["injected"], serde_json::json!({"duplicates": 0, "disordered": 0, "poison": 0}));
        assert_eq!(summary["totals"], serde_json::json!({"revenue": "0.00", "orders": 0}));
        assert_eq!(
            summary["tables"]["customers"],
            serde_json::json!({"inserts": 0, "updates": 0, "deletes": 0, "live_rows": 0, "checksum": "0"})
        );
    }
}
