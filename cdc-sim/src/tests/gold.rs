//! The gold models of the reference project, run over the tables from the log.

use super::plain;
use super::project::project;
use super::sql::{EVENTS, answer, register, session, tables};
use crate::discard;

/// After the last event of the log.
const AS_OF: &str = "DATE '2013-01-14'";

#[tokio::test]
async fn gold_totals_are_the_oracles() {
    let ctx = session();
    for (table, rows) in tables() {
        register(&ctx, table, &rows);
    }
    for model in project().await.catalog.models.into_values().filter(|model| model.kind.is_gold()) {
        let sql = model.sql.replace("current_date", AS_OF);
        let view = ctx.sql(&sql).await.expect("plans").into_view();
        ctx.register_table(model.name.to_string(), view).expect("a new name");
    }
    let totals = discard(&plain(EVENTS)).summary.totals;
    let ask = async |sql: &str| answer(&ctx, sql).await;
    for table in ["customer_analytics", "daily_sales_metrics"] {
        assert_eq!(ask(&format!("SELECT sum(revenue) FROM gold.{table}")).await, totals.revenue, "{table}");
        assert_eq!(ask(&format!("SELECT sum(orders) FROM gold.{table}")).await, totals.orders.to_string());
    }
    let profit = ask("SELECT sum(line_profit) FROM silver.invoice_lines").await;
    assert_eq!(ask("SELECT sum(historical_clv) FROM gold.customer_analytics").await, profit);
    assert_eq!(ask("SELECT count(*) FROM gold.inventory_status").await, "219");
    let units = ask("SELECT sum(quantity) FROM silver.order_lines").await;
    assert_eq!(ask("SELECT sum(units_ordered_28d) FROM gold.inventory_status").await, units);
    let odd = "SELECT count(*) FROM gold.customer_analytics WHERE churn_probability NOT BETWEEN 0 AND 1 \
               OR (orders = 0) <> (segment = 'Prospect') OR average_order_value * orders - revenue > orders";
    assert_eq!(ask(odd).await, "0");
    assert!(
        ask("SELECT count(DISTINCT segment) FROM gold.customer_analytics")
            .await
            .parse::<u32>()
            .expect("a count")
            > 2
    );
}
