//! Invoices and payments: picked lines are billed, and paid the day after.

use crate::field::{Instant, Money};
use crate::record::Recorder;
use crate::tables::{CustomerTransaction, Invoice, InvoiceLine, Order, OrderLine};
use crate::world::{OpenOrder, World, take};

/// Transaction types and the payment method, with their ids in Wide World Importers.
const INVOICE: i32 = 1;
const PAYMENT: i32 = 3;
const BANK_TRANSFER: i32 = 4;

impl World {
    /// One payment per payer for all its invoices of earlier days.
    pub(crate) fn pay(&mut self, out: &mut Recorder) {
        let mut at = self.day.at(11, 30);
        for (payer, invoices) in std::mem::take(&mut self.unpaid) {
            at = at.plus_seconds(2);
            out.begin(at);
            let total: i64 = invoices.iter().map(|row| row.outstanding_balance.0).sum();
            out.insert(&CustomerTransaction {
                customer_transaction_id: take(&mut self.next.transaction),
                customer_id: payer,
                transaction_type_id: PAYMENT,
                invoice_id: None,
                payment_method_id: Some(BANK_TRANSFER),
                transaction_date: self.day,
                amount_excluding_tax: Money(0),
                tax_amount: Money(0),
                transaction_amount: Money(-total),
                outstanding_balance: Money(0),
                finalization_date: Some(self.day),
                is_finalized: true,
                last_edited_when: at,
            });
            for before in invoices {
                let mut after = before.clone();
                after.outstanding_balance = Money(0);
                after.finalization_date = Some(self.day);
                after.is_finalized = true;
                after.last_edited_when = at;
                out.update(&before, &after);
            }
        }
    }

    /// Bills picked lines, and moves the others to backorders.
    pub(crate) fn invoice(&mut self, out: &mut Recorder) {
        let mut at = self.day.at(12, 0);
        let mut waiting = Vec::new();
        for open in std::mem::take(&mut self.open_orders) {
            let picked = open.lines.iter().filter(|line| line.picking_completed_when.is_some()).count();
            if picked == 0 {
                waiting.push(open);
                continue;
            }
            at = at.plus_seconds(3);
            let OpenOrder { mut order, lines } = open;
            let (lines, unpicked): (Vec<_>, Vec<_>) =
                lines.into_iter().partition(|line| line.picking_completed_when.is_some());
            if !unpicked.is_empty() {
                out.begin(at);
                let backorder = self.split(&mut order, unpicked, at, out);
                waiting.push(backorder);
                at = at.plus_seconds(1);
            }
            out.begin(at);
            self.bill(&order, &lines, at, out);
        }
        self.open_orders = waiting;
    }

    /// Moves the lines that could not be picked to a new order.
    fn split(
        &mut self,
        order: &mut Order,
        mut lines: Vec<OrderLine>,
        at: Instant,
        out: &mut Recorder,
    ) -> OpenOrder {
        let backorder = Order {
            order_id: take(&mut self.next.order),
            order_date: self.day,
            expected_delivery_date: self.day.next_working_day(),
            picked_by_person_id: None,
            backorder_order_id: None,
            picking_completed_when: None,
            last_edited_when: at,
            ..order.clone()
        };
        out.insert(&backorder);
        for line in &mut lines {
            let before = line.clone();
            line.order_id = backorder.order_id;
            line.last_edited_when = at;
            out.update(&before, line);
        }
        let before = order.clone();
        order.backorder_order_id = Some(backorder.order_id);
        order.picked_by_person_id = Some(self.rng.between(11, 20));
        order.picking_completed_when = Some(at);
        order.last_edited_when = at;
        out.update(&before, order);
        OpenOrder { order: backorder, lines }
    }

    fn bill(&mut self, order: &Order, lines: &[OrderLine], at: Instant, out: &mut Recorder) {
        let customer = self.customers.iter().find(|row| row.customer_id == order.customer_id);
        let payer = customer.map_or(order.customer_id, |row| row.bill_to_customer_id);
        let chilled = |line: &&OrderLine| self.stock[line.stock_item_id as usize - 1].item.is_chiller_stock;
        let chiller_items = lines.iter().filter(chilled).count() as i32;
        let invoice = Invoice {
            invoice_id: take(&mut self.next.invoice),
            customer_id: order.customer_id,
            bill_to_customer_id: payer,
            order_id: Some(order.order_id),
            salesperson_person_id: order.salesperson_person_id,
            invoice_date: self.day,
            customer_purchase_order_number: order.customer_purchase_order_number.clone(),
            is_credit_note: false,
            total_dry_items: lines.len() as i32 - chiller_items,
            total_chiller_items: chiller_items,
            confirmed_delivery_time: None,
            confirmed_received_by: None,
            last_edited_when: at,
        };
        out.insert(&invoice);
        let (mut goods, mut tax) = (0, 0);
        for line in lines {
            let stock = &mut self.stock[line.stock_item_id as usize - 1];
            let quantity = i64::from(line.quantity);
            let price = quantity * line.unit_price.0;
            let tax_amount = (price * line.tax_rate.0 + 50_000) / 100_000;
            out.insert(&InvoiceLine {
                invoice_line_id: take(&mut self.next.invoice_line),
                invoice_id: invoice.invoice_id,
                stock_item_id: line.stock_item_id,
                description: line.description.clone(),
                quantity: line.quantity,
                unit_price: line.unit_price,
                tax_rate: line.tax_rate,
                tax_amount: Money(tax_amount),
                line_profit: Money(quantity * (line.unit_price.0 - stock.holding.last_cost_price.0)),
                extended_price: Money(price + tax_amount),
                last_edited_when: at,
            });
            let before = stock.holding.clone();
            stock.reserved -= line.quantity;
            stock.holding.quantity_on_hand -= line.quantity;
            stock.holding.last_edited_when = at;
            out.update(&before, &stock.holding);
            goods += price;
            tax += tax_amount;
            // The next id goes to the stock movement, which is not a table here.
            self.next.transaction += 1;
        }
        let transaction = CustomerTransaction {
            customer_transaction_id: take(&mut self.next.transaction),
            customer_id: payer,
            transaction_type_id: INVOICE,
            invoice_id: Some(invoice.invoice_id),
            payment_method_id: None,
            transaction_date: self.day,
            amount_excluding_tax: Money(goods),
            tax_amount: Money(tax),
            transaction_amount: Money(goods + tax),
            outstanding_balance: Money(goods + tax),
            finalization_date: None,
            is_finalized: false,
            last_edited_when: at,
        };
        out.insert(&transaction);
        self.unpaid.entry(payer).or_default().push(transaction);
        self.undelivered.push(invoice);
    }
}
