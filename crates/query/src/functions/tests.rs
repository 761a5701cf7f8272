use std::collections::BTreeSet;

use super::*;

fn names<'a>(lists: &[(&'a str, &'a [&'a str])]) -> BTreeSet<&'a str> {
    lists.iter().flat_map(|(_, names)| names.iter().copied()).collect()
}

// Holds P7 (docs/invariants.md).
#[test]
fn every_scalar_function_of_a_session_is_allowed_or_refused_by_name() {
    let state = crate::session().state();
    let known: BTreeSet<String> = state.scalar_functions().values().map(|f| f.name().to_owned()).collect();
    let (allowed, refused) =
        (names(SCALARS), BTreeSet::from_iter(UNREPEATABLE.iter().chain(CLOCKS).copied()));
    let unjudged: Vec<&String> =
        known.iter().filter(|f| !allowed.contains(f.as_str()) && !refused.contains(f.as_str())).collect();
    assert!(unjudged.is_empty(), "nobody has judged {unjudged:?}");
    assert!(allowed.is_disjoint(&refused));
}

// Holds P7 (docs/invariants.md).
#[test]
fn every_aggregate_and_window_function_of_a_session_is_judged() {
    let state = crate::session().state();
    let allowed = names(AGGREGATES);
    let unjudged: BTreeSet<String> = state
        .aggregate_functions()
        .values()
        .map(|f| f.name().to_owned())
        .filter(|f| !allowed.contains(f.as_str()))
        .filter(|f| !f.starts_with("approx_") && !f.starts_with("regr_"))
        .filter(|f| !ALWAYS_FLOAT_SUMS.contains(&f.as_str()) && !PICKS_ANY.contains(&f.as_str()))
        .collect();
    assert!(unjudged.is_empty(), "nobody has judged {unjudged:?}");
    let windows: Vec<String> = state
        .window_functions()
        .values()
        .map(|f| f.name().to_owned())
        .filter(|f| window_refusal(f).is_some())
        .collect();
    assert!(windows.is_empty(), "nobody has judged {windows:?}");
}

#[test]
fn what_is_not_listed_is_refused() {
    assert!(scalar_refusal("a_function_of_tomorrow").is_some());
    assert!(aggregate_refusal("approx_distinct").is_some_and(|why| why.contains("estimates")));
    assert!(aggregate_refusal("corr").is_some_and(|why| why.contains("adds floats")));
}

/// Arguments to try: columns of every type, and texts that are units, formats and patterns.
const ARGUMENTS: &[&str] = &[
    "i",
    "d",
    "f",
    "s",
    "b",
    "t",
    "n",
    "y",
    "x",
    "l",
    "w",
    "r",
    "1",
    "'day'",
    "'%Y'",
    "'utf8'",
    "'Int32'",
    "'sha256'",
    "INTERVAL '1 day'",
];

fn row() -> arrow::array::RecordBatch {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, StringArray, StructArray};
    use arrow::compute::cast;
    use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
    let of = |text: &str, given: DataType| -> ArrayRef {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some(text), None, Some(text)]));
        cast(&texts, &given).expect("a value of the type")
    };
    let int = of("3", DataType::Int64);
    let lists = arrow::array::ListArray::from_iter_primitive::<Int64Type, _, _>(
        int.as_primitive::<Int64Type>().iter().map(|v| Some(vec![v, Some(1)])),
    );
    let texts = Field::new_list_field(DataType::Utf8, true);
    let words = cast(&lists, &DataType::List(Arc::new(texts))).expect("numbers have texts");
    let record =
        StructArray::from(vec![(Arc::new(Field::new("a", DataType::Int64, true)), Arc::clone(&int))]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i", int),
        ("d", of("1.25", DataType::Decimal128(10, 2))),
        ("f", of("0.5", DataType::Float64)),
        ("s", of("2024-01-02", DataType::Utf8)),
        ("b", of("true", DataType::Boolean)),
        ("t", of("2024-01-02 03:04:05", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))),
        ("n", of("2024-01-02 03:04:05", DataType::Timestamp(TimeUnit::Microsecond, None))),
        ("y", of("2024-01-02", DataType::Date32)),
        ("x", of("abc", DataType::Binary)),
        ("l", Arc::new(lists)),
        ("w", words),
        ("r", Arc::new(record)),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    arrow::array::RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of one length")
}

#[test]
fn every_scalar_function_gives_the_type_it_was_planned_with() {
    let (ctx, batch) = (crate::session(), row());
    let state = ctx.state();
    let names: BTreeSet<String> = state.scalar_functions().values().map(|f| f.name().to_owned()).collect();
    let (mut ran, mut wrong, mut never) = (0, Vec::new(), Vec::new());
    for name in names {
        let mut runs = 0;
        let one = ARGUMENTS.iter().map(|a| vec![*a]);
        let two = ARGUMENTS.iter().flat_map(|a| ARGUMENTS.iter().map(|b| vec![*a, *b]));
        let few: &[&str] = &["i", "f", "s", "t", "l", "1", "'%Y'", "INTERVAL '1 day'"];
        let three =
            few.iter().flat_map(|a| few.iter().flat_map(move |b| few.iter().map(|c| vec![*a, *b, *c])));
        for args in std::iter::once(vec![]).chain(one).chain(two).chain(three) {
            // Enough runs with one number of arguments to show any difference.
            if runs > 12 {
                break;
            }
            let text = format!("{name}({})", args.join(", "));
            let Ok(expr) = crate::projection::compiled(&ctx, &text, &batch.schema()) else { continue };
            let planned = expr.data_type(&batch.schema()).expect("typed");
            match expr.evaluate(&batch) {
                Ok(value) if value.data_type() != planned => {
                    wrong.push(format!("{text}: {planned} was planned, {} came", value.data_type()));
                }
                Ok(_) => runs += 1,
                Err(e) if e.to_string().contains("promised") => wrong.push(format!("{text}: {e}")),
                Err(_) => {}
            }
        }
        ran += runs;
        if runs == 0 && scalar_refusal(&name).is_none() {
            never.push(name);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ran > 500, "only {ran} calls ran");
    assert!(never.len() < 25, "no arguments were found for {never:?}");
}
