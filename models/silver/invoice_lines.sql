/* lakepulse
kind: scd1
keys: [invoice_line_id]
description: Products in invoices. The extended price includes tax.
expect:
  adds_up: { valid: extended_price = quantity * unit_price + tax_amount, else: warn }
*/
SELECT
    invoice_line_id,
    invoice_id,
    stock_item_id,
    trim(description) AS description,
    quantity,
    unit_price,
    tax_rate,
    tax_amount,
    line_profit,
    extended_price,
    last_edited_when
FROM changes(bronze.cdc_invoice_lines)
