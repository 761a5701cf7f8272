/* lakepulse
kind: scd1
keys: [invoice_id]
description: What was picked of an order, billed.
expect:
  has_customer: { not_null: [customer_id, bill_to_customer_id], else: quarantine }
*/
SELECT
    invoice_id,
    customer_id,
    bill_to_customer_id,
    order_id,
    salesperson_person_id,
    invoice_date,
    trim(customer_purchase_order_number) AS customer_purchase_order_number,
    is_credit_note,
    total_dry_items,
    total_chiller_items,
    confirmed_delivery_time,
    trim(confirmed_received_by) AS confirmed_received_by,
    last_edited_when
FROM changes(bronze.cdc_invoices)
