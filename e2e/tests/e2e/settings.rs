//! Settings of a target: nothing is made unless asked, secrets show nowhere, a guarded registry is used.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use testkit::bad_store::{self, Flaw};
use testkit::certificates::Authority;
use testkit::front::{Front, Guard};

use crate::harness::{Project, until};
use crate::services::{Services, free_address, get};

const SOON: Duration = Duration::from_secs(90);

/// The reference project with another list of targets.
fn reference_on(targets: &str) -> Project {
    let project = Project::reference();
    let text = project.read("lakepulse.yaml");
    let own = text.split("targets:").next().expect("there is one before it");
    project.write("lakepulse.yaml", &format!("{own}targets:\n{targets}"));
    project
}

/// Names and ends of all topics that are not the services' own.
fn topics(kafka: &str) -> BTreeSet<(String, i64)> {
    let mut config = ClientConfig::new();
    let client: BaseConsumer = config.set("bootstrap.servers", kafka).create().expect("a client");
    let metadata = client.fetch_metadata(None, SOON).expect("the broker answers");
    let end = |topic: &str, partition| client.fetch_watermarks(topic, partition, SOON).expect("ends").1;
    metadata
        .topics()
        .iter()
        .filter(|topic| {
            topic.name() != "_schemas"
                && !topic.name().contains("services")
                && !topic.name().starts_with("__")
        })
        .map(|topic| {
            let ends = topic.partitions().iter().map(|partition| end(topic.name(), partition.id()));
            (topic.name().to_owned(), ends.sum())
        })
        .collect()
}

fn subjects(services: &Services) -> String {
    let address = services.registry.trim_start_matches("http://");
    let answer = get(address, "/subjects").expect("the registry answers");
    answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned()
}

#[test]
fn on_services_nothing_is_made_or_simulated_unless_asked() {
    let services = Services::start();
    let (kafka, registry) = (&services.kafka, &services.registry);
    let project = reference_on(&format!(
        "  real:\n    kafka: {{ bootstrap: \"{kafka}\" }}\n    registry: {{ url: \"{registry}\" }}\n"
    ));
    let on = |args: &[&str]| project.run(&[args, &["--target", "real"]].concat());
    project.write("in/none.csv", "");
    let contracts = project.read("topics.yaml");
    project.write(
        "topics.yaml",
        &contracts.replace("\ntopics:\n", "\ntopics:\n  dead.lines: { value: bytes }\n"),
    );
    let (topic, dead) = ("lakepulse.cdc.orders", "dead.lines");
    for args in [
        &["up", "--plain", "--until-drained"][..],
        &["up", "--plain", "--until-drained", "--events", "10"],
        &["bronze", "--until-drained"],
        &["silver", "--until-drained"],
        &["gold", "--until-drained"],
        &["sim", "--events", "10"],
        &["ingest", "files", "in", "--topic", topic, "--dead-letters", dead, "--until-drained"],
    ] {
        let ran = on(args).code(5);
        for said in ["nothing is created there unless asked", "lakepulse apply --target real"] {
            assert!(ran.stderr.contains(said), "{args:?}: {}", ran.stderr);
        }
    }
    for args in [&["plan"][..], &["status"], &["explain", "silver.orders"], &["verify"], &["maintain"]] {
        let ran = on(args);
        assert!(matches!(ran.code, Some(0 | 4)), "{args:?}: {ran:?}");
    }
    let ran = on(&["doctor"]).ok();
    assert!(
        ran.stdout.contains("warn  topic.absent") && ran.stdout.contains("--target real"),
        "{}",
        ran.stdout
    );
    assert_eq!(topics(kafka), BTreeSet::new());
    assert_eq!(subjects(&services), "[]");
    let lake = project.dir.path().join(".lakepulse/lake");
    for schema in ["bronze", "silver", "gold"] {
        assert!(!lake.join(schema).exists(), "{schema}");
    }
    on(&["apply"]).ok();
    assert!(topics(kafka).contains(&(topic.to_owned(), 0)), "{:?}", topics(kafka));
    assert!(subjects(&services).contains("lakepulse.cdc.orders-value"));
    // Asked for nothing, `up` simulates nothing; asked for events, it does.
    on(&["up", "--plain", "--until-drained"]).ok();
    let sent = || {
        topics(kafka)
            .iter()
            .filter(|(name, _)| name.starts_with("lakepulse.cdc."))
            .map(|(_, end)| end)
            .sum::<i64>()
    };
    assert_eq!(sent(), 0);
    on(&["up", "--plain", "--until-drained", "--events", "300", "--seed", "7"]).ok();
    assert!(sent() >= 300);
    on(&["verify"]).ok();
}

