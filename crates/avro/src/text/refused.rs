//! Why a text is no datum of its schema.

/// Why a text is no datum of its schema. Columns are dotted paths.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not JSON, or cut off.
    #[error("it is no JSON: {0}")]
    Json(String),
    /// A value of another type.
    #[error("column `{column}`: `{found}` is not {wanted}")]
    Unlike {
        /// The column.
        column: String,
        /// What should stand there.
        wanted: &'static str,
        /// The begin of what does.
        found: String,
    },
    /// A value of the right type that the type does not hold exactly.
    #[error("column `{column}`: `{found}` does not fit: {reason}")]
    Misfit {
        /// The column.
        column: String,
        /// What is wrong with it.
        reason: Reason,
        /// The begin of the value.
        found: String,
    },
    /// A field without a value, default or null.
    #[error("column `{column}` is missing")]
    Missing {
        /// The column.
        column: String,
    },
    /// A name that one object has twice, so that one of its values would be lost.
    #[error("column `{column}` is there twice")]
    Twice {
        /// The column.
        column: String,
    },
}

/// Why a value does not fit its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// More digits than the decimal has, before the point or behind it.
    #[error("the decimal has fewer digits")]
    Decimal,
    /// A number that its type cannot represent.
    #[error("the type holds no such number")]
    Number,
    /// A date or time outside of the years 1 to 9999.
    #[error("it lies outside the years 1 to 9999")]
    Time,
    /// Finer than the type's unit.
    #[error("it is finer than the unit of its type")]
    FinerTime,
}

/// Why one value is none of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// A value of another type.
    Unlike,
    /// One that the type does not hold exactly.
    Misfit(Reason),
}

/// The begin of a text, to be shown.
pub(crate) fn begin(text: &str) -> String {
    text.chars().take(80).collect()
}
