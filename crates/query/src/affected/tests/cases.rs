//! The queries.

use super::*;

/// Both sides of the join contain groups, and the key needs both: a pair whose two groups disappear in one
/// refresh is only found in an old version.
const PAIRS: &str = "SELECT x.kind, y.kind AS b_kind, count(*) AS n
    FROM (SELECT DISTINCT kind, other FROM silver.a) x JOIN (SELECT DISTINCT kind, other FROM silver.b) y
    ON x.other = y.other GROUP BY x.kind, y.kind";

#[rstest]
#[case::copy("SELECT id, kind, amount FROM silver.a", &["id"])]
#[case::filtered("SELECT id, amount * 2 AS twice FROM silver.a WHERE amount > 0 AND kind <> 'b'", &["id"])]
#[case::group("SELECT kind, count(*) AS n, sum(amount) AS total FROM silver.a GROUP BY kind", &["kind"])]
#[case::group_by_two("SELECT kind, other, max(amount) AS top FROM silver.a GROUP BY kind, other", &["kind", "other"])]
#[case::group_by_expression("SELECT other % 2 AS half, min(amount) AS low FROM silver.a GROUP BY other % 2", &["half"])]
#[case::extremes("SELECT kind, min(amount) AS low, max(amount) AS top FROM silver.a GROUP BY kind", &["kind"])]
#[case::count_distinct("SELECT kind, count(DISTINCT other) AS n, count(DISTINCT amount) AS m FROM silver.a GROUP BY kind", &["kind"])]
#[case::having("SELECT kind, count(*) AS n FROM silver.a GROUP BY kind HAVING count(*) > 1 AND max(amount) > 0", &["kind"])]
#[case::distinct("SELECT DISTINCT kind FROM silver.a", &["kind"])]
#[case::list("SELECT kind, array_to_string(array_agg(amount ORDER BY amount), ',') AS all FROM silver.a GROUP BY kind", &["kind"])]
#[case::list_filter("SELECT kind, count(*) FILTER (WHERE amount > 0) AS n, sum(CASE WHEN other = 1 THEN amount END) AS one FROM silver.a GROUP BY kind", &["kind"])]
fn one_table(#[case] sql: &str, #[case] keys: &[&str]) {
    incremental_equals_full(sql, keys);
}

