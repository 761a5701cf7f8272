//! `cargo xtask fuzz TARGET [--runs N] [--seconds S]`: a target with libFuzzer, from its corpus.
//!
//! cargo-fuzz builds every crate anew with its flags, 700 of them. Here only ours are instrumented
//! (`fuzz/instrument`); what they depend on is taken as it is built already. New inputs that reach something
//! else are kept outside of the repository, a crash where libFuzzer says.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use cargo_metadata::MetadataCommand;

use crate::cargo::cargo;

/// Limits of one run: half a gigabyte and ten seconds an input.
const LIMITS: [&str; 4] = ["-rss_limit_mb=512", "-timeout=10", "-max_len=16384", "-print_final_stats=1"];

/// Builds and runs the target that the arguments name.
pub fn run(args: &[String]) -> Result<String> {
    let (target, rest) = args.split_first().context("name a target: `cargo xtask fuzz TARGET`")?;
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
    let mut build = cargo();
    build.current_dir(&root).env("RUSTC_WORKSPACE_WRAPPER", root.join("fuzz/instrument"));
    // The whole workspace and a test: features, and with them all that is built already, are those of every build.
    build.args([
        "build",
        "--locked",
        "--workspace",
        "--features",
        "fuzz/libfuzzer",
        "--bin",
        target,
        "--test",
        "replay",
    ]);
    if !build.status()?.success() {
        bail!("target `{target}` was not built");
    }
    let binary = built.join("debug").join(target);
    if build_only {
        return Ok(binary.display().to_string());
    }
    let found = built.join("fuzz").join(target);
    std::fs::create_dir_all(&found)?;
    let corpus = root.join("fuzz/corpus").join(target);
    let mut fuzzer = Command::new(&binary);
    fuzzer.current_dir(&found).args(limits).arg(&found).arg(corpus);
    if !fuzzer.status()?.success() {
        bail!("target `{target}` found something: the input is in {}", found.display());
    }
    Ok(format!("{target}: nothing found"))
}
