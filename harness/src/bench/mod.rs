//! Benchmarks on real servers: what a refresh, a captured statement, a creation cost beside the other ways to the same
//! result, in one run and in turns, so that what disturbs one disturbs all.
//!
//! ```text
//! command ──▶ a workload on a private server ──▶ result::Run as JSON ──▶ compare, report::bench_page
//!                │ contest: the ways to one result, refreshed in turns
//!                │ cost: time, WAL, temporary files, rows and pages read of one statement
//! ```
//!
//! The benchmarks of the core, which need no server, are in `benches`.

mod capture;
mod command;
mod compare;
mod contest;
mod cost;
mod creation;
mod freshness;
mod graph;
mod ground;
mod growth;
mod operators;
mod pace;
pub mod result;
pub mod statistics;
mod steady;
mod tpch;
mod writers;

pub use command::{BenchArguments, Sizes, Workload, measure};
