//! Values that are never shown.

use std::fmt;

/// A setting's value as it was looked up: a password, a key, or a text that may hold one. Whatever prints
/// it prints `***`; [`Secret::reveal`] is the one way to the text, so a search for it finds every use.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);
impl Secret {
    /// Keeps `text` from being shown.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    /// The text, for the one who authenticates with it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
    /// `text` with this value taken out of it: for what a library says of the settings it was given.
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
