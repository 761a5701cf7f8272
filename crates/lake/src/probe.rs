//! Shows, before anything is written, whether a store honours "create or fail".
//!
//! The commit protocol rests on it: a store that lets two creates of one object both succeed lets two
//! commits take the same version, and one of them vanishes. Some stores do so only under load or
//! without a quorum, so the probe shows a store that never honours the condition, not one that
//! sometimes forgets it.

use bytes::Bytes;
use futures::future::join_all;
use object_store::ObjectStoreExt as _;

use crate::store::{Created, Store, unreachable};
use crate::{Error, Result};

const RACERS: usize = 16;

/// Races creates of one new object below the lake; exactly one may win.
pub(crate) async fn race(store: &Store) -> Result<()> {
    let path = store.root.clone().join("_lakepulse").join(format!("probe-{}", uuid::Uuid::new_v4()));
    let racers = (0..RACERS).map(|n| store.create(&path, Bytes::from(n.to_string())));
    let outcomes = join_all(racers).await;
    let mut winners = 0;
    for outcome in outcomes {
        match outcome {
            Created::Yes => winners += 1,
            Created::Exists => {}
            // Nothing is known of this racer; the object below tells whether any won.
            Created::Unknown(error) if winners == 0 => {
                if store.get(&path).await?.is_none() {
                    return Err(unreachable(&path, error));
                }
            }
            Created::Unknown(_) => {}
        }
    }
    // A latecomer must be refused too, whatever the race did.
    if matches!(store.create(&path, Bytes::from_static(b"late")).await, Created::Yes) {
        winners += 1;
    }
    let _ = store.objects.delete(&path).await;
    if winners > 1 {
        return Err(Error::ConditionIgnored { url: store.url.to_string(), winners, racers: RACERS + 1 });
    }
    Ok(())
}
