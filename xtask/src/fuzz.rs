//! `cargo xtask fuzz TARGET [--runs N] [--seconds S]`: runs a target with libFuzzer on its corpus; `all` runs
//! all.
//!
//! cargo-fuzz rebuilds every crate with its flags, 700 of them. Here only our own crates are instrumented
//! (`fuzz/instrument`), and their dependencies are used as they are built already. New inputs with more
//! coverage are kept outside of the repository, and crashes where libFuzzer reports them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use cargo_metadata::MetadataCommand;

use crate::cargo::cargo;

/// Limits of one run: half a gigabyte, and ten seconds per input.
const LIMITS: [&str; 4] = ["-rss_limit_mb=512", "-timeout=10", "-max_len=16384", "-print_final_stats=1"];

/// Targets that run concurrently for `all`.
const AT_ONCE: usize = 2;

/// Builds and runs the given target, or `all`.
pub fn run(args: &[String]) -> Result<String> {
    let (target, rest) = args.split_first().context("name a target, or `all`: `cargo xtask fuzz TARGET`")?;
    let mut limits: Vec<String> = LIMITS.iter().map(ToString::to_string).collect();
    let mut build_only = false;
    let mut rest = rest.iter();
    while let Some(flag) = rest.next() {
        let mut number = || rest.next().with_context(|| format!("`{flag}` takes a number"));
        match flag.as_str() {
            "--runs" => limits.push(format!("-runs={}", number()?)),
            "--seconds" => limits.push(format!("-max_total_time={}", number()?)),
            "--build" => build_only = true,
            other => limits.push(other.to_owned()),
        }
    }
    let metadata = MetadataCommand::new().no_deps().exec()?;
    let (root, built) = (PathBuf::from(metadata.workspace_root), PathBuf::from(metadata.target_directory));
    let targets = if target == "all" { all(&root)? } else { vec![target.clone()] };
    let mut build = cargo();
    build.current_dir(&root).env("RUSTC_WORKSPACE_WRAPPER", root.join("fuzz/instrument"));
    // The whole workspace and a test: this gives the same features as every other build, so nothing is rebuilt.
    build.args(["build", "--locked", "--workspace", "--features", "fuzz/libfuzzer", "--test", "features"]);
    build.args(targets.iter().flat_map(|target| ["--bin", target.as_str()]));
    if !build.status()?.success() {
        bail!("`{target}` was not built");
    }
    if build_only {
        return Ok(built.join("debug").display().to_string());
    }
    let mut said = Vec::new();
    for some in targets.chunks(AT_ONCE) {
        let running = some.iter().map(|target| Running::start(target, &root, &built, &limits));
        let running = running.collect::<Result<Vec<_>>>()?;
        for target in running {
            said.push(target.end()?);
        }
    }
    Ok(said.join("\n"))
}

/// The names of all targets.
fn all(root: &Path) -> Result<Vec<String>> {
    let mut targets = Vec::new();
    for file in std::fs::read_dir(root.join("fuzz/fuzz_targets"))? {
        let path = file?.path();
        targets.extend(path.file_stem().and_then(|name| name.to_str()).map(str::to_owned));
    }
    targets.sort();
    Ok(targets)
}

/// A running target; its output goes to a file.
struct Running {
    target: String,
    process: Child,
    log: PathBuf,
}
impl Running {
    fn start(target: &str, root: &Path, built: &Path, limits: &[String]) -> Result<Self> {
        let found = built.join("fuzz").join(target);
        std::fs::create_dir_all(&found)?;
        let corpus = root.join("fuzz/corpus").join(target);
        let log = built.join("fuzz").join(format!("{target}.log"));
        let file = std::fs::File::create(&log).with_context(|| log.display().to_string())?;
        let mut fuzzer = Command::new(built.join("debug").join(target));
        fuzzer.current_dir(&found).args(limits).arg(&found).arg(corpus).stderr(file).stdout(Stdio::null());
        let process = fuzzer.spawn().with_context(|| format!("cannot run {fuzzer:?}"))?;
        Ok(Self { target: target.to_owned(), process, log })
    }

    /// Waits for its end. Returns the number of inputs and the memory used.
    fn end(self) -> Result<String> {
        let Self { target, mut process, log } = self;
        let status = process.wait()?;
        let said = std::fs::read_to_string(&log)?;
        if !status.success() {
            let last: Vec<&str> = said.lines().rev().take(30).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            bail!(
                "target `{target}` found something ({status}), see {}:\n{}",
                log.display(),
                last.join("\n")
            );
        }
        let stat = |name: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
            line.map_or("?", |line| line.trim_start_matches([':', ' '])).to_owned()
        };
        let (inputs, memory) = (stat("number_of_executed_units"), stat("peak_rss_mb"));
        Ok(format!("{target}: {inputs} inputs, nothing found, {memory} MB at the peak"))
    }
}
