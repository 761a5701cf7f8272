//! What the converter's errors mean: each kind of failure, met by each question that goes through it.

use model::Reaction;
use rstest::rstest;
use testkit::certificates::Authority;
use testkit::front::{Front, Guard};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::tests::{ONE, host, settings, stub};
use super::super::{Registered, Registry};
use super::*;

/// Every question of the converter, by itself.
async fn ask_all(registry: &Registry) -> Vec<RegistryError> {
    fn refused<T: fmt::Debug>(answer: Result<T, RegistryError>) -> RegistryError {
        answer.expect_err("the registry fails")
    }
    vec![
        refused(registry.register("t", ONE).await),
        refused(registry.schema(7).await),
        refused(registry.latest("t").await),
        refused(registry.versions("t").await),
        refused(registry.subjects().await),
    ]
}

#[rstest]
#[case::no_name(401, Reaction::Halt)]
#[case::no_right(403, Reaction::Halt)]
#[case::gone(410, Reaction::Halt)]
#[case::invalid(422, Reaction::Halt)]
#[case::slow_client(408, Reaction::Retry)]
#[case::too_often(429, Reaction::Retry)]
#[case::broken(500, Reaction::Retry)]
#[case::proxy(502, Reaction::Retry)]
#[case::down(503, Reaction::Retry)]
#[case::slow(504, Reaction::Retry)]
#[case::without_a_name(520, Reaction::Retry)]
#[case::of_a_balancer(561, Reaction::Retry)]
#[case::refused_without_a_name(460, Reaction::Halt)]
#[tokio::test]
async fn a_status_means_the_same_to_every_question(#[case] status: u16, #[case] reaction: Reaction) {
    let body = r#"{"error_code":50002,"message":"in the words of the registry"}"#;
    let stub = stub([(status, body); 5]).await;
    for error in ask_all(&Registry::new(settings(&stub.url))).await {
        assert_eq!(error.reaction(), reaction, "{error}");
        let text = error.to_string();
        assert!(text.contains("in the words of the registry"), "{text}");
        assert!(text.contains(&status.to_string()), "{text}");
        if let RegistryError::Refused { code, .. } = error {
            assert_eq!(code, 50002);
        }
    }
}

#[tokio::test]
async fn a_conflict_is_incompatible_only_where_a_schema_is_registered() {
    let body = r#"{"error_code":409,"message":"READER_FIELD_MISSING_DEFAULT_VALUE"}"#;
    let stub = stub([(409, body); 5]).await;
    let mut errors = ask_all(&Registry::new(settings(&stub.url))).await.into_iter();
    match errors.next() {
        Some(RegistryError::Incompatible { subject, reason }) => {
            assert_eq!((&*subject, &*reason), ("t", "READER_FIELD_MISSING_DEFAULT_VALUE"));
        }
        other => panic!("{other:?}"),
    }
    assert!(errors.all(|error| matches!(error, RegistryError::Refused { status: 409, code: 409, .. })));
}

#[tokio::test]
async fn a_refusal_that_is_not_the_registrys_own_keeps_its_status() {
    let stub = stub([(502, "<html>Bad Gateway</html>"); 5]).await;
    for error in ask_all(&Registry::new(settings(&stub.url))).await {
        let text = format!("the schema registry at `{}` answered 502: it gave no reason", stub.url);
        assert_eq!(error.to_string(), text);
    }
}

#[rstest]
#[case::no_json("<html>welcome</html>")]
#[case::other_json(r#"{"id":"a text","schema":1}"#)]
#[tokio::test]
async fn an_answer_of_another_service_is_named_and_halts(#[case] body: &'static str) {
    let stub = stub([(200, body); 5]).await;
    for error in ask_all(&Registry::new(settings(&stub.url))).await {
        assert!(matches!(error, RegistryError::Answer { .. }), "{error:?}");
        assert!(error.to_string().contains("cannot be read: "), "{error}");
    }
}

/// What a server does with every connection, once a request has come.
enum Then {
    /// It closes within the body.
    Cuts,
    /// It never answers.
    Hangs,
}

async fn server(then: Then) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    runtime::tasks::spawn("broken registry", async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            match then {
                Then::Hangs => open.push(stream),
                Then::Cuts => {
                    let part =
                        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{";
                    stream.write_all(part).await.expect("sent");
                }
            }
        }
    });
    url
}

async fn asks_again(then: Then) {
    let url = server(then).await;
    for error in ask_all(&Registry::new(settings(&url))).await {
        assert!(matches!(error, RegistryError::Unreachable { .. }), "{error:?}");
        assert_eq!(error.reaction(), Reaction::Retry);
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_asked_for_again() {
    asks_again(Then::Cuts).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_asked_for_again() {
    asks_again(Then::Hangs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_one_segment_of_a_path() {
    let (_dir, host, registry) = host().await;
    let names = ["a/b", "a b", "100%", "a%2Fb", "what?", "#1", "é", "shop.Order:key"];
    for (name, id) in names.iter().zip([1; 8]) {
        assert_eq!(registry.register(name, ONE).await.expect("registered"), id);
        let latest = registry.latest(name).await.expect("answered");
        assert_eq!(latest, Some(Registered { id, version: 1, schema: ONE.into() }), "{name}");
        assert_eq!(registry.versions(name).await.expect("answered"), latest.into_iter().collect::<Vec<_>>());
    }
    let mut sorted = names.map(str::to_owned);
    sorted.sort();
    assert_eq!(registry.subjects().await.expect("listed"), sorted);
    host.stop().await;
}

/// Both ways to the registry show the same certificate and password and trust the same authority.
#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_registry_lets_both_clients_in_and_no_stranger() {
    let (dir, host, _) = host().await;
    let authority = Authority::make(&dir.path().join("certificates")).expect("openssl runs");
    let guard = Guard {
        identity: Some(authority.issue("registry").expect("issued")),
        clients_of: Some(authority.certificate()),
        basic: Some(("me".to_owned(), "secret".to_owned())),
    };
    let front = Front::open(&host.registry_url, guard).expect("opened");
    let own = authority.issue("client").expect("issued");
    let known = RegistrySettings {
        url: front.url(),
        user: Some("me".to_owned()),
        password: Some("secret".into()),
        ca: Some(authority.certificate()),
        identity: Some((own.certificate, own.key)),
    };
    let registry = Registry::new(known.clone());
    let id = registry.register("t", ONE).await.expect("let in");
    registry.set_compatibility("t", "none").await.expect("let in");
    assert_eq!(&*registry.schema(id).await.expect("let in"), ONE);

    let strangers = [
        (
            RegistrySettings { password: Some("wrong".into()), ..known.clone() },
            "refuses us (401): who are you",
        ),
        (RegistrySettings { identity: None, ..known.clone() }, "cannot reach the schema registry"),
        (RegistrySettings { ca: None, ..known.clone() }, "UnknownIssuer"),
        (RegistrySettings { ca: Some("nowhere.pem".into()), ..known }, "cannot read `nowhere.pem`"),
    ];
    for (settings, says) in strangers {
        let registry = Registry::new(settings);
        for error in [registry.subjects().await.err(), registry.mode().await.err()] {
            let error = error.expect("not let in");
            let mut text = error.to_string();
            let mut cause = StdError::source(&error);
            while let Some(next) = cause {
                text = format!("{text}: {next}");
                cause = next.source();
            }
            assert!(text.contains(says), "{text}");
        }
    }
    host.stop().await;
}
