//! The REST API over the state. A request that changes it must have a JSON content type and must not come from
//! a web page. Answers have Confluent's content type.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::compat::Level;
use super::error::ApiError;
use super::schemas::{Reference, SchemaKey, SchemaValue, SchemaVersion};
use super::subjects::{Candidate, Registering};
use super::{RegistryState, Shared};

const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";

type Answer = Result<Response<Body>, ApiError>;

/// All routes.
pub(super) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/", get(async || answer(StatusCode::OK, &json!({}))))
        .route("/mode", get(async || answer(StatusCode::OK, &json!({ "mode": "READWRITE" }))))
        .route("/schemas/types", get(async || answer(StatusCode::OK, &json!(["AVRO"]))))
        .route("/schemas/ids/{id}", get(schema))
        .route("/schemas/ids/{id}/schema", get(schema_text))
        .route("/schemas/ids/{id}/versions", get(places))
        .route("/schemas/ids/{id}/subjects", get(subjects_of))
        .route("/subjects", get(subjects))
        .route("/subjects/{subject}", post(lookup).delete(delete_subject))
        .route("/subjects/{subject}/versions", get(versions).post(register))
        .route("/subjects/{subject}/versions/{version}", get(version))
        .route("/subjects/{subject}/versions/{version}/schema", get(version_text))
        .route("/compatibility/subjects/{subject}/versions", post(compatible_with_all))
        .route("/compatibility/subjects/{subject}/versions/{version}", post(compatible_with_one))
        .route("/config", get(level).put(set_level))
        .route("/config/{subject}", get(subject_level).put(set_subject_level).delete(unset_subject_level))
        .with_state(shared)
        .layer(from_fn(guarded))
}

/// Accepts a change only if no web page can have sent it.
///
/// The registry listens on this machine only and has no password, but a browser on it sends whatever requests a
/// page makes. A browser adds the page's origin to every such request, and it sends JSON only after a preflight
/// request, which this API never answers.
async fn guarded(request: Request, next: Next) -> Response<Body> {
    match check_origin(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn check_origin(method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    if [Method::GET, Method::HEAD].contains(method) {
        return Ok(());
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        return Err(ApiError::WebPage(String::from_utf8_lossy(origin.as_bytes()).into_owned()));
    }
    if method == Method::DELETE {
        return Ok(());
    }
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| String::from_utf8_lossy(kind.as_bytes()));
    let kind = kind.unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = essence == "application/json"
        || (essence.starts_with("application/vnd.schemaregistry") && essence.ends_with("+json"));
    if json { Ok(()) } else { Err(ApiError::NotJson(kind.into_owned())) }
}

/// A response in the form that clients of a schema registry expect.
pub(super) fn answer(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(CONTENT_TYPE));
    response
}

fn ok(body: &impl Serialize) -> Answer {
    Ok(answer(StatusCode::OK, body))
}

/// Switches in the query string. Unknown ones are ignored, as in Confluent's registry.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Switches {
    verbose: bool,
    permanent: bool,
    default_to_global: bool,
    subject_prefix: String,
}

/// Body of a request about a schema.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    schema: Option<String>,
    schema_type: Option<String>,
    #[serde(default)]
    references: Option<Vec<Reference>>,
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::BadRequest(error.to_string()))
}

fn candidate(body: &[u8]) -> Result<Candidate, ApiError> {
    let sent: Sent = read(body)?;
    match sent.schema_type.as_deref() {
        None | Some("AVRO" | "avro") => {}
        Some(other) => {
            return Err(ApiError::BadSchema(format!("type {other} is not served here, only AVRO is")));
        }
    }
    let schema = sent.schema.filter(|schema| !schema.is_empty());
    let schema = schema.ok_or_else(|| ApiError::BadSchema("the request has no `schema`".to_owned()))?;
    Ok(Candidate { schema: schema.into(), references: sent.references.unwrap_or_default() })
}

fn id(text: &str) -> Result<u32, ApiError> {
    text.parse().map_err(|_| ApiError::NoSchema(text.to_owned()))
}

fn describe(version: &SchemaVersion) -> Json {
    let SchemaVersion { subject, version, id, schema, references, .. } = version;
    let mut body = json!({ "subject": subject, "version": version, "id": id, "schema": schema });
    if !references.is_empty() {
        body["references"] = json!(references);
    }
    body
}

impl RegistryState {
    /// Writes the change to the topic, then applies it.
    fn change(&mut self, key: &SchemaKey, value: Option<&SchemaValue>) -> Result<(), ApiError> {
        self.topic.append(key, value).map_err(|refusal| ApiError::Store(format!("{refusal:?}")))?;
        self.subjects.apply(key, value).map_err(ApiError::Store)
    }

