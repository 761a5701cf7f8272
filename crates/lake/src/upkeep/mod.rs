//! What keeps a table small: few files, none that nothing needs, a short log.

pub mod compact;
pub mod maintain;
pub mod vacuum;
