/* lakepulse
kind: scd1
keys: [buying_group_id]
description: Chains that buy for their stores.
*/
SELECT
    buying_group_id,
    trim(buying_group_name) AS buying_group_name,
    valid_from
FROM changes(bronze.cdc_buying_groups)