    fn set_level(&mut self, subject: Option<String>, body: &[u8]) -> Answer {
        #[derive(Deserialize)]
        struct Wish {
            compatibility: String,
        }
        let Wish { compatibility } = read(body)?;
        let level = Level::parse(&compatibility).ok_or(ApiError::BadLevel(compatibility))?;
        let value = SchemaValue::Config { compatibility_level: level.name().to_owned() };
        self.change(&SchemaKey::Config { subject, magic: 0 }, Some(&value))?;
        ok(&json!({ "compatibility": level.name() }))
    }
}

async fn subjects(State(shared): State<Shared>, Query(switches): Query<Switches>) -> Answer {
    let registry = shared.lock();
    let names = registry.subjects.names().into_iter();
    ok(&names.filter(|name| name.starts_with(&switches.subject_prefix)).collect::<Vec<_>>())
}

async fn versions(State(shared): State<Shared>, Path(subject): Path<String>) -> Answer {
    let registry = shared.lock();
    let versions = registry.subjects.versions(&subject)?;
    ok(&versions.iter().map(|version| version.version).collect::<Vec<_>>())
}

async fn version(State(shared): State<Shared>, Path((subject, version)): Path<(String, String)>) -> Answer {
    ok(&describe(shared.lock().subjects.version(&subject, &version)?))
}

async fn version_text(
    State(shared): State<Shared>,
    Path((subject, version)): Path<(String, String)>,
) -> Answer {
    let schema = Arc::clone(&shared.lock().subjects.version(&subject, &version)?.schema);
    let mut response = answer(StatusCode::OK, &Json::Null);
    *response.body_mut() = Body::from(schema.to_string());
    Ok(response)
}

async fn register(State(shared): State<Shared>, Path(subject): Path<String>, body: Bytes) -> Answer {
    let candidate = candidate(&body)?;
    let mut registry = shared.lock();
    let id = match registry.subjects.register(&subject, &candidate)? {
        Registering::Known(id) => id,
        Registering::New(version) => {
            let id = version.id;
            let key = SchemaKey::Schema { subject, version: version.version, magic: 1 };
            registry.change(&key, Some(&SchemaValue::Schema(version)))?;
            id
        }
    };
    ok(&json!({ "id": id }))
}

async fn lookup(State(shared): State<Shared>, Path(subject): Path<String>, body: Bytes) -> Answer {
    let candidate = candidate(&body)?;
    ok(&describe(shared.lock().subjects.lookup(&subject, &candidate)?))
}

async fn delete_subject(
    State(shared): State<Shared>,
    Path(subject): Path<String>,
    Query(switches): Query<Switches>,
) -> Answer {
    let mut registry = shared.lock();
    let deleted = registry.subjects.is_deleted(&subject);
    let numbers: Vec<u32> = match (deleted, switches.permanent) {
        (true, false) => return Err(ApiError::DeletedBefore(subject)),
        (true, true) => registry.subjects.all_numbers(&subject),
        (false, _) => registry.subjects.versions(&subject)?.iter().map(|version| version.version).collect(),
    };
    if switches.permanent && !deleted {
        return Err(ApiError::NotDeletedFirst(subject));
    }
    if switches.permanent {
        for version in &numbers {
            let key = SchemaKey::Schema { subject: subject.clone(), version: *version, magic: 1 };
            registry.change(&key, None)?;
        }
    } else if let Some(version) = numbers.last().copied() {
        let key = SchemaKey::DeleteSubject { subject: subject.clone(), magic: 0 };
        registry.change(&key, Some(&SchemaValue::DeleteSubject { subject, version }))?;
    }
    ok(&numbers)
}

async fn schema(State(shared): State<Shared>, Path(text): Path<String>) -> Answer {
    let registry = shared.lock();
    let schema = registry.subjects.schema(id(&text)?).ok_or(ApiError::NoSchema(text))?;
    let mut body = json!({ "schema": schema.schema });
    if !schema.references.is_empty() {
        body["references"] = json!(schema.references);
    }
    ok(&body)
}

async fn schema_text(State(shared): State<Shared>, Path(text): Path<String>) -> Answer {
    let registry = shared.lock();
    let schema = registry.subjects.schema(id(&text)?).ok_or(ApiError::NoSchema(text))?;
    let mut response = answer(StatusCode::OK, &Json::Null);
    *response.body_mut() = Body::from(schema.schema.to_string());
    Ok(response)
}

