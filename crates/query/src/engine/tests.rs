//! Rows for which SQL's meaning differs from the engine's own result. Every statement runs with and without
//! the optimiser's rules.

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::SessionContext;
use rstest::rstest;

use crate::select::{prepare, run};

fn shown(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<ArrayFormatter<'_>> = batch
            .columns()
            .iter()
            .map(|c| ArrayFormatter::try_new(c.as_ref(), &options).expect("shown"))
            .collect();
        rows.extend(
            (0..batch.num_rows())
                .map(|row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|")),
        );
    }
    rows.sort();
    rows
}

async fn ask(ctx: SessionContext, sql: &str) -> Result<Vec<String>, String> {
    let prepared = prepare(sql).map_err(|e| e.to_string())?;
    let rows = run(&ctx, &prepared).await.map_err(|e| {
        let cause = std::error::Error::source(&e).map(ToString::to_string).unwrap_or_default();
        format!("{e}: {cause}")
    })?;
    for batch in &rows.batches {
        for (field, column) in rows.schema.fields().iter().zip(batch.columns()) {
            assert_eq!(field.data_type(), column.data_type(), "{sql}: `{}`", field.name());
        }
    }
    Ok(shown(&rows.batches))
}

fn both(sql: &str) -> Result<Vec<String>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let optimised = runtime.block_on(ask(crate::session(), sql));
    let plain = runtime.block_on(ask(crate::session::unoptimised(), sql));
    match (&optimised, &plain) {
        (Ok(a), Ok(b)) => assert_eq!(a, b, "{sql}: the optimiser's rules change the answer"),
        (Err(_), Err(_)) => {}
        _ => panic!("{sql}: {optimised:?} with the optimiser, {plain:?} without"),
    }
    optimised
}

fn gives(sql: &str, rows: &[&str]) {
    let mut rows: Vec<String> = rows.iter().map(|r| (*r).to_owned()).collect();
    rows.sort();
    assert_eq!(both(sql), Ok(rows), "{sql}");
}

const TABLES: &str = "WITH a(k, x) AS (VALUES (1, 5), (NULL, 5)), c(k, x) AS (VALUES (1, 5), (NULL, 5)), b(x) AS (VALUES (5), (6))";

