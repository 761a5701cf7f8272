//! One word, one meaning: the words of `docs/glossary.md` against the types of the product.
//!
//! A row of the glossary gives a word, its meaning and the type that stands for it. The check fails when
//! - a word is listed twice,
//! - the glossary names a type that its crate does not define,
//! - a type with the name of a word is defined in a second place,
//! - a name that each crate may define once ([`ONE_A_CRATE`]) is defined twice in one crate.
//!
//! Names that are stored, of columns and headers, stand in `model::column` and `model::header` alone: the check fails
//! where another crate spells one. `ops` is not asked, because `verify` must not share a mistake with the stages.
//!
//! Types are found by line: an item starts in the first column, as rustfmt puts it. Test modules, the crates that
//! only tests use and types inside functions are not looked at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use cargo_metadata::MetadataCommand;

/// Names that mean the same in every crate, so each crate may define its own.
const ONE_A_CRATE: &[&str] = &["Context", "Error", "Result", "Settings", "Summary"];

/// Crates that are no part of the product.
const NOT_PRODUCT: &[&str] = &["benchmarks", "cases", "e2e", "fuzz", "testkit", "xtask"];

/// A crate's name and the text of its product sources.
struct Source {
    of: String,
    text: String,
}

/// A row of the glossary.
#[derive(Debug, PartialEq)]
struct Word {
    name: String,
    /// Crate and name of the type that stands for the word.
    owner: Option<(String, String)>,
}

/// Checks the workspace. Returns what was looked at.
pub fn check() -> Result<String> {
    let metadata = MetadataCommand::new().no_deps().exec()?;
    let mut sources = Vec::new();
    for package in &metadata.packages {
        if !NOT_PRODUCT.contains(&package.name.as_str()) {
            let folder = package.manifest_path.with_file_name("src");
            read(package.name.as_str(), folder.as_std_path(), &mut sources)?;
        }
    }
    let path = metadata.workspace_root.join("docs/glossary.md");
    let glossary = std::fs::read_to_string(&path).with_context(|| path.to_string())?;
    let words = words(&glossary);
    let types = types(&sources);
    let mut faults = faults(&words, &types);
    faults.extend(spelled(&sources));
    if !faults.is_empty() {
        bail!("{} words have more than one meaning or place:\n  {}", faults.len(), faults.join("\n  "));
    }
    Ok(format!("{} words, {} type names, one definition a word", words.len(), types.len()))
}

/// Reads the product sources below a folder. Files of test modules are left out.
fn read(of: &str, folder: &Path, sources: &mut Vec<Source>) -> Result<()> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                files.push((path, text));
            }
        }
    }
    let tests: Vec<PathBuf> = files.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let is_product = |path: &Path| !tests.iter().any(|test| path.with_extension("").starts_with(test));
    for (path, text) in files {
        if is_product(&path) {
            sources.push(Source { of: of.to_owned(), text });
        }
    }
    Ok(())
}

/// Paths, without extension, of the modules that a file declares under `#[cfg(test)]`.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let folder = match path.file_stem().and_then(|stem| stem.to_str()) {
        Some("lib" | "main" | "mod") => path.with_file_name(""),
        _ => path.with_extension(""),
    };
    let mut in_test = false;
    let mut modules = Vec::new();
    for line in text.lines() {
        if line == "#[cfg(test)]" {
            in_test = true;
        } else if !line.starts_with("#[") {
            let module = after_visibility(line).strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';'));
            if let (true, Some(module)) = (in_test, module) {
                modules.push(folder.join(module));
            }
            in_test = false;
        }
    }
    modules
}

fn after_visibility(line: &str) -> &str {
    match line.strip_prefix("pub(").and_then(|rest| rest.split_once(") ")) {
        Some((_, rest)) => rest,
        None => line.strip_prefix("pub ").unwrap_or(line),
    }
}

/// The type that a line defines.
fn defined(line: &str) -> Option<&str> {
    let item = after_visibility(line);
    let rest =
        ["struct ", "enum ", "union ", "trait ", "type "].iter().find_map(|kind| item.strip_prefix(kind))?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    Some(&rest[..end])
}

