//! The tables: Wide World Importers' own names and types, in snake case.
//!
//! Differences from the original, and their reasons: columns whose foreign key would leave these tables are
//! missing (people, suppliers, packages), except the ids of salespeople and pickers, which are plain numbers
//! 1 to 10 and 11 to 20. Geography and JSON columns are missing. `customers` has an `email`. `order_lines`
//! has the order's `customer_id`, so that orders and lines can be routed by customer from the row alone, as
//! with a real Debezium. An invoice has the two values that the original computes from its delivery JSON.

use crate::field::{Date, Field, Instant, Kind, Milli, Money, Text};
use crate::row::{Column, ColumnChange, TableRow, table};

/// A table of the source database, in an order where foreign keys point backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs, reason = "the tables are Wide World Importers' own")]
pub enum SourceTable {
    StateProvinces,
    Cities,
    CustomerCategories,
    BuyingGroups,
    StockItems,
    StockItemHoldings,
    Customers,
    Orders,
    OrderLines,
    Invoices,
    InvoiceLines,
    CustomerTransactions,
}

/// Number of tables.
pub const TABLES: usize = 12;

impl SourceTable {
    /// All tables, in the order of the enum.
    pub const ALL: [Self; TABLES] = [
        Self::StateProvinces,
        Self::Cities,
        Self::CustomerCategories,
        Self::BuyingGroups,
        Self::StockItems,
        Self::StockItemHoldings,
        Self::Customers,
        Self::Orders,
        Self::OrderLines,
        Self::Invoices,
        Self::InvoiceLines,
        Self::CustomerTransactions,
    ];
    /// Name of the table, of its stream in `sources/*.yaml` and of its silver table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StateProvinces => "state_provinces",
            Self::Cities => "cities",
            Self::CustomerCategories => "customer_categories",
            Self::BuyingGroups => "buying_groups",
            Self::StockItems => "stock_items",
            Self::StockItemHoldings => "stock_item_holdings",
            Self::Customers => "customers",
            Self::Orders => "orders",
            Self::OrderLines => "order_lines",
            Self::Invoices => "invoices",
            Self::InvoiceLines => "invoice_lines",
            Self::CustomerTransactions => "customer_transactions",
        }
    }
    /// Its schema in the source database.
    pub const fn schema(self) -> &'static str {
        match self {
            Self::StateProvinces | Self::Cities => "application",
            Self::StockItems | Self::StockItemHoldings => "warehouse",
            _ => "sales",
        }
    }
    /// Its columns, the primary key first.
    pub const fn columns(self) -> &'static [Column] {
        match self {
            Self::StateProvinces => StateProvince::COLUMNS,
            Self::Cities => City::COLUMNS,
            Self::CustomerCategories => CustomerCategory::COLUMNS,
            Self::BuyingGroups => BuyingGroup::COLUMNS,
            Self::StockItems => StockItem::COLUMNS,
            Self::StockItemHoldings => StockItemHolding::COLUMNS,
            Self::Customers => Customer::COLUMNS,
            Self::Orders => Order::COLUMNS,
            Self::OrderLines => OrderLine::COLUMNS,
            Self::Invoices => Invoice::COLUMNS,
            Self::InvoiceLines => InvoiceLine::COLUMNS,
            Self::CustomerTransactions => CustomerTransaction::COLUMNS,
        }
    }
    /// The primary key.
    pub const fn key(self) -> &'static str {
        self.columns()[0].name
    }
    /// The table of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }
}

table! {
    /// A state with its sales territory.
    StateProvince in StateProvinces {
        state_province_id: i32,
        state_province_code: Text,
        state_province_name: Text,
        sales_territory: Text,
        latest_recorded_population: Option<i64>,
        valid_from: Instant,
    }
}

table! {
    /// A city to which goods are delivered.
    City in Cities {
        city_id: i32,
        city_name: Text,
        state_province_id: i32,
        latest_recorded_population: Option<i64>,
        valid_from: Instant,
    }
}

table! {
    /// The kind of shop that a customer is.
    CustomerCategory in CustomerCategories {
        customer_category_id: i32,
        customer_category_name: Text,
        valid_from: Instant,
    }
}

