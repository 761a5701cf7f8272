//! Why a request is refused, with Confluent's codes and messages.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::api::answer;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ApiError {
    #[error("Subject '{0}' not found.")]
    NoSubject(String),
    #[error("Version {0} not found.")]
    NoVersion(String),
    #[error("Schema {0} not found")]
    NoSchema(String),
    #[error("Subject '{0}' was soft deleted. Set permanent=true to delete permanently")]
    DeletedBefore(String),
    #[error("Subject '{0}' was not deleted first before being permanently deleted")]
    NotDeletedFirst(String),
    #[error("Subject '{0}' does not have subject-level compatibility configured")]
    NoLevel(String),
    #[error(
        "Schema being registered is incompatible with an earlier schema for subject \"{subject}\", details: {reasons:?}"
    )]
    Incompatible { subject: String, reasons: Vec<String> },
    #[error("Invalid schema: {0}")]
    BadSchema(String),
    #[error(
        "The specified version '{0}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string \"latest\""
    )]
    BadVersion(String),
    #[error(
        "Invalid compatibility level '{0}'. Valid values are none, backward, forward, full, backward_transitive, forward_transitive, and full_transitive"
    )]
    BadLevel(String),
    #[error("Unprocessable request: {0}")]
    BadRequest(String),
    #[error(
        "Content type '{0}' is not accepted: send application/vnd.schemaregistry.v1+json or application/json"
    )]
    NotJson(String),
    #[error("Requests of web pages change nothing here, and this one is of '{0}'")]
    WebPage(String),
    #[error("Error in the backend data store: {0}")]
    Store(String),
}

impl ApiError {
    /// Confluent's error code; its first three digits are the HTTP status.
    pub(super) fn code(&self) -> u32 {
        match self {
            Self::NoSubject(_) => 40401,
            Self::NoVersion(_) => 40402,
            Self::NoSchema(_) => 40403,
            Self::DeletedBefore(_) => 40404,
            Self::NotDeletedFirst(_) => 40405,
            Self::NoLevel(_) => 40408,
            Self::Incompatible { .. } => 409,
            Self::BadSchema(_) => 42201,
            Self::BadVersion(_) => 42202,
            Self::BadLevel(_) => 42203,
            Self::BadRequest(_) => 400,
            Self::WebPage(_) => 403,
            Self::NotJson(_) => 415,
            Self::Store(_) => 50001,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let code = self.code();
        let status = if code > 999 { code / 100 } else { code };
        let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
        let body = json!({ "error_code": code, "message": self.to_string() });
        answer(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &body)
    }
}
