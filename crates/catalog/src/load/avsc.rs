//! `schemas/**/*.avsc`: every file must be an Avro schema, even if no topic names it.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::files::Found;
use super::{Context, line_holding};
use crate::fault::did_you_mean;

/// The texts of valid schema files, and the names of invalid ones.
pub(super) struct Schemas(BTreeMap<PathBuf, Option<String>>);

pub(super) fn read(cx: &mut Context<'_>, found: &Found) -> Schemas {
    let read = |file: &PathBuf| (file.clone(), one(cx, file));
    Schemas(found.schemas.iter().map(read).collect())
}

impl Schemas {
    /// The schema at `path`, named in `line` of `from`. `None` if there is a fault.
    pub fn get(&mut self, cx: &mut Context<'_>, path: &str, from: &Path, line: usize) -> Option<String> {
        let plain: PathBuf =
            Path::new(path).components().filter(|part| !matches!(part, Component::CurDir)).collect();
        if let Some(known) = self.0.get(&plain) {
            return known.clone();
        }
        if !cx.dir.join(&plain).is_file() {
            let known: Vec<String> = self.0.keys().map(|file| file.to_string_lossy().into_owned()).collect();
            let help = did_you_mean(path, known.iter().map(String::as_str));
            cx.faults.add_at(from, line, format!("there is no schema file `{path}`"), help);
            return None;
        }
        let read = one(cx, &plain);
        self.0.insert(plain, read.clone());
        read
    }
}

fn one(cx: &mut Context<'_>, file: &Path) -> Option<String> {
    let text = cx.text(file)?;
    if let Err(error) = serde_json::from_str::<serde_json::Value>(&text) {
        let help = "an Avro schema is JSON such as {\"type\": \"record\", \"name\": …, \"fields\": […]}";
        cx.faults.add_at(file, error.line(), format!("not JSON: {error}"), help);
        return None;
    }
    match avro::Schema::parse(&text) {
        Ok(_) => Some(text),
        Err(error) => {
            let cause = match &error {
                avro::Error::NotAvro { source } => source.to_string(),
                other => other.to_string(),
            };
            // The parser gives no position, so the fault points to a name that its message quotes.
            let quoted = cause.split(['`', '\'', '"']).nth(1).filter(|word| !word.is_empty());
            let line = quoted.map_or(1, |word| line_holding(&text, &format!("\"{word}\"")));
            let help = "see the Avro specification of the type, or take the schema from the registry";
            cx.faults.add_at(file, line, format!("not an Avro schema: {cause}"), help);
            None
        }
    }
}
