use rstest::rstest;

use crate::load::fixture::{Files, valid};
use crate::load::load;
use crate::load::tests::one_fault;

/// Line 5 is the target; kafka, registry and lake are on the lines behind it.
const REAL: &str = r#"targets:
  real:
    kafka: { bootstrap: "${env:NO_SUCH_KAFKA:-k:9092}", security: { protocol: sasl_ssl, mechanism: PLAIN, username: u, password: "${env:NO_SUCH}", ca: certs/ca.pem } }
    registry: { url: "https://r:8081", user: u, password: "${file:no/such}" }
    lake: { url: "s3://lake/x", endpoint: "http://m:9000", access_key: "${env:NO_SUCH}", secret_key: "${env:NO_SUCH}" }
"#;

fn real() -> Files {
    valid().append("lakepulse.yaml", REAL)
}

#[tokio::test]
async fn references_are_not_looked_up_when_a_project_is_loaded() {
    let dir = real().write();
    let project = load(dir.path(), "real").await.expect("valid");
    assert!(!project.target.embedded);
    let kafka = project.target.kafka.as_ref().expect("a cluster");
    assert_eq!(kafka.bootstrap.resolve().expect("a default"), "k:9092");
    assert_eq!(
        kafka.config["ssl.ca.location"].resolve().expect("a path"),
        dir.path().join("certs/ca.pem").to_string_lossy(),
        "a path is below the project, wherever the process runs"
    );
    let missing = kafka.resolve().expect_err("not set");
    assert!(missing.to_string().contains("`NO_SUCH`"), "{missing}");
    assert!(project.lake().expect_err("not set").to_string().contains("`NO_SUCH`"));
    let unknown = load(dir.path(), "reel").await.expect_err("no such target");
    assert!(unknown[0].to_string().contains("did you mean `real`?"), "{unknown:?}");
}

#[rstest]
#[case::a_password("\"${env:NO_SUCH}\", ca", "hunter2, ca", 6, &["`password` is a secret that stands in the file", "${env:NAME}"])]
#[case::a_default_of_one("\"${env:NO_SUCH}\", ca", "\"${env:NO_SUCH:-hunter2}\", ca", 6, &["`password` is a secret"])]
#[case::among_client_settings("k:9092}\",", "k:9092}\", config: { ssl.key.password: hunter2 },", 6, &["`ssl.key.password` is a secret"])]
#[case::of_the_registry("\"${file:no/such}\"", "hunter2", 7, &["`password` is a secret"])]
#[case::of_the_lake("secret_key: \"${env:NO_SUCH}\"", "secret_key: hunter2", 8, &["`secret_key` is a secret"])]
#[case::among_options_of_the_lake("lake: {", "lake: { options: { aws_session_token: hunter2 },", 8, &["`aws_session_token` is a secret"])]
#[case::in_a_url("https://r:8081", "https://u:hunter2@r:8081", 7, &["`url` holds a password", "`user:` and `password:`"])]
#[case::in_an_endpoint("http://m:9000", "http://u:hunter2@m:9000", 8, &["`endpoint` holds a password"])]
#[case::half_a_reference("\"${env:NO_SUCH}\", ca", "\"${hunter2\", ca", 6, &["`password`:", "no reference"])]
#[tokio::test]
async fn a_secret_that_stands_in_the_file_is_refused_and_not_repeated(
    #[case] was: &str,
    #[case] is: &str,
    #[case] line: usize,
    #[case] holds: &[&str],
) {
    let files = real().replace("lakepulse.yaml", was, is);
    one_fault(files.clone(), &format!("lakepulse.yaml:{line}"), holds).await;
    let dir = files.write();
    let faults = load(dir.path(), "real").await.expect_err("a fault");
    assert!(!format!("{faults:?}").contains("hunter2"), "{faults:?}");
}

#[rstest]
#[case::another_scheme("s3://lake/x", "gs://lake", 8, &["begins with `gs:`"])]
#[case::no_bucket("s3://lake/x", "s3:///x", 8, &["names no bucket"])]
#[case::no_mechanism("mechanism: PLAIN, ", "", 6, &["has no `mechanism`"])]
#[case::an_unknown_mechanism("PLAIN", "GSSAPI", 6, &["`mechanism` is `GSSAPI`"])]
#[case::nobody("username: u, ", "", 6, &["mechanism `PLAIN` has no `username`"])]
#[case::authentication_on_a_plain_connection("protocol: sasl_ssl, ", "protocol: ssl, ", 6, &["`mechanism` is given", "does not authenticate"])]
#[case::trust_on_a_connection_in_the_clear("protocol: sasl_ssl", "protocol: sasl_plaintext", 6, &["`ca` is given", "does not encrypt"])]
#[case::half_a_certificate("ca: certs/ca.pem", "certificate: certs/me.pem", 6, &["`certificate` is given without `key`"])]
#[case::registry_in_the_clear("https://r:8081\",", "http://r:8081\", ca: x.pem,", 7, &["`ca` is given", "does not encrypt"])]
#[case::half_a_name("user: u, ", "", 7, &["`password` is given without `user`"])]
#[case::half_a_key("access_key: \"${env:NO_SUCH}\", ", "", 8, &["`secret_key` is given without `access_key`"])]
#[case::another_reference("${env:NO_SUCH}\", ca", "${vault:x}\", ca", 6, &["no reference"])]
#[tokio::test]
async fn settings_that_could_not_work_are_faults(
    #[case] was: &str,
    #[case] is: &str,
    #[case] line: usize,
    #[case] holds: &[&str],
) {
    one_fault(real().replace("lakepulse.yaml", was, is), &format!("lakepulse.yaml:{line}"), holds).await;
}

#[tokio::test]
async fn kafka_and_registry_come_together() {
    let registry = REAL.lines().find(|line| line.contains("registry:")).expect("there is one");
    let files = real().replace("lakepulse.yaml", &format!("{registry}\n"), "");
    one_fault(files, "lakepulse.yaml:5", &["has `kafka` and no `registry`"]).await;
}
