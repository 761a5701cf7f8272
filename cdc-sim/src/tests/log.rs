//! Claims about what is on the topics.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use md5::{Digest as _, Md5};

use super::fold::{Decoded, Reader, Row, get, long, optional};
use super::{PARTITIONS, log, plain, spoiled};
use crate::block::{BLOCK, Poison, What};
use crate::discard;
use crate::settings::Settings;
use crate::tables::SourceTable;
use crate::wire;

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let settings = spoiled(15_000);
    assert_eq!(log(&settings), log(&settings));
    assert_ne!(log(&plain(3_000)), log(&Settings { seed: 8, ..plain(3_000) }));
}

/// A later build must resume the same log. Change this only when the log changes on purpose.
#[test]
fn the_bytes_do_not_change_from_one_build_to_the_next() {
    let mut bytes = Vec::new();
    for sent in log(&spoiled(30_000)) {
        bytes.extend_from_slice(&sent.number.to_be_bytes());
        bytes.extend_from_slice(&sent.key);
        bytes.extend_from_slice(sent.value.as_deref().unwrap_or_default());
    }
    let digest: String = Md5::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, "b7d1ffa4f45f7f584a22ecdcd133ab00");
}

#[test]
fn a_shorter_log_is_the_beginning_of_a_longer_one() {
    let bytes = |settings: &Settings| -> Vec<_> {
        log(settings).into_iter().map(|sent| (sent.table, sent.key, sent.value)).collect()
    };
    let long = bytes(&plain(9_999));
    for events in [1, 999, 1_000, 4_321] {
        assert!(long.starts_with(&bytes(&plain(events))), "{events} events");
    }
    // Spoiled logs, too, if the shorter one ends with a whole block.
    let change_at = |events, at| {
        let mut settings = spoiled(events);
        settings.schema_change = settings.schema_change.map(|change| crate::SchemaChange { at, ..change });
        settings
    };
    assert!(log(&change_at(8_000, 2_500)).starts_with(&log(&change_at(4 * BLOCK as u64, 2_500))));
}

#[test]
fn numbers_rise_along_the_log() {
    for settings in [plain(5_500), spoiled(5_500)] {
        assert!(log(&settings).is_sorted_by(|a, b| a.number < b.number));
    }
}

#[test]
fn events_are_counted_without_tombstones_duplicates_and_poison() {
    let settings = spoiled(20_000);
    let (log, summary) = (log(&settings), discard(&settings).summary);
    let count = |is: fn(&What) -> bool| log.iter().filter(|sent| is(&sent.what)).count() as u64;
    assert_eq!(count(|what| *what == What::Change), 20_000);
    assert_eq!(count(|what| *what == What::Duplicate), summary.injected.duplicates);
    assert_eq!(count(|what| matches!(what, What::Poison(_))), summary.injected.poison);
    let deletes: u64 = summary.tables.values().map(|table| table.deletes).sum();
    assert!(deletes > 20);
    assert_eq!(count(|what| *what == What::Tombstone), deletes);
    // The requested shares, within statistical bounds.
    assert!((500..700).contains(&summary.injected.duplicates), "{:?}", summary.injected);
    assert!((140..260).contains(&summary.injected.poison), "{:?}", summary.injected);
    assert!((700..1_100).contains(&summary.injected.disordered), "{:?}", summary.injected);
}

#[test]
fn every_kind_of_poison_is_sent_and_none_can_be_read() {
    let reader = Reader::new();
    let mut reasons: HashMap<Poison, BTreeSet<String>> = HashMap::new();
    for sent in log(&spoiled(20_000)) {
        match sent.what {
            What::Poison(kind) => {
                assert!(sent.value.is_some(), "poison is no tombstone");
                let reason = reader.read(&sent).expect_err("poison cannot be read");
                reasons.entry(kind).or_default().insert(reason);
            }
            What::Tombstone => assert_eq!(sent.value, None),
            What::Change | What::Duplicate => drop(reader.read(&sent).expect("a good record")),
        }
    }
    assert_eq!(reasons.len(), Poison::ALL.len(), "{reasons:?}");
}

