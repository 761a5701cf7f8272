//! The location of the lake, as the operator wrote it.

use std::collections::BTreeMap;

use model::Secret;
use url::Url;

use crate::{Error, Result};

/// Location of a lake and how to reach it.
#[derive(Clone, PartialEq, Eq)]
pub struct LakeSettings {
    /// `file:///…`, `memory:///` or `s3://bucket/prefix`.
    pub url: Url,
    /// Options of the store. For S3: `endpoint`, `access_key`, `secret_key`, `region`, `ca` (a file of trusted
    /// certificates), or any other name that the object store client knows. Without keys, those of the
    /// environment are used: variables, web identity, container or instance. Empty for local files.
    pub options: BTreeMap<String, Secret>,
}

/// Shows only the names of options.
impl std::fmt::Debug for LakeSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&String> = self.options.keys().collect();
        f.debug_struct("LakeSettings").field("url", &self.url.as_str()).field("options", &names).finish()
    }
}

/// The kind of store that a URL names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    File,
    Memory,
    S3,
}

impl LakeSettings {
    /// A lake in a local folder, which need not exist yet.
    pub fn local(dir: &std::path::Path) -> Result<Self> {
        let bad =
            |fault: &str| Error::BadSettings { url: dir.display().to_string(), fault: fault.to_owned() };
        let dir = std::path::absolute(dir).map_err(|_| bad("the folder's path is empty"))?;
        let url = Url::from_directory_path(&dir).map_err(|()| bad("the folder's path is not absolute"))?;
        Ok(Self { url, options: BTreeMap::new() })
    }

    /// The scheme, and the URL with a trailing slash, so that table paths can be joined to it.
    pub(crate) fn check(&self) -> Result<(Scheme, Url)> {
        let bad = |fault: &str| Error::BadSettings { url: self.url.to_string(), fault: fault.to_owned() };
        let scheme = match self.url.scheme() {
            "file" => Scheme::File,
            "memory" => Scheme::Memory,
            "s3" | "s3a" => Scheme::S3,
            _ => return Err(bad("write `file:///folder` or `s3://bucket/prefix`")),
        };
        if scheme == Scheme::S3 && self.url.host_str().is_none() {
            return Err(bad("name the bucket: `s3://bucket/prefix`"));
        }
        let mut url = self.url.clone();
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok((scheme, url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> LakeSettings {
        LakeSettings { url: url.parse().expect("a url"), options: BTreeMap::new() }
    }

    #[test]
    fn a_prefix_gets_its_slash_and_a_foreign_scheme_is_refused() {
        let (scheme, url) = at("s3://lake/a/b").check().expect("valid");
        assert_eq!((scheme, url.as_str()), (Scheme::S3, "s3://lake/a/b/"));
        assert!(at("ftp://x/y").check().is_err());
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut settings = at("s3://lake");
        settings.options.insert("secret_key".into(), "hunter2".into());
        let shown = format!("{settings:?}");
        assert!(shown.contains("secret_key") && !shown.contains("hunter2"));
    }
}
