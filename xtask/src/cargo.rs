//! Runs cargo within cargo.

use std::ffi::OsString;
use std::process::Command;

/// Cargo as started from a shell. The variables that `cargo run` sets for this program are removed: build
/// scripts watch some of them, so hundreds of crates would be rebuilt, and again by the next plain build.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_of_the_package) {
            cargo.env_remove(name);
        }
    }
    cargo
}

fn is_of_the_package(name: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|of| name.starts_with(of))
}

#[cfg(test)]
mod tests {
    use super::is_of_the_package;

    #[test]
    fn only_what_is_said_of_this_package_is_kept_from_cargo() {
        assert!(is_of_the_package("CARGO_PKG_NAME") && is_of_the_package("CARGO_MANIFEST_DIR"));
        assert!(!is_of_the_package("CARGO_TARGET_DIR") && !is_of_the_package("CARGO_INCREMENTAL"));
    }
}
