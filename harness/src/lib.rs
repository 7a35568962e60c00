//! Clusters, replayers, reports: everything that runs the extension against a real server.
//!
//! A test asks [`cluster::test_database`] for a database of its own, or [`cluster::private_cluster`] for a server of
//! its own when it restarts or crashes it. Who starts the server is decided there, not in the test: under
//! `harness test` one server per PostgreSQL version serves all tests; under a plain `cargo nextest run` each test
//! starts its own.

pub mod agreement;
pub mod bench;
pub mod cluster;
pub mod compatibility;
pub mod corpus;
pub mod demo;
pub mod failure;
pub mod fuzz;
pub mod isolation;
pub mod lint;
pub mod mutants;
pub mod package;
pub mod process;
pub mod provision;
pub mod publish;
pub mod reading;
pub mod replay;
pub mod report;
pub mod serve;
pub mod session;
pub mod slt;
pub mod test_run;
