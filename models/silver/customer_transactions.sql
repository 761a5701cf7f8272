/* lakepulse
kind: scd1
keys: [customer_transaction_id]
description: Invoices (type 1) and payments (type 3) on customers' accounts.
expect:
  known_type: { accepted_values: { column: transaction_type_id, values: ["1", "2", "3", "4"] }, else: warn }
  adds_up:
    valid: transaction_type_id = 3 OR transaction_amount = amount_excluding_tax + tax_amount
    else: warn
*/
SELECT
    customer_transaction_id,
    customer_id,
    transaction_type_id,
    invoice_id,
    payment_method_id,
    transaction_date,
    amount_excluding_tax,
    tax_amount,
    transaction_amount,
    outstanding_balance,
    finalization_date,
    is_finalized,
    last_edited_when
FROM changes(bronze.cdc_customer_transactions)