#[rstest]
#[case::inner("SELECT a.id, b.kind, b.amount FROM silver.a JOIN silver.b ON a.other = b.id", &["id"])]
#[case::left("SELECT a.id, b.kind, b.amount FROM silver.a LEFT JOIN silver.b ON a.other = b.id", &["id"])]
#[case::left_with_condition("SELECT a.id, b.kind FROM silver.a LEFT JOIN silver.b ON a.other = b.id AND b.amount > 0 AND a.kind <> 'a'", &["id"])]
#[case::left_then_where("SELECT a.id, a.kind FROM silver.a LEFT JOIN silver.b ON a.other = b.id WHERE b.id IS NULL", &["id"])]
#[case::right("SELECT b.id, a.id AS a_id, a.kind FROM silver.a RIGHT JOIN silver.b ON a.id = b.id", &["id"])]
#[case::full("SELECT coalesce(a.id, b.id) AS id, a.kind, b.amount FROM silver.a FULL JOIN silver.b ON a.id = b.id", &["id"])]
#[case::full_both_keys("SELECT a.id AS a_id, b.id AS b_id, a.kind FROM silver.a FULL JOIN silver.b ON a.id = b.id", &["a_id", "b_id"])]
#[case::comma("SELECT a.id, b.amount FROM silver.a, silver.b WHERE a.other = b.id AND a.amount > 0", &["id"])]
#[case::using("SELECT id, a.kind, b.amount FROM silver.a JOIN silver.b USING (id)", &["id"])]
#[case::range("SELECT a.id, count(*) AS n FROM silver.a JOIN silver.b ON a.amount < b.amount GROUP BY a.id", &["id"])]
#[case::self_join("SELECT x.id, count(y.id) AS n FROM silver.a x LEFT JOIN silver.a y ON x.other = y.id OR x.other = y.other GROUP BY x.id", &["id"])]
#[case::self_join_by_key("SELECT x.id, y.kind FROM silver.a x JOIN silver.a y ON x.other = y.id", &["id"])]
#[case::semi("SELECT id, kind FROM silver.a WHERE other IN (SELECT id FROM silver.b WHERE amount > 0)", &["id"])]
#[case::exists("SELECT id, kind FROM silver.a WHERE EXISTS (SELECT 1 FROM silver.b WHERE b.other = a.other AND b.kind = a.kind)", &["id"])]
#[case::anti("SELECT id, kind FROM silver.a WHERE NOT EXISTS (SELECT 1 FROM silver.b WHERE b.id = a.other)", &["id"])]
#[case::correlated("SELECT a.id, (SELECT sum(b.amount) FROM silver.b WHERE b.other = a.id) AS total FROM silver.a", &["id"])]
#[case::null_safe("SELECT a.id, b.kind FROM silver.a JOIN silver.b ON a.other IS NOT DISTINCT FROM b.id", &["id"])]
#[case::null_safe_below_a_join("SELECT a.id, max(c.amount) AS top FROM silver.a JOIN silver.b ON a.other IS NOT DISTINCT FROM b.other LEFT JOIN silver.a c ON c.id = b.id GROUP BY a.id", &["id"])]
#[case::null_safe_left("SELECT a.id, max(b.amount) AS top, count(c.id) AS n FROM silver.a LEFT JOIN silver.b ON a.other IS NOT DISTINCT FROM b.other LEFT JOIN silver.b c ON c.id = a.id GROUP BY a.id", &["id"])]
#[case::null_safe_self_join("SELECT x.id, count(*) AS n FROM silver.a x JOIN silver.a y ON x.kind IS NOT DISTINCT FROM y.kind JOIN silver.b ON b.id = y.id GROUP BY x.id", &["id"])]
#[case::null_safe_exists("SELECT id, kind FROM silver.a WHERE EXISTS (SELECT 1 FROM silver.b WHERE b.kind IS NOT DISTINCT FROM a.kind AND b.amount > 0)", &["id"])]
#[case::or_across("SELECT a.id, count(*) AS n FROM silver.a JOIN silver.b ON a.other = b.id OR a.kind = b.kind GROUP BY a.id", &["id"])]
#[case::or_with_nulls("SELECT a.id, count(*) AS n FROM silver.a JOIN silver.b ON a.other = b.other OR (a.other IS NULL AND b.other IS NULL) GROUP BY a.id", &["id"])]
fn joins(#[case] sql: &str, #[case] keys: &[&str]) {
    incremental_equals_full(sql, keys);
}

#[rstest]
#[case::by_the_left("SELECT a.id, count(b.id) AS n, sum(b.amount) AS total FROM silver.a LEFT JOIN silver.b ON b.other = a.id GROUP BY a.id", &["id"])]
#[case::by_the_equal_column("SELECT b.other, a.kind, sum(b.amount) AS total FROM silver.b JOIN silver.a ON b.other = a.id GROUP BY b.other, a.kind", &["other", "kind"])]
#[case::by_the_far_side("SELECT b.kind, count(*) AS n, sum(a.amount) AS total FROM silver.a JOIN silver.b ON a.other = b.id GROUP BY b.kind", &["kind"])]
#[case::by_the_far_side_of_a_left_join("SELECT b.kind, count(*) AS n, sum(a.amount) AS total FROM silver.a LEFT JOIN silver.b ON a.other = b.id GROUP BY b.kind", &["kind"])]
#[case::by_null_joined_columns("SELECT a.other, count(*) AS n FROM silver.a LEFT JOIN silver.b ON a.other = b.other GROUP BY a.other", &["other"])]
#[case::by_both_sides("SELECT a.kind, b.kind AS b_kind, count(*) AS n FROM silver.a JOIN silver.b ON a.other = b.other GROUP BY a.kind, b.kind", &["kind", "b_kind"])]
#[case::of_an_aggregate("SELECT a.id, a.kind, t.total FROM silver.a LEFT JOIN (SELECT other, sum(amount) AS total FROM silver.b GROUP BY other) t ON t.other = a.id", &["id"])]
#[case::of_two_aggregates("WITH x AS (SELECT other, count(*) AS n FROM silver.a WHERE other IS NOT NULL GROUP BY other), y AS (SELECT other, max(amount) AS most FROM silver.b WHERE other IS NOT NULL GROUP BY other)
    SELECT coalesce(x.other, y.other) AS other, n, most FROM x FULL JOIN y ON x.other = y.other", &["other"])]
