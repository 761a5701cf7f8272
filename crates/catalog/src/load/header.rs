//! A model's file: `/* lakepulse … */`, then one SELECT.

use std::path::{Path, PathBuf};

use model::TableName;
use query::sql::Parsed;

use super::Context;
use super::files::Found;
use crate::fault::did_you_mean;
use crate::shape::check::read as read_object;
use crate::shape::files::MODEL;
use crate::shape::object::Object;
use crate::{Kind, Location};

/// A model whose header and SQL are parsed, but not resolved.
#[derive(Debug)]
pub(super) struct Draft {
    pub name: TableName,
    pub kind: Kind,
    pub header: Object,
    /// The SQL without the header.
    pub sql: String,
    /// Line of the file on which the SQL begins.
    pub sql_line: usize,
    /// `None` if the SQL has a fault.
    pub parsed: Option<Parsed>,
    pub file: PathBuf,
}
impl Draft {
    pub fn at(&self, line: usize) -> Location {
        Location::new(&self.file, line)
    }
    /// A place in the SQL; its beginning if the place is unknown.
    pub fn sql_at(&self, line: usize) -> Location {
        self.at(if line == 0 { self.sql_line } else { line })
    }
}

/// Reads all models. The second list has the names of models with a fault in the header.
pub(super) fn read(cx: &mut Context<'_>, found: &Found) -> (Vec<Draft>, Vec<TableName>) {
    let (mut drafts, mut broken): (Vec<Draft>, Vec<TableName>) = (Vec::new(), Vec::new());
    for file in &found.models {
        let Some(name) = name(cx, file) else { continue };
        if let Some(first) = drafts.iter().find(|draft| draft.name == name) {
            let message = format!("table `{name}` is already the model in {}", first.file.display());
            cx.faults.add_at(file, 1, message, "rename one of the files");
            continue;
        }
        match draft(cx, file, &name) {
            Some(draft) => drafts.push(draft),
            None => broken.push(name),
        }
    }
    (drafts, broken)
}

/// `models/<schema>/…/<table>.sql`.
fn name(cx: &mut Context<'_>, file: &Path) -> Option<TableName> {
    let parts: Vec<_> = file.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    let stem = file.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
    if parts.len() < 3 {
        let help = format!("move it to models/<schema>/{stem}.sql");
        cx.faults.add_at(file, 1, "the model lies in no folder that could be its schema", help);
        return None;
    }
    match format!("{}.{stem}", parts[1]).parse::<TableName>() {
        Ok(name) if !name.table().contains("__") => Some(name),
        Ok(name) => {
            let help = "`__` is for tables kept beside another, such as `__quarantine`";
            cx.faults.add_at(file, 1, format!("`{name}` holds `__`"), help);
            None
        }
        Err(bad) => {
            let help = format!("folder and file name make {}", bad.rule);
            cx.faults.add_at(file, 1, format!("`{}` is no table name", bad.name), help);
            None
        }
    }
}

fn draft(cx: &mut Context<'_>, file: &Path, name: &TableName) -> Option<Draft> {
    let text = cx.text(file)?;
    let split = match split(&text) {
        Ok(split) => split,
        Err((line, message)) => {
            let help = "begin the file with `/* lakepulse`, lines such as `kind: table`, then `*/`";
            cx.faults.add_at(file, line, message, help);
            return None;
        }
    };
    let header = read_object(split.yaml, &MODEL, file, split.yaml_line, cx.dir, &mut cx.faults)?;
    let kind = match header.text("kind")? {
        "scd1" => Kind::Scd1,
        "scd2" => Kind::Scd2,
        "append" => Kind::Append,
        "view" => Kind::View,
        _ => Kind::Table,
    };
    // The padding makes lines of the SQL equal to lines of the file.
    let padded = "\n".repeat(split.sql_line - 1) + split.sql;
    let parsed = match query::sql::parse(&padded) {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            for (line, message, help) in explain(&error) {
                let line = if line == 0 { split.sql_line } else { line };
                cx.faults.add_at(file, line, message, help);
            }
            None
        }
    };
    let header = fitting(cx, file, name, kind, header);
    let sql = split.sql.trim_end().trim_end_matches(';').trim_end().to_owned();
    Some(Draft {
        name: name.clone(),
        kind,
        header,
        sql,
        sql_line: split.sql_line,
        parsed,
        file: file.to_owned(),
    })
}

