//! Tests of the stage on lakes in memory, with silver tables made by hand.

mod crash;
mod expecting;
mod following;
mod halting;
mod random;
mod rebuilding;
mod refreshing;
mod world;
