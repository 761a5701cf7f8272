/* lakepulse
kind: append
keys: [sensor_id]
description: Every reading, cleaned.
expect:
  plausible: { valid: celsius BETWEEN -90 AND 60, else: quarantine }
*/
SELECT sensor_id, celsius, at FROM changes(bronze.readings)
