//! What the tests' model of a cluster promises is true of Kafka: both are held to the same contracts.

use testkit::contract::{Bench, hold};

use crate::stack::Stack;

// Holds P4 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the services that `e2e/real` starts"]
async fn kafka_keeps_every_contract_that_the_model_of_a_cluster_keeps() {
    let prefix = format!("contract-{}", std::process::id());
    hold(&Bench::at(&Stack::shared().places().kafka, prefix), &[]).await;
}
