//! A text of a target that may refer to what is not in the project: `${env:NAME}`, `${file:PATH}`.
//!
//! References are looked up when the setting is used, never when the project is loaded: `validate`
//! works where the secrets are not, and no value of one is ever held by a [`crate::Project`].

use std::fmt;
use std::path::{Path, PathBuf};

/// A text as written, with its references not yet looked up.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    parts: Vec<Part>,
    sensitive: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Env(String),
    File(PathBuf),
}

/// A setting that could not be looked up, or is not written as one.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// The environment has no such variable.
    #[error("environment variable `{name}` is not set")]
    NoVariable {
        /// Its name.
        name: String,
    },
    /// The file cannot be read.
    #[error("cannot read `{}`, which a setting refers to", path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `${` without `}`, or another word than `env` and `file` behind it.
    #[error("`{text}` is no reference")]
    Malformed {
        /// What was written behind `${`.
        text: String,
    },
    /// The resolved text is not a URL.
    #[error("the lake's `url` is no URL")]
    NotAUrl {
        /// Why.
        source: url::ParseError,
    },
}
impl SettingError {
    /// What a loop does after it: only a person sets a variable or writes a file.
    pub fn reaction(&self) -> model::Reaction {
        model::Reaction::Halt
    }
}

impl Setting {
    /// Reads references out of `text`; paths of files are below `dir` unless absolute. A sensitive
    /// setting never shows its literal parts.
    pub fn parse(text: &str, dir: &Path, sensitive: bool) -> Result<Self, SettingError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            if start > 0 {
                parts.push(Part::Literal(rest[..start].to_owned()));
            }
            let inner = &rest[start + 2..];
            let malformed = || SettingError::Malformed { text: format!("${{{inner}") };
            let end = inner.find('}').ok_or_else(malformed)?;
            parts.push(match inner[..end].split_once(':') {
                Some(("env", name)) if !name.is_empty() => Part::Env(name.to_owned()),
                Some(("file", path)) if !path.is_empty() => Part::File(dir.join(path)),
                _ => return Err(SettingError::Malformed { text: format!("${{{}}}", &inner[..end]) }),
            });
            rest = &inner[end + 1..];
        }
        if !rest.is_empty() || parts.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self { parts, sensitive })
    }
    /// A plain text that refers to nothing.
    pub fn literal(text: impl Into<String>) -> Self {
        Self { parts: vec![Part::Literal(text.into())], sensitive: false }
    }
    /// The text with every reference looked up. A file's last line break is dropped.
    pub fn resolve(&self) -> Result<String, SettingError> {
        self.resolve_with(|name| std::env::var(name).ok())
    }
    /// As [`Setting::resolve`], with another environment.
    pub fn resolve_with(&self, env: impl Fn(&str) -> Option<String>) -> Result<String, SettingError> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Env(name) => {
                    text += &env(name).ok_or_else(|| SettingError::NoVariable { name: name.clone() })?;
                }
                Part::File(path) => {
                    let held = std::fs::read_to_string(path)
                        .map_err(|source| SettingError::Unreadable { path: path.clone(), source })?;
                    text += held.strip_suffix('\n').map_or(&*held, |t| t.strip_suffix('\r').unwrap_or(t));
                }
            }
        }
        Ok(text)
    }
    /// Whether it refers to nothing, so that it can be checked at load time.
    pub(crate) fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }
}
/// References as written, literal parts hidden where sensitive.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Literal(_) if self.sensitive => f.write_str("***")?,
                Part::Literal(text) => f.write_str(text)?,
                Part::Env(name) => write!(f, "${{env:{name}}}")?,
                Part::File(path) => write!(f, "${{file:{}}}", path.display())?,
            }
        }
        Ok(())
    }
}
impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(text: &str) -> Setting {
        Setting::parse(text, Path::new("/project"), true).expect("well written")
    }

    #[test]
    fn references_are_looked_up_when_used() {
        let env = |name: &str| (name == "USER").then(|| "ada".to_owned());
        assert_eq!(setting("u=${env:USER};").resolve_with(env).expect("set"), "u=ada;");
        let missing = setting("${env:NOBODY}").resolve_with(env).expect_err("not set");
        assert_eq!(missing.to_string(), "environment variable `NOBODY` is not set");
    }

    #[test]
    fn a_file_gives_its_text_without_the_last_line_break() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(dir.path().join("key"), "s3cret\n").expect("writable");
        let setting = Setting::parse("${file:key}", dir.path(), true).expect("well written");
        assert_eq!(setting.resolve().expect("readable"), "s3cret");
    }

    #[test]
    fn no_value_shows_in_debug() {
        assert_eq!(format!("{:?}", setting("hunter2")), "***");
        assert_eq!(format!("{:?}", setting("${env:KEY}")), "${env:KEY}");
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for bad in ["${env:", "${vault:x}", "${}", "${env:}"] {
            assert!(Setting::parse(bad, Path::new("."), false).is_err(), "{bad}");
        }
    }
}
