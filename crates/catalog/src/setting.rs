//! A setting of a target that may refer to values outside of the project: `${env:NAME}`,
//! `${env:NAME:-default}`, `${file:PATH}`.
//!
//! References are resolved when the setting is used, never when the project is loaded. So `validate` works
//! without the secrets, and a [`crate::Project`] never holds one.

use std::fmt;
use std::path::{Path, PathBuf};

use model::Secret;

/// A text as written, with unresolved references.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    parts: Vec<Part>,
    nature: Nature,
}

/// How a setting is treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nature {
    /// It may be shown.
    Public,
    /// Its literal parts are never shown.
    Secret,
    /// A path, relative to this folder.
    Below(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Env { name: String, default: Option<String> },
    File(PathBuf),
}

/// A setting that cannot be resolved or parsed.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// The environment variable does not exist.
    #[error("environment variable `{name}` is not set; set it, or give the reference a default")]
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
    /// `${` without `}`, or followed by something else than `env` or `file`.
    #[error("`{text}` is no reference")]
    Malformed {
        /// The text after `${`.
        text: String,
    },
    /// The resolved text is not a URL.
    #[error("the lake's `url` is no URL")]
    NotAUrl {
        /// Why.
        source: url::ParseError,
    },
    /// A URL with a password, which every message about the service would show.
    #[error("`{key}` holds a password; write it without, and give the password in a key of its own")]
    PasswordInUrl {
        /// Which key.
        key: &'static str,
    },
}
impl SettingError {
    /// What a loop does after this error: only a person can set a variable or write a file.
    pub fn reaction(&self) -> model::Reaction {
        model::Reaction::Halt
    }
}

