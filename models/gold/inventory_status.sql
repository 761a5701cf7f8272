/* lakepulse
kind: table
keys: [stock_item_id]
description: What lies in the warehouse, how long it lasts, and what to order.
publish: lakepulse.gold.inventory_status
tick: 1d
freshness: 15m
expect:
  stock_value: { measure: sum(stock_value), at_least: 0, else: warn }
  out_of_stock: { measure: "count(*) FILTER (WHERE status = 'out of stock')", at_least: 0, else: warn }
  to_reorder: { measure: "count(*) FILTER (WHERE status = 'reorder')", at_least: 0, else: warn }
columns:
  units_ordered_28d: { description: Ordered by customers in the last 28 days. }
  days_of_cover: { description: How long the stock lasts at that rate. Null when nothing was ordered. }
*/
WITH demand AS (
    SELECT
        order_lines.stock_item_id,
        sum(order_lines.quantity) AS units
    FROM silver.order_lines
    INNER JOIN silver.orders ON order_lines.order_id = orders.order_id
    WHERE CAST(current_date AS INT) - CAST(orders.order_date AS INT) BETWEEN 0 AND 27
    GROUP BY order_lines.stock_item_id
)

SELECT
    stock_items.stock_item_id,
    stock_items.stock_item_name,
    stock_items.brand,
    stock_items.is_chiller_stock,
    stock_item_holdings.bin_location,
    stock_item_holdings.quantity_on_hand,
    stock_item_holdings.reorder_level,
    stock_item_holdings.target_stock_level,
    stock_items.lead_time_days,
    CAST(stock_item_holdings.quantity_on_hand * stock_item_holdings.last_cost_price AS DECIMAL(18, 2))
        AS stock_value,
    coalesce(demand.units, 0) AS units_ordered_28d,
    CASE
        WHEN demand.units > 0
            THEN CAST(CAST(stock_item_holdings.quantity_on_hand * 28 AS DECIMAL(18, 2)) / demand.units AS DECIMAL(18, 1))
    END AS days_of_cover,
    CASE
        WHEN stock_item_holdings.quantity_on_hand <= stock_item_holdings.reorder_level
            THEN stock_item_holdings.target_stock_level - stock_item_holdings.quantity_on_hand
        ELSE 0
    END AS units_to_order,
    CASE
        WHEN stock_item_holdings.quantity_on_hand <= 0 THEN 'out of stock'
        WHEN stock_item_holdings.quantity_on_hand <= stock_item_holdings.reorder_level THEN 'reorder'
        WHEN stock_item_holdings.quantity_on_hand > 2 * stock_item_holdings.target_stock_level THEN 'overstocked'
        ELSE 'in stock'
    END AS status
FROM silver.stock_items
INNER JOIN silver.stock_item_holdings ON stock_items.stock_item_id = stock_item_holdings.stock_item_id
LEFT JOIN demand ON stock_items.stock_item_id = demand.stock_item_id
