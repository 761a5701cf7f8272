/* lakepulse
kind: scd2
keys: [customer_id]
description: What a customer's terms were, and when.
track_history: [credit_limit, is_on_credit_hold, standard_discount_percentage, customer_category_id]
columns:
  edited_at: { description: When the source database last changed the row. }
*/
SELECT
    customer_id,
    trim(customer_name) AS customer_name,
    customer_category_id,
    buying_group_id,
    credit_limit,
    is_on_credit_hold,
    standard_discount_percentage,
    payment_days,
    valid_from AS edited_at
FROM changes(bronze.cdc_customers)
