//! A process that dies at any write of a refresh, before or after the write took effect.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use catalog::Kind;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use rstest::rstest;
use tokio::sync::Notify;

use super::world::*;

/// A store whose process dies at one of its writes: that write never returns.
#[derive(Debug)]
struct Mortal {
    below: Arc<dyn ObjectStore>,
    /// Writes left before it dies.
    left: AtomicI64,
    /// True if the last write still takes effect.
    after: bool,
    died: Notify,
}
impl fmt::Display for Mortal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mortal")
    }
}
#[async_trait::async_trait]
impl ObjectStore for Mortal {
    async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        if left > 0 {
            return self.below.put_opts(at, payload, options).await;
        }
        if left == 0 && self.after {
            let _landed = self.below.put_opts(at, payload, options).await;
        }
        self.died.notify_one();
        std::future::pending().await
    }
    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.below.put_multipart_opts(at, options).await
    }
    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.below.get_opts(at, options).await
    }
    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.below.delete_stream(paths)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.below.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.below.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.below.copy_opts(from, to, options).await
    }
}

const SQL: &str = "SELECT b.kind, count(*) AS n, sum(a.amount) AS total
    FROM silver.a JOIN silver.b ON a.other = b.id GROUP BY b.kind";

// Holds P1 (docs/invariants.md).
// Holds P2 (docs/invariants.md).
// Holds P7 (docs/invariants.md).
#[rstest]
#[case::before_the_write_took_effect(false)]
#[case::after_it_took_effect(true)]
#[tokio::test]
async fn whatever_write_a_process_dies_at_the_next_one_goes_on_and_the_table_is_exact(#[case] after: bool) {
    let mut survived = false;
    for writes in 0..40 {
        let world = World::new(project(&[(Kind::Table, "gold.t", &["kind"], SQL, 7)])).await;
        world.edit(&put(1, &[(1, None, "x", 0), (2, None, "y", 0), (3, None, "z", 0)])).await;
        world.edit(&put(0, &[(1, Some(1), "", 5), (2, Some(2), "", 5)])).await;
        let mortal = Arc::new(Mortal {
            below: world.objects.clone(),
            left: AtomicI64::new(i64::MAX),
            after,
            died: Notify::new(),
        });
        let lake = world.through(mortal.clone()).await;
        mortal.left.store(writes, Ordering::SeqCst);
        let mut keeper = world.keeper_over(lake, "gold.t");
        let life = async {
            // Creation and fill, then a refresh that inserts, updates and deletes.
            settle(&mut keeper).await.expect("filled");
            world.edit(&put(0, &[(1, Some(3), "", 1), (2, Some(2), "", 7), (4, Some(2), "", 1)])).await;
            settle(&mut keeper).await.expect("refreshed");
        };
        let died = tokio::select! {
            biased;
            () = mortal.died.notified() => true,
            () = life => false,
        };
        drop(keeper);
        let mut next = world.keeper("gold.t");
        settle(&mut next).await.expect("goes on");
        world.assert_kept("gold.t").await;
        if !died {
            survived = true;
            assert!(writes >= 4, "creation, fill and refresh are at least a file and a commit each");
            break;
        }
    }
    assert!(survived, "the tries never reached the end of the refresh");
}
