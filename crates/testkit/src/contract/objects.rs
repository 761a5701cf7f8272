//! What an object store has to do, whatever it is made of: a commit is one create that only one writer gets.

use futures::future::join_all;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};

fn create() -> PutOptions {
    PutOptions { mode: PutMode::Create, ..PutOptions::default() }
}

/// Holds a store to what all of them do. Paths lie below `prefix`.
///
/// # Panics
/// Where it does something else.
pub async fn hold(store: &dyn ObjectStore, prefix: &str) {
    let path = |name: &str| Path::from(prefix).join(name);

    println!("of_many_creates_of_a_path_one_wins_and_its_bytes_stay");
    for round in 0..20 {
        let entry = path(&format!("log-{round:020}.json"));
        let creates = (0..8_u8).map(|writer| {
            let entry = entry.clone();
            async move { (writer, store.put_opts(&entry, vec![writer; 100].into(), create()).await) }
        });
        let (mut won, mut lost) = (Vec::new(), 0);
        for (writer, outcome) in join_all(creates).await {
            match outcome {
                Ok(_) => won.push(writer),
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => lost += 1,
                Err(error) => panic!("neither won nor lost: {error}"),
            }
        }
        assert_eq!((won.len(), lost), (1, 7), "round {round}");
        let held = store.get(&entry).await.expect("there").bytes().await.expect("read");
        assert_eq!(held.as_ref(), vec![won[0]; 100]);
    }

    println!("what_was_written_is_read_and_listed_at_once");
    let file = path("files/a.parquet");
    store.put(&file, "first".into()).await.expect("written");
    store.put(&file, "0123456789".into()).await.expect("replaced");
    assert_eq!(store.get(&file).await.expect("there").bytes().await.expect("read").as_ref(), b"0123456789");
    assert_eq!(store.get_range(&file, 2..5).await.expect("read").as_ref(), b"234");
    let ranges = store.get_ranges(&file, &[0..1, 8..10]).await.expect("read");
    assert_eq!(ranges.iter().map(AsRef::as_ref).collect::<Vec<&[u8]>>(), [&b"0"[..], b"89"]);
    assert_eq!(store.head(&file).await.expect("there").size, 10);
    let listed: Vec<Path> = store
        .list(Some(&Path::from(prefix)))
        .map_ok(|found| found.location)
        .try_collect()
        .await
        .expect("listed");
    assert_eq!(listed.len(), 21);
    assert!(listed.contains(&file));

    println!("a_listing_can_begin_behind_a_path");
    let behind: Vec<_> = store
        .list_with_offset(Some(&Path::from(prefix)), &path("log-00000000000000000017.json"))
        .map_ok(|found| found.location)
        .try_collect()
        .await
        .expect("listed");
    assert_eq!(behind.len(), 2, "{behind:?}");

    println!("what_is_deleted_is_gone");
    let all = futures::stream::iter(listed.into_iter().map(Ok)).boxed();
    store.delete_stream(all).try_collect::<Vec<_>>().await.expect("deleted");
    assert!(matches!(store.get(&file).await, Err(Error::NotFound { .. })));
    assert!(matches!(store.head(&file).await, Err(Error::NotFound { .. })));
    assert_eq!(store.list(Some(&Path::from(prefix))).count().await, 0);
    store.put_opts(&path("log-00000000000000000000.json"), "new".into(), create()).await.expect("free again");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::local::LocalFileSystem;
    use runtime::WallClock;

    use super::*;
    use crate::objects::Objects;

    #[tokio::test]
    async fn the_model_keeps_every_contract() {
        hold(&Objects::new(Arc::new(WallClock)), "lake/contract").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_folder_keeps_every_contract() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = LocalFileSystem::new_with_prefix(dir.path()).expect("a store");
        hold(&store, "lake/contract").await;
    }
}
