//! TPC-H: tables, refresh functions, the 22 queries, and a seeded stream of changes that the specification lacks.
//!
//! Rows, query templates and the answers at scale 1 come from the `tpchgen` crate. Everything that makes TPC-H a test of
//! incremental maintenance is here: the refresh sets ([`refresh_set`]), parameters under which the results are worth
//! comparing at small scales ([`query`]), and changes aimed at each query ([`mutation`]).

pub mod mutation;
pub mod query;
pub mod refresh_set;
mod scale;
mod table;
mod workload;

pub use mutation::{Batch, Stream};
pub use query::Query;
pub use scale::Scale;
pub use table::{INDEXES, SCHEMA, Table};
pub use workload::Tpch;
