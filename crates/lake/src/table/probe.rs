//! Shows, before anything is written, whether a store honours "create or fail".
//!
//! The commit protocol rests on it: a store that lets two creates of one object both succeed lets two
//! commits take the same version, and one of them vanishes. Some stores do so only under load or
//! without a quorum, so the probe shows a store that never honours the condition, not one that
//! sometimes forgets it.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use model::ClockMs;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use runtime::Clock;

use crate::store::settings::LakeSettings;
use crate::store::{Created, Store, client, list, unreachable};
use crate::{Error, Result};

const RACERS: usize = 16;
/// How often a race is run when someone asks: a store may forget the condition only now and then.
const ROUNDS: usize = 10;
/// How many objects are written and listed.
const OBJECTS: usize = 32;

/// What a store did when it was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// Races of [`race`] that had one winner.
    pub rounds: usize,
    /// How many raced each time.
    pub racers: usize,
    /// Objects written, then listed at once.
    pub written: usize,
    /// Those of them that the listing left out.
    pub unlisted: usize,
    /// What the store's clock said of one, in whole seconds, between two looks at ours.
    pub stamped: (ClockMs, ClockMs, ClockMs),
}

/// Tries what the commit protocol and the log's readers rest on, on objects made for that below the lake.
/// A store that lets two creates of one object succeed is [`Error::ConditionIgnored`].
pub async fn try_out(settings: &LakeSettings, clock: &dyn Clock) -> Result<Tried> {
    let (scheme, url) = settings.check()?;
    let store = Store::over(url.clone(), client(settings, scheme, &url)?)?;
    for _ in 0..ROUNDS {
        race(&store).await?;
    }
    let folder = store.root.clone().join("_lakepulse");
    let mark = uuid::Uuid::new_v4();
    let paths: Vec<Path> = (0..OBJECTS).map(|n| folder.clone().join(format!("doctor-{mark}-{n}"))).collect();
    let before = clock.now();
    try_join_all(paths.iter().map(|path| store.put(path, Bytes::from_static(b"x")))).await?;
    let after = clock.now();
    let listed = list(&store, &folder).await?;
    let found: BTreeMap<&Path, i64> =
        listed.iter().map(|object| (&object.location, object.last_modified.timestamp_millis())).collect();
    let unlisted = paths.iter().filter(|path| !found.contains_key(path)).count();
    let stamp = paths.iter().filter_map(|path| found.get(path)).max();
    for path in &paths {
        store.objects.delete(path).await.map_err(|error| unreachable(path, error))?;
    }
    let stamp = stamp.map_or(before, |at| ClockMs(*at));
    Ok(Tried { rounds: ROUNDS, racers: RACERS, written: OBJECTS, unlisted, stamped: (before, stamp, after) })
}

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
