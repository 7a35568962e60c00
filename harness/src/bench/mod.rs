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
mod contest;
mod cost;
mod graph;
mod ground;
pub mod result;
pub mod statistics;
mod tpch;

pub use command::{BenchArguments, Sizes, Workload, measure};
