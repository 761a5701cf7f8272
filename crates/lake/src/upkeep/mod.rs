//! Keeps a table small: few files, no unneeded files, a short log.

pub mod compact;
pub mod maintain;
pub mod vacuum;
