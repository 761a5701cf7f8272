//! What tests of several crates share.
//!
//! [`sabotage`]: damages a finished lake from outside, in one named way, for tests that show that `verify` can
//! fail.
//! [`mutants`]: tables and topics as a faulty stage would have left them.
//! [`certificates`], [`front`]: a certificate authority, and a proxy with TLS and a password for an HTTP
//! service.
//! [`bad_store`]: an object store that breaks S3's promises.
//! [`proxy`]: a faulty network between a client and a real server.
//! [`reference`]: copies of the reference project, with other names.

pub mod bad_store;
pub mod certificates;
pub mod front;
pub mod mutants;
pub mod proxy;
pub mod reference;
pub mod sabotage;
