//! The simulated retailer between two transactions: the rows of its tables that can still change.
//!
//! Rows that never change again (invoiced orders, delivered invoices, paid transactions) are dropped, so the
//! world does not grow with the log.

use std::collections::BTreeMap;

use crate::calendar::date;
use crate::field::{Date, Instant, Milli, Money, Text};
use crate::items::{self, BASE_ITEMS, Item};
use crate::record::Recorder;
use crate::reference::{CATEGORIES, GROUPS, STATES};
use crate::rng::Rng;
use crate::tables::{
    BuyingGroup, City, Customer, CustomerCategory, CustomerTransaction, Invoice, Order, OrderLine,
    StateProvince, StockItem, StockItemHolding,
};

/// The first day of business.
pub const FIRST_DAY: Date = date(2013, 1, 1);
/// Accounts that exist before the first order.
const FIRST_ACCOUNTS: usize = 60;

/// The retailer's state.
#[derive(Debug)]
pub struct World {
    pub(crate) rng: Rng,
    /// The next day to simulate.
    pub(crate) day: Date,
    /// Orders on a usual day, in thousandths of a day in the first year.
    pub(crate) level: i64,
    pub(crate) states: Vec<StateProvince>,
    pub(crate) cities: Vec<City>,
    pub(crate) categories: Vec<CustomerCategory>,
    pub(crate) stock: Vec<Stock>,
    /// Incoming goods from suppliers.
    pub(crate) shipments: Vec<Shipment>,
    /// Customers who may order.
    pub(crate) customers: Vec<Customer>,
    /// Accounts opened by mistake; each is closed on its day, without an order.
    pub(crate) mistakes: Vec<(Date, Customer)>,
    pub(crate) accounts_opened: usize,
    /// Orders not invoiced yet, oldest first.
    pub(crate) open_orders: Vec<OpenOrder>,
    /// Invoices whose delivery is not confirmed.
    pub(crate) undelivered: Vec<Invoice>,
    /// Unpaid invoices, by payer.
    pub(crate) unpaid: BTreeMap<i32, Vec<CustomerTransaction>>,
    pub(crate) next: NextIds,
    to_come: Vec<Item>,
}

/// A product in the warehouse.
#[derive(Debug)]
pub struct Stock {
    pub(crate) item: StockItem,
    pub(crate) holding: StockItemHolding,
    /// Picked and not yet shipped.
    pub(crate) reserved: i32,
    /// Ordered from the supplier.
    pub(crate) on_order: i32,
    /// In order lines that could not be picked.
    pub(crate) missing: i32,
}

/// Incoming goods.
#[derive(Debug)]
pub struct Shipment {
    pub(crate) due: Date,
    pub(crate) stock: usize,
    pub(crate) quantity: i32,
}

/// An order with its lines.
#[derive(Debug)]
pub struct OpenOrder {
    pub(crate) order: Order,
    pub(crate) lines: Vec<OrderLine>,
}

/// The database's sequences.
#[derive(Debug)]
pub struct NextIds {
    pub(crate) order: i32,
    pub(crate) order_line: i32,
    pub(crate) invoice: i32,
    pub(crate) invoice_line: i32,
    /// Has gaps, because the stock movements that share it are not a table here.
    pub(crate) transaction: i32,
}

/// Returns the number and increments it.
pub(crate) fn take(next: &mut i32) -> i32 {
    let id = *next;
    *next += 1;
    id
}

impl World {
    /// The retailer before its first day.
    pub fn new(seed: u64) -> Self {
        let mut all = items::all();
        let to_come = all.split_off(BASE_ITEMS);
        let mut world = Self {
            rng: Rng::new(seed),
            day: FIRST_DAY,
            level: 1_000,
            states: Vec::new(),
            cities: Vec::new(),
            categories: Vec::new(),
            stock: Vec::new(),
            shipments: Vec::new(),
            customers: Vec::new(),
            mistakes: Vec::new(),
            accounts_opened: 0,
            open_orders: Vec::new(),
            undelivered: Vec::new(),
            unpaid: BTreeMap::new(),
            next: NextIds { order: 1, order_line: 1, invoice: 1, invoice_line: 1, transaction: 1 },
            to_come: all,
        };
        world.to_come.extend(to_come);
        world
    }

