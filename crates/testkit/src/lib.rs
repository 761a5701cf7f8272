//! What tests of several crates share.
//!
//! [`sabotage`]: breaks a finished lake from outside, in one named way, for tests that show that
//! `verify` can fail.

pub mod sabotage;
