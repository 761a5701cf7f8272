//! What a schema registry has to do, whatever it is made of.

use stream::registry::{Compat, RegistryError};
use stream::{Registry, RegistrySettings};

const ONE: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#;
const MORE: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"long"},{"name":"b","type":["null","string"],"default":null}]}"#;
const OTHER: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"string"}]}"#;

/// Holds the registry at this address to what all of them do.
pub async fn hold_at(url: &str, prefix: &str) {
    let settings = RegistrySettings { url: url.to_owned(), ..RegistrySettings::default() };
    hold(&Registry::new(settings), prefix).await;
}

/// Holds a registry to what all of them do. Subjects begin with `prefix`.
///
/// # Panics
/// Where it does something else.
pub async fn hold(registry: &Registry, prefix: &str) {
    let subject = |name: &str| format!("{prefix}-{name}-value");
    let versions = async |name: &str| registry.versions(&subject(name)).await.expect("answers");

    println!("a_schema_has_one_id_wherever_it_is_registered");
    let one = registry.register(&subject("a"), ONE).await.expect("registered");
    assert_eq!(registry.register(&subject("a"), ONE).await.expect("registered"), one);
    assert_eq!(registry.register(&subject("a"), &ONE.replace(':', " : ")).await.expect("registered"), one);
    assert_eq!(registry.register(&subject("b"), ONE).await.expect("registered"), one);
    assert_eq!(*registry.schema(one).await.expect("known"), *ONE);
    assert_eq!(versions("a").await.len(), 1);

    println!("versions_are_numbered_from_one");
    let more =
        registry.register(&subject("a"), MORE).await.expect("a column that may be absent is compatible");
    assert_ne!(more, one);
    let all: Vec<(u32, u32)> = versions("a").await.iter().map(|found| (found.version, found.id)).collect();
    assert_eq!(all, [(1, one), (2, more)]);
    let latest = registry.latest(&subject("a")).await.expect("answers").expect("there is one");
    assert_eq!((latest.version, latest.id, &*latest.schema), (2, more, MORE));
    assert_eq!(registry.register(&subject("a"), ONE).await.expect("known"), one, "an old version is known");
    assert_eq!(versions("a").await.len(), 2);

    println!("what_is_not_there_is_nothing");
    assert_eq!(registry.latest(&subject("none")).await.expect("answers"), None);
    assert_eq!(versions("none").await, []);
    assert_eq!(registry.compatibility(&subject("none")).await.expect("answers"), None);
    let unknown = registry.schema(i32::MAX.unsigned_abs()).await;
    assert!(matches!(unknown, Err(RegistryError::UnknownSchema { .. })), "{unknown:?}");

    println!("an_incompatible_schema_is_refused_and_the_level_decides");
    // What holds for a subject without a level differs: Apicurio takes everything then.
    registry.set_compatibility(&subject("a"), "backward").await.expect("set");
    assert!(registry.compatible(&subject("a"), MORE).await.expect("answers").is_compatible());
    let refused = registry.compatible(&subject("a"), OTHER).await.expect("answers");
    assert!(matches!(&refused, Compat::Incompatible(reasons) if !reasons.is_empty()), "{refused:?}");
    let refused = registry.register(&subject("a"), OTHER).await;
    assert!(matches!(refused, Err(RegistryError::Incompatible { .. })), "{refused:?}");
    assert_eq!(versions("a").await.len(), 2);
    registry.set_compatibility(&subject("a"), "none").await.expect("set");
    assert_eq!(registry.compatibility(&subject("a")).await.expect("answers").as_deref(), Some("NONE"));
    registry.register(&subject("a"), OTHER).await.expect("everything is compatible now");
    // Forwards, a reader of the first schema has to read the next, which has a wider number.
    registry.set_compatibility(&subject("b"), "FORWARD").await.expect("set");
    let refused = registry.register(&subject("b"), MORE).await;
    assert!(matches!(refused, Err(RegistryError::Incompatible { .. })), "{refused:?}");

    println!("subjects_are_listed");
    let listed = registry.subjects().await.expect("answers");
    assert!(!listed.contains(&subject("none")));
    // A registry that many tests have used has more subjects than it lists.
    let is_whole = listed.len() < 1_000;
    assert!(!is_whole || listed.contains(&subject("a")) && listed.contains(&subject("b")));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Schemas;

    #[tokio::test]
    async fn the_model_keeps_every_contract() {
        hold(&Schemas::new().registry(), "contract").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_embedded_registry_keeps_every_contract() {
        let dir = tempfile::tempdir().expect("a folder");
        let host = embedded::Host::join(dir.path()).await.expect("hosted");
        hold_at(&host.registry_url, "contract").await;
    }
}
