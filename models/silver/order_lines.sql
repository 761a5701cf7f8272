/* lakepulse
kind: scd1
keys: [order_line_id]
description: Products in orders. Revenue is quantity times unit price, without tax.
expect:
  has_order: { not_null: [order_id, customer_id, stock_item_id], else: quarantine }
  sells_something: { valid: quantity > 0 AND unit_price >= 0, else: quarantine }
  picked_at_most_all: { valid: picked_quantity BETWEEN 0 AND quantity, else: warn }
freshness: 5m
*/
SELECT
    order_line_id,
    order_id,
    customer_id,
    stock_item_id,
    trim(description) AS description,
    quantity,
    unit_price,
    tax_rate,
    picked_quantity,
    picking_completed_when,
    last_edited_when
FROM changes(bronze.cdc_order_lines)