#[case::grouped_by_a_side_of_an_aggregate("SELECT a.kind, sum(t.total) AS total FROM silver.a JOIN (SELECT other, sum(amount) AS total FROM silver.b GROUP BY other) t ON t.other = a.id GROUP BY a.kind", &["kind"])]
#[case::three_tables("SELECT c.kind, sum(a.amount) AS total FROM silver.a JOIN silver.b ON a.other = b.id LEFT JOIN silver.a c ON b.other = c.id GROUP BY c.kind", &["kind"])]
#[case::of_two_sides_that_both_forget_rows(PAIRS, &["kind", "b_kind"])]
#[case::by_a_null_safe_column("SELECT a.other, count(*) AS n FROM silver.a JOIN silver.b ON a.other IS NOT DISTINCT FROM b.other JOIN silver.b c ON c.id = b.id GROUP BY a.other", &["other"])]
#[case::by_an_intersection("SELECT i.kind, max(b.amount) AS top FROM (SELECT kind FROM silver.a INTERSECT SELECT kind FROM silver.b) i JOIN silver.b ON b.kind IS NOT DISTINCT FROM i.kind GROUP BY i.kind", &["kind"])]
#[case::by_a_double("SELECT CAST(a.amount AS DOUBLE) * -0.0 AS zero, count(*) AS n FROM silver.a LEFT JOIN silver.b ON a.id = b.id GROUP BY 1", &["zero"])]
#[case::by_another_scale("SELECT CAST(a.amount AS DECIMAL(20, 4)) AS amount, count(b.id) AS n FROM silver.a LEFT JOIN silver.b ON a.amount = CAST(b.amount AS DECIMAL(30, 6)) GROUP BY 1", &["amount"])]
fn joins_with_groups(#[case] sql: &str, #[case] keys: &[&str]) {
    incremental_equals_full(sql, keys);
}

#[rstest]
#[case::by_the_key("SELECT id, kind, sum(amount) OVER (PARTITION BY kind) AS total FROM silver.a", &["id"])]
#[case::within_the_key("SELECT DISTINCT kind, max(amount) OVER (PARTITION BY kind) AS top FROM silver.a", &["kind"])]
#[case::newest("SELECT kind, id, amount FROM (SELECT *, row_number() OVER (PARTITION BY kind ORDER BY amount, id) AS r FROM silver.a) x WHERE r = 1", &["kind"])]
#[case::two_windows("SELECT id, rank() OVER (PARTITION BY kind ORDER BY amount) AS r, count(*) OVER (PARTITION BY other) AS n FROM silver.a", &["id"])]
#[case::over_a_join("SELECT a.id, count(*) OVER (PARTITION BY b.kind) AS n FROM silver.a LEFT JOIN silver.b ON a.other = b.id", &["id"])]
#[case::union_all("SELECT kind, sum(amount) AS total FROM (SELECT kind, amount FROM silver.a UNION ALL SELECT kind, amount FROM silver.b) x GROUP BY kind", &["kind"])]
#[case::union("SELECT kind, other FROM silver.a UNION SELECT kind, other FROM silver.b", &["kind", "other"])]
#[case::union_of_parts("SELECT 'a' AS part, id, kind FROM silver.a UNION ALL SELECT 'b' AS part, id, kind FROM silver.b", &["part", "id"])]
#[case::intersect("SELECT kind, other FROM silver.a INTERSECT SELECT kind, other FROM silver.b", &["kind", "other"])]
#[case::except("SELECT kind, other FROM silver.a EXCEPT SELECT kind, other FROM silver.b", &["kind", "other"])]
fn windows_and_sets(#[case] sql: &str, #[case] keys: &[&str]) {
    incremental_equals_full(sql, keys);
}

