/* lakepulse
kind: append
description: Every change of an order, as it happened. A deleted order has its key alone.
columns:
  change: { description: "c created, u updated, d deleted" }
*/
SELECT
    order_id,
    _op AS change,
    _ts AS happened_at,
    customer_id,
    order_date,
    backorder_order_id,
    picking_completed_when
FROM changes(bronze.cdc_orders)
