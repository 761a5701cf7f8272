//! A changed model halts its table until a rebuild; then the table equals the new SQL.

use std::sync::Arc;

use catalog::Kind;
use model::AppId;

use super::world::*;
use crate::Error;

#[tokio::test]
async fn another_model_halts_until_the_rebuild_cuts_over_in_one_version() {
    let before = "SELECT kind, count(*) AS n FROM silver.a GROUP BY kind";
    let mut world = World::new(project(&[(Kind::Table, "gold.t", &["kind"], before, 7)])).await;
    world.edit(&put(0, &[(1, None, "x", 1), (2, None, "x", 2), (3, None, "y", 3)])).await;
    let mut keeper = world.keeper("gold.t");
    settle(&mut keeper).await.expect("filled");
    let old = world.table("gold.t").await;

    let after = "SELECT kind, sum(amount) AS n, max(id) AS newest FROM silver.a GROUP BY kind";
    world.project = Arc::new(project(&[(Kind::Table, "gold.t", &["kind"], after, 8)]));
    let halted = settle(&mut world.keeper("gold.t")).await.expect_err("halts");
    assert!(matches!(halted, Error::PlanChanged { held: 7, wanted: 8, .. }), "{halted}");

    world.edit(&put(0, &[(4, None, "y", 4)])).await;
    let rebuilt = world.rebuild("gold.t").await.expect("rebuilt");
    let new = world.table("gold.t").await;
    assert_eq!((rebuilt.version, rebuilt.after), (old.version().next(), 2));
    assert_eq!((new.version(), new.id()), (rebuilt.version, old.id()));
    assert_eq!(new.positions().get(&AppId::plan()), Some(8));
    assert_eq!(shown(&new.scan(None).await.expect("scanned")), ["x|3.00|2", "y|7.00|4"]);
    world.assert_kept("gold.t").await;

    let mut keeper = world.keeper("gold.t");
    assert_eq!(settle(&mut keeper).await.expect("goes on"), [], "nothing is left to do");
    world.edit(&put(0, &[(1, None, "z", 9)])).await;
    settle(&mut keeper).await.expect("refreshed");
    world.assert_kept("gold.t").await;
}

#[tokio::test]
async fn a_table_that_was_tampered_with_differs_from_its_recomputation() {
    let sql = "SELECT kind, count(*) AS n FROM silver.a GROUP BY kind";
    let world = World::new(project(&[(Kind::Table, "gold.t", &["kind"], sql, 7)])).await;
    world.edit(&put(0, &[(1, None, "x", 1)])).await;
    settle(&mut world.keeper("gold.t")).await.expect("filled");
    let mut table = world.table("gold.t").await;
    let append = table.stage(table.scan(None).await.expect("scanned")).await.expect("staged");
    let expect = lake::Expect::All(table.positions().clone());
    let mut commit = crate::commit::base("01".to_owned(), table.positions().clone(), expect);
    commit.append = append;
    table.commit(&commit).await.expect("landed");
    let model = &world.project.catalog.models[&name("gold.t")];
    let wanted =
        crate::recompute(&world.project, model, &world.lake, table.positions()).await.expect("recomputed");
    assert_ne!(shown(&table.scan(None).await.expect("scanned")), shown(&wanted));
}