#[test]
fn a_tombstone_follows_its_delete() {
    let log = log(&plain(20_000));
    for (i, sent) in log.iter().enumerate().filter(|(_, sent)| sent.what == What::Tombstone) {
        let delete = Reader::new().read(&log[i - 1]).expect("a change");
        assert_eq!((delete.op.as_str(), &log[i - 1].key), ("d", &sent.key));
    }
}

#[test]
fn late_events_come_behind_later_ones_of_their_own_row() {
    let changes = Reader::new().changes(&log(&spoiled(20_000)));
    let mut newest: HashMap<(SourceTable, i32), i64> = HashMap::new();
    let mut late = 0;
    for change in &changes {
        let held = newest.entry((change.table, change.key)).or_insert(change.lsn);
        late += usize::from(change.lsn < *held);
        *held = change.lsn.max(*held);
    }
    assert!(late > 50, "{late}");
}

#[test]
fn orders_and_their_lines_go_where_their_customer_goes() {
    let reader = Reader::new();
    for sent in log(&plain(10_000)) {
        let Ok(change) = reader.read(&sent) else { continue };
        let row = change.after.as_ref().or(change.before.as_ref()).expect("an image");
        let routed = match sent.table {
            SourceTable::Customers | SourceTable::Orders | SourceTable::OrderLines => {
                long(get(row, "customer_id"))
            }
            _ => i64::from(change.key),
        };
        let mut key = Vec::new();
        wire::long(routed, &mut key);
        let partitions = PARTITIONS[sent.table as usize];
        assert_eq!(sent.partition, (stream::hash::murmur2(&key) & 0x7fff_ffff).cast_signed() % partitions);
    }
}

#[test]
fn positions_rise_and_transactions_count_their_changes() {
    let changes = Reader::new().changes(&log(&plain(10_000)));
    assert!(changes.is_sorted_by(|a, b| a.lsn < b.lsn));
    let mut order = (0, 0);
    for change in &changes {
        order = if change.transaction == order.0 { (order.0, order.1 + 1) } else { (change.transaction, 1) };
        assert_eq!((change.transaction, change.total_order), order);
    }
}

/// A column of a table, and the table to which it points.
const FOREIGN_KEYS: [(SourceTable, &str, SourceTable); 19] = [
    (SourceTable::Cities, "state_province_id", SourceTable::StateProvinces),
    (SourceTable::StockItemHoldings, "stock_item_id", SourceTable::StockItems),
    (SourceTable::Customers, "bill_to_customer_id", SourceTable::Customers),
    (SourceTable::Customers, "customer_category_id", SourceTable::CustomerCategories),
    (SourceTable::Customers, "buying_group_id", SourceTable::BuyingGroups),
    (SourceTable::Customers, "delivery_city_id", SourceTable::Cities),
    (SourceTable::Orders, "customer_id", SourceTable::Customers),
    (SourceTable::Orders, "backorder_order_id", SourceTable::Orders),
    (SourceTable::OrderLines, "order_id", SourceTable::Orders),
    (SourceTable::OrderLines, "customer_id", SourceTable::Customers),
    (SourceTable::OrderLines, "stock_item_id", SourceTable::StockItems),
    (SourceTable::Invoices, "customer_id", SourceTable::Customers),
    (SourceTable::Invoices, "bill_to_customer_id", SourceTable::Customers),
    (SourceTable::Invoices, "order_id", SourceTable::Orders),
    (SourceTable::InvoiceLines, "invoice_id", SourceTable::Invoices),
    (SourceTable::InvoiceLines, "stock_item_id", SourceTable::StockItems),
    (SourceTable::CustomerTransactions, "customer_id", SourceTable::Customers),
    (SourceTable::CustomerTransactions, "invoice_id", SourceTable::Invoices),
    // Not a foreign key of the database, but it must hold all the same.
    (SourceTable::StockItems, "stock_item_id", SourceTable::StockItemHoldings),
];

