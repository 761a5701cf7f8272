//! TLS, passwords and certificates on real servers: Kafka with SASL over TLS and with client certificates,
//! MinIO with TLS. `e2e/secure` starts them and runs this; a registry behind a door is in `settings`.

use testkit::certificates::Authority;

use crate::doctor::verdicts;
use crate::harness::Project;

/// A variable that `e2e/secure` sets.
fn given(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `e2e/secure`"))
}

/// How a target authenticates.
struct Way {
    name: &'static str,
    port: &'static str,
    security: &'static str,
    config: &'static str,
}
impl Way {
    const fn by_password(name: &'static str, security: &'static str) -> Self {
        Self { name, port: "LAKEPULSE_STACK_KAFKA_SASL_PORT", security, config: "{}" }
    }
}

const SCRAM_512: Way = Way::by_password(
    "scram-512",
    "protocol: sasl_ssl, mechanism: SCRAM-SHA-512, username: lakepulse, password: \"${env:KAFKA_PASSWORD}\", ca: certs/ca.pem",
);
const GOOD: [Way; 5] = [
    SCRAM_512,
    Way::by_password(
        "scram-256",
        "protocol: sasl_ssl, mechanism: SCRAM-SHA-256, username: lakepulse, password: \"${env:KAFKA_PASSWORD}\", ca: certs/ca.pem",
    ),
    Way::by_password(
        "plain",
        "protocol: sasl_ssl, mechanism: PLAIN, username: lakepulse, password: \"${env:KAFKA_PASSWORD}\", ca: certs/ca.pem",
    ),
    Way {
        config: "{ enable.sasl.oauthbearer.unsecure.jwt: true, sasl.oauthbearer.config: principal=lakepulse }",
        ..Way::by_password("token", "protocol: sasl_ssl, mechanism: OAUTHBEARER, ca: certs/ca.pem")
    },
    Way {
        name: "certificate",
        port: "LAKEPULSE_STACK_KAFKA_TLS_PORT",
        security: "protocol: ssl, ca: certs/ca.pem, certificate: certs/client.pem, key: certs/client.key",
        config: "{}",
    },
];

/// The reference project with a target for each way. Certificates lie below the project.
fn project(ways: &[Way]) -> Project {
    let project = Project::reference();
    let certificates = std::path::PathBuf::from(given("LAKEPULSE_STACK_DIR")).join("tls");
    for file in ["ca.pem", "client.pem", "client.key"] {
        let text = std::fs::read_to_string(certificates.join(file)).expect("the stack's certificates");
        project.write(&format!("certs/{file}"), &text);
    }
    let registry = given("LAKEPULSE_STACK_REGISTRY_PORT");
    let minio = given("LAKEPULSE_STACK_MINIO_PORT");
    let target = |way: &Way| {
        let (name, security, config, kafka) = (way.name, way.security, way.config, given(way.port));
        format!(
            "  {name}:\n    kafka: {{ bootstrap: \"127.0.0.1:{kafka}\", security: {{ {security} }}, config: {config} }}\n    \
             registry: {{ url: \"http://127.0.0.1:{registry}/apis/ccompat/v7\" }}\n    \
             lake: {{ url: \"s3://lake/secure\", endpoint: \"https://127.0.0.1:{minio}\", ca: certs/ca.pem, \
             access_key: \"${{env:LAKE_ACCESS_KEY}}\", secret_key: \"${{env:LAKE_SECRET_KEY}}\" }}\n"
        )
    };
    let text = project.read("lakepulse.yaml");
    let own = text.split("targets:").next().expect("there is one before it");
    let targets: String = ways.iter().map(target).collect();
    project.write("lakepulse.yaml", &format!("{own}targets:\n{targets}"));
    project
}

#[test]
#[ignore = "needs servers with TLS: `e2e/secure` starts them and runs this"]
fn every_way_to_authenticate_works_for_every_kind_of_client() {
    let project = project(&GOOD);
    for way in &GOOD {
        let ran = project.run(&["doctor", "--json", "--target", way.name]).ok();
        let found = verdicts(&ran);
        for check in [
            "kafka.transactions",
            "kafka.read_committed",
            "kafka.fencing",
            "kafka.group",
            "lake.conditional_put",
        ] {
            assert_eq!(
                found.get(check).map(String::as_str),
                Some("ok"),
                "{}: {check}: {}",
                way.name,
                ran.stdout
            );
        }
    }
}

#[test]
#[ignore = "needs servers with TLS: `e2e/secure` starts them and runs this"]
fn what_is_wrong_with_a_connection_is_said() {
    let bad = [
        Way::by_password(
            "wrong-password",
            "protocol: sasl_ssl, mechanism: SCRAM-SHA-512, username: lakepulse, password: \"${env:WRONG}\", ca: certs/ca.pem",
        ),
        Way::by_password(
            "stranger",
            "protocol: sasl_ssl, mechanism: PLAIN, username: nobody, password: \"${env:WRONG}\", ca: certs/ca.pem",
        ),
        Way::by_password(
            "distrust",
            "protocol: sasl_ssl, mechanism: PLAIN, username: lakepulse, password: \"${env:KAFKA_PASSWORD}\"",
        ),
        Way::by_password(
            "other-authority",
            "protocol: sasl_ssl, mechanism: PLAIN, username: lakepulse, password: \"${env:KAFKA_PASSWORD}\", ca: other/ca.pem",
        ),
        Way {
            name: "no-certificate",
            port: "LAKEPULSE_STACK_KAFKA_TLS_PORT",
            security: "protocol: ssl, ca: certs/ca.pem",
            config: "{}",
        },
    ];
    let project = project(&bad);
    Authority::make(&project.dir.path().join("other")).expect("another authority");
    let insecure = "no secure connection to kafka";
    for (target, says) in [
        ("wrong-password", ["does not allow us", "uthentication failed"]),
        ("stranger", ["does not allow us", "uthentication failed"]),
        ("distrust", [insecure, "certificate"]),
        ("other-authority", [insecure, "certificate"]),
        ("no-certificate", ["kafka", "ertificate"]),
    ] {
        let ran = project.run_with(&["apply", "--target", target], &[("WRONG", "canary-wrong")]).code(1);
        for said in says {
            assert!(ran.stderr.contains(said), "{target} does not say `{said}`: {}", ran.stderr);
        }
        assert!(!ran.stderr.contains("canary-wrong"), "{}", ran.stderr);
    }
    // The store's certificate is not trusted without its authority.
    let text = project.read("lakepulse.yaml");
    project.write("lakepulse.yaml", &text.replace("ca: certs/ca.pem, access_key", "access_key"));
    let ran = project.run(&["doctor", "--target", "distrust"]).code(1);
    assert!(ran.stdout.contains("fail  lake.reach"), "{}", ran.stdout);
}

#[test]
#[ignore = "needs servers with TLS: `e2e/secure` starts them and runs this"]
fn the_reference_project_runs_over_tls_and_scram() {
    let project = project(&[SCRAM_512]);
    let on = |args: &[&str]| project.run(&[args, &["--target", SCRAM_512.name]].concat()).ok();
    on(&["apply"]);
    on(&["up", "--plain", "--until-drained", "--events", "2000", "--seed", "7"]);
    let verified = on(&["verify"]);
    assert!(verified.stdout.contains(", 0 with faults"), "{}", verified.stdout);
    let rows = on(&["query", "SELECT count(*) AS n FROM silver.orders", "--format", "json"]);
    assert!(!rows.stdout.contains("\"n\":0"), "{}", rows.stdout);
}
