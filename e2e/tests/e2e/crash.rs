//! `kill -9` at any moment loses nothing and doubles nothing.

use std::time::Duration;

use crate::happy::matches_oracle;
use crate::harness::{Project, until};

// Holds P1 (docs/invariants.md).
#[test]
fn killed_at_ten_moments_and_started_again_nothing_is_lost_or_doubled() {
    let project = Project::reference();
    let args =
        ["up", "--plain", "--events", "60000", "--seed", "23", "--until-drained", "--summary", "s.json"];
    let commits = |project: &Project| -> usize {
        ["bronze", "silver", "gold"].iter().map(|layer| project.commits(layer)).sum()
    };
    let mut kills = 0;
    for round in 0..10 {
        let before = commits(&project);
        let mut running = project.start(&args);
        // A moment that differs from round to round, told by progress and not by a clock.
        let further = 2 + (round * 7) % 13;
        until("a few more commits, or the end", Duration::from_secs(180), || {
            !running.alive() || commits(&project) >= before + further
        });
        if !running.alive() {
            break;
        }
        running.kill();
        kills += 1;
    }
    assert!(kills >= 3, "the run ended after {kills} kills: it is too short to be killed");
    project.run(&args).ok();
    matches_oracle(&project, "s.json");
    project.run(&["verify"]).ok();
}

#[test]
fn an_interrupt_stops_everything_cleanly_within_ten_seconds() {
    let project = Project::reference();
    let running = project.start(&["up", "--plain", "--rate", "2000"]);
    until("gold commits", Duration::from_secs(120), || project.commits("gold") > 6);
    running.interrupt();
    assert_eq!(running.wait(Duration::from_secs(10)), Some(0));
    project.run(&["verify"]).ok();
}
