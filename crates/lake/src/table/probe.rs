//! Tests, before anything is written, whether a store honours "create or fail".
//!
//! The commit protocol depends on it: if two creates of one object both succeed, two commits can take the same
//! version, and one of them is lost. Some stores violate it only under load or without a quorum. The probe
//! detects a store that never honours the condition, not one that does so most of the time.

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
/// Races in a test on request: a store may violate the condition only sometimes.
const ROUNDS: usize = 10;
/// Objects that are written and listed.
const OBJECTS: usize = 32;

/// The result of testing a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// Races of [`race`] with exactly one winner.
    pub rounds: usize,
    /// Racers in each race.
    pub racers: usize,
    /// Objects that were written and then listed immediately.
    pub written: usize,
    /// Written objects that were missing in the listing.
    pub unlisted: usize,
    /// The store's timestamp of an object, in whole seconds, between two readings of our clock.
    pub stamped: (ClockMs, ClockMs, ClockMs),
}

/// Tests the properties of a store that the commit protocol and the readers of the log depend on, with objects
/// of its own below the lake. Returns [`Error::ConditionIgnored`] if two creates of one object succeed.
pub async fn try_out(settings: &LakeSettings, clock: &dyn Clock) -> Result<Tried> {
    let (scheme, url) = settings.check()?;
    let store = Store::over(url.clone(), client(settings, scheme, &url)?)?;
    for _ in 0..ROUNDS {
        race(&store).await?;
    }
    let folder = store.root.clone().join("_lakepulse");
    let mark = runtime::random::uuid();
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
    let path = store.root.clone().join("_lakepulse").join(format!("probe-{}", runtime::random::uuid()));
    let racers = (0..RACERS).map(|n| store.create(&path, Bytes::from(n.to_string())));
    let outcomes = join_all(racers).await;
    let mut winners = 0;
    for outcome in outcomes {
        match outcome {
            Created::Yes => winners += 1,
            Created::Exists => {}
            // The outcome of this racer is unknown. If the object exists, some racer won.
            Created::Unknown(error) if winners == 0 => {
                if store.get(&path).await?.is_none() {
                    return Err(unreachable(&path, error));
                }
            }
            Created::Unknown(_) => {}
        }
    }
    // A later create must be refused too, whatever the outcome of the race.
    if matches!(store.create(&path, Bytes::from_static(b"late")).await, Created::Yes) {
        winners += 1;
    }
    let _ = store.objects.delete(&path).await;
    if winners > 1 {
        return Err(Error::ConditionIgnored { url: store.url.to_string(), winners, racers: RACERS + 1 });
    }
    Ok(())
}
