//! Customers' accounts: opened, changed, and closed again if opened by mistake.

use crate::field::{Instant, Milli, Money, Text};
use crate::record::Recorder;
use crate::reference::{
    CUSTOMERS_BY_CATEGORY, CUSTOMERS_BY_TERRITORY, FIRST_NAMES, GROUPS, LAST_NAMES, STATES,
};
use crate::tables::Customer;
use crate::world::World;

/// Number of stores of both chains; further accounts belong to single customers.
const STORES: usize = 402;
/// Accounts that the chains open per working day, until all their stores have one.
const STORES_A_DAY: usize = 4;

impl World {
    /// Opens the next account: the chains' stores in turn, head offices first, then single customers. One in
    /// 25 is a mistake and is closed again without an order.
    pub(crate) fn open_account(&mut self, at: Instant, out: &mut Recorder) {
        let n = self.accounts_opened;
        self.accounts_opened += 1;
        let city = self.draw_city();
        let group = (n < STORES).then_some(n % 2);
        let (head, id) = match group {
            Some(group) => (1 + 400 * group as i32, 1 + 400 * group as i32 + (n / 2) as i32),
            None => (801 + (n - STORES) as i32, 801 + (n - STORES) as i32),
        };
        let (name, mail, site) = match group {
            Some(group) => {
                let (chain, domain) = GROUPS[group];
                let name = if id == head {
                    format!("{chain} (Head Office)")
                } else {
                    format!(
                        "{chain} ({}, {}) {}",
                        text(&self.cities[city].city_name),
                        STATES[self.state_of(city)].0,
                        n / 2
                    )
                };
                (name, format!("store{id}@{domain}.com"), format!("http://www.{domain}.com/store{id}"))
            }
            None => {
                let (first, last) = (*self.rng.pick(&FIRST_NAMES), *self.rng.pick(&LAST_NAMES));
                let address = format!("{}.{}", first.to_lowercase(), last.to_lowercase().replace(' ', ""));
                (
                    format!("{first} {last} {id}"),
                    format!("{address}{id}@example.com"),
                    format!("http://www.example.com/{address}{id}"),
                )
            }
        };
        let mut weights = CUSTOMERS_BY_CATEGORY.to_vec();
        // The category that is added while the log runs.
        weights.resize(self.categories.len(), 20);
        let has_mail = !self.rng.per_mille(100);
        let row = Customer {
            customer_id: id,
            customer_name: name.into(),
            bill_to_customer_id: head,
            customer_category_id: self.rng.weighted(&weights) as i32 + 1,
            buying_group_id: group.map(|group| group as i32 + 1),
            delivery_city_id: city as i32 + 1,
            credit_limit: group
                .is_none()
                .then(|| Money(i64::from(1_000 + 100 * self.rng.between(1, 30)) * 100)),
            account_opened_date: self.day,
            standard_discount_percentage: Milli(0),
            is_on_credit_hold: false,
            payment_days: 7,
            phone_number: self.draw_phone(),
            email: has_mail.then(|| mail.into()),
            website_url: site.into(),
            delivery_address_line: self.draw_address(),
            delivery_postal_code: Text::Digits(90_000 + self.rng.below(1_000)),
            valid_from: at,
            loyalty_tier: None,
        };
        out.begin(at);
        let row = with_tier(row, out);
        out.insert(&row);
        if id != head && self.rng.per_mille(40) {
            self.mistakes.push((self.day.plus(self.rng.between(1, 6)), row));
        } else {
            self.customers.push(row);
        }
    }

    fn draw_city(&mut self) -> usize {
        let territory = self.rng.weighted(&CUSTOMERS_BY_TERRITORY);
        let states: Vec<usize> = (0..STATES.len()).filter(|s| STATES[*s].2 as usize == territory).collect();
        let state = *self.rng.pick(&states);
        state * 3 + self.rng.index(3)
    }
    fn state_of(&self, city: usize) -> usize {
        city / 3
    }
    /// A telephone number that nobody has.
    pub(crate) fn draw_phone(&mut self) -> Text {
        format!("({}) 555-01{:02}", self.rng.between(201, 989), self.rng.below(100)).into()
    }
    /// A street address.
    pub(crate) fn draw_address(&mut self) -> Text {
        let street = *self.rng.pick(&LAST_NAMES);
        let kind = *self.rng.pick(&["Street", "Avenue", "Road", "Boulevard"]);
        format!("{} {street} {kind}", self.rng.between(1, 1999)).into()
    }

    /// The morning's changes of accounts.
    pub(crate) fn keep_accounts(&mut self, working_day: bool, out: &mut Recorder) {
        let mut at = self.day.at(9, 0);
        let day = self.day;
        let (closed, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.mistakes).into_iter().partition(|(due, _)| *due <= day);
        self.mistakes = kept;
        for (_, customer) in closed {
            at = at.plus_seconds(20);
            out.begin(at);
            out.delete(&customer);
        }
        if !working_day {
            return;
        }
        let stores_left = STORES.saturating_sub(self.accounts_opened).min(STORES_A_DAY);
        let opened = if stores_left > 0 { stores_left } else { usize::from(self.rng.per_mille(250)) };
        for _ in 0..opened {
            at = at.plus_seconds(60);
            self.open_account(at, out);
        }
        for _ in 0..2 {
            at = at.plus_seconds(45);
            self.change_account(at, out);
        }
    }

    fn change_account(&mut self, at: Instant, out: &mut Recorder) {
        let row = self.rng.index(self.customers.len());
        let before = self.customers[row].clone();
        let mut after = before.clone();
        match self.rng.below(4) {
            0 => after.phone_number = self.draw_phone(),
            1 => after.delivery_address_line = self.draw_address(),
            2 => after.is_on_credit_hold = !before.is_on_credit_hold,
            _ => after.standard_discount_percentage.0 = i64::from(self.rng.below(11)) * 500,
        }
        after.valid_from = at;
        out.begin(at);
        let after = with_tier(after, out);
        out.update(&before, &after);
        self.customers[row] = after;
    }

    /// Raises the credit limit of up to 20 customers by 5 %.
    pub(crate) fn raise_limits(&mut self, out: &mut Recorder) {
        let mut at = self.day.at(6, 10);
        for _ in 0..20 {
            let row = self.rng.index(self.customers.len());
            let before = self.customers[row].clone();
            let Some(limit) = before.credit_limit else { continue };
            at = at.plus_seconds(15);
            let mut after = before.clone();
            after.credit_limit = Some(Money((limit.0 * 105 + 50) / 100));
            after.valid_from = at;
            out.begin(at);
            let after = with_tier(after, out);
            out.update(&before, &after);
            self.customers[row] = after;
        }
    }
}

/// The row in the shape of the open transaction: with its loyalty tier once the column exists.
pub(crate) fn with_tier(mut row: Customer, out: &Recorder) -> Customer {
    if out.shape().column {
        row.loyalty_tier = [Some("gold"), Some("silver"), Some("bronze"), None][row.customer_id as usize % 4]
            .map(Text::from);
    }
    row
}

fn text(text: &Text) -> &str {
    match text {
        Text::Static(text) => text,
        Text::Shared(text) => text,
        Text::Digits(_) => "",
    }
}
