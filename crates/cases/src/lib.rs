//! How many cases a property test tries: few in every run, many by hand.

use proptest::test_runner::Config;

/// The settings of a property test that tries so many cases, or as many as `PROPTEST_CASES` says.
pub fn few(default: u32) -> Config {
    let asked = std::env::var("PROPTEST_CASES").ok();
    let cases = asked.map_or(default, |n| n.parse().expect("PROPTEST_CASES is a number"));
    Config { cases, failure_persistence: None, ..Config::default() }
}
