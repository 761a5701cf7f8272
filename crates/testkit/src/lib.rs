//! What tests of several crates share.
//!
//! [`sabotage`]: damages a finished lake from outside, in one named way, for tests that show that `verify` can
//! fail.
//! [`mutants`]: tables and topics as a faulty stage would have left them.
//! [`certificates`], [`front`]: an authority, and a door with TLS and a password before an HTTP service.
//! [`bad_store`]: an object store that does not keep what S3 promises.
//! [`proxy`]: a network that fails between a client and a real server.
//! [`memory`], [`registry`], [`objects`]: models of a Kafka cluster, a schema registry and an object store;
//! [`contract`]: what each of them and the real one both have to do; [`fate`]: what happens at their steps.
//! [`samples`]: values of every Avro type, written and read by a library that is none of ours.
//! [`reference`]: the reference project in another folder, and under other names.

pub mod bad_store;
pub mod certificates;
pub mod contract;
pub mod fate;
pub mod front;
pub mod memory;
pub mod mutants;
pub mod objects;
pub mod proxy;
pub mod reference;
pub mod registry;
pub mod sabotage;
pub mod samples;
