//! What tests of several crates share.
//!
//! [`sabotage`]: damages a finished lake from outside, in one named way, for tests that show that `verify` can
//! fail.
//! [`mutants`]: tables and topics as a faulty stage would have left them.
//! [`certificates`], [`front`]: an authority, and a door with TLS and a password before an HTTP service.
//! [`bad_store`]: an object store that does not keep what S3 promises.
//! [`proxy`]: a network that fails between a client and a real server.
//! [`memory`]: a model of a Kafka cluster; [`contract`]: what it and real brokers both have to do.
//! [`samples`]: values of every Avro type, written and read by a library that is none of ours.
//! [`reference`]: the reference project in another folder, and under other names.

pub mod bad_store;
pub mod certificates;
pub mod contract;
pub mod front;
pub mod memory;
pub mod mutants;
pub mod proxy;
pub mod reference;
pub mod sabotage;
pub mod samples;