#[rstest]
#[case::inner_above("SELECT a.k, b.x FROM a JOIN c ON a.k IS NOT DISTINCT FROM c.k JOIN b ON b.x = a.x", &["1|5", "NULL|5"])]
#[case::inner_below("SELECT a.k FROM b JOIN a ON b.x = a.x JOIN c ON a.k IS NOT DISTINCT FROM c.k", &["1", "NULL"])]
#[case::cross_above("SELECT a.k, b.x FROM a JOIN c ON a.k IS NOT DISTINCT FROM c.k CROSS JOIN b", &["1|5", "1|6", "NULL|5", "NULL|6"])]
#[case::comma("SELECT a.k FROM a JOIN c ON a.k IS NOT DISTINCT FROM c.k, b WHERE b.x = a.x", &["1", "NULL"])]
#[case::in_the_where("SELECT a.k FROM a, c, b WHERE a.k IS NOT DISTINCT FROM c.k AND b.x = a.x", &["1", "NULL"])]
#[case::left_above("SELECT a.k, b.x FROM a JOIN c ON a.k IS NOT DISTINCT FROM c.k LEFT JOIN b ON b.x = a.x", &["1|5", "NULL|5"])]
#[case::left_itself("SELECT a.k, c.x FROM b JOIN a ON b.x = a.x LEFT JOIN c ON a.k IS NOT DISTINCT FROM c.k", &["1|5", "NULL|5"])]
#[case::intersect_below("SELECT i.k, b.x FROM (SELECT k, x FROM a INTERSECT SELECT k, x FROM c) i JOIN b ON b.x = i.x", &["1|5", "NULL|5"])]
#[case::except_below("SELECT i.k, b.x FROM (SELECT k, x FROM a EXCEPT SELECT k, x FROM c WHERE k = 1) i JOIN b ON b.x = i.x", &["NULL|5"])]
#[case::using("SELECT a.k, x FROM a JOIN (SELECT k AS ck FROM c) c ON a.k IS NOT DISTINCT FROM c.ck JOIN b USING (x)", &["1|5", "NULL|5"])]
#[case::semi("SELECT a.k FROM a JOIN b ON a.x = b.x WHERE EXISTS (SELECT 1 FROM c WHERE c.k IS NOT DISTINCT FROM a.k)", &["1", "NULL"])]
#[case::anti("SELECT a.k FROM a JOIN b ON a.x = b.x WHERE NOT EXISTS (SELECT 1 FROM c WHERE c.k IS NOT DISTINCT FROM a.k)", &[])]
#[case::two_null_safe("SELECT a.k FROM a JOIN c ON a.k IS NOT DISTINCT FROM c.k JOIN c d ON d.k IS NOT DISTINCT FROM c.k JOIN b ON b.x = d.x", &["1", "NULL"])]
#[case::plain_stays_plain("SELECT a.k FROM a JOIN c ON a.k = c.k JOIN (SELECT k FROM a INTERSECT SELECT k FROM c) i ON i.k IS NOT DISTINCT FROM a.k", &["1"])]
#[case::derived("SELECT d.k FROM (SELECT a.k AS k, a.x AS x FROM a JOIN c ON a.k IS NOT DISTINCT FROM c.k) d JOIN b ON b.x = d.x", &["1", "NULL"])]
fn null_safe_equality_survives_other_joins(#[case] sql: &str, #[case] rows: &[&str]) {
    let sql = format!("{TABLES} {sql}");
    gives(&sql, rows);
}

const DOUBLES: &str = "WITH t(id, f, d) AS (VALUES
    (1, CAST('1e-16' AS DOUBLE), CAST(0.5 AS DECIMAL(10, 2))), (2, 0.1, 0.1), (3, CAST('1e16' AS DOUBLE), 1), (4, CAST('inf' AS DOUBLE), NULL), (5, CAST('NaN' AS DOUBLE), 2))";

#[rstest]
#[case::compared("SELECT id FROM t WHERE f > 0.0 AND f < 0.5", &["1", "2"])]
#[case::compared_from_the_left("SELECT id FROM t WHERE 0.5 > f AND 0.0 < f", &["1", "2"])]
#[case::between("SELECT id FROM t WHERE f BETWEEN 0.0 AND 0.5", &["1", "2"])]
#[case::listed("SELECT id FROM t WHERE f IN (0.1, 0.2)", &["2"])]
#[case::coalesced("SELECT id, coalesce(f, 0.0) AS f FROM t WHERE id IN (1, 4)", &["1|1e-16", "4|inf"])]
#[case::case_else("SELECT id, CASE WHEN id = 1 THEN f ELSE 0.0 END AS f FROM t WHERE id < 3", &["1|1e-16", "2|0.0"])]
#[case::greatest("SELECT id, greatest(f, 0.0) AS f FROM t WHERE id IN (1, 3)", &["1|1e-16", "3|1e16"])]
#[case::decimal_column("SELECT id, f > d AS more FROM t WHERE id < 4", &["1|false", "2|false", "3|true"])]
#[case::arithmetic("SELECT f * 0.5 + 0.25 AS f FROM t WHERE id = 4", &["inf"])]
#[case::union("SELECT f FROM t WHERE id = 1 UNION ALL SELECT 0.0", &["0.0", "1e-16"])]
#[case::in_subquery("SELECT id FROM t WHERE f IN (SELECT d FROM t)", &["2"])]
#[case::joined("SELECT a.id FROM t a JOIN t b ON a.f = b.d", &["2"])]
#[case::decimals_stay_exact("SELECT d + 0.1 AS d FROM t WHERE id = 2", &["0.20"])]
#[case::literals_are_rounded_once("SELECT f = 0.1 AS same FROM t WHERE id = 2", &["true"])]
#[case::large("SELECT id FROM t WHERE f > 1e300", &["4", "5"])]
fn doubles_stay_doubles(#[case] sql: &str, #[case] rows: &[&str]) {
    gives(&format!("{DOUBLES} {sql}"), rows);
}

