//! The functions that a model may call, by name: their result depends only on their arguments, not on the
//! machine, the time or the order of rows.
//!
//! The lists contain what is allowed, with the reason for each group, so a function of a newer engine is
//! refused until someone has looked at it. A test checks that every function of a session is either listed
//! here or refused by name with what to write instead.

/// Names that mean "the time of the refresh". They are replaced by the pinned `as_of`.
pub(crate) const CLOCKS: &[&str] = &["now", "current_timestamp", "current_date", "today", "as_of"];

/// Names in [`CLOCKS`] whose value is a date.
pub(crate) const DATES: &[&str] = &["current_date", "today"];

/// Functions whose value differs at each call or on each machine.
const UNREPEATABLE: &[&str] = &[
    "random",
    "rand",
    "uuid",
    "uuidv4",
    "uuidv7",
    "gen_random_uuid",
    "generate_uuid",
    "current_time",
    "localtime",
    "localtimestamp",
    "clock_timestamp",
    "version",
    "current_user",
    "session_user",
    "input_file_name",
    "file_row_index",
];

/// Allowed scalar functions, by the reason why the same arguments give the same result.
const SCALARS: &[(&str, &[&str])] = &[
    (
        "arithmetic of its arguments alone",
        &[
            "abs",
            "acos",
            "acosh",
            "asin",
            "asinh",
            "atan",
            "atan2",
            "atanh",
            "cbrt",
            "ceil",
            "cos",
            "cosh",
            "cot",
            "degrees",
            "exp",
            "factorial",
            "floor",
            "gcd",
            "isnan",
            "iszero",
            "lcm",
            "ln",
            "log",
            "log10",
            "log2",
            "nanvl",
            "pi",
            "power",
            "radians",
            "round",
            "signum",
            "sin",
            "sinh",
            "sqrt",
            "tan",
            "tanh",
            "trunc",
            "checked_add",
            "checked_subtract",
            "checked_multiply",
            "checked_divide",
            "checked_modulo",
            "checked_negate",
        ],
    ),
    (
        "text of its arguments alone, without a locale",
        &[
            "ascii",
            "bit_length",
            "btrim",
            "character_length",
            "chr",
            "concat",
            "concat_ws",
            "contains",
            "ends_with",
            "find_in_set",
            "initcap",
            "left",
            "levenshtein",
            "lower",
            "lpad",
            "ltrim",
            "octet_length",
            "overlay",
            "regexp_count",
            "regexp_instr",
            "regexp_like",
            "regexp_match",
            "regexp_replace",
            "repeat",
            "replace",
            "reverse",
            "right",
            "rpad",
            "rtrim",
            "split_part",
            "starts_with",
            "strpos",
            "substr",
            "substr_index",
            "to_hex",
            "translate",
            "upper",
        ],
    ),
    (
        "calendar arithmetic on its arguments, in the zone they name",
        &[
            "date_bin",
            "date_part",
            "date_trunc",
            "from_unixtime",
            "make_date",
            "make_time",
            "to_char",
            "to_date",
            "to_local_time",
            "to_time",
            "to_timestamp",
            "to_timestamp_micros",
            "to_timestamp_millis",
            "to_timestamp_nanos",
            "to_timestamp_seconds",
            "to_unixtime",
        ],
    ),
    (
        "a digest or a code of its bytes",
        &["decode", "digest", "encode", "md5", "sha224", "sha256", "sha384", "sha512"],
    ),
    ("picks one of its arguments", &["coalesce", "greatest", "least", "nullif", "nvl", "nvl2"]),
    (
        "builds or reads a value made of values, whose order is that of the arguments",
        &[
            "array_add",
            "array_any_match",
            "array_any_value",
            "array_append",
            "array_avg",
            "array_compact",
            "array_concat",
            "array_dims",
            "array_distance",
            "array_distinct",
            "array_element",
            "array_except",
            "array_filter",
            "array_first",
            "array_has",
            "array_has_all",
            "array_has_any",
            "array_intersect",
            "array_length",
            "array_max",
            "array_min",
            "array_ndims",
            "array_normalize",
            "array_pop_back",
            "array_pop_front",
            "array_position",
            "array_positions",
            "array_prepend",
            "array_product",
            "array_remove",
            "array_remove_all",
            "array_remove_n",
            "array_repeat",
            "array_replace",
            "array_replace_all",
            "array_replace_n",
            "array_resize",
            "array_reverse",
            "array_scale",
            "array_slice",
            "array_sort",
            "array_subtract",
            "array_sum",
            "array_to_string",
            "array_transform",
            "array_union",
            "arrays_zip",
            "cardinality",
            "cosine_distance",
            "empty",
            "flatten",
            "generate_series",
            "get_field",
            "inner_product",
            "make_array",
            "map",
            "map_entries",
            "map_extract",
            "map_keys",
            "map_values",
            "named_struct",
            "range",
            "string_to_array",
            "struct",
            "union_extract",
            "union_tag",
        ],
    ),
    (
        "its argument under another type, or the type's name",
        &[
            "arrow_cast",
            "arrow_field",
            "arrow_metadata",
            "arrow_try_cast",
            "arrow_typeof",
            "cast_to_type",
            "try_cast_to_type",
            "with_metadata",
        ],
    ),
];

