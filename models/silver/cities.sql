/* lakepulse
kind: scd1
keys: [city_id]
description: Cities that goods are delivered to.
expect:
  has_state: { not_null: [state_province_id], else: quarantine }
*/
SELECT
    city_id,
    trim(city_name) AS city_name,
    state_province_id,
    latest_recorded_population,
    valid_from
FROM changes(bronze.cdc_cities)