/// The crates that define each type name, sorted, once for each definition.
fn types(sources: &[Source]) -> BTreeMap<&str, Vec<&str>> {
    let mut types: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for source in sources {
        for name in source.text.lines().filter_map(defined) {
            types.entry(name).or_default().push(&source.of);
        }
    }
    types.values_mut().for_each(|crates| crates.sort_unstable());
    types
}

/// The rows of the glossary's table: `` | **word** | meaning | `crate::Type` | ``.
fn words(glossary: &str) -> Vec<Word> {
    let mut words = Vec::new();
    for line in glossary.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let Some(word) = cells[0].strip_prefix("**").and_then(|rest| rest.strip_suffix("**")) else {
            continue;
        };
        let owner = cells.last().and_then(|cell| cell.strip_prefix('`')?.strip_suffix('`')?.split_once("::"));
        for name in word.split(" / ") {
            let owner = owner.map(|(of, name)| (of.to_owned(), name.to_owned()));
            words.push(Word { name: name.to_owned(), owner });
        }
    }
    words
}

/// The name that a type for this word would have: `change feed` gives `ChangeFeed`.
fn type_name(word: &str) -> String {
    let capital = |part: &str| {
        let mut letters = part.chars();
        letters
            .next()
            .map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
            .unwrap_or_default()
    };
    word.split([' ', '_']).map(capital).collect()
}

/// What breaks the rules at the head of this file.
fn faults(words: &[Word], types: &BTreeMap<&str, Vec<&str>>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut extra: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let defined = |name: &str| types.get(name).cloned().unwrap_or_default();
    for (i, Word { name, owner }) in words.iter().enumerate() {
        if words[..i].iter().any(|earlier| earlier.name == *name) {
            faults.push(format!("`{name}` is listed twice in the glossary"));
        }
        extra.entry(type_name(name)).or_insert_with_key(|name| defined(name));
        if let Some((of, name)) = owner {
            extra.entry(name.clone()).or_insert_with_key(|name| defined(name));
            if !defined(name).contains(&of.as_str()) {
                faults.push(format!("the glossary names `{of}::{name}`, which does not exist"));
            }
        }
    }
    for (of, name) in words.iter().filter_map(|word| word.owner.as_ref()) {
        if let Some(crates) = extra.get_mut(name)
            && let Some(first) = crates.iter().position(|found| found == of)
        {
            crates.remove(first);
        }
    }
    for name in ONE_A_CRATE {
        let crates = defined(name);
        let again = crates.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        extra.insert((*name).to_owned(), again.collect());
    }
    for (name, crates) in extra {
        if !crates.is_empty() {
            faults.push(format!(
                "`{name}` is defined a second time in {crates:?}: give that type another name"
            ));
        }
    }
    faults
}

