/* lakepulse
kind: scd1
keys: [order_id]
description: Orders in a partition a month, with a change feed.
partition_by: [order_month]
cluster_by: [customer_id]
change_feed: on
*/
SELECT
    order_id,
    customer_id,
    order_date,
    to_char(order_date, '%Y-%m') AS order_month,
    picking_completed_when,
    last_edited_when
FROM changes(bronze.cdc_orders)
