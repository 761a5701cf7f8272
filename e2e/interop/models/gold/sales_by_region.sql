/* lakepulse
kind: table
keys: [region, category, customer_id]
description: What each customer ordered, in partitions whose names hold spaces, with a change feed.
partition_by: [region, category]
change_feed: on
*/
SELECT
    state_provinces.sales_territory AS region,
    customer_categories.customer_category_name AS category,
    customers.customer_id,
    count(DISTINCT orders.order_id) AS orders,
    max(orders.last_edited_when) AS last_edited_when,
    CAST(sum(order_lines.quantity * order_lines.unit_price) AS DECIMAL(18, 2)) AS revenue
FROM silver.orders
INNER JOIN silver.order_lines ON orders.order_id = order_lines.order_id
INNER JOIN silver.customers ON orders.customer_id = customers.customer_id
INNER JOIN silver.customer_categories
    ON customers.customer_category_id = customer_categories.customer_category_id
INNER JOIN silver.cities ON customers.delivery_city_id = cities.city_id
INNER JOIN silver.state_provinces ON cities.state_province_id = state_provinces.state_province_id
GROUP BY state_provinces.sales_territory, customer_categories.customer_category_name, customers.customer_id
