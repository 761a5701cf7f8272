//! A day of business: orders come in, are picked, invoiced, paid and delivered.
//!
//! | time | what happens (one database transaction per order, invoice or payer) |
//! | --- | --- |
//! | 07:00 | goods arrive; deliveries of the day before are confirmed |
//! | 09:00 | accounts are opened, changed and closed; on the first of a month prices change |
//! | 10:00 | orders: customer, salesperson, 2 to 5 lines, products, 1 to 10 cartons, all drawn evenly |
//! | 10:40 | 1 % of them are cancelled, 1.5 % lose a line, 2 % change a quantity |
//! | 11:00 | picking: a line is picked when the warehouse has all of it |
//! | 11:30 | one payment per payer for the invoices of earlier days |
//! | 12:00 | invoicing; lines that could not be picked move to a backorder first |
//! | 13:00 | reorders from suppliers; 14:00 at the end of a quarter: stocktake |
//!
//! A day has 60 orders (a quarter of that on Saturday, none on Sunday), times a seasonal factor, a daily
//! factor of ±20 %, and 9 % more each year. One customer in 16 buys only in even quarters, so that segments
//! differ; otherwise every customer is equally likely.

use crate::calendar::{Weekday, civil};
use crate::field::{Instant, Text};
use crate::record::Recorder;
use crate::tables::{Order, OrderLine};
use crate::world::{OpenOrder, World, take};

const ORDERS_A_DAY: i64 = 60;
/// How busy each month is, in thousandths.
const SEASON: [i64; 12] = [1_010, 880, 990, 1_000, 1_040, 1_010, 1_130, 980, 960, 990, 950, 1_060];

impl World {
    /// Simulates the next day.
    pub fn day(&mut self, out: &mut Recorder) {
        let day = self.day;
        let weekday = day.weekday();
        self.yearly_changes(out);
        if weekday != Weekday::Sunday {
            self.receive_goods(out);
            self.confirm_deliveries(out);
            self.keep_accounts(weekday == Weekday::Work, out);
            self.change_prices(out);
            let new = self.open_orders.len();
            self.create_orders(weekday, out);
            self.change_orders(new, out);
            self.pick(out);
            self.pay(out);
            self.invoice(out);
            self.reorder();
        }
        self.take_stock(out);
        self.day = day.plus(1);
        if civil(self.day).1 == 1 && civil(self.day).2 == 1 {
            self.level = self.level * 109 / 100;
        }
    }

    fn create_orders(&mut self, weekday: Weekday, out: &mut Recorder) {
        let (_, month, _) = civil(self.day);
        let share = if weekday == Weekday::Saturday { 250 } else { 1_000 };
        let daily = i64::from(self.rng.between(800, 1_200));
        let thousandths = ORDERS_A_DAY * self.level / 1_000 * share * SEASON[usize::from(month) - 1] / 1_000
            * daily
            / 1_000;
        let orders = thousandths / 1_000;
        for n in 0..orders {
            let at = self.day.at(10, 0).plus_seconds(n * 2_400 / orders);
            let customer_id = self.draw_customer();
            let order = Order {
                order_id: take(&mut self.next.order),
                customer_id,
                salesperson_person_id: self.rng.between(1, 10),
                picked_by_person_id: None,
                backorder_order_id: None,
                order_date: self.day,
                expected_delivery_date: self.day.next_working_day(),
                customer_purchase_order_number: Some(Text::Digits(10_001 + self.rng.below(10_000))),
                is_undersupply_backordered: true,
                picking_completed_when: None,
                last_edited_when: at,
            };
            out.begin(at);
            out.insert(&order);
            let lines = self.draw_lines(&order, at);
            for line in &lines {
                out.insert(line);
            }
            self.open_orders.push(OpenOrder { order, lines });
        }
    }

    fn draw_customer(&mut self) -> i32 {
        let (_, month, _) = civil(self.day);
        let drawn = self.customers[self.rng.index(self.customers.len())].customer_id;
        let odd_quarter = (month - 1) / 3 % 2 == 0;
        if drawn % 16 == 5 && odd_quarter {
            return self.customers[self.rng.index(self.customers.len())].customer_id;
        }
        drawn
    }

    fn draw_lines(&mut self, order: &Order, at: Instant) -> Vec<OrderLine> {
        let mut lines: Vec<OrderLine> = Vec::with_capacity(5);
        for _ in 0..self.rng.between(2, 5) {
            let stock = self.rng.index(self.stock.len());
            let item = &self.stock[stock].item;
            if lines.iter().any(|line| line.stock_item_id == item.stock_item_id) {
                continue;
            }
            lines.push(OrderLine {
                order_line_id: take(&mut self.next.order_line),
                order_id: order.order_id,
                customer_id: order.customer_id,
                stock_item_id: item.stock_item_id,
                description: item.stock_item_name.clone(),
                quantity: item.quantity_per_outer * self.rng.between(1, 10),
                unit_price: item.unit_price,
                tax_rate: item.tax_rate,
                picked_quantity: 0,
                picking_completed_when: None,
                last_edited_when: at,
            });
        }
        lines
    }

    /// Cancels and changes some of the orders from index `new` on.
    fn change_orders(&mut self, new: usize, out: &mut Recorder) {
        let mut at = self.day.at(10, 40);
        let mut kept = Vec::with_capacity(self.open_orders.len() - new);
        for mut open in self.open_orders.drain(new..).collect::<Vec<_>>() {
            let drawn = self.rng.below(1_000);
            if drawn < 45 {
                at = at.plus_seconds(7);
                out.begin(at);
            }
            match drawn {
                0..10 => {
                    open.lines.iter().for_each(|line| out.delete(line));
                    out.delete(&open.order);
                    continue;
                }
                10..25 if open.lines.len() > 1 => {
                    let line = open.lines.remove(self.rng.index(open.lines.len()));
                    out.delete(&line);
                }
                25..45 => {
                    let line = self.rng.index(open.lines.len());
                    let line = &mut open.lines[line];
                    let before = line.clone();
                    let cartons =
                        before.quantity / self.stock[line.stock_item_id as usize - 1].item.quantity_per_outer;
                    line.quantity = before.quantity / cartons * (cartons % 10 + 1);
                    line.last_edited_when = at;
                    out.update(&before, line);
                }
                _ => {}
            }
            kept.push(open);
        }
        self.open_orders.append(&mut kept);
    }

    fn pick(&mut self, out: &mut Recorder) {
        let mut at = self.day.at(11, 0);
        for stock in &mut self.stock {
            stock.missing = 0;
        }
        for open in &mut self.open_orders {
            let mut begun = false;
            for line in open.lines.iter_mut().filter(|line| line.picking_completed_when.is_none()) {
                let stock = &mut self.stock[line.stock_item_id as usize - 1];
                if stock.holding.quantity_on_hand - stock.reserved < line.quantity {
                    stock.missing += line.quantity;
                    continue;
                }
                if !begun {
                    at = at.plus_seconds(1);
                    out.begin(at);
                    begun = true;
                }
                stock.reserved += line.quantity;
                let before = line.clone();
                line.picked_quantity = line.quantity;
                line.picking_completed_when = Some(at);
                line.last_edited_when = at;
                out.update(&before, line);
            }
            if begun && open.lines.iter().all(|line| line.picking_completed_when.is_some()) {
                let before = open.order.clone();
                open.order.picked_by_person_id = Some(self.rng.between(11, 20));
                open.order.picking_completed_when = Some(at);
                open.order.last_edited_when = at;
                out.update(&before, &open.order);
            }
        }
    }
}
