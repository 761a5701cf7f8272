//! `docs/invariants.md` against the tests that it names.
//!
//! A section of the page, `## P3. …`, is an invariant. Its list items name the tests that hold it, by their path in
//! the code: ``- `lake::tests::upkeep::…`: what it shows``. Directly above each of these tests stands one line for
//! each of its invariants, in this form:
//!
//! ```text
//! // Holds P3 (docs/invariants.md).
//! ```
//!
//! The check fails when
//! - the page has no invariant, has one twice, or has one without a test,
//! - the page names a test that does not exist, that does not cite the invariant, or that stands in its list twice,
//! - a list item of an invariant does not begin with a test,
//! - a citation has another form, stands above no test, or names an invariant that the page does not have,
//! - a test cites an invariant whose list does not name it,
//! - the page names a source file (a path that ends in `.rs`) that does not exist.
//!
//! Code is read by line, as rustfmt lays it out. A test is a function with the attribute `test` or `rstest`, or a
//! call of a macro of the same file that makes one: its first argument is then the test's name.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use cargo_metadata::MetadataCommand;

const PAGE: &str = "docs/invariants.md";

/// Crates without tests of the product.
const NOT_READ: &[&str] = &["xtask"];

/// An invariant of the page.
#[derive(Debug, PartialEq)]
struct Invariant {
    /// `P3`.
    name: String,
    /// Paths of the tests in its list, in order. Of an item without a path, the whole item.
    tests: Vec<String>,
}

/// The tests of a text, and what is wrong with its citations.
#[derive(Debug, Default, PartialEq)]
struct Found {
    /// The invariants that each test cites, by the test's path.
    tests: BTreeMap<String, Vec<String>>,
    faults: Vec<String>,
}

/// Checks the page and the workspace. Returns what was looked at.
pub fn check() -> Result<String> {
    let metadata = MetadataCommand::new().no_deps().exec()?;
    let root = metadata.workspace_root.as_std_path();
    let page = std::fs::read_to_string(root.join(PAGE)).context(PAGE)?;
    let mut found = Found::default();
    for package in metadata.packages.iter().filter(|package| !NOT_READ.contains(&package.name.as_str())) {
        let mut folders = Vec::new();
        let kept =
            package.targets.iter().filter(|target| target.is_lib() || target.is_bin() || target.is_test());
        for target in kept {
            let (file, name) = (target.src_path.as_std_path(), target.name.replace('-', "_"));
            let folder = file.with_file_name("");
            if !is_root(file) {
                tests(&name, &shown(root, file), &read(file)?, &mut found);
            } else if !folders.contains(&folder) {
                below(root, &folder, &name, &mut found)?;
                folders.push(folder);
            }
        }
    }
    let invariants = invariants(&page);
    let faults = faults(&invariants, &found, &missing_files(&page, |path| root.join(path).is_file()));
    if !faults.is_empty() {
        bail!("{PAGE} and the tests differ in {} places:\n  {}", faults.len(), faults.join("\n  "));
    }
    let named: usize = invariants.iter().map(|invariant| invariant.tests.len()).sum();
    Ok(format!("{} invariants, held {named} times by tests that cite them", invariants.len()))
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| file.display().to_string())
}

fn shown(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap_or(file).display().to_string()
}

/// Whether a file is the root of its folder's modules.
fn is_root(file: &Path) -> bool {
    matches!(file.file_stem().and_then(|stem| stem.to_str()), Some("lib" | "main" | "mod"))
}

/// Adds the tests of all files below a folder that is the module `module`.
fn below(root: &Path, folder: &Path, module: &str, found: &mut Found) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let inner = if is_root(&path) { module.to_owned() } else { format!("{module}::{stem}") };
        if path.is_dir() {
            below(root, &path, &inner, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            tests(&inner, &shown(root, &path), &read(&path)?, found);
        }
    }
    Ok(())
}