table! {
    /// A chain that buys for its stores.
    BuyingGroup in BuyingGroups {
        buying_group_id: i32,
        buying_group_name: Text,
        valid_from: Instant,
    }
}

table! {
    /// A product.
    StockItem in StockItems {
        stock_item_id: i32,
        stock_item_name: Text,
        color: Option<Text>,
        brand: Option<Text>,
        size: Option<Text>,
        lead_time_days: i32,
        quantity_per_outer: i32,
        is_chiller_stock: bool,
        tax_rate: Milli,
        unit_price: Money,
        recommended_retail_price: Option<Money>,
        typical_weight_per_unit: Milli,
        valid_from: Instant,
    }
}

table! {
    /// The stock of a product in the warehouse.
    StockItemHolding in StockItemHoldings {
        stock_item_id: i32,
        quantity_on_hand: i32 [Widened],
        bin_location: Text,
        last_stocktake_quantity: i32,
        last_cost_price: Money,
        reorder_level: i32,
        target_stock_level: i32,
        last_edited_when: Instant,
    }
}

table! {
    /// A buyer.
    Customer in Customers {
        customer_id: i32,
        customer_name: Text,
        bill_to_customer_id: i32,
        customer_category_id: i32,
        buying_group_id: Option<i32>,
        delivery_city_id: i32,
        credit_limit: Option<Money>,
        account_opened_date: Date,
        standard_discount_percentage: Milli,
        is_on_credit_hold: bool,
        payment_days: i32,
        phone_number: Text,
        email: Option<Text>,
        website_url: Text,
        delivery_address_line: Text,
        delivery_postal_code: Text,
        valid_from: Instant,
        loyalty_tier: Option<Text> [Added],
    }
}

table! {
    /// An order, or the backorder of lines that could not be picked.
    Order in Orders {
        order_id: i32,
        customer_id: i32,
        salesperson_person_id: i32,
        picked_by_person_id: Option<i32>,
        backorder_order_id: Option<i32>,
        order_date: Date,
        expected_delivery_date: Date,
        customer_purchase_order_number: Option<Text>,
        is_undersupply_backordered: bool,
        picking_completed_when: Option<Instant>,
        last_edited_when: Instant,
    }
    route: customer_id;
}

table! {
    /// A product in an order.
    OrderLine in OrderLines {
        order_line_id: i32,
        order_id: i32,
        customer_id: i32,
        stock_item_id: i32,
        description: Text,
        quantity: i32,
        unit_price: Money,
        tax_rate: Milli,
        picked_quantity: i32,
        picking_completed_when: Option<Instant>,
        last_edited_when: Instant,
    }
    route: customer_id;
    revenue: |line| i64::from(line.quantity) * line.unit_price.0;
}

table! {
    /// The bill for the picked lines of an order.
    Invoice in Invoices {
        invoice_id: i32,
        customer_id: i32,
        bill_to_customer_id: i32,
        order_id: Option<i32>,
        salesperson_person_id: i32,
        invoice_date: Date,
        customer_purchase_order_number: Option<Text>,
        is_credit_note: bool,
        total_dry_items: i32,
        total_chiller_items: i32,
        confirmed_delivery_time: Option<Instant>,
        confirmed_received_by: Option<Text>,
        last_edited_when: Instant,
    }
}

table! {
    /// A product in an invoice. `extended_price` includes tax.
    InvoiceLine in InvoiceLines {
        invoice_line_id: i32,
        invoice_id: i32,
        stock_item_id: i32,
        description: Text,
        quantity: i32,
        unit_price: Money,
        tax_rate: Milli,
        tax_amount: Money,
        line_profit: Money,
        extended_price: Money,
        last_edited_when: Instant,
    }
}

table! {
    /// An invoice or a payment on a customer's account.
    CustomerTransaction in CustomerTransactions {
        customer_transaction_id: i32,
        customer_id: i32,
        transaction_type_id: i32,
        invoice_id: Option<i32>,
        payment_method_id: Option<i32>,
        transaction_date: Date,
        amount_excluding_tax: Money,
        tax_amount: Money,
        transaction_amount: Money,
        outstanding_balance: Money,
        finalization_date: Option<Date>,
        is_finalized: bool,
        last_edited_when: Instant,
    }
}
