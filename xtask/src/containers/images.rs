//! Every image that `--profile sim` runs: pulled, stood in for, or built.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::engine::{Engine, done, said};
use super::project;
use super::report::Report;

/// Our image. Its tag is that of `docker-compose.yaml`, which a test of the file holds to the version.
pub const OURS: &str = concat!("lakepulse:", env!("CARGO_PKG_VERSION"));

/// What the Dockerfile gets where a binary is given: all but the build.
const BASE: &str = "lakepulse-base";

/// The other images that we build.
const BUILT: [&str; 3] = ["kafka", "minio", "registry-data"];

/// Makes them. What is there already is taken, but ours.
pub fn make(engine: &Engine, root: &Path, binary: Option<&Path>, report: &mut Report) -> Result<()> {
    if let Some(binary) = binary {
        ensure!(binary.is_file(), "`{}` is no file", binary.display());
    }
    // What it makes is said on standard error, the list comes below.
    done(Command::new(root.join("compose/images")).stdout(Stdio::null()))?;
    match binary {
        Some(binary) => around(engine, root, binary)?,
        None => from_source(engine, root)?,
    }
    // Every variable of the file has to be there, though a build uses none.
    let unused = project::secrets(|| Ok("unused".to_owned()))?;
    said(engine.compose(root).arg("build").args(BUILT).envs(unused))?;
    let list = said(Command::new(root.join("compose/images")).arg("list"))?;
    let known: Vec<&str> = list.lines().filter(|line| !line.ends_with("not there")).collect();
    report.holds("images", known.join("\n"));
    let size = said(&mut engine.docker(["image", "inspect", "--format", "{{.Size}}", OURS]))?;
    let size = size.trim().parse::<u64>().context("a size")? / 1_000_000;
    let built = binary.map_or_else(|| "from source".to_owned(), |path| format!("around {}", path.display()));
    report.holds("", format!("{OURS:<36} {size:>5} MB  built {built}"));
    Ok(())
}

/// Takes our image away again, which is not what its name says where a binary was given.
pub fn forget(engine: &Engine) -> Result<()> {
    said(&mut engine.docker(["image", "rm", OURS])).map(drop)
}

/// As everybody gets it, which takes as long as a build with the profile `dist` does.
fn from_source(engine: &Engine, root: &Path) -> Result<()> {
    done(Command::new(root.join("compose/images")).arg("rust").stdout(Stdio::null()))?;
    let mut build = engine.docker(["build", "--tag", OURS, "."]);
    done(build.current_dir(root).env("DOCKER_BUILDKIT", "1"))
}

/// The same image, but for where the binary is from.
fn around(engine: &Engine, root: &Path, binary: &Path) -> Result<()> {
    let folder = said(Command::new("mktemp").arg("-d"))?;
    let folder = Path::new(folder.trim());
    let built = (|| {
        std::fs::copy(root.join("Dockerfile"), folder.join("base.Dockerfile"))?;
        std::fs::write(folder.join(".dockerignore"), "*\n!lakepulse\n")?;
        std::fs::write(
            folder.join("Dockerfile"),
            format!("FROM {BASE}\nCOPY lakepulse /usr/local/bin/lakepulse\n"),
        )?;
        let mut base =
            engine.docker(["build", "--target", "base", "--tag", BASE, "--file", "base.Dockerfile", "."]);
        said(base.current_dir(folder))?;
        std::fs::copy(binary, folder.join("lakepulse")).with_context(|| binary.display().to_string())?;
        said(Command::new("strip").arg(folder.join("lakepulse")))?;
        said(engine.docker(["build", "--tag", OURS, "."]).current_dir(folder)).map(drop)
    })();
    std::fs::remove_dir_all(folder)?;
    built
}
