//! Downloads other engines, then runs the test that uses them: `e2e/tests/e2e/interop.rs`.
//!
//! The servers belong to the test and end with it. Downloads stay where `compose/native/stack` and
//! `e2e/readers/python` keep theirs, for the next run.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::cargo::cargo;

/// Runs the test. Its output goes to standard output.
pub fn run() -> Result<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace's folder")?;
    let script = |path: &str| Command::new(root.join(path));
    // The first service creates the shared folder; the test's own servers use its programs.
    let spark = said(script("compose/native/stack").arg("spark"))?;
    let python = said(script("e2e/readers/python").arg("engines.txt"))?;

    let built = ["--workspace", "--locked", "--test", "e2e"];
    done(cargo().current_dir(root).arg("build").args(built).arg("--bins"))?;
    let mut test = cargo();
    test.current_dir(root).arg("test").args(built).args([
        "--",
        "--include-ignored",
        "--nocapture",
        "interop::",
    ]);
    done(test.env("LAKEPULSE_E2E_PYTHON", python.trim()).envs(exports(&spark)?))?;
    Ok("every engine agrees".to_owned())
}

/// Parses the lines `export NAME=value` that `stack` prints for a shell. Refuses values with characters that a
/// shell would interpret.
fn exports(text: &str) -> Result<Vec<(&str, &str)>> {
    let pair = |line| {
        let pair = str::strip_prefix(line, "export ").and_then(|line| line.split_once('='));
        let (name, value) = pair.with_context(|| format!("`{line}` is no export"))?;
        ensure!(!value.contains(['\\', '\'', '"']), "`{name}` is {value}: use folders with plain names");
        Ok((name, value))
    };
    text.lines().map(pair).collect()
}

/// The output of a command that must succeed.
fn said(command: &mut Command) -> Result<String> {
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

fn done(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::exports;

    #[test]
    fn exports_are_pairs_and_quoted_values_are_refused() {
        let read = exports("export A=/x/y\nexport B=z\n").expect("plain");
        assert_eq!(read, [("A", "/x/y"), ("B", "z")]);
        assert!(exports("export A=my\\ folder\n").is_err());
        assert!(exports("installing\n").is_err());
    }
}
