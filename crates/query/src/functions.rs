//! Which functions a model may call, judged by name: what they depend on besides their arguments.
//!
//! The engine's own classes (volatile, stable, immutable) are not enough: they say nothing of
//! aggregates whose result depends on the order of rows, nor that float addition does.

/// Names that mean "the time of the refresh". They are rewritten to the pinned `as_of`.
pub(crate) const CLOCKS: &[&str] = &["now", "current_timestamp", "current_date", "today", "as_of"];

/// Of [`CLOCKS`], those whose value is a date.
pub(crate) const DATES: &[&str] = &["current_date", "today"];

/// Functions with another value at each call, or on each machine.
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
];

/// Aggregates that add up floats somewhere, so that another order of rows gives another last bit.
const FLOAT_SUMS: &[&str] = &[
    "sum",
    "avg",
    "mean",
    "var",
    "var_samp",
    "var_sample",
    "var_pop",
    "var_population",
    "stddev",
    "stddev_samp",
    "stddev_pop",
    "corr",
    "covar",
    "covar_samp",
    "covar_pop",
];

/// Aggregates whose result is the order of rows.
const ORDERED: &[&str] = &["array_agg", "string_agg", "listagg", "first_value", "last_value", "nth_value"];

/// Window functions that number or pick rows, so that rows with equal sort keys are told apart.
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

/// Why a function by this name may not stand in a model.
pub(crate) fn refusal(name: &str) -> Option<String> {
    UNREPEATABLE.contains(&name).then(|| {
        format!("`{name}()` gives another value at each call, so the table could not be computed twice alike")
    })
}

/// Whether the aggregate adds floats up.
pub(crate) fn adds_floats(name: &str) -> bool {
    FLOAT_SUMS.contains(&name) || name.starts_with("regr_")
}

/// Whether the aggregate's result depends on the order of its input.
pub(crate) fn depends_on_order(name: &str) -> bool {
    ORDERED.contains(&name)
}

/// Whether the aggregate is an estimate that depends on how rows were split over threads.
pub(crate) fn estimates(name: &str) -> bool {
    name.starts_with("approx_")
}

/// Whether the window function tells rows with equal sort keys apart.
pub(crate) fn picks_rows(name: &str) -> bool {
    PICKS.contains(&name)
}