    /// Inserts the initial rows of the database.
    pub fn open(&mut self, out: &mut Recorder) {
        let at = FIRST_DAY.at(0, 0);
        self.open_places(at, out);
        out.begin(at.plus_seconds(60));
        for (i, name) in CATEGORIES.into_iter().enumerate() {
            let row = CustomerCategory {
                customer_category_id: i as i32 + 1,
                customer_category_name: name.into(),
                valid_from: at,
            };
            out.insert(&row);
            self.categories.push(row);
        }
        for (i, (name, _)) in GROUPS.into_iter().enumerate() {
            out.insert(&BuyingGroup {
                buying_group_id: i as i32 + 1,
                buying_group_name: name.into(),
                valid_from: at,
            });
        }
        self.stock_new_items(BASE_ITEMS, at.plus_seconds(120), out);
        for i in 0..FIRST_ACCOUNTS {
            self.open_account(at.plus_seconds(3_600 + 10 * i as i64), out);
        }
    }

    fn open_places(&mut self, at: Instant, out: &mut Recorder) {
        out.begin(at);
        for (i, (code, name, territory, _)) in STATES.into_iter().enumerate() {
            let row = StateProvince {
                state_province_id: i as i32 + 1,
                state_province_code: code.into(),
                state_province_name: name.into(),
                sales_territory: territory.name().into(),
                latest_recorded_population: Some(i64::from(self.rng.between(560, 39_000)) * 1_000),
                valid_from: at,
            };
            out.insert(&row);
            self.states.push(row);
        }
        out.begin(at.plus_seconds(30));
        for (state, (.., cities)) in STATES.into_iter().enumerate() {
            for name in cities {
                let known = !self.rng.per_mille(60);
                let row = City {
                    city_id: self.cities.len() as i32 + 1,
                    city_name: name.into(),
                    state_province_id: state as i32 + 1,
                    latest_recorded_population: known.then(|| i64::from(self.rng.between(40, 60_000))),
                    valid_from: at.plus_seconds(30),
                };
                out.insert(&row);
                self.cities.push(row);
            }
        }
    }

    /// Adds the next `n` products to the range, with one transaction each for product and holding.
    pub(crate) fn stock_new_items(&mut self, n: usize, at: Instant, out: &mut Recorder) {
        for (i, kind) in self.to_come.drain(..n.min(self.to_come.len())).enumerate() {
            let at = at.plus_seconds(10 * i as i64);
            let id = self.stock.len() as i32 + 1;
            let item = StockItem {
                stock_item_id: id,
                stock_item_name: kind.name().into(),
                color: kind.color.map(Text::from),
                brand: kind.brand.map(Text::from),
                size: kind.size.map(Text::from),
                lead_time_days: kind.lead_days,
                quantity_per_outer: kind.per_outer,
                is_chiller_stock: kind.chilled,
                tax_rate: Milli(kind.tax()),
                unit_price: Money(kind.price),
                recommended_retail_price: Some(Money(retail_price(kind.price))),
                typical_weight_per_unit: Milli(kind.grams),
                valid_from: at,
            };
            // Demand is about five cartons a day. Levels cover the supplier's lead time; the original's (2 to
            // 200 pieces) would leave nearly every line waiting.
            let daily = 5 * kind.per_outer * (self.level / 1_000).max(1) as i32;
            let reorder = daily * kind.lead_days;
            let target = reorder + daily * 14;
            let aisle = ["K", "K", "K", "D", "D", "J", "L"][id as usize % 7];
            let holding = StockItemHolding {
                stock_item_id: id,
                quantity_on_hand: target - self.rng.between(0, daily * 7),
                bin_location: format!("{aisle}-{}", id % 23 + 1).into(),
                last_stocktake_quantity: target,
                last_cost_price: Money((kind.price * i64::from(self.rng.between(25, 62)) + 50) / 100),
                reorder_level: reorder,
                target_stock_level: target,
                last_edited_when: at,
            };
            out.begin(at);
            out.insert(&item);
            out.insert(&holding);
            self.stock.push(Stock { item, holding, reserved: 0, on_order: 0, missing: 0 });
        }
    }
}

/// A shop's price for a product: about half as much again.
pub(crate) fn retail_price(price: i64) -> i64 {
    (price * 1_495 + 500) / 1_000
}
