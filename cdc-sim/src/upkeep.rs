//! Events beside the orders: goods and deliveries, prices, and changes of reference rows on fixed dates.

use crate::calendar::{Weekday, civil, date};
use crate::field::{Date, Money, Text};
use crate::record::Recorder;
use crate::reference::FIRST_NAMES;
use crate::tables::CustomerCategory;
use crate::world::{Shipment, World, retail_price};

/// `Retailer` is added on this day, and renamed a quarter of an hour later.
const RETAILER_DAY: Date = date(2013, 2, 1);
/// The chocolates arrive on this day.
const CHOCOLATE_DAY: Date = date(2016, 1, 4);

impl World {
    pub(crate) fn receive_goods(&mut self, out: &mut Recorder) {
        let mut at = self.day.at(7, 0);
        let day = self.day;
        let (arrived, due): (Vec<Shipment>, Vec<Shipment>) =
            std::mem::take(&mut self.shipments).into_iter().partition(|shipment| shipment.due <= day);
        self.shipments = due;
        for shipment in arrived {
            at = at.plus_seconds(5);
            let cost_moves = self.rng.per_mille(50).then(|| i64::from(self.rng.between(-3, 3)));
            let stock = &mut self.stock[shipment.stock];
            let before = stock.holding.clone();
            stock.on_order -= shipment.quantity;
            stock.holding.quantity_on_hand += shipment.quantity;
            if let Some(percent) = cost_moves {
                stock.holding.last_cost_price.0 += before.last_cost_price.0 * percent / 100;
            }
            stock.holding.last_edited_when = at;
            out.begin(at);
            out.update(&before, &stock.holding);
        }
    }

    /// Confirms deliveries. One in ten finds nobody there and is tried again the next day.
    pub(crate) fn confirm_deliveries(&mut self, out: &mut Recorder) {
        let mut at = self.day.at(7, 30);
        for before in std::mem::take(&mut self.undelivered) {
            if self.rng.per_mille(100) {
                self.undelivered.push(before);
                continue;
            }
            at = at.plus_seconds(4);
            let mut after = before.clone();
            after.confirmed_delivery_time = Some(at);
            after.confirmed_received_by = Some(Text::from(*self.rng.pick(&FIRST_NAMES)));
            after.last_edited_when = at;
            out.begin(at);
            out.update(&before, &after);
        }
    }

    /// Changes the price of six products on the first of a month, if it is a working day.
    pub(crate) fn change_prices(&mut self, out: &mut Recorder) {
        if self.day.weekday() != Weekday::Work || civil(self.day).2 != 1 {
            return;
        }
        let mut at = self.day.at(9, 45);
        for _ in 0..6 {
            at = at.plus_seconds(30);
            let stock = self.rng.index(self.stock.len());
            let percent = i64::from(self.rng.between(97, 105));
            let item = &mut self.stock[stock].item;
            let before = item.clone();
            item.unit_price = Money((before.unit_price.0 * percent + 50) / 100);
            item.recommended_retail_price = Some(Money(retail_price(item.unit_price.0)));
            item.valid_from = at;
            out.begin(at);
            out.update(&before, item);
        }
    }

    /// Orders from suppliers up to the target level, if stock and incoming goods do not cover the reorder
    /// level.
    pub(crate) fn reorder(&mut self) {
        for (i, stock) in self.stock.iter_mut().enumerate() {
            let coming = stock.holding.quantity_on_hand - stock.reserved + stock.on_order - stock.missing;
            if coming >= stock.holding.reorder_level {
                continue;
            }
            let outer = stock.item.quantity_per_outer;
            let quantity = (stock.holding.target_stock_level - coming + outer - 1) / outer * outer;
            stock.on_order += quantity;
            let due = self.day.plus(stock.item.lead_time_days);
            self.shipments.push(Shipment { due, stock: i, quantity });
        }
    }

    /// Counts all holdings at the end of each quarter, and raises the levels with the demand.
    pub(crate) fn take_stock(&mut self, out: &mut Recorder) {
        if !matches!(civil(self.day), (_, 1 | 7 | 10, 31) | (_, 4, 30)) {
            return;
        }
        let at = self.day.at(14, 0);
        out.begin(at);
        for stock in &mut self.stock {
            let before = stock.holding.clone();
            // One count in eight finds slightly more or less, but never less than what is reserved.
            let found = if self.rng.per_mille(125) { self.rng.between(-2, 2) } else { 0 };
            let holding = &mut stock.holding;
            holding.quantity_on_hand = (before.quantity_on_hand + found).max(stock.reserved);
            holding.last_stocktake_quantity = holding.quantity_on_hand;
            holding.reorder_level += holding.reorder_level * 22 / 1_000;
            holding.target_stock_level += holding.target_stock_level * 22 / 1_000;
            holding.last_edited_when = at;
            out.update(&before, &stock.holding);
        }
    }

    /// Changes on fixed dates.
    pub(crate) fn yearly_changes(&mut self, out: &mut Recorder) {
        let at = self.day.at(6, 0);
        if self.day == RETAILER_DAY {
            let before = CustomerCategory {
                customer_category_id: self.categories.len() as i32 + 1,
                customer_category_name: "Retailer".into(),
                valid_from: at,
            };
            out.begin(at);
            out.insert(&before);
            let at = at.plus_seconds(900);
            let after = CustomerCategory {
                customer_category_name: "General Retailer".into(),
                valid_from: at,
                ..before.clone()
            };
            out.begin(at);
            out.update(&before, &after);
            self.categories.push(after);
        }
        if self.day == CHOCOLATE_DAY {
            self.stock_new_items(8, at, out);
        }
        let (_, month, of_month) = civil(self.day);
        if (month, of_month) == (7, 1) {
            self.raise_limits(out);
            self.count_people(out);
        }
    }

    /// All populations grow by 4 %.
    fn count_people(&mut self, out: &mut Recorder) {
        let at = self.day.at(6, 30);
        let grown = |people: Option<i64>| people.map(|n| n + n * 4 / 100);
        out.begin(at);
        for row in &mut self.states {
            let before = row.clone();
            row.latest_recorded_population = grown(before.latest_recorded_population);
            row.valid_from = at;
            out.update(&before, row);
        }
        for row in &mut self.cities {
            let before = row.clone();
            row.latest_recorded_population = grown(before.latest_recorded_population);
            row.valid_from = at;
            out.update(&before, row);
        }
    }
}
