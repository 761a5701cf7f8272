//! What takes bytes of others, as functions of bytes: none of them may crash, hang or take half a gigabyte.
//!
//! | target | what it is given |
//! | --- | --- |
//! | [`wire_frame`] | records of a topic behind the registry's frame |
//! | [`avro`] | a schema of a registry and a datum of it |
//! | [`json_value`] | JSON by a declared schema, or with Connect's schema part |
//! | [`csv_line`] | a file of CSV or JSON Lines |
//! | [`envelope`] | Debezium's JSON, down to the events silver sees |
//! | [`pgoutput`] | messages of PostgreSQL's replication stream, down to records |
//! | [`commit_json`] | an entry of a Delta log |
//! | [`yaml`] | the files of a project |
//! | [`sql`] | a model's SQL: parsed, planned, judged, run |
//!
//! `cargo xtask fuzz TARGET` runs one with libFuzzer; `tests/replay.rs` runs all for some seconds each, on the
//! corpus and on mutations of it, wherever tests run. What a target finds goes into `corpus/<target>/`.

#![allow(clippy::disallowed_methods, reason = "it bounds how long an input takes")]

pub mod avro;
pub mod commit_json;
pub mod csv_line;
pub mod envelope;
pub mod json_value;
pub mod pgoutput;
pub mod project;
pub mod sql;
pub mod wire_frame;
pub mod yaml;

/// A target's name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 9] = [
    ("wire_frame", wire_frame::run),
    ("avro", avro::run),
    ("json_value", json_value::run),
    ("csv_line", csv_line::run),
    ("envelope", envelope::run),
    ("pgoutput", pgoutput::run),
    ("commit_json", commit_json::run),
    ("yaml", yaml::run),
    ("sql", sql::run),
];

/// Stands between two parts of an input.
pub const BETWEEN: &[u8] = b"\n\0\n";

/// The parts of an input, `N` of them; the last ones may be empty.
pub fn parts<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut rest = Some(data);
    std::array::from_fn(|at| {
        let Some(text) = rest.take() else { return &[][..] };
        let cut = text.windows(BETWEEN.len()).position(|window| window == BETWEEN);
        match cut.filter(|_| at + 1 < N) {
            Some(cut) => {
                rest = Some(&text[cut + BETWEEN.len()..]);
                &text[..cut]
            }
            None => text,
        }
    })
}

/// The engine ends the process at any panic. Bronze catches those of the Avro decoder, whose answer it does not
/// trust either way; what is not caught ends the process all the same.
pub fn tolerate_caught_panics() {
    std::panic::set_hook(Box::new(|info| {
        let ours = info.location().is_some_and(|at| !at.file().contains("/registry/src/"));
        if ours {
            eprintln!("{info}");
            eprintln!("{}", std::backtrace::Backtrace::force_capture());
            std::process::abort();
        }
    }));
}