#[test]
fn a_registry_behind_tls_a_certificate_and_a_password_is_used() {
    let services = Services::start();
    let project = Project::reference();
    let folder = project.dir.path().join("certs");
    let authority = Authority::make(&folder).expect("an authority");
    authority.issue("client").expect("a certificate");
    let guard = Guard {
        identity: Some(authority.issue("server").expect("a certificate")),
        clients_of: Some(authority.certificate()),
        basic: Some(("lakepulse".to_owned(), "canary-registry".to_owned())),
    };
    let front = Front::open(&services.registry, guard).expect("the door opens");
    let target = |security: &str| {
        format!(
            "    kafka: {{ bootstrap: \"{}\" }}\n    registry: {{ url: \"{}\", {security} }}\n",
            services.kafka,
            front.url()
        )
    };
    let user = "user: lakepulse, password: \"${env:REGISTRY_PASSWORD}\"";
    let client = "certificate: certs/client.pem, key: certs/client.key";
    let targets = [
        ("good", format!("{user}, ca: certs/ca.pem, {client}")),
        ("stranger", format!("{user}, ca: certs/ca.pem")),
        ("distrustful", format!("{user}, {client}")),
        ("lost", format!("{user}, ca: certs/nowhere.pem")),
    ];
    let targets: String =
        targets.iter().map(|(name, security)| format!("  {name}:\n{}", target(security))).collect();
    let text = project.read("lakepulse.yaml");
    let own = text.split("targets:").next().expect("there is one before it");
    project.write("lakepulse.yaml", &format!("{own}targets:\n{targets}"));
    let with = |target: &str, password: &str, args: &[&str]| {
        project.run_with(&[args, &["--target", target]].concat(), &[("REGISTRY_PASSWORD", password)])
    };
    // From another folder: paths in the file are below the project.
    let refused = |target: &str, password: &str, says: &str| {
        let ran = with(target, password, &["plan"]).code(1);
        assert!(ran.stderr.contains(says), "{target}: {}", ran.stderr);
    };
    refused("good", "wrong-password", "refuses us (401): who are you; check `registry.user`");
    refused("stranger", "canary-registry", "cannot reach the schema registry");
    refused("distrustful", "canary-registry", "UnknownIssuer");
    refused("lost", "canary-registry", "certs/nowhere.pem");
    with("good", "canary-registry", &["apply"]).ok();
    with("good", "canary-registry", &["up", "--plain", "--until-drained", "--events", "300"]).ok();
    with("good", "canary-registry", &["verify"]).ok();
    let doctor = with("good", "canary-registry", &["doctor"]).ok();
    assert!(doctor.stdout.contains("ok    registry.reach"), "{}", doctor.stdout);
}

/// Every text below a folder, but the files that hold the secrets.
fn all_texts(folder: &Path, into: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all_texts(&path, into);
        } else if path.extension().is_none_or(|ending| ending != "secret") {
            let text = String::from_utf8_lossy(&std::fs::read(&path).expect("readable")).into_owned();
            into.push((path.display().to_string(), text));
        }
    }
}