#[rstest]
#[case::rounded("SELECT round(1e3) AS x, round(2.5e3, -3) = 3000 AS y", &["1000|true"])]
#[case::added_up("SELECT sum(1e3) AS x", &["1000"])]
#[case::computed("SELECT 2.5 * 1e3 AS x, 1e3 + 1 AS y, -1e2 AS z", &["2500.0|1001|-100"])]
#[case::divided("SELECT 1e1 / 4 > 2 AS x", &["true"])]
#[case::compared("SELECT d * 999999e9 = 5 AS x, d = 1e0 AS y FROM (VALUES (CAST(1 AS DECIMAL(38, 2)))) t(d)", &["false|true"])]
#[case::listed("SELECT x FROM (VALUES (1e2), (2.5), (0e7)) t(x)", &["0.0", "100.0", "2.5"])]
#[case::the_largest("SELECT 1e37 + 1 AS x, 99.e36 = CAST('99e36' AS DOUBLE) AS y", &["10000000000000000000000000000000000001|true"])]
#[case::beyond("SELECT arrow_typeof(99e37) AS x, arrow_typeof(1E+3) AS y, arrow_typeof(.5e-3) AS z", &["Float64|Decimal128(4, 0)|Decimal128(4, 4)"])]
fn numbers_with_an_exponent_are_what_they_say(#[case] sql: &str, #[case] rows: &[&str]) {
    gives(sql, rows);
}

#[rstest]
#[case::a_cast("SELECT d, CAST(d AS DECIMAL(24, 4)) AS e, count(*) AS n FROM t GROUP BY d, CAST(d AS DECIMAL(24, 4))", &["1.50|1.5000|2", "2.00|2.0000|1"])]
#[case::with_a_constant("SELECT d, 'x' AS x, CAST(d AS DOUBLE) AS e FROM t GROUP BY d, CAST(d AS DOUBLE), 'x'", &["1.50|x|1.5", "2.00|x|2.0"])]
fn a_column_and_what_is_made_of_it_group_alike(#[case] sql: &str, #[case] rows: &[&str]) {
    let values = "(CAST(1.5 AS DECIMAL(20, 2))), (1.5), (2)";
    gives(&format!("WITH t(d) AS (VALUES {values}) {sql}"), rows);
}

#[rstest]
#[case::cast("SELECT CAST(5 AS DECIMAL(5, -2)) AS x")]
#[case::tried("SELECT TRY_CAST(5 AS DECIMAL(5, -2)) AS x")]
#[case::of_the_engine("SELECT arrow_cast(512, 'Decimal128(5, -2)') AS x")]
fn a_decimal_has_no_negative_scale(#[case] sql: &str) {
    let error = both(sql).expect_err(sql);
    assert!(error.contains("a decimal's scale is not negative"), "{error}");
}

const MANY: &str = "WITH t(a, d, s) AS (VALUES
    (6000000000000000000, CAST('99999999999999999999999999999999999999' AS DECIMAL(38, 0)), CAST(1.5 AS DECIMAL(10, 2))),
    (6000000000000000000, CAST('99999999999999999999999999999999999999' AS DECIMAL(38, 0)), 2.5))";

