/* lakepulse
kind: table
keys: [sensor_id]
description: Coldest and warmest reading of each sensor.
publish: sensors.summary
*/
SELECT sensor_id, count(*) AS readings, min(celsius) AS coldest, max(celsius) AS warmest, max(at) AS last_seen
FROM silver.readings
GROUP BY sensor_id
