//! The HTTP client that both ways to a registry use: whom it trusts, who it is, how long it waits.

use std::path::Path;
use std::time::Duration;

use reqwest::ClientBuilder;
use reqwest::tls::{Certificate, Identity};
use url::Url;

use super::RegistrySettings;

/// What the API calls its JSON.
pub(super) const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// Long enough for a registry that is electing a leader, short enough for a stage's own patience.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The address, without a slash at its end.
pub(super) fn base(settings: &RegistrySettings) -> Result<Url, String> {
    let mut url = Url::parse(&settings.url).map_err(|error| error.to_string())?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it has a query, and paths are put behind it".to_owned());
    }
    url.path_segments_mut().map_err(|()| "it has no host".to_owned())?.pop_if_empty();
    Ok(url)
}

/// Makes a client of the settings: `finish` builds it. Files of certificates are read here.
pub(super) fn client<T>(
    settings: &RegistrySettings,
    mut finish: impl FnMut(ClientBuilder) -> Result<T, String>,
) -> Result<T, String> {
    finish(builder(settings)?).or_else(|error| {
        // A system without any certificates makes no client that could check one. Plain HTTP needs none.
        if settings.url.starts_with("http:") {
            finish(builder(settings)?.tls_certs_only([])).map_err(|_| error)
        } else {
            Err(error)
        }
    })
}

fn builder(settings: &RegistrySettings) -> Result<ClientBuilder, String> {
    let read = |key: &str, path: &Path| {
        let help = format!("`registry.{key}` is a file in PEM");
        std::fs::read(path).map_err(|error| format!("cannot read `{}`: {error}; {help}", path.display()))
    };
    let mut client = reqwest::Client::builder().timeout(TIMEOUT).connect_timeout(CONNECT_TIMEOUT);
    if let Some(path) = &settings.ca {
        let authorities =
            Certificate::from_pem_bundle(&read("ca", path)?).map_err(|error| error.to_string())?;
        if authorities.is_empty() {
            return Err(format!("there is no certificate in `{}`", path.display()));
        }
        client = client.tls_certs_merge(authorities);
    }
    if let Some((certificate, key)) = &settings.identity {
        let mut pem = read("certificate", certificate)?;
        pem.push(b'\n');
        pem.extend(read("key", key)?);
        let identity = Identity::from_pem(&pem).map_err(|_| {
            format!(
                "`{}` and `{}` are no certificate and private key; the key must not be encrypted",
                certificate.display(),
                key.display()
            )
        })?;
        client = client.identity(identity);
    }
    Ok(client)
}
