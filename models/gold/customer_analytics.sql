/* lakepulse
kind: table
keys: [customer_id]
description: What each customer is worth, how lately and how often it buys, and whether it may be lost.
publish: lakepulse.gold.customer_analytics
tick: 1d
freshness: 15m
expect:
  scores_in_range: { valid: "recency_score BETWEEN 1 AND 5 AND frequency_score BETWEEN 1 AND 5 AND monetary_score BETWEEN 1 AND 5", else: fail }
  customers: { measure: count(*), at_least: 1, else: warn }
  champions: { measure: "count(*) FILTER (WHERE segment = 'Champion')", at_least: 0, else: warn }
  loyal: { measure: "count(*) FILTER (WHERE segment = 'Loyal')", at_least: 0, else: warn }
  at_risk: { measure: "count(*) FILTER (WHERE segment IN ('At Risk', 'Cannot Lose'))", at_least: 0, else: warn }
  lifetime_value: { measure: sum(historical_clv), at_least: 0, else: warn }
  mean_churn_probability: { measure: avg(churn_probability), at_least: 0, at_most: 1, else: warn }
  churn_is_a_probability: { valid: churn_probability IS NULL OR churn_probability BETWEEN 0 AND 1, else: fail }
columns:
  revenue: { description: "Ordered quantity times unit price, without tax." }
  historical_clv: { description: Profit on everything invoiced to date. }
  churn_probability: { description: "1 - exp(-recency / mean gap): how unlikely so long a silence is for a customer who goes on buying as before." }
*/
WITH ordered AS (
    SELECT
        customer_id,
        count(*) AS orders,
        min(order_date) AS first_order_date,
        max(order_date) AS last_order_date
    FROM silver.orders
    GROUP BY customer_id
),

sold AS (
    SELECT
        customer_id,
        CAST(sum(quantity * unit_price) AS DECIMAL(18, 2)) AS revenue
    FROM silver.order_lines
    GROUP BY customer_id
),

earned AS (
    SELECT
        invoices.customer_id,
        CAST(sum(invoice_lines.line_profit) AS DECIMAL(18, 2)) AS profit
    FROM silver.invoice_lines
    INNER JOIN silver.invoices ON invoice_lines.invoice_id = invoices.invoice_id
    GROUP BY invoices.customer_id
),

facts AS (
    SELECT
        customers.customer_id,
        customers.customer_name,
        customer_categories.customer_category_name AS category,
        buying_groups.buying_group_name AS buying_group,
        state_provinces.sales_territory AS region,
        ordered.first_order_date,
        ordered.last_order_date,
        coalesce(ordered.orders, 0) AS orders,
        coalesce(sold.revenue, 0) AS revenue,
        coalesce(earned.profit, 0) AS historical_clv,
        CAST(current_date AS INT) - CAST(ordered.last_order_date AS INT) AS recency_days,
        CAST(ordered.last_order_date AS INT) - CAST(ordered.first_order_date AS INT) AS active_days
    FROM silver.customers
    LEFT JOIN silver.customer_categories
        ON customers.customer_category_id = customer_categories.customer_category_id
    LEFT JOIN silver.buying_groups ON customers.buying_group_id = buying_groups.buying_group_id
    LEFT JOIN silver.cities ON customers.delivery_city_id = cities.city_id
    LEFT JOIN silver.state_provinces ON cities.state_province_id = state_provinces.state_province_id
    LEFT JOIN ordered ON customers.customer_id = ordered.customer_id
    LEFT JOIN sold ON customers.customer_id = sold.customer_id
    LEFT JOIN earned ON customers.customer_id = earned.customer_id
),

scored AS (
    SELECT
        *,
        CASE
            WHEN recency_days <= 7 THEN 5
            WHEN recency_days <= 14 THEN 4
            WHEN recency_days <= 30 THEN 3
            WHEN recency_days <= 60 THEN 2
            ELSE 1
        END AS recency_score,
        CASE
            WHEN orders >= 100 THEN 5
            WHEN orders >= 60 THEN 4
            WHEN orders >= 30 THEN 3
            WHEN orders >= 10 THEN 2
            ELSE 1
        END AS frequency_score,
        CASE
            WHEN revenue >= 400000 THEN 5
            WHEN revenue >= 200000 THEN 4
            WHEN revenue >= 100000 THEN 3
            WHEN revenue >= 30000 THEN 2
            ELSE 1
        END AS monetary_score,
        -- The mean time between two orders; a month for a customer who has not come back yet.
        CASE WHEN orders > 1 AND active_days > 0 THEN CAST(active_days AS DOUBLE) / (orders - 1) ELSE 30 END
            AS mean_gap_days
    FROM facts
)

SELECT
    customer_id,
    customer_name,
    category,
    buying_group,
    region,
    first_order_date,
    last_order_date,
    orders,
    CAST(revenue AS DECIMAL(18, 2)) AS revenue,
    CASE WHEN orders > 0 THEN CAST(revenue / orders AS DECIMAL(18, 2)) END AS average_order_value,
    recency_days,
    recency_score,
    frequency_score,
    monetary_score,
    CASE
        WHEN orders = 0 THEN 'Prospect'
        WHEN recency_score >= 4 AND frequency_score >= 4 AND monetary_score >= 4 THEN 'Champion'
        WHEN recency_score >= 3 AND frequency_score >= 3 THEN 'Loyal'
        WHEN recency_score >= 4 AND frequency_score >= 2 THEN 'Potential Loyalist'
        WHEN recency_score = 5 THEN 'New'
        WHEN recency_score = 4 THEN 'Promising'
        WHEN recency_score = 3 THEN 'Needs Attention'
        WHEN frequency_score = 5 AND monetary_score = 5 THEN 'Cannot Lose'
        WHEN frequency_score >= 3 THEN 'At Risk'
        WHEN recency_score = 2 THEN 'Hibernating'
        ELSE 'Lost'
    END AS segment,
    CAST(historical_clv AS DECIMAL(18, 2)) AS historical_clv,
    CASE WHEN orders > 0 THEN 1 - exp(-greatest(recency_days, 0) / mean_gap_days) END AS churn_probability
FROM scored
