//! Parses text into nodes with lines. The parser stops at its first error, so broken YAML gives one fault per
//! file.

use std::path::Path;

use marked_yaml::types::MarkedMappingNode;
use marked_yaml::{LoadError, LoaderOptions, Marker, Node};

use crate::fault::Faults;

/// A longer file is a mistake. A deeper one would exhaust the parser's stack.
const MAX_BYTES: usize = 8 << 20;
const MAX_INDENT: usize = 160;

/// Parses `text`, whose first line is `first_line` of `file`. Adds a fault and returns `None` if it is not a
/// mapping.
pub(crate) fn parse(
    text: &str,
    file: &Path,
    first_line: usize,
    faults: &mut Faults,
) -> Option<MarkedMappingNode> {
    let shift = first_line.saturating_sub(1);
    if text.len() > MAX_BYTES {
        faults.add_at(file, first_line, "the file is larger than 8 MiB", "split it");
        return None;
    }
    // The depth of block nesting is at most the length of the indents and indicators at the start of a line.
    let indent = |line: &str| line.find(|c: char| !matches!(c, ' ' | '-' | '?' | ':')).unwrap_or(line.len());
    if let Some(line) = text.lines().position(|line| indent(line) > MAX_INDENT) {
        faults.add_at(file, line + first_line, "nested too deeply", "indent by less than 160 columns");
        return None;
    }
    let options = LoaderOptions::default().error_on_duplicate_keys(true).prevent_coercion(true);
    match marked_yaml::parse_yaml_with_options(0, text, options) {
        Ok(Node::Mapping(mapping)) => Some(mapping),
        Ok(node) => {
            let line = node.span().start().map_or(1, Marker::line);
            faults.add_at(file, line + shift, "not a mapping", "write `key: value` lines");
            None
        }
        Err(error) => {
            let (line, message, help) = explain(&error, shift);
            faults.add_at(file, line + shift, message, help);
            None
        }
    }
}

fn explain(error: &LoadError, shift: usize) -> (usize, String, String) {
    let quote = "quote a text that holds `: `, ` #` or begins with one of `[{*&!|>'\"%@`";
    match error {
        LoadError::ScanError(mark, scan) => {
            (mark.line(), format!("broken YAML: {}", scan.info()), quote.to_owned())
        }
        LoadError::DuplicateKey(twice) => {
            let line =
                |node: &marked_yaml::types::MarkedScalarNode| node.span().start().map_or(1, Marker::line);
            (
                line(&twice.key),
                format!("key `{}` is there twice", twice.key.as_str()),
                format!("the first is in line {}; keep one", line(&twice.prev_key) + shift),
            )
        }
        LoadError::TopLevelMustBeMapping(mark) | LoadError::TopLevelMustBeSequence(mark) => {
            (mark.line(), "not a mapping".into(), "write `key: value` lines".into())
        }
        LoadError::UnexpectedAnchor(mark) => {
            (mark.line(), "anchors and aliases are not supported".into(), "write the value out".into())
        }
        LoadError::MappingKeyMustBeScalar(mark) => (mark.line(), "a key is no text".into(), quote.into()),
        LoadError::UnexpectedTag(mark) => {
            (mark.line(), "tags are not supported".into(), "drop the `!…`".into())
        }
    }
}
