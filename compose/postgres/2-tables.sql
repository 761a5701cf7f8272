-- The retailer's database: the twelve tables of `sources/wwi.yaml`, with the columns and types of `schemas/cdc/`.
-- Tables belong to `retailer`, who changes them; `lakepulse` reads them and their changes. Foreign keys are
-- left out, so that a workload may be applied in any order.

SET ROLE retailer;

CREATE SCHEMA application;
CREATE SCHEMA sales;
CREATE SCHEMA warehouse;

-- A state, with the sales territory it belongs to.
CREATE TABLE application.state_provinces (
    state_province_id          integer PRIMARY KEY,
    state_province_code        text NOT NULL,
    state_province_name        text NOT NULL,
    sales_territory            text NOT NULL,
    latest_recorded_population bigint,
    valid_from                 timestamptz NOT NULL
);
ALTER TABLE application.state_provinces REPLICA IDENTITY FULL;

-- A city that goods are delivered to.
CREATE TABLE application.cities (
    city_id                    integer PRIMARY KEY,
    city_name                  text NOT NULL,
    state_province_id          integer NOT NULL,
    latest_recorded_population bigint,
    valid_from                 timestamptz NOT NULL
);
ALTER TABLE application.cities REPLICA IDENTITY FULL;

-- What kind of shop a customer is.
CREATE TABLE sales.customer_categories (
    customer_category_id   integer PRIMARY KEY,
    customer_category_name text NOT NULL,
    valid_from             timestamptz NOT NULL
);
ALTER TABLE sales.customer_categories REPLICA IDENTITY FULL;

-- A chain that buys for its stores.
CREATE TABLE sales.buying_groups (
    buying_group_id   integer PRIMARY KEY,
    buying_group_name text NOT NULL,
    valid_from        timestamptz NOT NULL
);
ALTER TABLE sales.buying_groups REPLICA IDENTITY FULL;

-- A product.
CREATE TABLE warehouse.stock_items (
    stock_item_id            integer PRIMARY KEY,
    stock_item_name          text NOT NULL,
    color                    text,
    brand                    text,
    size                     text,
    lead_time_days           integer NOT NULL,
    quantity_per_outer       integer NOT NULL,
    is_chiller_stock         boolean NOT NULL,
    tax_rate                 numeric(18, 3) NOT NULL,
    unit_price               numeric(18, 2) NOT NULL,
    recommended_retail_price numeric(18, 2),
    typical_weight_per_unit  numeric(18, 3) NOT NULL,
    valid_from               timestamptz NOT NULL
);
ALTER TABLE warehouse.stock_items REPLICA IDENTITY FULL;

-- How much of a product lies in the warehouse.
CREATE TABLE warehouse.stock_item_holdings (
    stock_item_id           integer PRIMARY KEY,
    quantity_on_hand        integer NOT NULL,
    bin_location            text NOT NULL,
    last_stocktake_quantity integer NOT NULL,
    last_cost_price         numeric(18, 2) NOT NULL,
    reorder_level           integer NOT NULL,
    target_stock_level      integer NOT NULL,
    last_edited_when        timestamptz NOT NULL
);
ALTER TABLE warehouse.stock_item_holdings REPLICA IDENTITY FULL;

-- Who buys.
CREATE TABLE sales.customers (
    customer_id                  integer PRIMARY KEY,
    customer_name                text NOT NULL,
    bill_to_customer_id          integer NOT NULL,
    customer_category_id         integer NOT NULL,
    buying_group_id              integer,
    delivery_city_id             integer NOT NULL,
    credit_limit                 numeric(18, 2),
    account_opened_date          date NOT NULL,
    standard_discount_percentage numeric(18, 3) NOT NULL,
    is_on_credit_hold            boolean NOT NULL,
    payment_days                 integer NOT NULL,
    phone_number                 text NOT NULL,
    email                        text,
    website_url                  text NOT NULL,
    delivery_address_line        text NOT NULL,
    delivery_postal_code         text NOT NULL,
    valid_from                   timestamptz NOT NULL
);
ALTER TABLE sales.customers REPLICA IDENTITY FULL;

