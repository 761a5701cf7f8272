/* lakepulse
kind: scd1
keys: [stock_item_id]
description: How much of each product lies in the warehouse.
expect:
  not_below_zero: { valid: quantity_on_hand >= 0, else: warn }
  target_above_level: { valid: target_stock_level >= reorder_level, else: warn }
freshness: 15m
*/
SELECT
    stock_item_id,
    quantity_on_hand,
    upper(trim(bin_location)) AS bin_location,
    last_stocktake_quantity,
    last_cost_price,
    reorder_level,
    target_stock_level,
    last_edited_when
FROM changes(bronze.cdc_stock_item_holdings)
