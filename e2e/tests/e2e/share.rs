//! Several processes share the work of one project.

use std::time::Duration;

use crate::happy::{differences, matches_oracle};
use crate::harness::{Project, until};

// Holds P1 (docs/invariants.md).
#[test]
fn of_three_bronze_processes_one_is_killed_and_nothing_is_lost_or_doubled() {
    let project = Project::reference();
    project.run(&["apply"]).ok();
    let host = project.start(&["silver"]);
    let bronze: Vec<_> = (0..3).map(|_| project.start(&["bronze"])).collect();
    let sim =
        project.start(&["sim", "--events", "60000", "--seed", "5", "--rate", "6000", "--summary", "s.json"]);
    until("bronze commits", Duration::from_secs(120), || project.commits("bronze") > 30);
    let mut bronze = bronze.into_iter();
    bronze.next().expect("three were started").kill();
    assert_eq!(sim.wait(Duration::from_secs(300)), Some(0), "the simulator ends");
    // The partitions of the killed process go to the others once the group has given it up.
    until("silver holds what the oracle says", Duration::from_secs(180), || {
        differences(&project, "s.json").is_empty()
    });
    project.run(&["gold", "--until-drained"]).ok();
    drop((host, bronze));
    matches_oracle(&project, "s.json");
    project.run(&["verify"]).ok();
}
