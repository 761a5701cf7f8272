/* lakepulse
kind: scd1
keys: [customer_id]
description: Customers, cleaned and current.
expect:
  has_name: { not_null: [customer_name], else: quarantine }
  email_shape: { valid: "email IS NULL OR email LIKE '%_@_%._%'", else: quarantine }
  email_filled: { measure: avg(CAST(email IS NOT NULL AS INT)), at_least: 0.8, else: warn }
freshness: 15m
columns:
  phone_number: { pii: true }
  email: { pii: true, description: Lowercase. }
  delivery_address_line: { pii: true }
*/
SELECT
    customer_id,
    trim(customer_name) AS customer_name,
    bill_to_customer_id,
    customer_category_id,
    buying_group_id,
    delivery_city_id,
    credit_limit,
    account_opened_date,
    standard_discount_percentage,
    is_on_credit_hold,
    payment_days,
    trim(phone_number) AS phone_number,
    lower(trim(email)) AS email,
    lower(trim(website_url)) AS website_url,
    trim(delivery_address_line) AS delivery_address_line,
    trim(delivery_postal_code) AS delivery_postal_code,
    valid_from
FROM changes(bronze.cdc_customers)
