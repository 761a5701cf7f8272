//! Tests of the publisher on lakes in memory, with a gold table made by hand.

pub(crate) mod contract;
mod following;
pub(crate) mod memory;
mod publishing;
pub(crate) mod unsteady;
pub(crate) mod world;