#[rstest]
#[case::sum_of_integers("SELECT sum(a) AS s FROM t")]
#[case::sum_of_decimals("SELECT sum(d) AS s FROM t")]
#[case::sum_in_groups("SELECT a, sum(a) AS s FROM t GROUP BY a")]
#[case::sum_over_a_window("SELECT sum(a) OVER (ORDER BY s) AS s FROM t")]
#[case::sum_over_a_moving_window("SELECT sum(a) OVER (ORDER BY s ROWS 1 PRECEDING) AS s FROM t")]
#[case::distinct_sum("SELECT sum(DISTINCT a + CAST(s AS BIGINT)) AS s FROM t")]
#[case::product("SELECT a * 4 AS m FROM t")]
#[case::addition("SELECT a + a AS m FROM t")]
#[case::subtraction("SELECT -a - a AS m FROM t")]
#[case::small_integers("SELECT arrow_cast(s, 'Int8') * arrow_cast(100, 'Int8') AS m FROM t")]
#[case::decimal_addition("SELECT d + d AS m FROM t")]
#[case::decimal_product(
    "SELECT CAST(12345678901234567890 AS DECIMAL(38,0)) * CAST(12345678901234567890 AS DECIMAL(38,0)) AS x FROM t"
)]
#[case::negation(
    "SELECT -x AS n FROM (SELECT CAST('-9223372036854775808' AS BIGINT) + CAST(s - s AS BIGINT) AS x FROM t)"
)]
#[case::absolute(
    "SELECT abs(x) AS n FROM (SELECT CAST('-9223372036854775808' AS BIGINT) + CAST(s - s AS BIGINT) AS x FROM t)"
)]
#[case::cast_down("SELECT CAST(a AS INT) AS n FROM t")]
#[case::cast_of_a_decimal("SELECT CAST(d AS DECIMAL(20, 2)) AS n FROM t")]
fn what_does_not_fit_is_an_error(#[case] sql: &str) {
    let sql = format!("{MANY} {sql}");
    let answer = both(&sql);
    assert!(answer.is_err(), "{sql}: {answer:?}");
}

#[rstest]
#[case::partial_sums_may_pass_the_limit(
    "WITH t(a) AS (VALUES (9223372036854775807), (9223372036854775807), (-9223372036854775807)) SELECT sum(a) AS s FROM t",
    &["9223372036854775807"]
)]
#[case::sum_of_decimals("WITH t(d) AS (VALUES (1.10), (2.25)) SELECT sum(d) AS s FROM t", &["3.35"])]
#[case::sum_of_nothing("WITH t(a) AS (VALUES (1)) SELECT sum(a) AS s, avg(a) AS v, stddev(a) AS d FROM t WHERE a > 1", &["NULL|NULL|NULL"])]
#[case::average("WITH t(a) AS (VALUES (1), (2), (NULL)) SELECT avg(a) AS s FROM t", &["1.5"])]
#[case::average_of_large("WITH t(a) AS (VALUES (9223372036854775807), (9223372036854775807)) SELECT avg(a) AS s FROM t", &["9.223372036854776e18"])]
#[case::distinct_average("WITH t(a) AS (VALUES (1), (1), (4)) SELECT avg(DISTINCT a) AS s, sum(DISTINCT a) AS d FROM t", &["2.5|5"])]
#[case::variances("WITH t(a) AS (VALUES (1), (2), (4)) SELECT var_pop(a) * 9 AS p, var(a) * 3 AS s, stddev(a) > 1.5 AS d FROM t", &["14.0|7.0|true"])]
#[case::moving_sum("WITH t(a) AS (VALUES (1), (2), (4)) SELECT sum(a) OVER (ORDER BY a ROWS 1 PRECEDING) AS s, avg(a) OVER (ORDER BY a ROWS 1 PRECEDING) AS v FROM t", &["1|1.0", "3|1.5", "6|3.0"])]
#[case::filtered("WITH t(a) AS (VALUES (1), (2), (4)) SELECT sum(a) FILTER (WHERE a > 1) AS s FROM t", &["6"])]
#[case::grouped("WITH t(k, a) AS (VALUES (1, 1), (1, 2), (2, 4)) SELECT k, sum(a) AS s, avg(a) AS v FROM t GROUP BY k", &["1|3|1.5", "2|4|4.0"])]
#[case::unsigned("WITH t(a) AS (VALUES (1), (2)) SELECT sum(arrow_cast(a, 'UInt8')) AS s FROM t", &["3"])]
fn what_fits_is_exact(#[case] sql: &str, #[case] rows: &[&str]) {
    gives(sql, rows);
}

