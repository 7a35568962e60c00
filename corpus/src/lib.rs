//! The data the correctness harness runs on: an index of corpora, and typed access to them. No engine, no server.
//!
//! [`tpch`] is generated here, row for row what the official generator writes; [`job`] and [`nexmark`] are published
//! queries over rows of our own. What a replay needs of each is a [`workload`]. [`sqllogictest`] is files that a
//! [`manifest`] names by public address, licence and checksum; they are looked for on disk, never shipped. Their records
//! are statements and queries with results, and are read here.

pub mod change;
pub mod job;
pub mod manifest;
pub mod nexmark;
pub mod row;
pub mod sqllogictest;
pub mod tpch;
pub mod workload;