#[test]
fn foreign_keys_hold_at_the_end_of_every_transaction() {
    let changes = Reader::new().changes(&log(&plain(40_000)));
    let mut live: BTreeMap<(SourceTable, i64), Row> = BTreeMap::new();
    let mut pointed: HashMap<(SourceTable, i64), i64> = HashMap::new();
    let whole = changes.len()
        - changes
            .iter()
            .rev()
            .take_while(|c| c.transaction == changes[changes.len() - 1].transaction)
            .count();
    for transaction in changes[..whole].chunk_by(|a, b| a.transaction == b.transaction) {
        let mut touched = BTreeSet::new();
        for change in transaction {
            apply(change, &mut live);
            for (row, by) in [(&change.before, -1), (&change.after, 1)] {
                let Some(row) = row else { continue };
                for (_, column, target) in FOREIGN_KEYS.iter().filter(|(table, ..)| *table == change.table) {
                    let Some(_) = optional(get(row, column)) else { continue };
                    let target = (*target, long(get(row, column)));
                    *pointed.entry(target).or_default() += by;
                    touched.insert(target);
                }
            }
            touched.insert((change.table, i64::from(change.key)));
        }
        for target in touched {
            let by = pointed.get(&target).copied().unwrap_or(0);
            assert!(by == 0 || live.contains_key(&target), "{target:?} is missing and {by} rows point to it");
        }
    }
}

/// Applies a change as a database would: an inserted key must be new, a changed row must match.
fn apply(change: &Decoded, live: &mut BTreeMap<(SourceTable, i64), Row>) {
    let key = (change.table, i64::from(change.key));
    assert_eq!(live.get(&key), change.before.as_ref(), "{key:?}");
    match &change.after {
        Some(row) => drop(live.insert(key, row.clone())),
        None => drop(live.remove(&key)),
    }
}

#[test]
fn the_lifecycle_is_seen_whole() {
    let log = log(&plain(60_000));
    let changes = Reader::new().changes(&log);
    let ops = |table| {
        let mine = changes.iter().filter(move |change| change.table == table);
        mine.map(|change| change.op.as_str()).collect::<BTreeSet<_>>()
    };
    for table in [SourceTable::Customers, SourceTable::Orders, SourceTable::OrderLines] {
        assert_eq!(ops(table), BTreeSet::from(["c", "d", "u"]), "{}", table.name());
    }
    for table in [
        SourceTable::Invoices,
        SourceTable::CustomerTransactions,
        SourceTable::StockItemHoldings,
        SourceTable::CustomerCategories,
    ] {
        assert!(ops(table).is_superset(&BTreeSet::from(["c"])), "{}", table.name());
    }
    // Lines move to a backorder.
    let moved = changes.iter().filter(|change| change.table == SourceTable::OrderLines).any(|change| {
        matches!((&change.before, &change.after), (Some(a), Some(b)) if get(a, "order_id") != get(b, "order_id"))
    });
    assert!(moved);
    // Only existing stock is sold.
    let holdings = changes.iter().filter(|change| change.table == SourceTable::StockItemHoldings);
    assert!(
        holdings
            .filter_map(|change| change.after.as_ref())
            .all(|row| long(get(row, "quantity_on_hand")) >= 0)
    );
}

/// Orders per day, lines per order and the share of waiting lines are near the documented values.
#[test]
fn the_business_is_as_large_as_documented() {
    let summary = discard(&plain(400_000)).summary;
    let rows = |table: &str| summary.tables[table].live_rows as f64;
    let lines_an_order = rows("order_lines") / rows("orders");
    assert!((3.0..3.6).contains(&lines_an_order), "{lines_an_order}");
    let events_an_order = 400_000.0 / rows("orders");
    assert!((17.0..23.0).contains(&events_an_order), "{events_an_order}");
    let revenue: f64 = summary.totals.revenue.parse().expect("a number");
    assert!((1_500.0..4_500.0).contains(&(revenue / rows("orders"))), "{}", revenue / rows("orders"));
}