async fn places(State(shared): State<Shared>, Path(text): Path<String>) -> Answer {
    let registry = shared.lock();
    let id = id(&text)?;
    registry.subjects.schema(id).ok_or(ApiError::NoSchema(text))?;
    let places = registry.subjects.places(id);
    let places = places.iter().map(|place| json!({ "subject": place.subject, "version": place.version }));
    ok(&places.collect::<Vec<_>>())
}

async fn subjects_of(State(shared): State<Shared>, Path(text): Path<String>) -> Answer {
    let registry = shared.lock();
    let id = id(&text)?;
    registry.subjects.schema(id).ok_or(ApiError::NoSchema(text))?;
    ok(&registry.subjects.places(id).iter().map(|place| &place.subject).collect::<Vec<_>>())
}

async fn compatible_with_all(
    State(shared): State<Shared>,
    Path(subject): Path<String>,
    Query(switches): Query<Switches>,
    body: Bytes,
) -> Answer {
    let candidate = candidate(&body)?;
    let registry = shared.lock();
    let versions = registry.subjects.versions(&subject).unwrap_or_default();
    verdict(&registry.subjects.reasons(&subject, &candidate, &versions)?, switches.verbose)
}

async fn compatible_with_one(
    State(shared): State<Shared>,
    Path((subject, version)): Path<(String, String)>,
    Query(switches): Query<Switches>,
    body: Bytes,
) -> Answer {
    let candidate = candidate(&body)?;
    let registry = shared.lock();
    let version = registry.subjects.version(&subject, &version)?;
    verdict(&registry.subjects.reasons(&subject, &candidate, &[version])?, switches.verbose)
}

fn verdict(reasons: &[String], verbose: bool) -> Answer {
    let mut body = json!({ "is_compatible": reasons.is_empty() });
    if verbose {
        body["messages"] = json!(reasons);
    }
    ok(&body)
}

async fn level(State(shared): State<Shared>) -> Answer {
    ok(&json!({ "compatibilityLevel": shared.lock().subjects.level(None).name() }))
}

async fn set_level(State(shared): State<Shared>, body: Bytes) -> Answer {
    shared.lock().set_level(None, &body)
}

async fn subject_level(
    State(shared): State<Shared>,
    Path(subject): Path<String>,
    Query(switches): Query<Switches>,
) -> Answer {
    let registry = shared.lock();
    let level = match registry.subjects.own_level(&subject) {
        None if switches.default_to_global => registry.subjects.level(None),
        None => return Err(ApiError::NoLevel(subject)),
        Some(level) => level,
    };
    ok(&json!({ "compatibilityLevel": level.name() }))
}

async fn set_subject_level(State(shared): State<Shared>, Path(subject): Path<String>, body: Bytes) -> Answer {
    shared.lock().set_level(Some(subject), &body)
}

async fn unset_subject_level(State(shared): State<Shared>, Path(subject): Path<String>) -> Answer {
    let mut registry = shared.lock();
    let level = registry.subjects.own_level(&subject).ok_or_else(|| ApiError::NoLevel(subject.clone()))?;
    registry.change(&SchemaKey::Config { subject: Some(subject), magic: 0 }, None)?;
    ok(&json!({ "compatibilityLevel": level.name() }))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::confluents(Method::POST, &[("content-type", CONTENT_TYPE)], 0)]
    #[case::json(Method::PUT, &[("content-type", "application/json; charset=utf-8")], 0)]
    #[case::confluents_without_a_version(Method::POST, &[("content-type", "application/vnd.schemaregistry+json")], 0)]
    #[case::reading(Method::GET, &[], 0)]
    #[case::tools_delete(Method::DELETE, &[], 0)]
    #[case::a_form(Method::POST, &[("content-type", "application/x-www-form-urlencoded")], 415)]
    #[case::text(Method::POST, &[("content-type", "text/plain")], 415)]
    #[case::nothing_said(Method::POST, &[], 415)]
    #[case::json_in_a_parameter(Method::POST, &[("content-type", "text/plain; x=application/json")], 415)]
    #[case::a_page(Method::POST, &[("content-type", CONTENT_TYPE), ("origin", "https://example.org")], 403)]
    #[case::a_page_deletes(Method::DELETE, &[("origin", "null")], 403)]
    fn what_a_web_page_can_send_changes_nothing(
        #[case] method: Method,
        #[case] headers: &[(&'static str, &'static str)],
        #[case] code: u32,
    ) {
        let headers = headers
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)));
        let checked = check_origin(&method, &headers.collect());
        assert_eq!(checked.err().map_or(0, |error| error.code()), code);
    }
}
