//! Values that are never shown.

use std::fmt;

/// A setting's value after lookup: a password, a key, or a text that may contain one. It prints as `***`. Only
/// [`Secret::reveal`] returns the text, so a search for it finds every use.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);
impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    /// The text, for authentication only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
    /// `text` with this value replaced by `***`, for library messages that quote the settings.
    pub fn hide_in(&self, text: &str) -> String {
        if self.0.is_empty() { text.to_owned() } else { text.replace(&self.0, "***") }
    }
}
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_prints_it_shows_it() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
        assert_eq!(secret.hide_in("bad value \"hunter2\""), "bad value \"***\"");
        assert_eq!(Secret::default().hide_in("as it was"), "as it was");
    }
}
