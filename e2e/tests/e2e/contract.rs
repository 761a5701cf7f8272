//! What the tests' models promise is true of the real services: both are held to the same contracts.

use testkit::contract::{Bench, hold, objects, registry};

use crate::stack::Stack;

/// Sets the names of this run apart from those of others.
fn prefix() -> String {
    format!("contract-{}", std::process::id())
}

// Holds P4 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the services that `e2e/real` starts"]
async fn kafka_keeps_every_contract_that_the_model_of_a_cluster_keeps() {
    hold(&Bench::at(&Stack::shared().places().kafka, prefix()), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the services that `e2e/real` starts"]
async fn apicurio_keeps_every_contract_that_the_model_of_a_registry_keeps() {
    let url = format!("http://{}/apis/ccompat/v7", Stack::shared().places().registry);
    registry::hold_at(&url, &prefix()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the services that `e2e/real` starts"]
async fn minio_keeps_every_contract_that_the_model_of_a_store_keeps() {
    objects::hold(&Stack::shared().bucket(), &prefix()).await;
}
