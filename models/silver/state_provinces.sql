/* lakepulse
kind: scd1
keys: [state_province_id]
description: States and the sales territory each belongs to.
expect:
  has_territory: { not_null: [sales_territory], else: warn }
*/
SELECT
    state_province_id,
    trim(state_province_code) AS state_province_code,
    trim(state_province_name) AS state_province_name,
    trim(sales_territory) AS sales_territory,
    latest_recorded_population,
    valid_from
FROM changes(bronze.cdc_state_provinces)
