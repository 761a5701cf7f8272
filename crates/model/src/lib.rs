//! The words of LakePulse: what a position, a sequence, a table name and an outcome are.
//!
//! | module | words |
//! | --- | --- |
//! | `names` | `TopicName`, `TableName`, `ProjectName`, `TopicId`, `TableId` |
//! | `units` | `Offset`, `Version`; `ClockMs` of the clock, `Millis` and `Micros` of records |
//! | `position` | `AppId`, `Positions`: how far a table has read each of its inputs |
//! | `sequence` | `Sequence`: the order of changes of one key |
//! | `reaction` | `Reaction`: what a loop does after an error |
//! | `secret` | `Secret`: a value that is never shown |
//! | [`text`] | values as text: the strict parser, the canonical form |
//! | [`column`], [`header`] | names of the columns that we add, and of the headers of records |
//! | `exit` | `Exit`: exit codes of the binary |
//!
//! Never here: tokio, arrow, a client of any service. Every other crate may depend on this one.

pub mod column;
mod exit;
pub mod header;
mod names;
mod position;
mod reaction;
mod secret;
mod sequence;
pub mod text;
mod units;

pub use exit::Exit;
pub use names::{BadName, ProjectName, TableId, TableName, TopicId, TopicName};
pub use position::{AppId, Positions};
pub use reaction::Reaction;
pub use secret::Secret;
pub use sequence::Sequence;
pub use units::{ClockMs, Micros, Millis, Offset, Version};
