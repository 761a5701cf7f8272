//! Bad projects end with exit 3 and every fault by file and line; nothing panics.

use crate::harness::Project;

#[test]
fn an_empty_project_says_how_to_begin() {
    let ran = Project::empty().run(&["validate"]).code(3);
    assert!(ran.stderr.contains("lakepulse init"), "{}", ran.stderr);
}

#[test]
fn a_new_project_is_valid() {
    let project = Project::empty();
    project.run(&["init"]).ok();
    project.run(&["validate"]).ok();
}

#[test]
fn every_fault_is_reported_at_once_with_file_and_line() {
    let project = Project::reference();
    project.write(
        "models/gold/bad.sql",
        "/* lakepulse\nkind: table\nkeys: [x]\n*/\nSELECT nope AS x FROM silver.orders",
    );
    project.write(
        "models/gold/dice.sql",
        "/* lakepulse\nkind: table\nkeys: [order_id]\n*/\nSELECT order_id, random() AS dice FROM silver.orders",
    );
    project.write("schemas/broken.avsc", "{ not avro");
    let topics = project.read("topics.yaml");
    project.write(
        "topics.yaml",
        &format!("{topics}\n  broken.topic: {{ schema: schemas/broken.avsc, colour: red }}\n"),
    );
    let ran = project.run(&["validate"]).code(3);
    for part in ["models/gold/bad.sql:5", "nope", "models/gold/dice.sql:5", "random", "colour", "broken.avsc"]
    {
        assert!(ran.stderr.contains(part), "`{part}` is not in\n{}", ran.stderr);
    }
}

#[test]
fn broken_yaml_is_a_fault_with_its_line() {
    let project = Project::reference();
    project.write("topics.yaml", "version: 1\ntopics:\n  a: [\n");
    let ran = project.run(&["validate"]).code(3);
    assert!(ran.stderr.contains("topics.yaml:"), "{}", ran.stderr);
}

#[test]
fn wrong_arguments_end_with_two() {
    Project::empty().run(&["up", "--disorder", "200%"]).code(2);
    Project::empty().run(&["frobnicate"]).code(2);
}
