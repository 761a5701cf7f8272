//! The client against the embedded registry, and against one that fails.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use model::Reaction;
use parking_lot::Mutex;
use rstest::rstest;
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;

use super::http::Http;
use super::*;
use embedded::Host;

pub(super) const ONE: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#;
const TWO: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"long"},
    {"name":"b","type":["null","string"],"default":null}]}"#;
const CLASH: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"string"}]}"#;

pub(super) fn settings(url: &str) -> RegistrySettings {
    RegistrySettings { url: url.to_owned(), ..Default::default() }
}

pub(super) async fn host() -> (tempfile::TempDir, Host, Registry) {
    let dir = tempfile::tempdir().expect("a folder");
    let host = Host::join(dir.path()).await.expect("joined");
    let registry = Registry::new(settings(&host.registry_url));
    (dir, host, registry)
}

/// Asks the API itself: the answer, or status and code of the refusal.
async fn ask(host: &Host, method: &str, path: &str, body: Json) -> Result<Json, (u16, u32)> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let path: Vec<&str> = path.split('/').collect();
    let query: Vec<(&str, &str)> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let body = (!body.is_null()).then_some(&body);
    let method = method.parse().expect("a method");
    match Http::new(settings(&host.registry_url)).send(method, &path, &query, body).await {
        Ok(answer) => Ok(answer),
        Err(RegistryError::Refused { status, code, .. }) => Err((status, code)),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_registered_is_found_by_id_subject_and_version_also_after_a_restart() {
    let (dir, host, registry) = host().await;
    let one = registry.register("t-value", ONE).await.expect("registered");
    let two = registry.register("t-value", TWO).await.expect("registered");
    assert_eq!((one, two), (1, 2));
    assert_eq!(registry.register("t-value", &ONE.replace(':', ": ")).await.expect("known"), one);
    assert_eq!(registry.register("other/subject é", ONE).await.expect("registered"), one, "ids are global");
    registry.set_compatibility("t-value", "full_transitive").await.expect("set");
    host.stop().await;

    let host = Host::join(dir.path()).await.expect("joined");
    let registry = Registry::new(settings(&host.registry_url));
    assert_eq!(registry.subjects().await.expect("listed"), ["other/subject é", "t-value"]);
    assert_eq!(&*registry.schema(one).await.expect("known"), ONE);
    let versions = registry.versions("t-value").await.expect("listed");
    let ids: Vec<_> = versions.iter().map(|version| (version.id, version.version)).collect();
    assert_eq!(ids, [(1, 1), (2, 2)]);
    assert_eq!(registry.latest("t-value").await.expect("answered").as_ref(), versions.last());
    assert_eq!(registry.latest("none").await.expect("answered"), None);
    assert_eq!(registry.versions("none").await.expect("answered"), []);
    let level = registry.compatibility("t-value").await.expect("answered");
    assert_eq!(level.as_deref(), Some("FULL_TRANSITIVE"));
    assert_eq!(registry.compatibility("other/subject é").await.expect("answered"), None);
    let places = ask(&host, "GET", "schemas/ids/1/versions", Json::Null).await.expect("answered");
    let expected =
        json!([{"subject": "other/subject é", "version": 1}, {"subject": "t-value", "version": 1}]);
    assert_eq!(places, expected);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incompatible_schema_is_refused_with_the_reason() {
    let (_dir, host, registry) = host().await;
    assert_eq!(registry.compatible("t", ONE).await.expect("answered"), Compat::Compatible);
    registry.register("t", ONE).await.expect("registered");
    assert_eq!(registry.compatible("t", TWO).await.expect("answered"), Compat::Compatible);
    let Compat::Incompatible(reasons) = registry.compatible("t", CLASH).await.expect("answered") else {
        panic!("int cannot become string");
    };
    assert!(reasons[0].contains("version 1") && reasons[0].contains('a'), "{reasons:?}");
    match registry.register("t", CLASH).await {
        Err(RegistryError::Incompatible { subject, reason }) => {
            assert_eq!(subject, "t");
            assert!(reason.contains("version 1"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    registry.set_compatibility("t", "none").await.expect("set");
    registry.register("t", CLASH).await.expect("anything goes");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_confluents_codes() {
    let (_dir, host, registry) = host().await;
    registry.register("t", ONE).await.expect("registered");
    let schema = |text: &str| json!({ "schema": text });
    let null = || Json::Null;
    let cases = [
        ("GET", "subjects/none/versions", null(), (404, 40401)),
        ("GET", "subjects/none/versions/1", null(), (404, 40401)),
        ("POST", "subjects/none", schema(ONE), (404, 40401)),
        ("DELETE", "subjects/none", null(), (404, 40401)),
        ("POST", "compatibility/subjects/none/versions/latest", schema(ONE), (404, 40401)),
        ("GET", "subjects/t/versions/2", null(), (404, 40402)),
        ("POST", "compatibility/subjects/t/versions/9", schema(ONE), (404, 40402)),
        ("GET", "schemas/ids/77", null(), (404, 40403)),
        ("GET", "schemas/ids/77/versions", null(), (404, 40403)),
        ("POST", "subjects/t", schema(TWO), (404, 40403)),
        ("DELETE", "subjects/t?permanent=true", null(), (404, 40405)),
        ("GET", "config/t", null(), (404, 40408)),
        ("POST", "subjects/t/versions", schema(CLASH), (409, 409)),
        ("POST", "subjects/t/versions", schema("{"), (422, 42201)),
        ("POST", "subjects/t/versions", schema(r#"{"type":"recrod"}"#), (422, 42201)),
        ("POST", "subjects/t/versions", json!({}), (422, 42201)),
        ("POST", "subjects/t/versions", json!({"schema": "x", "schemaType": "PROTOBUF"}), (422, 42201)),
        ("POST", "compatibility/subjects/t/versions", schema("nonsense"), (422, 42201)),
        ("GET", "subjects/t/versions/0", null(), (422, 42202)),
        ("GET", "subjects/t/versions/new", null(), (422, 42202)),
        ("PUT", "config/t", json!({"compatibility": "sideways"}), (422, 42203)),
        ("PUT", "config", json!({"level": 1}), (400, 400)),
    ];
    for (method, path, body, expected) in cases {
        assert_eq!(ask(&host, method, path, body).await, Err(expected), "{method} {path}");
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_the_api_answers_as_confluents() {
    let (_dir, host, registry) = host().await;
    registry.register("t", ONE).await.expect("registered");
    let null = || Json::Null;
    let cases = [
        ("GET", "schemas/types", null(), json!(["AVRO"])),
        ("GET", "config", null(), json!({"compatibilityLevel": "BACKWARD"})),
        ("PUT", "config", json!({"compatibility": "full"}), json!({"compatibility": "FULL"})),
        ("GET", "config", null(), json!({"compatibilityLevel": "FULL"})),
        ("GET", "config/t?defaultToGlobal=true", null(), json!({"compatibilityLevel": "FULL"})),
        ("PUT", "config/t", json!({"compatibility": "NONE"}), json!({"compatibility": "NONE"})),
        ("DELETE", "config/t", null(), json!({"compatibilityLevel": "NONE"})),
        (
            "GET",
            "subjects/t/versions/latest",
            null(),
            json!({"subject": "t", "version": 1, "id": 1, "schema": ONE}),
        ),
        (
            "POST",
            "subjects/t",
            json!({"schema": ONE}),
            json!({"subject": "t", "version": 1, "id": 1, "schema": ONE}),
        ),
        ("GET", "schemas/ids/1", null(), json!({"schema": ONE})),
        ("GET", "schemas/ids/1/subjects", null(), json!(["t"])),
        (
            "POST",
            "compatibility/subjects/t/versions/1",
            json!({"schema": ONE}),
            json!({"is_compatible": true}),
        ),
        ("DELETE", "subjects/t", null(), json!([1])),
        ("GET", "subjects", null(), json!([])),
        ("GET", "schemas/ids/1", null(), json!({"schema": ONE})),
        ("POST", "subjects/t/versions", json!({"schema": CLASH}), json!({"id": 2})),
        ("GET", "subjects/t/versions", null(), json!([2])),
    ];
    for (method, path, body, expected) in cases {
        assert_eq!(ask(&host, method, path, body).await, Ok(expected), "{method} {path}");
    }
    assert_eq!(ask(&host, "DELETE", "subjects/t", null()).await, Ok(json!([2])));
    assert_eq!(ask(&host, "DELETE", "subjects/t", null()).await, Err((404, 40404)));
    assert_eq!(ask(&host, "DELETE", "subjects/t?permanent=true", null()).await, Ok(json!([1, 2])));
    assert_eq!(ask(&host, "DELETE", "subjects/t", null()).await, Err((404, 40401)));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn references_are_resolved_into_one_schema() {
    let (_dir, host, registry) = host().await;
    let money =
        r#"{"type":"record","name":"Money","namespace":"shop","fields":[{"name":"cents","type":"long"}]}"#;
    registry.register("money", money).await.expect("registered");
    let order = r#"{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"price","type":"shop.Money"}]}"#;
    let body =
        json!({"schema": order, "references": [{"name": "shop.Money", "subject": "money", "version": 1}]});
    let answer = ask(&host, "POST", "subjects/order/versions", body).await.expect("registered");
    let id = u32::try_from(answer["id"].as_u64().expect("an id")).expect("small");
    let whole = registry.schema(id).await.expect("resolved");
    apache_avro::Schema::parse_str(&whole).expect("it stands alone");
    let body =
        json!({"schema": order, "references": [{"name": "shop.Money", "subject": "gone", "version": 1}]});
    assert_eq!(ask(&host, "POST", "subjects/order2/versions", body).await, Err((422, 42201)));
    host.stop().await;
}

/// Path and authorization of a question.
type Asked = (String, Option<String>);

/// A registry that gives these answers, one a question, and remembers what it was asked.
pub(super) struct Stub {
    pub(super) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

pub(super) async fn stub(answers: impl IntoIterator<Item = (u16, &'static str)>) -> Stub {
    let answers: Arc<Mutex<VecDeque<_>>> = Arc::new(Mutex::new(answers.into_iter().collect()));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let router = Router::new().fallback({
        let asked = Arc::clone(&asked);
        move |request: axum::extract::Request| {
            let header = |name| request.headers().get(name)?.to_str().ok().map(str::to_owned);
            asked.lock().push((request.uri().path().to_owned(), header("authorization")));
            let (status, body) = answers.lock().pop_front().unwrap_or((500, "nothing left to answer"));
            async move { (StatusCode::from_u16(status).expect("a status"), body) }
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    runtime::tasks::spawn("stub registry", async move { axum::serve(listener, router).await });
    Stub { url, asked }
}

const FOUND: &str = r#"{"schema":"\"long\""}"#;

#[rstest]
#[case::busy(429)]
#[case::broken(500)]
#[case::proxy(502)]
#[case::down(503)]
#[case::slow(504)]
#[tokio::test]
async fn a_failure_is_never_remembered_and_a_schema_always(#[case] status: u16) {
    let stub = stub([(status, "<html>no</html>"), (200, FOUND), (500, "asked once too often")]).await;
    let registry = Registry::new(settings(&stub.url));
    match registry.schema(7).await {
        Err(error @ RegistryError::Busy { status: told, .. }) if told == status => {
            assert_eq!(error.reaction(), Reaction::Retry);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(&*registry.schema(7).await.expect("asked again"), "\"long\"");
    assert_eq!(&*registry.clone().schema(7).await.expect("remembered"), "\"long\"");
    assert_eq!(stub.asked.lock().len(), 2);
}

#[tokio::test]
async fn an_unknown_id_is_an_answer_and_may_become_known() {
    let unknown = r#"{"error_code":40403,"message":"Schema not found"}"#;
    let stub = stub([(404, unknown), (200, FOUND)]).await;
    let registry = Registry::new(settings(&stub.url));
    assert!(matches!(registry.schema(7).await, Err(RegistryError::UnknownSchema { id: 7 })));
    assert_eq!(&*registry.schema(7).await.expect("registered meanwhile"), "\"long\"");
}

#[tokio::test]
async fn a_404_of_something_that_is_no_registry_says_nothing_of_the_schema() {
    let stub = stub([(404, "<html>no such page</html>")]).await;
    let registry = Registry::new(settings(&stub.url));
    assert!(matches!(registry.schema(7).await, Err(RegistryError::Refused { status: 404, code: 0, .. })));
}

#[tokio::test]
async fn a_registry_that_is_down_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let error = Registry::new(settings(&url)).schema(1).await.expect_err("nobody there");
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
    assert_eq!(error.reaction(), Reaction::Retry);
    let error = Registry::new(settings("no address")).subjects().await.expect_err("no address");
    assert_eq!(error.reaction(), Reaction::Halt);
}

#[tokio::test]
async fn credentials_and_a_base_path_go_with_every_question() {
    let stub = stub([(200, "[]"), (401, r#"{"error_code":401,"message":"who are you"}"#)]).await;
    let settings = RegistrySettings {
        url: format!("{}/apis/ccompat/v7/", stub.url),
        user: Some("me".to_owned()),
        password: Some("secret".into()),
        ..Default::default()
    };
    assert!(!format!("{settings:?}").contains("secret"));
    let registry = Registry::new(settings);
    registry.subjects().await.expect("answered");
    let expected = ("/apis/ccompat/v7/subjects".to_owned(), Some("Basic bWU6c2VjcmV0".to_owned()));
    assert_eq!(*stub.asked.lock(), [expected]);
    assert!(matches!(registry.subjects().await, Err(RegistryError::Denied { status: 401, .. })));
}

/// The registry and the frames are not ours alone: another client, which finds schemas by itself,
/// writes what we read and reads what we wrote.
#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_client_writes_what_we_read_and_reads_what_we_write() {
    use apache_avro::types::Value;
    use schema_registry_converter::async_impl::avro::{AvroDecoder, AvroEncoder};
    use schema_registry_converter::async_impl::schema_registry::SrSettings;
    use schema_registry_converter::schema_registry_common::SubjectNameStrategy;

    let (_dir, host, registry) = host().await;
    let id = registry.register("t-value", TWO).await.expect("registered");
    let settings = SrSettings::new(host.registry_url.clone());
    let text = Value::Union(1, Box::new(Value::String("é".to_owned())));
    let fields = || vec![("a", Value::Long(i64::MIN)), ("b", text.clone())];

    let subject = SubjectNameStrategy::TopicNameStrategy("t".to_owned(), false);
    let written = AvroEncoder::new(settings.clone()).encode(fields(), subject).await.expect("encoded");
    let avro::Frame { id: named, body } = avro::Frame::decode(&written).expect("framed");
    assert_eq!(named, id);
    let schema = apache_avro::Schema::parse_str(&registry.schema(named).await.expect("known")).expect("Avro");
    let record = Value::Record(fields().into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    let reader = apache_avro::reader::datum::GenericDatumReader::builder(&schema).build().expect("a reader");
    assert_eq!(reader.read_value(&mut &*body).expect("decoded"), record);

    let mut ours = Vec::new();
    avro::Frame { id, body }.encode(&mut ours);
    let read = AvroDecoder::new(settings).decode(Some(&ours)).await.expect("decoded");
    assert_eq!((read.value, ours), (record, written));
}
