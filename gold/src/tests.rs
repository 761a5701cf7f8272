//! The stage on lakes in memory, with silver tables made by hand.

mod broker;
mod crash;
mod expecting;
mod publishing;
mod rebuilding;
mod refreshing;
mod world;
