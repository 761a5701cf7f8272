/* lakepulse
kind: scd1
keys: [order_id]
description: Orders and backorders.
expect:
  has_customer: { not_null: [customer_id], else: quarantine }
  delivered_after_ordered: { valid: expected_delivery_date >= order_date, else: quarantine }
freshness: 5m
*/
SELECT
    order_id,
    customer_id,
    salesperson_person_id,
    picked_by_person_id,
    backorder_order_id,
    order_date,
    expected_delivery_date,
    trim(customer_purchase_order_number) AS customer_purchase_order_number,
    is_undersupply_backordered,
    picking_completed_when,
    last_edited_when
FROM changes(bronze.cdc_orders)
