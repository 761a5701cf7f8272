//! An object store over HTTP that breaks S3's promises, for tests of `doctor`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::front::serve;

/// The broken promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It ignores `If-None-Match: *`: the last of many creates wins.
    IgnoresConditions,
    /// New objects are missing in listings.
    ListsLate,
    /// It refuses all access, and its answer repeats the client's identity.
    Denies,
}

/// Starts the store. Returns its address as an S3 endpoint. Any bucket and any key work.
pub fn start(flaw: Flaw) -> Result<String> {
    let state = Arc::new(Store { flaw, objects: Mutex::default() });
    let app = Router::new()
        .fallback(bucket)
        .route("/{bucket}/{*key}", axum::routing::any(object))
        .with_state(state);
    let address = serve(move |listener| async move { axum::serve(listener, app).await })?;
    Ok(format!("http://{address}"))
}

struct Store {
    flaw: Flaw,
    objects: Mutex<BTreeMap<String, Bytes>>,
}

async fn object(
    State(store): State<Arc<Store>>,
    Path((_, key)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if store.flaw == Flaw::Denies {
        return denied(&headers);
    }
    let mut objects = store.objects.lock().unwrap_or_else(PoisonError::into_inner);
    let etag = [(header::ETAG, "\"1\""), (header::LAST_MODIFIED, "Sat, 21 Nov 2026 00:00:00 GMT")];
    match method {
        Method::PUT => {
            let create = headers.contains_key(header::IF_NONE_MATCH) && store.flaw != Flaw::IgnoresConditions;
            if create && objects.contains_key(&key) {
                return StatusCode::PRECONDITION_FAILED.into_response();
            }
            objects.insert(key, body);
            etag.into_response()
        }
        Method::GET | Method::HEAD => match objects.get(&key) {
            Some(bytes) => (etag, bytes.clone()).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        _ => {
            objects.remove(&key);
            StatusCode::NO_CONTENT.into_response()
        }
    }
}

/// S3's answer to an unknown access key.
fn denied(headers: &HeaderMap) -> Response {
    let signed = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let key = signed.split("Credential=").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let body =
        format!("<Error><Code>InvalidAccessKeyId</Code><AWSAccessKeyId>{key}</AWSAccessKeyId></Error>");
    (StatusCode::FORBIDDEN, [(header::CONTENT_TYPE, "application/xml")], body).into_response()
}

/// Listings and bulk deletes: both find nothing.
async fn bucket(method: Method) -> Response {
    let answer = if method == Method::GET {
        "<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>"
    } else {
        "<DeleteResult><Deleted><Key>what was asked for</Key></Deleted></DeleteResult>"
    };
    ([(header::CONTENT_TYPE, "application/xml")], answer).into_response()
}