impl Setting {
    /// Parses the references in `text`. File paths are relative to `dir`. A malformed reference in a secret is
    /// not quoted in the error.
    pub fn parse(text: &str, dir: &Path, nature: Nature) -> Result<Self, SettingError> {
        let malformed = |text: String| SettingError::Malformed {
            text: if nature == Nature::Secret { "${…".to_owned() } else { text },
        };
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            if start > 0 {
                parts.push(Part::Literal(rest[..start].to_owned()));
            }
            let inner = &rest[start + 2..];
            let end = inner.find('}').ok_or_else(|| malformed(format!("${{{inner}")))?;
            parts.push(match inner[..end].split_once(':') {
                Some(("env", name)) => match name.split_once(":-") {
                    Some((name, default)) if !name.is_empty() => {
                        Part::Env { name: name.to_owned(), default: Some(default.to_owned()) }
                    }
                    None if !name.is_empty() => Part::Env { name: name.to_owned(), default: None },
                    _ => return Err(malformed(format!("${{{}}}", &inner[..end]))),
                },
                Some(("file", path)) if !path.is_empty() => Part::File(dir.join(path)),
                _ => return Err(malformed(format!("${{{}}}", &inner[..end]))),
            });
            rest = &inner[end + 1..];
        }
        if !rest.is_empty() || parts.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self { parts, nature })
    }
    /// A text without references.
    pub fn literal(text: impl Into<String>) -> Self {
        Self { parts: vec![Part::Literal(text.into())], nature: Nature::Public }
    }
    /// The text with every reference resolved. A file's last line break is dropped.
    pub fn resolve(&self) -> Result<String, SettingError> {
        self.resolve_with(|name| std::env::var(name).ok())
    }
    /// As [`Setting::resolve`], for a value that must not be shown.
    pub fn secret(&self) -> Result<Secret, SettingError> {
        self.resolve().map(Secret::new)
    }
    /// As [`Setting::resolve`], with another environment. As in a shell, the default also replaces an empty
    /// variable.
    pub fn resolve_with(&self, env: impl Fn(&str) -> Option<String>) -> Result<String, SettingError> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Env { name, default: None } => {
                    text += &env(name).ok_or_else(|| SettingError::NoVariable { name: name.clone() })?;
                }
                Part::Env { name, default: Some(default) } => {
                    let set = env(name).filter(|value| !value.is_empty());
                    text += set.as_deref().unwrap_or(default);
                }
                Part::File(path) => {
                    let held = std::fs::read_to_string(path)
                        .map_err(|source| SettingError::Unreadable { path: path.clone(), source })?;
                    text += held.strip_suffix('\n').map_or(&*held, |t| t.strip_suffix('\r').unwrap_or(t));
                }
            }
        }
        match &self.nature {
            Nature::Below(dir) => Ok(dir.join(text).to_string_lossy().into_owned()),
            Nature::Public | Nature::Secret => Ok(text),
        }
    }
    /// Whether its value must not be shown.
    pub fn is_secret(&self) -> bool {
        self.nature == Nature::Secret
    }
    /// The text if it has no references, so that it can be checked at load time.
    pub(crate) fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }
    /// Whether the file contains the value itself: there are no references, or only variables with defaults.
    pub(crate) fn is_written_out(&self) -> bool {
        let refers = |part: &Part| !matches!(part, Part::Literal(_));
        let defaults =
            |part: &Part| matches!(part, Part::Env { default: Some(text), .. } if !text.is_empty());
        !self.parts.iter().any(refers) || self.parts.iter().any(defaults)
    }
}
/// Shows references as written. In a secret, literal parts are hidden.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self.nature == Nature::Secret;
        for part in &self.parts {
            match part {
                Part::Literal(_) if hidden => f.write_str("***")?,
                Part::Literal(text) => f.write_str(text)?,
                Part::Env { name, default: None } => write!(f, "${{env:{name}}}")?,
                Part::Env { name, default: Some(_) } if hidden => write!(f, "${{env:{name}:-***}}")?,
                Part::Env { name, default: Some(default) } => write!(f, "${{env:{name}:-{default}}}")?,
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
        Setting::parse(text, Path::new("/project"), Nature::Secret).expect("well written")
    }

    #[test]
    fn references_are_looked_up_when_used() {
        let env = |name: &str| (name == "USER").then(|| "ada".to_owned());
        assert_eq!(setting("u=${env:USER};").resolve_with(env).expect("set"), "u=ada;");
        let missing = setting("${env:NOBODY}").resolve_with(env).expect_err("not set");
        assert!(missing.to_string().starts_with("environment variable `NOBODY` is not set"));
    }

    #[test]
    fn a_default_stands_for_a_variable_that_is_not_set_or_empty() {
        let env = |name: &str| match name {
            "PORT" => Some("39092".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let resolved = |text: &str| setting(text).resolve_with(env).expect("has a default");
        assert_eq!(resolved("localhost:${env:PORT:-9092}"), "localhost:39092");
        assert_eq!(resolved("${env:NONE:-http://localhost:8081/a-b}"), "http://localhost:8081/a-b");
        assert_eq!(resolved("${env:EMPTY:-x}${env:NONE:-}"), "x");
    }

    #[test]
    fn a_file_gives_its_text_without_the_last_line_break() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(dir.path().join("key"), "s3cret\n").expect("writable");
        let setting = Setting::parse("${file:key}", dir.path(), Nature::Secret).expect("well written");
        assert_eq!(setting.resolve().expect("readable"), "s3cret");
    }

    #[test]
    fn a_path_is_below_the_folder_unless_absolute() {
        let path = |text: &str| {
            let nature = Nature::Below("/project".into());
            Setting::parse(text, Path::new("/"), nature).expect("well written").resolve().expect("literal")
        };
        assert_eq!(path("certs/ca.pem"), "/project/certs/ca.pem");
        assert_eq!(path("/etc/ca.pem"), "/etc/ca.pem");
    }

    #[test]
    fn no_value_shows_in_debug_or_in_an_error() {
        assert_eq!(format!("{:?}", setting("hunter2")), "***");
        assert_eq!(format!("{:?}", setting("${env:KEY}")), "${env:KEY}");
        assert_eq!(format!("{:?}", setting("${env:KEY:-hunter2}")), "${env:KEY:-***}");
        assert_eq!(setting("${env:NONE_SUCH:-hunter2}").secret().expect("a default").to_string(), "***");
        let bad = Setting::parse("${hunter2", Path::new("."), Nature::Secret).expect_err("malformed");
        assert!(!format!("{bad} {bad:?}").contains("hunter2"), "{bad:?}");
    }

    #[test]
    fn a_value_is_written_out_unless_only_a_reference_holds_it() {
        for text in ["hunter2", "", "${env:KEY:-hunter2}"] {
            assert!(setting(text).is_written_out(), "{text}");
        }
        for text in ["${env:KEY}", "${file:key}", "${env:KEY:-}", "Bearer ${env:KEY}"] {
            assert!(!setting(text).is_written_out(), "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for bad in ["${env:", "${vault:x}", "${}", "${env:}", "${env::-x}"] {
            assert!(Setting::parse(bad, Path::new("."), Nature::Public).is_err(), "{bad}");
        }
    }
}
