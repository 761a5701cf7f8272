//! On real services only: what happens when processes, servers, networks and topics fail while data
//! flows. After each fault the tables hold what the simulator says they must, and `verify` proves it.
//!
//! | module | what fails |
//! | --- | --- |
//! | `stages` | our own processes: killed, or stopped past every timeout and continued |
//! | `servers` | Kafka, MinIO and the registry are killed and started again |
//! | `network` | a proxy between us and them delays, stalls, cuts, and loses answers |
//! | `topics` | a topic is recreated, its records expire, a transaction expires |
//! | `outside` | nothing: consumers that nobody here wrote read the gold topics |
//!
//! Every test is ignored unless asked for: `e2e/real` starts the services and asks.

mod flow;
mod network;
mod outside;
mod servers;
mod stages;
mod topics;
