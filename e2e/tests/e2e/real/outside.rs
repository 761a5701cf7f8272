//! Readers that nobody here wrote.

use std::path::Path;
use std::process::Command;

use crate::harness::Project;
use crate::stack::Stack;

/// Which Python has the packages of `e2e/readers/requirements.txt`.
const PYTHON: &str = "LAKEPULSE_E2E_PYTHON";

// Holds P4 (docs/invariants.md).
#[test]
#[ignore = "needs the real services: e2e/real"]
fn a_python_consumer_folds_each_gold_topic_to_exactly_its_table() {
    let stack = Stack::shared();
    let places = stack.places();
    let project = Project::reference_on(&stack, &places, "");
    project.run(&["up", "--plain", "--events", "30000", "--seed", "7", "--until-drained"]).ok();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("readers/fold.py");
    for table in ["customer_analytics", "daily_sales_metrics", "inventory_status"] {
        let python = std::env::var(PYTHON).unwrap_or_else(|_| "python3".to_owned());
        let ran = Command::new(python)
            .arg(&script)
            .args(["--kafka", &places.kafka])
            .args(["--registry", &format!("http://{}/apis/ccompat/v7", places.registry)])
            .args(["--endpoint", &format!("http://{}", places.minio)])
            .arg(project.topic(&format!("lakepulse.gold.{table}")))
            .arg(format!("s3://lake/{}/gold/{table}", project.id()))
            .envs(stack.keys())
            .output()
            .expect("python runs");
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
        let rows = project.value(&format!("SELECT count(*) AS n FROM gold.{table}"));
        assert!(rows.as_u64() > Some(0) && said.contains(&format!("{rows} keys")), "{said}");
    }
}
