//! Questions about schemas and subjects, asked by `schema_registry_converter`.
//!
//! Only its plain calls: each asks once and keeps nothing. Its errors say "retriable" of 502 and 503 alone,
//! so what an error means is worked out here: from the registry's own refusal, from the HTTP status, which
//! it gives as text only, and from the error of the connection.

use std::error::Error as StdError;
use std::fmt;
use std::sync::OnceLock;

use model::Secret;
use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_all_subjects, get_all_versions, get_schema_by_id, get_schema_by_subject_and_version,
    post_schema,
};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{
    RawError, RegisteredSchema, SchemaType, SuppliedSchema,
};
use url::Url;

use super::{RegistryError, RegistrySettings, connect};

/// Where to ask and as whom.
pub(super) struct Converter {
    settings: RegistrySettings,
    /// Made at the first question; files of certificates are read then.
    made: OnceLock<Result<SrSettings, String>>,
}

impl Converter {
    pub(super) fn new(settings: RegistrySettings) -> Self {
        Self { settings, made: OnceLock::new() }
    }

    /// Registers a schema; its id.
    pub(super) async fn register(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        let supplied = SuppliedSchema::new(None, SchemaType::Avro, schema.to_owned());
        let answer = post_schema(self.made()?, segment(subject), supplied).await;
        answer
            .map(|registered| registered.id)
            .map_err(|error| self.error(format!("POST /subjects/{subject}/versions"), error))
    }

    /// The schema with this id.
    pub(super) async fn schema(&self, id: u32) -> Result<RegisteredSchema, RegistryError> {
        let answer = get_schema_by_id(id, self.made()?).await;
        answer.map_err(|error| self.error(format!("GET /schemas/ids/{id}"), error))
    }

    /// One version of a subject. `None`: the newest.
    pub(super) async fn version(
        &self,
        subject: &str,
        version: Option<u32>,
    ) -> Result<RegisteredSchema, RegistryError> {
        let answer = get_schema_by_subject_and_version(self.made()?, &segment(subject), version).await;
        answer.map_err(|error| {
            let version = version.map_or_else(|| "latest".to_owned(), |version| version.to_string());
            self.error(format!("GET /subjects/{subject}/versions/{version}"), error)
        })
    }

    /// Numbers of the versions of a subject.
    pub(super) async fn versions(&self, subject: &str) -> Result<Vec<u32>, RegistryError> {
        let answer = get_all_versions(self.made()?, segment(subject)).await;
        answer.map_err(|error| self.error(format!("GET /subjects/{subject}/versions"), error))
    }

    /// All subjects.
    pub(super) async fn subjects(&self) -> Result<Vec<String>, RegistryError> {
        let answer = get_all_subjects(self.made()?).await;
        answer.map_err(|error| self.error("GET /subjects".to_owned(), error))
    }

    fn made(&self) -> Result<&SrSettings, RegistryError> {
        let made = self.made.get_or_init(|| {
            let base = connect::base(&self.settings)?;
            let mut asked = SrSettings::new_builder(base.as_str().trim_end_matches('/').to_owned());
            asked.set_timeout(connect::TIMEOUT).add_header("accept", connect::CONTENT_TYPE);
            if let Some(user) = &self.settings.user {
                asked.set_basic_authorization(user, self.settings.password.as_ref().map(Secret::reveal));
            }
            connect::client(&self.settings, |builder| {
                asked.build_with(builder).map_err(|error| error.cause.unwrap_or(error.error))
            })
        });
        made.as_ref().map_err(|reason| RegistryError::Address {
            url: self.settings.url.clone(),
            reason: reason.clone(),
        })
    }

    /// What went wrong, in our words.
    fn error(&self, what: String, error: SRCError) -> RegistryError {
        let source = error.source();
        let refusal = source.and_then(|source| source.downcast_ref::<RawError>());
        if let (Some(refusal), Some(status)) = (refusal, status(&error.error)) {
            // The code is 0 where the body could not be read; the message is then the converter's.
            let message = if refusal.error_code == 0 { "it gave no reason" } else { &refusal.message };
            let message = message.to_owned();
            return RegistryError::refused(&self.settings.url, what, status, refusal.error_code, message);
        }
        let unread = source.and_then(|source| source.source()?.downcast_ref::<serde_json::Error>());
        match (unread, source.is_some_and(|source| source.is::<reqwest::Error>())) {
            (Some(unread), _) => RegistryError::Answer { what, reason: unread.to_string() },
            (None, true) => RegistryError::Unreachable {
                url: self.settings.url.clone(),
                source: Box::new(Connection(error)),
            },
            (None, false) => RegistryError::Answer { what, reason: error.error },
        }
    }
}

/// A name as one segment of a path. The converter escapes slashes alone.
fn segment(name: &str) -> String {
    let mut url = Url::parse("http://registry").expect("it is an address");
    url.path_segments_mut().expect("it has a host").push(name);
    url.path().trim_start_matches('/').to_owned()
}

/// The status in `HTTP request to schema registry failed with status 409 Conflict`. A number without a name of its own
/// has `<unknown status code>` behind it.
fn status(text: &str) -> Option<u16> {
    text.split_once("failed with status ")?.1.split(' ').next()?.parse().ok()
}

/// What the connection said, without the converter's words around it.
#[derive(Debug)]
struct Connection(SRCError);
impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.cause.as_deref().unwrap_or(&self.0.error))
    }
}
impl StdError for Connection {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source().and_then(StdError::source)
    }
}

#[cfg(test)]
mod tests;
