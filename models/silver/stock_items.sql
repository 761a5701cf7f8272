/* lakepulse
kind: scd1
keys: [stock_item_id]
description: Products.
expect:
  has_price: { valid: unit_price > 0, else: quarantine }
  retail_above_price:
    valid: recommended_retail_price IS NULL OR recommended_retail_price >= unit_price
    else: warn
*/
SELECT
    stock_item_id,
    trim(stock_item_name) AS stock_item_name,
    color,
    brand,
    size,
    lead_time_days,
    quantity_per_outer,
    is_chiller_stock,
    tax_rate,
    unit_price,
    recommended_retail_price,
    typical_weight_per_unit,
    valid_from
FROM changes(bronze.cdc_stock_items)
