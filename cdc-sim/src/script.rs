//! Changes as SQL for PostgreSQL, in their transactions.

use crate::row::TableRow;
use crate::schema::Shape;
use crate::tables::SourceTable;

/// Statements of one transaction.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Statements {
    /// Statements before the rows: the schema change.
    pub prologue: Vec<String>,
    /// One statement per change, with the change's number in the log.
    pub changes: Vec<(u64, String)>,
}
impl Statements {
    /// The transaction as one text that also updates the progress, without the changes before `from`. `None`:
    /// there is nothing left to do.
    pub fn sql(&self, from: u64) -> Option<String> {
        let last = self.changes.last().map(|(sequence, _)| *sequence).filter(|last| *last >= from)?;
        // If the transaction was cut short by the end of a run, that run has applied its schema change.
        let whole = self.changes.first().is_some_and(|(sequence, _)| *sequence >= from);
        let prologue = self.prologue.iter().filter(|_| whole);
        let changes = self.changes.iter().filter(|(sequence, _)| *sequence >= from).map(|(_, sql)| sql);
        let statements: Vec<&str> = prologue.chain(changes).map(String::as_str).collect();
        Some(format!(
            "BEGIN;{};UPDATE lakepulse_sim.progress SET events = {};COMMIT;",
            statements.join(";"),
            last + 1
        ))
    }
}

/// Records transactions as SQL.
#[derive(Debug, Default)]
pub(crate) struct Script {
    shape: Shape,
    done: Vec<Statements>,
}
impl Script {
    /// Begins the next transaction.
    pub fn begin(&mut self, shape: Shape) {
        let mut prologue = Vec::new();
        if shape.column && !self.shape.column {
            prologue.push("ALTER TABLE sales.customers ADD COLUMN loyalty_tier text".to_owned());
        }
        if shape.widen && !self.shape.widen {
            let change =
                "ALTER TABLE warehouse.stock_item_holdings ALTER COLUMN quantity_on_hand TYPE bigint";
            prologue.push(change.to_owned());
        }
        self.shape = shape;
        // An empty transaction leaves its prologue to the next one.
        match self.done.last_mut() {
            Some(last) if last.changes.is_empty() => last.prologue.extend(prologue),
            _ => self.done.push(Statements { prologue, changes: Vec::new() }),
        }
    }
    /// Records a change of a row.
    pub fn change<R: TableRow>(
        &mut self,
        sequence: u64,
        before: Option<&R>,
        after: Option<&R>,
        shape: Shape,
    ) {
        let sql = statement(before, after, shape.column);
        if let Some(open) = self.done.last_mut() {
            open.changes.push((sequence, sql));
        }
    }
    /// Takes the transactions recorded since the last call.
    pub fn take(&mut self) -> Vec<Statements> {
        std::mem::take(&mut self.done)
    }
}

fn statement<R: TableRow>(before: Option<&R>, after: Option<&R>, added: bool) -> String {
    let table: SourceTable = R::TABLE;
    let name = format!("{}.{}", table.schema(), table.name());
    let Some(row) = after else {
        let gone = before.map_or(0, TableRow::key);
        return format!("DELETE FROM {name} WHERE {} = {gone}", table.key());
    };
    let (mut columns, mut values) = (Vec::new(), Vec::new());
    row.sql(added, &mut |column, literal| {
        columns.push(column);
        values.push(String::from_utf8_lossy(literal).into_owned());
    });
    let (columns, values) = (columns.join(", "), values.join(", "));
    match before {
        None => format!("INSERT INTO {name} ({columns}) VALUES ({values})"),
        Some(before) => {
            format!("UPDATE {name} SET ({columns}) = ROW ({values}) WHERE {} = {}", table.key(), before.key())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Instant;
    use crate::tables::BuyingGroup;

    fn group(name: &'static str) -> BuyingGroup {
        let valid_from = Instant(1_356_998_400_000_001);
        BuyingGroup { buying_group_id: 3, buying_group_name: name.into(), valid_from }
    }

    #[test]
    fn a_row_is_written_with_its_quotes_and_its_microseconds() {
        let insert = statement(None, Some(&group("Wingtip's")), false);
        assert_eq!(
            insert,
            "INSERT INTO sales.buying_groups (buying_group_id, buying_group_name, valid_from) \
             VALUES (3, 'Wingtip''s', '2013-01-01 00:00:00.000001+00')"
        );
        let delete = statement(Some(&group("a")), None, false);
        assert_eq!(delete, "DELETE FROM sales.buying_groups WHERE buying_group_id = 3");
    }

    #[test]
    fn a_transaction_goes_on_behind_what_was_applied() {
        let changes = vec![(4, "a".to_owned()), (5, "b".to_owned())];
        let transaction = Statements { prologue: vec!["p".to_owned()], changes };
        let all = transaction.sql(0).expect("all of it");
        assert_eq!(all, "BEGIN;p;a;b;UPDATE lakepulse_sim.progress SET events = 6;COMMIT;");
        let rest = transaction.sql(5).expect("the rest");
        assert_eq!(rest, "BEGIN;b;UPDATE lakepulse_sim.progress SET events = 6;COMMIT;");
        assert_eq!(transaction.sql(6), None);
    }

    #[test]
    fn the_schema_changes_once() {
        let mut script = Script::default();
        let changed = Shape { column: true, widen: true };
        for shape in [Shape::FIRST, changed, changed] {
            script.begin(shape);
            script.change(0, None, Some(&group("a")), shape);
        }
        let prologues: Vec<usize> = script.take().iter().map(|t| t.prologue.len()).collect();
        assert_eq!(prologues, [0, 2, 0]);
    }
}