/// The sections of the page.
fn invariants(page: &str) -> Vec<Invariant> {
    let mut all: Vec<Invariant> = Vec::new();
    let mut in_section = false;
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            let name = heading.split_once(". ").map_or("", |(name, _)| name);
            in_section = is_name(name);
            if in_section {
                all.push(Invariant { name: name.to_owned(), tests: Vec::new() });
            }
        } else if let (true, Some(item), Some(invariant)) =
            (in_section, line.strip_prefix("- "), all.last_mut())
        {
            let path = item.strip_prefix('`').and_then(|rest| rest.split_once('`')).map(|(path, _)| path);
            invariant.tests.push(path.unwrap_or(item).to_owned());
        }
    }
    all
}

/// `P` and a number.
fn is_name(text: &str) -> bool {
    let number = text.strip_prefix('P').unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Source files that the page names and that are not there.
fn missing_files(page: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let code = page.split('`').skip(1).step_by(2);
    let files = code.filter(|code| code.contains('/') && code.ends_with(".rs"));
    files.filter(|file| !exists(file)).map(str::to_owned).collect()
}

/// What a comment cites. `None`: it is no citation. An error: it is one in another form.
fn citation(comment: &str) -> Option<Result<&str, ()>> {
    let rest = comment.strip_prefix("Holds P");
    let looks_like_one = rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        || comment.contains(&format!("({PAGE})"));
    let exact = comment.strip_prefix("Holds ").and_then(|rest| rest.strip_suffix(&format!(" ({PAGE}).")));
    looks_like_one.then(|| exact.filter(|name| is_name(name)).ok_or(()))
}

/// The identifier that a text begins with.
fn identifier(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| &text[..end])
}

