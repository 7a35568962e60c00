//! The data the correctness harness runs on: an index of corpora, and typed access to them. No engine, no server.
//!
//! [`tpch`] is generated here, row for row what the official generator writes. The other corpora are files that a
//! [`manifest`] names by public address, licence and checksum; they are looked for on disk, never shipped.

pub mod manifest;
pub mod tpch;
