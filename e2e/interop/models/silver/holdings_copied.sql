/* lakepulse
kind: scd1
keys: [stock_item_id]
partition_by: [shelf]
description: Stock, in files that are copied when a row of theirs changes, in partitions whose names nothing likes.
deletion_vectors: off
*/
SELECT
    stock_item_id,
    quantity_on_hand,
    bin_location,
    '50% Δ=' || left(bin_location, 1) AS shelf,
    last_cost_price,
    reorder_level
FROM changes(bronze.cdc_stock_item_holdings)