/// An error of the query crate as line (0: unknown), message and help.
pub(super) fn explain(error: &query::Error) -> Vec<(usize, String, String)> {
    let help = || "see the SQL reference of DataFusion".to_owned();
    match error {
        query::Error::Sql(fault) => {
            let help = if fault.help.is_empty() { help() } else { fault.help.clone() };
            vec![(fault.line, fault.message.clone(), help)]
        }
        query::Error::Refused(refusal) => {
            // A reason with advice has it after a colon or semicolon.
            let split = |reason: &String| match reason.split_once("; ").or_else(|| reason.split_once(": ")) {
                Some((what, help)) => (0, what.to_owned(), help.to_owned()),
                None => (
                    0,
                    reason.clone(),
                    "write it so that the same input always gives the same rows".to_owned(),
                ),
            };
            refusal.reasons.iter().map(split).collect()
        }
        other => {
            let cause =
                std::error::Error::source(other).map(|cause| format!(": {cause}")).unwrap_or_default();
            vec![(0, format!("{other}{cause}"), help())]
        }
    }
}

/// Refuses keys that have no effect on this kind of model.
fn fitting(cx: &mut Context<'_>, file: &Path, name: &TableName, kind: Kind, mut header: Object) -> Object {
    const STORED: &[Kind] = &[Kind::Scd1, Kind::Scd2, Kind::Append, Kind::Table];
    const SILVER: &[Kind] = &[Kind::Scd1, Kind::Scd2, Kind::Append];
    let rules: &[(&str, &[Kind])] = &[
        ("keys", STORED),
        ("expect", STORED),
        ("freshness", STORED),
        ("partition_by", STORED),
        ("cluster_by", STORED),
        ("deletion_vectors", STORED),
        ("change_feed", STORED),
        ("tick", &[Kind::Table]),
        ("publish", &[Kind::Table]),
        ("track_history", &[Kind::Scd2]),
        ("sequence_by", SILVER),
        ("deletes_when", SILVER),
        ("truncates_when", SILVER),
    ];
    for (key, kinds) in rules {
        if header.has(key) && !kinds.contains(&kind) {
            let kinds: Vec<String> = kinds.iter().map(|kind| format!("`{}`", kind.as_str())).collect();
            let message = format!("`{key}` means nothing for `{name}`, whose kind is `{}`", kind.as_str());
            let help = format!("drop it, or make the model one of {}", kinds.join(", "));
            cx.faults.add_at(file, header.line_of(key), message, help);
            header.entries.shift_remove(*key);
        }
    }
    header
}

struct Split<'a> {
    yaml: &'a str,
    yaml_line: usize,
    sql: &'a str,
    sql_line: usize,
}

/// Header and SQL of a file, each with its first line.
fn split(text: &str) -> Result<Split<'_>, (usize, String)> {
    let lines_before = |at: usize| 1 + text[..at].bytes().filter(|byte| *byte == b'\n').count();
    let start = text.find(|c: char| !c.is_whitespace()).ok_or((1, "the file is empty".to_owned()))?;
    let no_header =
        || (lines_before(start), "the file does not begin with a `/* lakepulse` header".to_owned());
    let comment = text[start..].strip_prefix("/*").ok_or_else(no_header)?;
    let word = comment.trim_start();
    let Some(yaml) =
        word.strip_prefix("lakepulse").filter(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
    else {
        let (line, message) = no_header();
        let first = word.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        let near = did_you_mean(first, ["lakepulse"]);
        return Err((
            line,
            if near.starts_with("did") { format!("{message}, but with `{first}`") } else { message },
        ));
    };
    let yaml_at = text.len() - yaml.len();
    let length = yaml.find("*/").ok_or((lines_before(start), "the header has no closing `*/`".to_owned()))?;
    let end = yaml_at + length + 2;
    let sql = text[end..].trim_start();
    if sql.is_empty() {
        return Err((lines_before(end), "there is no SELECT behind the header".to_owned()));
    }
    let sql_line = lines_before(text.len() - sql.len());
    Ok(Split { yaml: &yaml[..length], yaml_line: lines_before(yaml_at), sql, sql_line })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_header_and_sql_are_those_of_the_file() {
        let split = split("\n/* lakepulse\nkind: table\n*/\n\nSELECT 1").expect("a header");
        assert_eq!((split.yaml_line, split.sql_line), (2, 6));
        assert_eq!((split.yaml.trim(), split.sql), ("kind: table", "SELECT 1"));
    }

    #[test]
    fn a_header_may_stand_in_one_line() {
        let split = split("/*lakepulse kind: view */ SELECT 1").expect("a header");
        assert_eq!((split.yaml.trim(), split.sql), ("kind: view", "SELECT 1"));
    }
}
