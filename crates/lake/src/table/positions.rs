//! Compares positions, and refuses to lower one.

use model::{AppId, Positions};

use crate::table::commit::Expect;
use crate::{Error, Result};

/// Whether a table's positions are the ones that a batch was read from.
pub(crate) fn hold(expect: &Expect, current: &Positions) -> bool {
    match expect {
        Expect::These(some) => some.iter().all(|(app, position)| current.get(app) == *position),
        Expect::All(all) => without_upkeep(all).eq(without_upkeep(current)),
    }
}

/// The position of compaction only decides between two compactors. It covers no rows, so it invalidates no
/// batch.
fn without_upkeep(positions: &Positions) -> impl Iterator<Item = (&AppId, &i64)> {
    positions.0.iter().filter(|(app, _)| **app != AppId::compaction())
}

/// The positions that a commit writes. A commit that compares all positions also writes the unchanged ones, so
/// that its entry alone has the table's position.
pub(crate) fn written(expect: &Expect, current: &Positions, set: &Positions) -> Positions {
    match expect {
        Expect::These(_) => set.clone(),
        Expect::All(_) => current.then(set),
    }
}

/// Positions rise or stay equal. Only the fingerprint of the plan is an identifier and not a distance.
pub(crate) fn check(table: &str, current: &Positions, set: &Positions) -> Result<()> {
    for (app, to) in &set.0 {
        if let Some(from) = current.get(app)
            && from > *to
            && *app != AppId::plan()
        {
            return Err(Error::PositionFalls {
                table: table.to_owned(),
                app: app.to_string(),
                from,
                to: *to,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::TableId;

    use super::*;

    fn app(name: &str) -> AppId {
        let id: TableId = name.parse().expect("valid");
        AppId::table(&id)
    }
    fn at(entries: &[(&str, i64)]) -> Positions {
        entries.iter().map(|(name, position)| (app(name), *position)).collect()
    }

    #[test]
    fn a_sibling_may_move_what_a_batch_does_not_compare() {
        let mine = Expect::These(BTreeMap::from([(app("a"), Some(5)), (app("new"), None)]));
        assert!(hold(&mine, &at(&[("a", 5), ("b", 9)])));
        assert!(!hold(&mine, &at(&[("a", 6)])), "more than ours landed");
        assert!(!hold(&mine, &at(&[("a", 4)])), "less than ours landed");
        assert!(!hold(&mine, &at(&[("a", 5), ("new", 0)])), "nothing and 0 differ");
        assert!(!hold(&Expect::All(at(&[("a", 5)])), &at(&[("a", 5), ("b", 9)])));
    }

    #[test]
    fn a_compaction_ends_no_batch() {
        let compacted = at(&[("a", 5)]).with(AppId::compaction(), 3);
        assert!(hold(&Expect::All(at(&[("a", 5)])), &compacted));
        assert!(!hold(&Expect::These(BTreeMap::from([(AppId::compaction(), None)])), &compacted));
    }

    #[test]
    fn a_commit_that_compares_all_carries_all() {
        let current = at(&[("a", 5), ("b", 9)]);
        assert_eq!(
            written(&Expect::All(current.clone()), &current, &at(&[("a", 6)])),
            at(&[("a", 6), ("b", 9)])
        );
        assert_eq!(written(&Expect::These(BTreeMap::new()), &current, &at(&[("a", 6)])), at(&[("a", 6)]));
    }

    #[test]
    fn a_position_never_falls_but_a_fingerprint_may() {
        let current = at(&[("a", 5)]).with(AppId::plan(), 77);
        assert!(check("t", &current, &at(&[("a", 5)]).with(AppId::plan(), 3)).is_ok());
        assert!(matches!(
            check("t", &current, &at(&[("a", 4)])),
            Err(Error::PositionFalls { from: 5, to: 4, .. })
        ));
    }
}
