//! The gold models of the reference project, run over the tables that the log makes.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use model::{ClockMs, TableName};
use query::affected::{Maintenance, Method};
use query::plan::Planner;
use query::sql::parse;

use super::plain;
use super::project::project;
use super::sql::{EVENTS, answer, register, tables};
use crate::calendar::date;
use crate::discard;

#[tokio::test]
async fn gold_totals_are_the_oracles() {
    let ctx = query::session::session();
    for (table, rows) in tables() {
        register(&ctx, table, &rows);
    }
    let as_of = ClockMs(date(2013, 1, 14).at(0, 0).millis());
    for model in project().await.catalog.models.into_values().filter(|model| model.kind.is_gold()) {
        let statement = parse(&model.sql).expect("one SELECT").at(as_of).to_string();
        let view = ctx.sql(&statement).await.expect("plans").into_view();
        query::session::register(&ctx, &model.name, view).expect("a new name");
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

/// No gold model of the reference project is computed in full because of a change of one row.
#[tokio::test]
async fn gold_is_kept_by_the_keys_that_changed() {
    let models = project().await.catalog.models;
    let visible: BTreeMap<TableName, (SchemaRef, Vec<String>)> = models
        .iter()
        .map(|(name, model)| (name.clone(), (Arc::clone(&model.visible()), model.keys.clone())))
        .collect();
    for model in models.values().filter(|model| model.kind.is_gold()) {
        let planner = Planner::new(ClockMs(0));
        for input in &model.inputs {
            let (schema, keys) = &visible[input];
            planner.declare(input, schema, keys).expect("a new name");
        }
        let planned = planner.plan(&parse(&model.sql).expect("one SELECT")).expect("plans");
        let kept = Maintenance::try_new(&planned, &model.keys).expect("judged");
        let Method::AffectedKeys { full_for, .. } = kept.method() else {
            panic!("`{}` is computed in full: {:?}", model.name, kept.method());
        };
        assert!(full_for.is_empty(), "`{}`: {full_for:?}", model.name);
    }
}