#[test]
fn secrets_show_nowhere_whatever_goes_wrong() {
    let services = Services::start();
    let guard = Guard { basic: Some(("u".to_owned(), "another".to_owned())), ..Guard::default() };
    let registry = Front::open(&services.registry, guard).expect("the door opens").url();
    let (kafka, store) = (&services.kafka, bad_store::start(Flaw::Denies).expect("a store"));
    let secrets = [
        ("CANARY_KAFKA", "canary-kafka-4711"),
        ("CANARY_KEY", "canary-key-4711"),
        ("CANARY_SECRET", "canary-secret-4711"),
        ("CANARY_TYPO", "canary-typo-4711"),
    ];
    let security = |protocol| {
        format!("protocol: {protocol}, mechanism: PLAIN, username: u, password: \"${{env:CANARY_KAFKA}}\"")
    };
    let guarded =
        format!("registry: {{ url: \"{registry}\", user: u, password: \"${{file:registry.secret}}\" }}");
    let lake = format!(
        "lake: {{ url: \"s3://lake\", endpoint: \"{store}\", access_key: \"${{env:CANARY_KEY}}\", secret_key: \"${{env:CANARY_SECRET}}\" }}"
    );
    let project = reference_on(&format!(
        "  denied:\n    kafka: {{ bootstrap: \"{kafka}\" }}\n    {guarded}\n    \
         lake: {{ url: \"file://{{LAKE}}\" }}\n  \
         insecure:\n    kafka: {{ bootstrap: \"{kafka}\", security: {{ {} }} }}\n    {guarded}\n  \
         unknown:\n    kafka: {{ bootstrap: \"{kafka}\", security: {{ {} }} }}\n    {guarded}\n  \
         away:\n    kafka: {{ bootstrap: \"127.0.0.1:1\", security: {{ {} }} }}\n    {guarded}\n    {lake}\n  \
         typo:\n    kafka: {{ bootstrap: \"{kafka}\", config: {{ linger.ms: \"${{env:CANARY_TYPO}}\" }} }}\n    {guarded}\n",
        security("sasl_ssl"),
        security("sasl_plaintext"),
        security("sasl_ssl"),
    ));
    let text = project
        .read("lakepulse.yaml")
        .replace("{LAKE}", &project.dir.path().join("lake").display().to_string());
    project.write("lakepulse.yaml", &text);
    project.write("registry.secret", "canary-registry-4711\n");
    let mut written = Vec::new();
    for target in ["denied", "insecure", "unknown", "away", "typo"] {
        for args in [
            &["validate"][..],
            &["plan"],
            &["apply"],
            &["sim", "--events", "1"],
            &["status", "--json"],
            &["query", "SELECT count(*) FROM bronze.cdc_orders"],
            &["doctor"],
            &["doctor", "--json"],
        ] {
            let args = [args, &["--target", target]].concat();
            // What waits for a service that is away is started below.
            let waits = args[0] == "sim" && target != "denied" && target != "typo";
            if waits {
                continue;
            }
            let environment = [&secrets[..], &[("LAKEPULSE_LOG", "trace")]].concat();
            let ran = project.run_with(&args, &environment);
            if args[0] == "doctor" {
                assert_eq!(ran.code, Some(1), "{args:?}: {}\n{}", ran.stdout, ran.stderr);
            }
            written.push((format!("{args:?} stdout"), ran.stdout));
            written.push((format!("{args:?} stderr"), ran.stderr));
        }
    }
    // A process that waits serves metrics and health meanwhile.
    let listen = free_address();
    let args = ["up", "--plain", "--target", "insecure", "--listen", &listen];
    let mut up = project.start_with(&args, &[&secrets[..], &[("LAKEPULSE_LOG", "trace")]].concat());
    until("it says that it waits", SOON, || project.read("started-up.err").contains("waiting for kafka"));
    for path in ["/metrics", "/health/ready", "/health/live", "/health"] {
        written.push((path.to_owned(), get(&listen, path).expect("it serves")));
    }
    assert!(up.alive());
    up.interrupt();
    assert_eq!(up.wait(Duration::from_secs(20)), Some(0));
    all_texts(project.dir.path(), &mut written);
    let everything = written.iter().map(|(_, text)| text.len()).sum::<usize>();
    assert!(everything > 100_000, "the log was at its lowest level: {everything} bytes");
    // The last is the header of basic authentication.
    let hidden = ["canary-", "dTpjYW5hcnkt"];
    for (place, text) in &written {
        for secret in hidden {
            let shown = text.lines().find(|line| line.contains(secret));
            assert_eq!(shown, None, "{place} shows a secret");
        }
    }
    // The search would find one.
    assert!(
        std::fs::read_to_string(project.dir.path().join("registry.secret"))
            .is_ok_and(|text| text.contains(hidden[0]))
    );
}
