use model::ClockMs;
use rstest::rstest;

use super::*;

fn fault(sql: &str) -> SqlFault {
    match parse(sql) {
        Err(Error::Sql(fault)) => fault,
        other => panic!("`{sql}` gave {other:?}"),
    }
}

fn names(parsed: &Parsed) -> Vec<String> {
    parsed.tables.iter().map(ToString::to_string).collect()
}

#[test]
fn tables_are_found_in_joins_subqueries_and_common_table_expressions_but_not_the_latter_themselves() {
    let parsed = parse(
        "WITH recent AS (SELECT * FROM silver.orders)
         SELECT * FROM recent JOIN silver.Customers c ON c.id = recent.id
         WHERE c.id IN (SELECT id FROM gold.vip)",
    )
    .expect("valid");
    assert_eq!(names(&parsed), ["gold.vip", "silver.customers", "silver.orders"]);
    assert_eq!(parsed.changes, None);
}

#[test]
fn changes_becomes_a_table_and_is_reported_apart() {
    let parsed =
        parse("SELECT id FROM changes(bronze.cdc_orders) AS c JOIN silver.x ON true").expect("valid");
    assert_eq!(parsed.changes.map(|t| t.to_string()).as_deref(), Some("bronze.cdc_orders"));
    let tables: Vec<String> = parsed.tables.iter().map(ToString::to_string).collect();
    assert_eq!(tables, ["silver.x"]);
    assert!(parsed.statement.to_string().contains("changes.cdc_orders AS c"), "{}", parsed.statement);
}

// Holds P7 (docs/invariants.md).
#[test]
fn clocks_become_literals_of_the_pinned_time_and_are_noticed() {
    let parsed = parse("SELECT now() AS a, current_date AS b, as_of() AS c FROM silver.x").expect("valid");
    assert!(parsed.uses_as_of);
    assert_eq!(parsed.notices.len(), 2, "as_of() itself needs no notice");
    let text = parsed.at(ClockMs(1_700_000_000_000)).to_string();
    assert_eq!(text.matches("2023-11-14T22:13:20.000000Z").count(), 2, "{text}");
    assert_eq!(text.matches("'2023-11-14'").count(), 1, "{text}");
    assert!(!parse("SELECT a FROM silver.x").expect("valid").uses_as_of);
}

#[test]
fn the_normalised_text_ignores_layout_comments_and_case_but_not_literals_or_quotes() {
    let text = |sql| parse(sql).expect("valid").normalised;
    let plain = text("select A, 'X' from silver.t where a>1");
    assert_eq!(plain, text("/* header */ SELECT a,\n  'X' -- why\nFROM silver.T WHERE a > 1 ;"));
    assert_ne!(plain, text("select a, 'x' from silver.t where a>1"));
    assert_ne!(plain, text("select \"A\", 'X' from silver.t where a>1"));
}

/// Tables store a fingerprint of this text, so a different text halts every table.
#[test]
fn the_normalised_text_never_changes() {
    let sql = "/* lakepulse */ WITH Late AS (\n  SELECT c.Id, c.\"Name\", _op FROM Changes(bronze.cdc_X) AS c WHERE _op <> 'D' -- why
               ) SELECT id, now() AS t, 1e3 + .5, 'it''s', x'0F', date '2026-01-31', m['k'], a IS NOT DISTINCT FROM b FROM late;";
    let normalised = "with late as ( select c . id , c . \"Name\" , _op from changes ( bronze . cdc_x ) as c where _op <> 'D' \
                      ) select id , now ( ) as t , 1e3 + .5 , 'it's' , X'0F' , date '2026-01-31' , m [ 'k' ] , a is not distinct from b from late";
    assert_eq!(parse(sql).expect("valid").normalised, normalised);
}

#[rstest]
#[case::syntax("SELECT a\nFROM silver.t GROUP a", 2, "Expected")]
#[case::open_string("SELECT 'a", 1, "Unterminated")]
#[case::random("SELECT a,\n  random() FROM silver.t", 2, "`random()`")]
#[case::uuid_inside("SELECT a FROM silver.t WHERE concat(uuid(), 'x') = a", 1, "`uuid()`")]
#[case::changes_of_nothing("SELECT a FROM changes()", 1, "takes one table")]
#[case::other_table_function("SELECT a FROM read_parquet('x')", 1, "no table function")]
#[case::two_changes("SELECT 1 FROM changes(bronze.a), changes(bronze.b)", 1, "stands beside")]
#[case::changes_as_a_schema("SELECT 1 FROM changes.a", 1, "no schema")]
#[case::empty("-- nothing", 0, "no statement")]
#[case::two("SELECT 1; SELECT 2", 0, "more than one")]
#[case::no_query("DROP TABLE silver.t", 0, "no SELECT")]
#[case::bare_table("SELECT a\nFROM t", 2, "`t` is no table")]
#[case::catalog("SELECT a FROM x.y.z", 1, "is no table")]
#[case::clock_with_argument("SELECT now(3) FROM silver.t", 1, "no argument")]
fn a_bad_text_is_refused_with_its_line(#[case] sql: &str, #[case] line: usize, #[case] says: &str) {
    let fault = fault(sql);
    assert_eq!(fault.line, line, "{fault}");
    assert!(fault.message.contains(says), "{fault}");
}