const FAR: &str = "WITH t(id, at) AS (VALUES
    (1, TIMESTAMP '2024-07-01 12:34:56.789012'), (2, TIMESTAMP '9999-12-31 00:00:00'), (3, TIMESTAMP '0001-01-01 00:00:00'), (4, NULL))";

#[rstest]
#[case::day("SELECT date_trunc('day', at) AS d FROM t", &["2024-07-01T00:00:00", "9999-12-31T00:00:00", "0001-01-01T00:00:00", "NULL"])]
#[case::week("SELECT date_trunc('week', at) AS d FROM t WHERE id < 3", &["2024-07-01T00:00:00", "9999-12-27T00:00:00"])]
#[case::quarter("SELECT date_trunc('quarter', at) AS d FROM t WHERE id = 2", &["9999-10-01T00:00:00"])]
#[case::bin("SELECT date_bin(INTERVAL '1 day', at) AS d FROM t WHERE id < 3", &["2024-07-01T00:00:00", "9999-12-31T00:00:00"])]
#[case::bin_of_months("SELECT date_bin(INTERVAL '3 months', at, TIMESTAMP '2000-01-01') AS d FROM t WHERE id < 3", &["2024-07-01T00:00:00", "9999-10-01T00:00:00"])]
#[case::to_char("SELECT to_char(at, '%Y') AS y FROM t", &["2024", "9999", "0001", "NULL"])]
#[case::literal("SELECT id FROM t WHERE at = TIMESTAMP '9999-12-31 00:00:00'", &["2"])]
#[case::date("SELECT id FROM t WHERE at >= DATE '9999-12-31'", &["2"])]
#[case::text("SELECT id FROM t WHERE at < '0999-01-01'", &["3"])]
#[case::greatest("SELECT greatest(at, TIMESTAMP '2262-04-12') AS g FROM t WHERE id = 1", &["2262-04-12T00:00:00"])]
#[case::coalesced("SELECT coalesce(at, TIMESTAMP '9999-12-31') AS g FROM t WHERE id = 4", &["9999-12-31T00:00:00"])]
#[case::in_a_zone("SELECT (at AT TIME ZONE 'UTC') = TIMESTAMP '9999-12-31' AS same FROM t WHERE id < 3", &["false", "true"])]
#[case::berlin("SELECT date_trunc('day', at AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/Berlin') AS d FROM t WHERE id = 2", &["9999-12-31T00:00:00+01:00"])]
#[case::difference("SELECT date_part('epoch', at - TIMESTAMP '2024-01-01 00:00:00') AS s FROM t WHERE id = 2", &["251698147200.0"])]
#[case::added("SELECT at - INTERVAL '1 day' AS d FROM t WHERE id = 2", &["9999-12-30T00:00:00"])]
#[case::year("SELECT extract(year FROM at) AS y FROM t", &["2024", "9999", "1", "NULL"])]
#[case::to_timestamp("SELECT to_timestamp(x) AS t FROM (VALUES ('9999-12-31'), ('2024-01-01T01:00:00+01:00')) v(x)", &["9999-12-31T00:00:00Z", "2024-01-01T00:00:00Z"])]
#[case::to_timestamp_of_numbers("SELECT to_timestamp(x) AS a, to_timestamp_millis(x) AS b, to_timestamp_micros(x) AS c FROM (VALUES (253402214400), (-1)) v(x)",
    &["9999-12-31T00:00:00Z|1978-01-11T21:30:14.400Z|1970-01-03T22:23:22.214400Z", "1969-12-31T23:59:59Z|1969-12-31T23:59:59.999Z|1969-12-31T23:59:59.999999Z"])]
