/* lakepulse
kind: table
keys: [order_date, region, category]
description: Sales by day, region and kind of customer, by the day of the order.
publish: lakepulse.gold.daily_sales_metrics
freshness: 15m
expect:
  sells_something: { valid: orders > 0 AND revenue >= 0, else: warn }
  # Measures are what the business dashboard shows.
  revenue: { measure: sum(revenue), at_least: 0, else: warn }
  orders: { measure: sum(orders), at_least: 0, else: warn }
  average_order_value: { measure: sum(revenue) / sum(orders), at_least: 0, else: warn }
columns:
  revenue: { description: "Ordered quantity times unit price, without tax." }
  average_order_value: { description: Never average it again. Divide sums. }
*/
SELECT
    orders.order_date,
    state_provinces.sales_territory AS region,
    customer_categories.customer_category_name AS category,
    count(DISTINCT orders.order_id) AS orders,
    CAST(sum(order_lines.quantity * order_lines.unit_price) AS DECIMAL(18, 2)) AS revenue,
    CAST(
        sum(order_lines.quantity * order_lines.unit_price) / count(DISTINCT orders.order_id) AS DECIMAL(18, 2)
    ) AS average_order_value,
    count(DISTINCT orders.customer_id) AS unique_customers
FROM silver.orders
INNER JOIN silver.order_lines ON orders.order_id = order_lines.order_id
INNER JOIN silver.customers ON orders.customer_id = customers.customer_id
INNER JOIN silver.customer_categories
    ON customers.customer_category_id = customer_categories.customer_category_id
INNER JOIN silver.cities ON customers.delivery_city_id = cities.city_id
INNER JOIN silver.state_provinces ON cities.state_province_id = state_provinces.state_province_id
GROUP BY orders.order_date, state_provinces.sales_territory, customer_categories.customer_category_name