/// Stored names that a crate spells instead of naming `model`'s constant.
fn spelled(sources: &[Source]) -> Vec<String> {
    let is_stored = |name: &str| ["_", "lp.", "__debezium."].iter().any(|prefix| name.starts_with(prefix));
    let model = sources.iter().filter(|source| source.of == "model").flat_map(|source| source.text.lines());
    let stored: Vec<(&str, &str)> = model
        .filter_map(|line| {
            let (name, value) = line.strip_prefix("pub const ")?.split_once(": &str = \"")?;
            Some((name, value.strip_suffix("\";").filter(|value| is_stored(value))?))
        })
        .collect();
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| !["model", "ops"].contains(&source.of.as_str())) {
        let product = source.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let code = product.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for (name, value) in stored.iter().filter(|(_, value)| line.contains(&format!("\"{value}\""))) {
                faults.push(format!("{} spells \"{value}\": name `model`'s `{name}`", source.of));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_name_stands_in_one_place() {
        let model = ("model", "pub const KEY: &str = \"_key\";\npub const REST: &str = \"rest\";\n");
        let spelled = |of: &str, text: &str| {
            let source = |(of, text): (&str, &str)| Source { of: of.to_owned(), text: text.to_owned() };
            spelled(&[source(model), source((of, text))])
        };
        assert_eq!(
            spelled("silver", "let key = \"_key\";\n"),
            ["silver spells \"_key\": name `model`'s `KEY`"]
        );
        let fine = ["// \"_key\"", "\"_keys\"", "\"rest\"", "#[cfg(test)]\nmod tests {\n\"_key\""];
        assert!(fine.iter().all(|text| spelled("silver", text).is_empty()));
        assert!(spelled("ops", "\"_key\"").is_empty());
    }

    const GLOSSARY: &str = "\
        # Glossary\n\n| word | meaning | type |\n| --- | --- | --- |\n\
        | **pin** | version of an input | `stage::Pin` |\n\
        | **bronze / silver** | stages | |\n\
        | **change feed** | what Delta calls it | |\n";

    fn planted(sources: &[(&str, &str)]) -> Vec<String> {
        let source = |(of, text): &(&str, &str)| Source { of: (*of).to_owned(), text: (*text).to_owned() };
        let sources: Vec<Source> = sources.iter().map(source).collect();
        faults(&words(GLOSSARY), &types(&sources))
    }

    #[test]
    fn one_definition_a_word_passes() {
        let sources = [("stage", "pub struct Pin {\n    a: u8,\n}\n"), ("gold", "struct Pins(u8);\n")];
        assert_eq!(planted(&sources), Vec::<String>::new());
    }

    #[test]
    fn a_second_definition_fails() {
        for second in ["struct Pin;", "pub(crate) enum Pin {", "pub type Pin = u8;", "pub trait Pin<T> {"] {
            let faults = planted(&[("stage", "pub struct Pin;"), ("query", second)]);
            assert_eq!(
                faults,
                [r#"`Pin` is defined a second time in ["query"]: give that type another name"#]
            );
        }
        let faults = planted(&[("stage", "pub struct Pin;"), ("stage", "struct Pin;")]);
        assert_eq!(faults, [r#"`Pin` is defined a second time in ["stage"]: give that type another name"#]);
    }

    #[test]
    fn a_type_for_a_word_that_has_none_fails() {
        let faults = planted(&[("stage", "pub struct Pin;"), ("lake", "struct ChangeFeed;")]);
        assert_eq!(
            faults,
            [r#"`ChangeFeed` is defined a second time in ["lake"]: give that type another name"#]
        );
    }

    #[test]
    fn a_type_that_does_not_exist_fails() {
        let faults = planted(&[("stage", "pub struct Pinned;")]);
        assert_eq!(faults, ["the glossary names `stage::Pin`, which does not exist"]);
    }

    #[test]
    fn a_word_that_is_listed_twice_fails() {
        let twice = words(&[GLOSSARY, "| **pin** | a needle | |\n"].concat());
        let stage = Source { of: "stage".to_owned(), text: "struct Pin;".to_owned() };
        assert_eq!(faults(&twice, &types(&[stage])), ["`pin` is listed twice in the glossary"]);
    }

    #[test]
    fn a_second_error_in_one_crate_fails() {
        let sources = [("stage", "struct Pin;\npub enum Error {"), ("lake", "enum Error {")];
        assert_eq!(planted(&sources), Vec::<String>::new());
        let sources = [("stage", "struct Pin;"), ("lake", "enum Error {"), ("lake", "struct Error;")];
        assert_eq!(planted(&sources).len(), 1);
    }

    #[test]
    fn test_modules_and_local_types_are_not_looked_at() {
        let local = "fn f() {\n    struct Pin;\n}\n";
        assert_eq!(planted(&[("stage", "struct Pin;"), ("query", local)]), Vec::<String>::new());
        let text =
            "#[cfg(test)]\n#[path = \"x\"]\npub(crate) mod fake;\nmod real;\n#[cfg(test)]\nmod tests;\n";
        let modules = test_modules(Path::new("src/a.rs"), text);
        assert_eq!(modules, [Path::new("src/a/fake"), Path::new("src/a/tests")]);
        assert_eq!(test_modules(Path::new("src/lib.rs"), text)[0], Path::new("src/fake"));
    }
}