#[case::to_timestamp_of_a_double("SELECT to_timestamp(CAST(x AS DOUBLE)) AS t FROM (VALUES (1.5)) v(x)", &["1970-01-01T00:00:01.500Z"])]
#[case::to_timestamp_of_a_decimal("SELECT to_timestamp(x) AS t FROM (VALUES (1.5), (-0.25)) v(x)", &["1970-01-01T00:00:01.500Z", "1969-12-31T23:59:59.750Z"])]
#[case::to_timestamp_with_a_format("SELECT to_timestamp(x, '%d.%m.%Y %H') AS t FROM (VALUES ('31.12.2024 07')) v(x)", &["2024-12-31T07:00:00Z"])]
#[case::compared_with_to_timestamp("SELECT x FROM (VALUES ('2024-01-01'), ('2023-01-01')) v(x) WHERE to_timestamp(x) >= TIMESTAMP '2024-01-01'", &["2024-01-01"])]
fn every_time_that_a_table_stores_can_be_computed_with(#[case] sql: &str, #[case] rows: &[&str]) {
    gives(&format!("{FAR} {sql}"), rows);
}

const TRUTHS: &str =
    "WITH t(id, p, r) AS (VALUES (1, false, true), (2, false, true), (3, true, true), (4, NULL, NULL))";

#[rstest]
#[case::and("SELECT id FROM t WHERE p IS NOT DISTINCT FROM r AND r = false", &[])]
#[case::and_itself("SELECT id FROM t WHERE p IS NOT DISTINCT FROM r AND p", &["3"])]
#[case::or("SELECT id FROM t WHERE p IS DISTINCT FROM r OR id = 3", &["1", "2", "3"])]
#[case::chain("SELECT id FROM t WHERE p IS NOT DISTINCT FROM r AND r IS NOT DISTINCT FROM p OR id = 1", &["1", "3", "4"])]
#[case::comparison_binds_closer("SELECT id FROM t WHERE p IS NOT DISTINCT FROM id = 3 AND id < 4", &["1", "2", "3"])]
#[case::in_a_case("SELECT CASE WHEN p IS DISTINCT FROM r THEN 'x' ELSE 'y' END AS c FROM t", &["x", "x", "y", "y"])]
#[case::parentheses_stay("SELECT id FROM t WHERE p IS NOT DISTINCT FROM (r AND id = 3)", &["1", "2", "3"])]
#[case::in_a_join("SELECT a.id FROM t a JOIN t b ON a.p IS NOT DISTINCT FROM b.p AND b.id = 4", &["4"])]
fn is_distinct_from_binds_as_in_sql(#[case] sql: &str, #[case] rows: &[&str]) {
    gives(&format!("{TRUTHS} {sql}"), rows);
}

#[rstest]
#[case::except_all("SELECT 1 AS k EXCEPT ALL SELECT 1", "EXCEPT ALL")]
#[case::intersect_all("SELECT 1 AS k UNION SELECT 2 INTERSECT ALL SELECT 1", "INTERSECT ALL")]
#[case::full_using("SELECT k FROM (VALUES (1)) a(k) FULL JOIN (VALUES (2)) b(k) USING (k)", "coalesce")]
#[case::right_using("SELECT k FROM (VALUES (1)) a(k) RIGHT JOIN (VALUES (2)) b(k) USING (k)", "coalesce")]
#[case::natural_full("SELECT k FROM (VALUES (1)) a(k) NATURAL FULL JOIN (VALUES (2)) b(k)", "coalesce")]
#[case::nested("SELECT (SELECT max(k) FROM (SELECT 1 AS k EXCEPT ALL SELECT 1) x) AS m", "EXCEPT ALL")]
fn what_the_engine_gets_wrong_is_refused(#[case] sql: &str, #[case] says: &str) {
    let error = both(sql).expect_err("refused");
    assert!(error.contains(says), "{error}");
}