#[rstest]
#[case::no_keys("SELECT id FROM silver.a", &[], "no keys")]
#[case::whole_aggregate("SELECT count(*) AS n FROM silver.a", &["n"], "aggregates all rows")]
#[case::constant("SELECT 'all' AS key, count(*) AS n FROM silver.a GROUP BY 1", &["key"], "constant")]
#[case::key_is_an_aggregate("SELECT n, count(*) AS times FROM (SELECT kind, count(*) AS n FROM silver.a GROUP BY kind) x GROUP BY n", &["n"], "depends on the aggregate")]
#[case::window_over_all("SELECT id, sum(amount) OVER (ORDER BY id) AS running FROM silver.a", &["id"], "without PARTITION BY")]
#[case::limit("SELECT id, amount FROM silver.a ORDER BY amount, id LIMIT 3", &["id"], "LIMIT")]
#[case::not_in("SELECT id FROM silver.a WHERE other NOT IN (SELECT other FROM silver.a)", &["id"], "NOT IN")]
#[case::rollup("SELECT kind, other, count(*) AS n FROM silver.a GROUP BY ROLLUP (kind, other)", &["kind", "other"], "several sets")]
fn nothing_narrower_than_full(#[case] sql: &str, #[case] keys: &[&str], #[case] why: &str) {
    match maintenance(sql, keys).method() {
        Method::Full { why: said } => assert!(said.contains(why), "{said}"),
        Method::AffectedKeys { .. } => panic!("{sql} is no query for affected keys"),
    }
}

#[tokio::test]
async fn a_row_whose_partners_vanish_together_is_found_in_the_old_versions() {
    let row = |id, kind| Row { id, other: Some(1), kind: Some(kind), amount: None };
    let vanish = vec![Edit::Drop(0, 0), Edit::Drop(1, 1)];
    check(PAIRS, &["kind", "b_kind"], &[row(0, "a"), row(1, "b")], &[vanish]).await;
    let maintenance = maintenance(PAIRS, &["kind", "b_kind"]);
    let both = maintenance.inputs().clone();
    assert!(maintenance.reads_old(&both).expect("derived"));
    let alone = both.iter().take(1).cloned().collect();
    assert!(!maintenance.reads_old(&alone).expect("derived"), "the other side is as it was");
}

#[test]
fn an_input_that_touches_every_row_alone_causes_a_full_refresh() {
    let sql = "SELECT a.id, a.amount - t.mean AS off FROM silver.a CROSS JOIN (SELECT avg(amount) AS mean FROM silver.b) t";
    let maintenance = maintenance(sql, &["id"]);
    let Method::AffectedKeys { how, full_for, .. } = maintenance.method() else {
        panic!("{}", maintenance.explain())
    };
    assert_eq!(how.keys().map(TableName::to_string).collect::<Vec<_>>(), ["silver.a"]);
    assert_eq!(full_for.keys().map(TableName::to_string).collect::<Vec<_>>(), ["silver.b"]);
}

#[test]
fn explain_says_how_keys_are_found_and_what_is_read() {
    let sql = "SELECT a.id, a.kind, sum(b.amount) AS total FROM silver.a JOIN silver.b ON b.other = a.id GROUP BY a.id, a.kind";
    let text = maintenance(sql, &["id"]).explain();
    let expected = "affected keys: id\n  \
        silver.a: its changed rows hold the key\n  \
        silver.b: its changed rows hold the key\n  \
        recomputing reads of silver.a: only rows of the affected keys\n  \
        recomputing reads of silver.b: only rows of the affected keys";
    assert_eq!(text, expected);
    let sql = "SELECT b.kind, count(*) AS n FROM silver.a JOIN silver.b ON a.other = b.id GROUP BY b.kind";
    let text = maintenance(sql, &["kind"]).explain();
    assert!(text.contains("silver.a: its changed rows lead to the key through silver.b"), "{text}");
    assert!(text.contains("reads of silver.a: every row"), "{text}");
}
