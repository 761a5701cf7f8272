use super::*;
use crate::tests::{bench, fill, nowhere, soon, topic};

fn spec(name: &str, partitions: i32, config: &[(&str, &str)]) -> TopicSpec {
    let config = config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    TopicSpec { name: topic(name), partitions, replication: 1, config }
}

#[tokio::test(flavor = "multi_thread")]
async fn creating_what_exists_changes_nothing_and_creates_the_rest() {
    let bench = bench(&[("first", 2), ("second", 1)]).await;
    let admin = bench.admin();
    let before = admin.describe(&topic("first")).await.expect("reachable").expect("exists");
    admin.delete(&topic("second")).await.expect("deleted");
    let specs = [spec("first", 5, &[]), spec("second", 3, &[("cleanup.policy", "compact")])];
    soon(admin.create(&specs)).await.expect("created");
    assert_eq!(admin.describe(&topic("first")).await.expect("reachable"), Some(before));
    let second = admin.describe(&topic("second")).await.expect("reachable").expect("exists");
    assert_eq!(second.partitions, 3);
    let config = soon(admin.config(&topic("second"))).await.expect("readable");
    assert_eq!(config.get("cleanup.policy").map(String::as_str), Some("compact"));
}

#[tokio::test(flavor = "multi_thread")]
async fn watermarks_are_the_ends_of_every_partition() {
    let bench = bench(&[("t", 3)]).await;
    let t = topic("t");
    fill(&bench.kafka, &t, 2, 7).await;
    let ends = soon(bench.admin().watermarks(&t)).await.expect("reachable");
    let expected = [(0, 7), (1, 7), (2, 0)].map(|(p, high)| (p, (Offset(0), Offset(high))));
    assert_eq!(ends, BTreeMap::from(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_down_is_an_error_in_time() {
    let admin = Admin::try_new(&nowhere()).expect("valid settings");
    let (absent, specs) = (topic("t"), [spec("t", 1, &[])]);
    let (described, created) = tokio::join!(soon(admin.describe(&absent)), soon(admin.create(&specs)));
    for error in [described.expect_err("nobody answers"), created.expect_err("nobody answers")] {
        assert_eq!(error.reaction(), model::Reaction::Retry, "{error}");
    }
}
