//! Servers are killed and started again while data flows. Each test has its own.

use super::flow::{Flow, Workload};
use crate::stack::Stack;

const FLOW: Workload = Workload { events: None, rate: 300, schema_change: None };

/// Killed once behind commits of each of these layers, and started again at once.
fn killed_and_nothing_is_lost_or_doubled(server: &str, layers: &[&str]) {
    let stack = Stack::own();
    let mut flow = Flow::begin(&stack, &stack.places(), FLOW);
    for layer in layers {
        flow.until_commits(layer, 5);
        stack.kill(server);
        stack.up(server);
    }
    flow.until_commits("gold", 2);
    flow.holds();
}

#[test]
#[ignore = "needs the real services: e2e/real"]
fn kafka_killed_twice_while_data_flows() {
    killed_and_nothing_is_lost_or_doubled("kafka", &["gold", "bronze"]);
}

#[test]
#[ignore = "needs the real services: e2e/real"]
fn minio_killed_three_times_while_data_flows() {
    killed_and_nothing_is_lost_or_doubled("minio", &["gold", "silver", "bronze"]);
}

#[test]
#[ignore = "needs the real services: e2e/real"]
fn the_registry_killed_while_the_source_changes_its_schemas() {
    let stack = Stack::own();
    let mut flow = Flow::begin(&stack, &stack.places(), Workload { schema_change: Some(15_000), ..FLOW });
    flow.until_commits("bronze", 1);
    stack.kill("registry");
    // The source cannot register the new ones.
    flow.until_said("sim", &stack.places().registry);
    stack.up("registry");
    flow.until_commits("bronze", 5);
    // Now it can, and bronze is to read them.
    stack.kill("registry");
    stack.up("registry");
    flow.until_commits("gold", 2);
    flow.holds();
}
