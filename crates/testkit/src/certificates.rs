//! Certificates for tests, made by the `openssl` command.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// A certificate authority in a folder. Its certificates are valid for two days.
pub struct Authority {
    dir: PathBuf,
}

/// A certificate and its private key.
#[derive(Debug, Clone)]
pub struct Issued {
    /// Certificate in PEM.
    pub certificate: PathBuf,
    /// Private key in PEM, not encrypted.
    pub key: PathBuf,
}

impl Authority {
    /// Makes an authority in `dir`.
    pub fn make(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let authority = Self { dir: dir.to_owned() };
        authority.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=LakePulse test authority",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ])?;
        Ok(authority)
    }

    /// The authority's own certificate, for clients to trust.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// Issues a certificate for this machine's local names.
    pub fn issue(&self, name: &str) -> Result<Issued> {
        let file = |ending: &str| format!("{name}.{ending}");
        self.openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            &format!("/CN={name}"),
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-keyout",
            &file("key"),
            "-out",
            &file("csr"),
        ])?;
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &file("csr"),
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-copy_extensions",
            "copy",
            "-out",
            &file("pem"),
        ])?;
        Ok(Issued { certificate: self.dir.join(file("pem")), key: self.dir.join(file("key")) })
    }

    fn openssl(&self, args: &[&str]) -> Result<()> {
        let ran = Command::new("openssl").args(args).current_dir(&self.dir).output();
        let ran = ran.context("`openssl` runs: install package openssl")?;
        ensure!(ran.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
        Ok(())
    }
}