/// The text behind `fn` of a line that begins a function.
fn function(line: &str) -> Option<&str> {
    let mut rest = line;
    for word in ["pub ", "pub(super) ", "pub(crate) ", "const ", "async "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    rest.strip_prefix("fn ")
}

/// Adds the tests of one file, which is the module `module`.
fn tests(module: &str, file: &str, text: &str, found: &mut Found) {
    // Modules within the file, each with its indentation.
    let mut inner: Vec<(usize, &str)> = Vec::new();
    let (mut macros, mut defining, mut calling) = (Vec::new(), None, false);
    let (mut has_attribute, mut cited) = (false, Vec::new());
    for (at, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        let mut begun = None;
        if let Some(comment) = trimmed.strip_prefix("//").filter(|comment| !comment.starts_with('!')) {
            match citation(comment.trim_start_matches('/').trim()) {
                Some(Ok(name)) => cited.push((at + 1, name.to_owned())),
                Some(Err(())) => {
                    let form = format!("`// Holds P1 ({PAGE}).`");
                    found.faults.push(format!("{file}:{}: a citation has the form {form}", at + 1));
                }
                None => {}
            }
        } else if ["#[test]", "#[rstest]", "#[tokio::test"].iter().any(|of| trimmed.starts_with(of)) {
            has_attribute = true;
        } else if let Some(rest) = function(trimmed) {
            match (identifier(rest), defining) {
                (None, Some(of)) if has_attribute => macros.push(of),
                (name, _) => begun = Some(name.filter(|_| has_attribute)),
            }
            has_attribute = false;
        } else if calling {
            (begun, calling) = (Some(identifier(trimmed)), false);
        } else if let Some((_, rest)) = trimmed.split_once("!(").filter(|(of, _)| macros.contains(of)) {
            match identifier(rest) {
                Some(name) => begun = Some(Some(name)),
                None => calling = true,
            }
        } else if trimmed.is_empty() {
            has_attribute = false;
            begun = Some(None);
        } else if trimmed == "}" {
            inner.retain(|(of, _)| *of < indent);
            defining = defining.filter(|_| indent > 0);
        } else if let Some(rest) = trimmed.strip_prefix("macro_rules! ") {
            defining = identifier(rest);
        } else if let Some((before, _)) = trimmed.split_once(" {").filter(|(_, rest)| rest.is_empty()) {
            let name = before
                .rsplit_once("mod ")
                .filter(|(before, _)| before.is_empty() || before.starts_with("pub"));
            inner.extend(name.map(|(_, name)| (indent, name)));
        }
        match begun {
            Some(Some(name)) => {
                let path = [module].into_iter().chain(inner.iter().map(|(_, name)| *name)).chain([name]);
                let path = path.collect::<Vec<_>>().join("::");
                let cites = found.tests.entry(path).or_default();
                cites.extend(cited.drain(..).map(|(_, name)| name));
            }
            Some(None) => stray(file, &mut cited, &mut found.faults),
            None => {}
        }
    }
    stray(file, &mut cited, &mut found.faults);
}

/// Citations with no test below them.
fn stray(file: &str, cited: &mut Vec<(usize, String)>, faults: &mut Vec<String>) {
    let fault = |(line, name)| format!("{file}:{line}: the citation of {name} stands above no test");
    faults.extend(cited.drain(..).map(fault));
}

/// What breaks the rules at the head of this file.
fn faults(invariants: &[Invariant], found: &Found, missing: &[String]) -> Vec<String> {
    let mut faults = found.faults.clone();
    if invariants.is_empty() {
        faults.push("the page has no invariant: a section begins with `## P1. `".to_owned());
    }
    for (at, Invariant { name, tests }) in invariants.iter().enumerate() {
        if invariants[..at].iter().any(|earlier| earlier.name == *name) {
            faults.push(format!("{name} is on the page twice"));
        }
        if tests.is_empty() {
            faults.push(format!("{name} has no test"));
        }
        for (at, test) in tests.iter().enumerate() {
            if !test.contains("::") || test.contains(' ') {
                faults.push(format!("an item of {name} does not begin with a test: {test}"));
            } else if tests[..at].contains(test) {
                faults.push(format!("{name} names `{test}` twice"));
            } else {
                match found.tests.get(test) {
                    None => faults.push(format!("{name} names `{test}`, which does not exist")),
                    Some(cites) if !cites.contains(name) => {
                        faults.push(format!("`{test}` lacks the line `// Holds {name} ({PAGE}).`"));
                    }
                    Some(_) => {}
                }
            }
        }
    }
    for (test, cites) in &found.tests {
        for (at, cited) in cites.iter().enumerate() {
            let mut of_that_name = invariants.iter().filter(|invariant| invariant.name == *cited).peekable();
            if cites[..at].contains(cited) {
                faults.push(format!("`{test}` cites {cited} twice"));
            } else if of_that_name.peek().is_none() {
                faults.push(format!("`{test}` cites {cited}, which is not on the page"));
            } else if !of_that_name.any(|invariant| invariant.tests.contains(test)) {
                faults.push(format!("`{test}` cites {cited}, whose list does not name it"));
            }
        }
    }
    faults.extend(missing.iter().map(|file| format!("the page names `{file}`, which does not exist")));
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "\
//! Some tests (docs/invariants.md).

/// What it is about.
// Holds P1 (docs/invariants.md).
#[tokio::test(flavor = \"multi_thread\")]
async fn a_commit_lands() {
    body();
}

#[cfg(test)]
mod tests {
    // Holds P1 (docs/invariants.md).
    // Holds P2 (docs/invariants.md).
    #[rstest]
    #[case::one(
        1
    )]
    fn a_position_never_falls(#[case] to: i64) {}

    #[test]
    fn nothing_of_the_page() {}
}
";

    const PAGE_OF_TWO: &str = "\
# Invariants

- no test

## P1. The position

What holds it: `lake/src/commit.rs`.

- `lake::a_commit_lands`: as it says
- `lake::tests::a_position_never_falls`

## P2. The clock

- `lake::tests::a_position_never_falls`: in a line
  that goes on

## What it does not say

- this is no test
";

    fn found(text: &str) -> Found {
        let mut found = Found::default();
        tests("lake", "lake.rs", text, &mut found);
        found
    }

    /// What the check says of a page and a file of code.
    fn said(page: &str, code: &str) -> Vec<String> {
        faults(&invariants(page), &found(code), &[])
    }

    #[test]
    fn a_page_and_its_tests_pass() {
        assert_eq!(said(PAGE_OF_TWO, CODE), Vec::<String>::new());
        let found = found(CODE);
        let names: Vec<&str> = found.tests.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "lake::a_commit_lands",
                "lake::tests::a_position_never_falls",
                "lake::tests::nothing_of_the_page"
            ]
        );
    }

    #[test]
    fn a_page_without_an_invariant_fails() {
        let no_page = PAGE_OF_TWO.replace("## P", "## The P");
        assert!(said(&no_page, "").iter().any(|fault| fault.starts_with("the page has no invariant")));
    }

    #[test]
    fn an_invariant_without_a_test_fails() {
        let page = format!("{PAGE_OF_TWO}\n## P3. Nobody tests it\n\nWords.\n");
        assert_eq!(said(&page, CODE), ["P3 has no test"]);
    }

    #[test]
    fn an_invariant_that_is_there_twice_fails() {
        let page = format!("{PAGE_OF_TWO}\n## P2. Again\n\n- `lake::tests::a_position_never_falls`\n");
        assert_eq!(said(&page, CODE), ["P2 is on the page twice"]);
    }

    #[test]
    fn a_test_that_does_not_exist_fails() {
        let page = PAGE_OF_TWO.replace("`lake::a_commit_lands`", "`lake::a_commit_is_lost`");
        assert_eq!(
            said(&page, CODE),
            [
                "P1 names `lake::a_commit_is_lost`, which does not exist",
                "`lake::a_commit_lands` cites P1, whose list does not name it",
            ]
        );
        // Without its attribute a function is no test.
        let code = CODE.replace("#[tokio::test(flavor = \"multi_thread\")]\n", "");
        assert_eq!(
            said(PAGE_OF_TWO, &code),
            [
                "lake.rs:4: the citation of P1 stands above no test",
                "P1 names `lake::a_commit_lands`, which does not exist",
            ]
        );
    }

    #[test]
    fn a_test_in_another_module_fails() {
        let page = PAGE_OF_TWO.replace("- `lake::a_commit", "- `lake::tests::a_commit");
        assert_eq!(said(&page, CODE)[0], "P1 names `lake::tests::a_commit_lands`, which does not exist");
    }

    #[test]
    fn a_test_without_the_citation_fails() {
        let code = CODE.replace("    // Holds P2 (docs/invariants.md).\n", "");
        assert_eq!(
            said(PAGE_OF_TWO, &code),
            ["`lake::tests::a_position_never_falls` lacks the line `// Holds P2 (docs/invariants.md).`"]
        );
    }

    #[test]
    fn a_test_that_is_named_twice_fails() {
        let page = PAGE_OF_TWO.replace("\n## P2", "- `lake::a_commit_lands`: again\n\n## P2");
        assert_eq!(said(&page, CODE), ["P1 names `lake::a_commit_lands` twice"]);
    }

    #[test]
    fn an_item_that_is_no_test_fails() {
        let page = PAGE_OF_TWO.replace("\n## P2", "- something else\n\n## P2");
        assert_eq!(said(&page, CODE), ["an item of P1 does not begin with a test: something else"]);
    }

    #[test]
    fn a_citation_of_no_invariant_fails() {
        let code = CODE.replace("Holds P2", "Holds P7");
        let faults = said(PAGE_OF_TWO, &code);
        assert!(
            faults.contains(
                &"`lake::tests::a_position_never_falls` cites P7, which is not on the page".to_owned()
            ),
            "{faults:?}"
        );
    }

    #[test]
    fn a_citation_that_the_page_does_not_list_fails() {
        let code = CODE.replace("    #[test]\n", "    // Holds P2 (docs/invariants.md).\n    #[test]\n");
        assert_eq!(
            said(PAGE_OF_TWO, &code),
            ["`lake::tests::nothing_of_the_page` cites P2, whose list does not name it"]
        );
    }

    #[test]
    fn a_citation_that_is_there_twice_fails() {
        let line = "    // Holds P2 (docs/invariants.md).\n";
        let code = CODE.replace(line, &[line, line].concat());
        assert_eq!(said(PAGE_OF_TWO, &code), ["`lake::tests::a_position_never_falls` cites P2 twice"]);
    }

    #[test]
    fn a_citation_in_another_form_fails() {
        for form in [
            "Holds P2, P1 (docs/invariants.md).",
            "Holds P2 (docs/invariants.md)",
            "Holds P2 (docs/invariant.md).",
            "Holds P2.",
            "It holds P2 (docs/invariants.md).",
        ] {
            let code = CODE.replace("Holds P2 (docs/invariants.md).", form);
            let faults = said(PAGE_OF_TWO, &code);
            assert_eq!(
                faults[0], "lake.rs:13: a citation has the form `// Holds P1 (docs/invariants.md).`",
                "{form}: {faults:?}"
            );
        }
        let other = CODE
            .replace("/// What it is about.", "/// What it is about: see docs/invariants.md. Holds Paris.");
        assert_eq!(said(PAGE_OF_TWO, &other), Vec::<String>::new(), "a mention is no citation");
    }

    #[test]
    fn a_citation_above_no_test_fails() {
        let line = "// Holds P1 (docs/invariants.md).\n";
        for below in ["", "\n#[test]\nfn a_test() {}\n", "fn helps() {}\n", "struct Helper;\n"] {
            let code = [CODE, "\n", line, below].concat();
            let faults = said(PAGE_OF_TWO, &code);
            assert_eq!(faults, ["lake.rs:24: the citation of P1 stands above no test"], "{below}");
        }
    }

    #[test]
    fn a_file_that_does_not_exist_fails() {
        assert_eq!(missing_files(PAGE_OF_TWO, |_| false), ["lake/src/commit.rs"]);
        assert!(missing_files(PAGE_OF_TWO, |_| true).is_empty());
        let faults = faults(&invariants(PAGE_OF_TWO), &found(CODE), &["lake/src/commit.rs".to_owned()]);
        assert_eq!(faults, ["the page names `lake/src/commit.rs`, which does not exist"]);
    }

    #[test]
    fn a_macro_of_the_file_makes_tests() {
        let code = "\
macro_rules! any_order {
    ($name:ident, $cases:literal) => {
        #[test]
        fn $name() {
            check($cases);
        }
    };
}

// Holds P1 (docs/invariants.md).
any_order!(
    one,
    400
);
// Holds P2 (docs/invariants.md).
any_order!(two, 4);
// Holds P3 (docs/invariants.md).
another!(three, 4);

#[test]
fn four() {}
";
        let found = found(code);
        let one = |name: &str, cites: &[&str]| {
            (format!("lake::{name}"), cites.iter().map(|of| (*of).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(found.tests, BTreeMap::from([one("four", &[]), one("one", &["P1"]), one("two", &["P2"])]));
        assert_eq!(found.faults, ["lake.rs:17: the citation of P3 stands above no test"]);
    }

    #[test]
    fn tests_of_nested_modules_have_their_path() {
        let code = "mod a {\n    mod b {\n        #[test]\n        fn deep() {\n            if x {\n            }\n        }\n    }\n\n    #[test]\n    fn high() {}\n}\n\n#[test]\nfn top() {}\n";
        let found = found(code);
        let names: Vec<&str> = found.tests.keys().map(String::as_str).collect();
        assert_eq!(names, ["lake::a::b::deep", "lake::a::high", "lake::top"]);
    }
}
