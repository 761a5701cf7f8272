//! Checks of the lake's store.

use std::time::Duration;

use catalog::Project;
use lake::probe;
use runtime::Clock;
use stream::trial::Stamped;

use super::{Check, SETTINGS, judge};
use crate::wiring;

/// Time limit for all requests to a store.
const PATIENCE: Duration = Duration::from_secs(30);

/// Checks that the store is reachable, its conditional creates in a race, its listings, and its clock.
pub async fn checks(project: &Project, clock: &dyn Clock) -> Vec<Check> {
    let settings = match wiring::lake_settings(project) {
        Ok(settings) => settings,
        Err(error) => return vec![Check::fail("lake.reach", format!("{error:#}"), SETTINGS)],
    };
    let url = &settings.url;
    let todo = "check that it runs, and `lake` of the target: bucket, endpoint, keys";
    // The client itself retries for minutes.
    let Ok(tried) = runtime::time::timeout(PATIENCE, probe::try_out(&settings, clock)).await else {
        let seen = format!("no answer from `{url}` within {PATIENCE:?}");
        return vec![Check::fail("lake.reach", seen, todo)];
    };
    match tried {
        Ok(tried) => {
            let mut checks = vec![Check::ok("lake.reach", settings.url.as_str())];
            checks.extend(judge::store(&tried));
            let (before, at, after) = tried.stamped;
            // S3 reports whole seconds.
            checks.push(judge::clock("lake.clock", Stamped { before, at, after }, 1_000));
            checks
        }
        Err(error @ lake::Error::ConditionIgnored { .. }) => {
            let todo = "no commit can be safe there: use a store that honours `If-None-Match: *`";
            vec![Check::fail("lake.conditional_put", error.to_string(), todo)]
        }
        Err(error) => {
            vec![Check::fail("lake.reach", format!("{:#}", anyhow::Error::new(error)), todo)]
        }
    }
}
