/* lakepulse
kind: scd1
keys: [customer_category_id]
description: What kinds of shops customers are.
*/
SELECT
    customer_category_id,
    trim(customer_category_name) AS customer_category_name,
    valid_from
FROM changes(bronze.cdc_customer_categories)