-- An order, or the backorder of what could not be picked.
CREATE TABLE sales.orders (
    order_id                       integer PRIMARY KEY,
    customer_id                    integer NOT NULL,
    salesperson_person_id          integer NOT NULL,
    picked_by_person_id            integer,
    backorder_order_id             integer,
    order_date                     date NOT NULL,
    expected_delivery_date         date NOT NULL,
    customer_purchase_order_number text,
    is_undersupply_backordered     boolean NOT NULL,
    picking_completed_when         timestamptz,
    last_edited_when               timestamptz NOT NULL
);
ALTER TABLE sales.orders REPLICA IDENTITY FULL;

-- A product in an order.
CREATE TABLE sales.order_lines (
    order_line_id          integer PRIMARY KEY,
    order_id               integer NOT NULL,
    customer_id            integer NOT NULL,
    stock_item_id          integer NOT NULL,
    description            text NOT NULL,
    quantity               integer NOT NULL,
    unit_price             numeric(18, 2) NOT NULL,
    tax_rate               numeric(18, 3) NOT NULL,
    picked_quantity        integer NOT NULL,
    picking_completed_when timestamptz,
    last_edited_when       timestamptz NOT NULL
);
ALTER TABLE sales.order_lines REPLICA IDENTITY FULL;

-- What was picked of an order, billed.
CREATE TABLE sales.invoices (
    invoice_id                     integer PRIMARY KEY,
    customer_id                    integer NOT NULL,
    bill_to_customer_id            integer NOT NULL,
    order_id                       integer,
    salesperson_person_id          integer NOT NULL,
    invoice_date                   date NOT NULL,
    customer_purchase_order_number text,
    is_credit_note                 boolean NOT NULL,
    total_dry_items                integer NOT NULL,
    total_chiller_items            integer NOT NULL,
    confirmed_delivery_time        timestamptz,
    confirmed_received_by          text,
    last_edited_when               timestamptz NOT NULL
);
ALTER TABLE sales.invoices REPLICA IDENTITY FULL;

-- A product in an invoice. `extended_price` includes tax.
CREATE TABLE sales.invoice_lines (
    invoice_line_id  integer PRIMARY KEY,
    invoice_id       integer NOT NULL,
    stock_item_id    integer NOT NULL,
    description      text NOT NULL,
    quantity         integer NOT NULL,
    unit_price       numeric(18, 2) NOT NULL,
    tax_rate         numeric(18, 3) NOT NULL,
    tax_amount       numeric(18, 2) NOT NULL,
    line_profit      numeric(18, 2) NOT NULL,
    extended_price   numeric(18, 2) NOT NULL,
    last_edited_when timestamptz NOT NULL
);
ALTER TABLE sales.invoice_lines REPLICA IDENTITY FULL;

-- An invoice or a payment on a customer's account.
CREATE TABLE sales.customer_transactions (
    customer_transaction_id integer PRIMARY KEY,
    customer_id             integer NOT NULL,
    transaction_type_id     integer NOT NULL,
    invoice_id              integer,
    payment_method_id       integer,
    transaction_date        date NOT NULL,
    amount_excluding_tax    numeric(18, 2) NOT NULL,
    tax_amount              numeric(18, 2) NOT NULL,
    transaction_amount      numeric(18, 2) NOT NULL,
    outstanding_balance     numeric(18, 2) NOT NULL,
    finalization_date       date,
    is_finalized            boolean NOT NULL,
    last_edited_when        timestamptz NOT NULL
);
ALTER TABLE sales.customer_transactions REPLICA IDENTITY FULL;

GRANT USAGE ON SCHEMA application, sales, warehouse TO lakepulse;
GRANT SELECT ON ALL TABLES IN SCHEMA application, sales, warehouse TO lakepulse;
ALTER DEFAULT PRIVILEGES IN SCHEMA application, sales, warehouse GRANT SELECT ON TABLES TO lakepulse;

RESET ROLE;
-- Made here, because only a superuser may publish whole schemas: the reader needs no more than its slot.
CREATE PUBLICATION lakepulse FOR TABLES IN SCHEMA application, sales, warehouse;
