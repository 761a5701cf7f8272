//! The stage on lakes in memory, with silver tables made by hand.

mod broker;
mod crash;
mod expecting;
mod halting;
mod publishing;
mod random;
mod rebuilding;
mod refreshing;
mod world;
