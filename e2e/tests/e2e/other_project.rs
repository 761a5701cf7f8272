//! Nothing in the binary knows the reference project: another one, of another domain, runs through it.

use crate::harness::Project;

pub fn iot() -> Project {
    let project = Project::empty();
    project.write("lakepulse.yaml", "version: 1\nname: iot\nclock: events\n");
    project.write(
        "topics.yaml",
        "version: 1
defaults: { partitions: 2 }
topics:
  iot.devices: { schema: schemas/device.avsc, key: [device_id], event_time: changed_at }
  iot.readings: { schema: schemas/reading.avsc, key: [device_id], event_time: at }
  iot.dead: { value: bytes }
",
    );
    project.write(
        "schemas/device.avsc",
        r#"{"type":"record","name":"Device","namespace":"iot","fields":[
            {"name":"device_id","type":"string"},{"name":"site","type":["null","string"],"default":null},
            {"name":"changed_at","type":{"type":"long","logicalType":"timestamp-micros"}},
            {"name":"revision","type":"long"}]}"#,
    );
    project.write(
        "schemas/reading.avsc",
        r#"{"type":"record","name":"Reading","namespace":"iot","fields":[
            {"name":"device_id","type":"string"},{"name":"celsius","type":["null","double"],"default":null},
            {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}}]}"#,
    );
    project.write(
        "models/silver/devices.sql",
        "/* lakepulse\nkind: scd2\nkeys: [device_id]\nsequence_by: revision\n*/\n\
         SELECT device_id, site, revision FROM changes(bronze.devices)",
    );
    project.write(
        "models/silver/readings.sql",
        "/* lakepulse\nkind: append\nkeys: [device_id]\nexpect:\n  \
         plausible: { valid: celsius BETWEEN -90 AND 60, else: quarantine }\n*/\n\
         SELECT device_id, celsius, at FROM changes(bronze.readings)",
    );
    project.write(
        "models/gold/sites.sql",
        "/* lakepulse\nkind: table\nkeys: [site]\npublish: iot.sites\n*/\n\
         SELECT d.site AS site, count(*) AS readings, max(r.celsius) AS warmest\n\
         FROM silver.readings r JOIN silver.devices d ON d.device_id = r.device_id AND d.\"__END_AT\" IS NULL\n\
         WHERE d.site IS NOT NULL\nGROUP BY d.site",
    );
    project.write(
        "in/devices/a.csv",
        "device_id,site,changed_at,revision\nd1,north,2026-01-01T00:00:00Z,1\nd2,south,2026-01-01T00:00:00Z,1\nd1,south,2026-01-02T00:00:00Z,2\n",
    );
    project.write(
        "in/readings/a.jsonl",
        "{\"device_id\":\"d1\",\"celsius\":20.5,\"at\":\"2026-01-03T00:00:00Z\"}\nnot json\n\
         {\"device_id\":\"d2\",\"celsius\":900.0,\"at\":\"2026-01-03T00:00:00Z\"}\n\
         {\"device_id\":\"d2\",\"celsius\":30.5,\"at\":\"2026-01-03T00:00:01Z\"}\n",
    );
    project.on_target("iot")
}

#[test]
fn a_project_of_another_domain_runs_through_the_same_binary() {
    let project = iot();
    project.run(&["validate"]).ok();
    project.run(&["apply"]).ok();
    let ingest = |dir: &str, topic: &str| {
        project
            .run(&[
                "ingest",
                "files",
                dir,
                "--topic",
                &project.topic(topic),
                "--dead-letters",
                &project.topic("iot.dead"),
                "--until-drained",
            ])
            .ok();
    };
    ingest("in/devices", "iot.devices");
    ingest("in/readings", "iot.readings");
    // Each file once, however often it is asked for.
    ingest("in/readings", "iot.readings");
    project.run(&["up", "--plain", "--until-drained"]).ok();
    let sites = project.query("SELECT site, readings, warmest FROM gold.sites ORDER BY site");
    assert_eq!(sites.len(), 1, "{sites:?}");
    assert_eq!(
        (sites[0]["site"].as_str(), sites[0]["readings"].as_i64()),
        (Some("south"), Some(2)),
        "{sites:?}"
    );
    assert_eq!(sites[0]["warmest"].as_f64(), Some(30.5));
    let versions = project.query("SELECT count(*) AS n FROM silver.devices WHERE device_id = 'd1'");
    assert_eq!(versions[0]["n"].as_i64(), Some(2), "two versions of d1");
    assert_eq!(project.value("SELECT count(*) AS n FROM silver.readings__quarantine").as_i64(), Some(1));
    assert_eq!(project.value("SELECT count(*) AS n FROM bronze.dead").as_i64(), Some(1));
    project.run(&["verify"]).ok();
}
