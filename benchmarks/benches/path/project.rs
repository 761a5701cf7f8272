//! A copy of the reference project in a temporary folder, and the binary of the same profile run on it.
//!
//! On a target that is not embedded it shares services with others, so it gets names of its own there.
//! What it leaves is under these names.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use lake::{Lake, LakeSettings, Table};
use model::TableName;
use runtime::RandomIds;
use tempfile::TempDir;

use crate::process::{Cost, Process};

// The file alone: its crate brings macros for tests, for which cargo would compile hundreds of crates again.
#[path = "../../../crates/testkit/src/reference.rs"]
mod reference;

/// Longer than any verb may take.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// The binary that cargo put beside the folder of this one.
pub fn binary() -> Result<PathBuf> {
    let me = std::env::current_exe()?;
    let beside = me.parent().and_then(Path::parent).map(|folder| folder.join("lakepulse"));
    match beside {
        Some(path) if path.is_file() => Ok(path),
        _ => bail!(
            "no binary `lakepulse` two folders above `{}`: run `cargo build --profile dist` first",
            me.display()
        ),
    }
}

/// Where it runs: a target of `lakepulse.yaml`.
const TARGET: &str = "LAKEPULSE_BENCH_TARGET";
const EMBEDDED: &str = "embedded";

/// The target that the environment names.
fn target() -> String {
    std::env::var(TARGET).ok().filter(|name| !name.is_empty()).unwrap_or_else(|| EMBEDDED.to_owned())
}
/// Whether broker, registry and lake are in our own hands.
pub fn embedded() -> bool {
    target() == EMBEDDED
}

/// A copy of the reference project.
pub struct Project {
    dir: TempDir,
    binary: PathBuf,
}

impl Project {
    /// Copies it, without any data.
    pub fn copy(binary: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("lakepulse-bench-").tempdir()?;
        reference::copy(dir.path())?;
        if !embedded() {
            let folder = dir.path().file_name().context("a folder has a name")?.to_string_lossy();
            let id = folder.trim_start_matches("lakepulse-").to_lowercase();
            reference::rename(dir.path(), "lakepulse", &id)?;
            let settings = dir.path().join("lakepulse.yaml");
            let text = fs::read_to_string(&settings)?;
            fs::write(&settings, text.replace("s3://lake", &format!("s3://lake/{id}")))?;
        }
        Ok(Self { dir, binary: binary.to_owned() })
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Runs `lakepulse` to its end. Shows on standard error what is under way.
    pub async fn run(&self, args: &[&str]) -> Result<Cost> {
        let name = args.first().copied().unwrap_or("lakepulse");
        eprintln!("lakepulse {} …", args.join(" "));
        let out = File::create(self.path().join(format!("{name}.out")))?;
        let mut command = Command::new(&self.binary);
        command.args(args).arg("--project").arg(self.path()).current_dir(self.path());
        command.args(["--target", &target()]);
        command.stdin(Stdio::null()).stdout(out);
        Process::start(name, &mut command, self.path())?.ended(PATIENCE).await
    }

    /// Reads its files, and connects to its lake.
    pub async fn open(&self) -> Result<Open> {
        let loaded = catalog::load(self.path(), &target()).await;
        let project = loaded.map_err(|faults| {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("the reference project is not valid:\n{}", faults.join("\n"))
        })?;
        let (url, options) = project.lake()?;
        let lake = Lake::connect(LakeSettings { url, options }, Arc::new(RandomIds)).await?;
        Ok(Open { project, lake })
    }
}

/// What a project declares, and what its lake holds.
pub struct Open {
    /// Its files, checked.
    pub project: catalog::Project,
    /// Its lake.
    pub lake: Lake,
}
impl Open {
    /// A table that must be there.
    pub async fn table(&self, name: &TableName) -> Result<Table> {
        self.lake.table(name).await?.with_context(|| format!("no table `{name}` in the lake"))
    }
    /// Live rows of a table.
    pub async fn rows(&self, name: &TableName) -> Result<u64> {
        let rows = self.table(name).await?.rows();
        rows.with_context(|| format!("a file of table `{name}` does not say how many rows it has"))
    }
}