/// Allowed aggregates, by the reason why the order of rows does not matter.
const AGGREGATES: &[(&str, &[&str])] = &[
    (
        "counts, and bits and truths that commute",
        &["count", "bit_and", "bit_or", "bit_xor", "bool_and", "bool_or", "grouping"],
    ),
    ("picks a value by the values alone", &["min", "max", "median", "percentile_cont"]),
    (
        "adds integers and decimals up exactly; floats are refused",
        &["sum", "avg", "var", "var_pop", "stddev", "stddev_pop"],
    ),
    ("follows its own ORDER BY, which must tell all rows apart", ORDERED),
];

/// Allowed window functions besides aggregates. Those that distinguish equal rows need an ORDER BY that does.
const WINDOWS: &[&str] = &[
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "last_value",
    "nth_value",
];

/// Aggregates that sum floats if their argument is a float, so that the order of rows changes the last bit.
const FLOAT_SUMS: &[&str] = &["sum", "avg", "var", "var_pop", "stddev", "stddev_pop"];

/// Aggregates that convert any argument to floats and sum these.
const ALWAYS_FLOAT_SUMS: &[&str] = &["corr", "covar_samp", "covar_pop"];

/// Aggregates that return any of the values.
const PICKS_ANY: &[&str] = &["any_value"];

/// Aggregates whose result depends on the order of rows.
const ORDERED: &[&str] = &["array_agg", "string_agg", "first_value", "last_value", "nth_value"];

/// Window functions that number or pick rows, so that they distinguish rows with equal sort keys.
const PICKS: &[&str] = &[
    "row_number",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "last_value",
    "nth_value",
    "array_agg",
    "string_agg",
];

/// Why a function with this name may not occur anywhere in a model's text.
pub(crate) fn refusal(name: &str) -> Option<String> {
    UNREPEATABLE.contains(&name).then(|| {
        format!("`{name}()` gives another value at each call, so the table could not be computed twice alike")
    })
}

fn listed(lists: &[(&str, &[&str])], name: &str) -> bool {
    lists.iter().any(|(_, names)| names.contains(&name))
}

/// Why a scalar function with this engine name may not be called.
pub(crate) fn scalar_refusal(name: &str) -> Option<String> {
    if listed(SCALARS, name) {
        return None;
    }
    Some(refusal(name).unwrap_or_else(|| {
        format!(
            "`{name}` is not known to give the same for the same arguments: write it with other functions"
        )
    }))
}

/// Why an aggregate with this engine name may not be called.
pub(crate) fn aggregate_refusal(name: &str) -> Option<String> {
    if listed(AGGREGATES, name) {
        return None;
    }
    Some(if PICKS_ANY.contains(&name) {
        format!("`{name}` takes whichever row comes first: use `min` or `max`")
    } else if name.starts_with("approx_") {
        format!("`{name}` estimates, and the estimate depends on how rows are split: use the exact function")
    } else if ALWAYS_FLOAT_SUMS.contains(&name) || name.starts_with("regr_") {
        format!(
            "`{name}` adds floats, whose sum depends on the order of rows: compute it of exact sums, as in `sum(CAST(x AS DECIMAL(38, 6)) * y)`"
        )
    } else {
        format!(
            "`{name}` is not known to give the same for the same rows in another order: write it with other aggregates"
        )
    })
}

/// Why a window function with this engine name may not be called.
pub(crate) fn window_refusal(name: &str) -> Option<String> {
    if WINDOWS.contains(&name) { None } else { aggregate_refusal(name) }
}

/// Whether the aggregate sums its argument, which then may not be a float.
pub(crate) fn adds_up(name: &str) -> bool {
    FLOAT_SUMS.contains(&name)
}

/// Whether the aggregate's result depends on the order of its input.
pub(crate) fn depends_on_order(name: &str) -> bool {
    ORDERED.contains(&name)
}

/// Whether the window function distinguishes rows with equal sort keys.
pub(crate) fn picks_rows(name: &str) -> bool {
    PICKS.contains(&name)
}

#[cfg(test)]
mod tests;
