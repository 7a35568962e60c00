//! The Join Order Benchmark: 113 joins of 4 to 17 tables of a film database, over rows of our own.
//!
//! A query of this benchmark has some ten predicates, so random rows leave its result empty. The generator therefore
//! *plants*: for each query whole matches (a row for every table of the join), and near misses in which one condition
//! fails ([`plant`]); around them noise with the published sizes and skews ([`noise`]). The changes ([`stream`]) bring new
//! minima and take them away, break and mend conditions, move rows to other films and people, and put NULLs into keys.

mod dimension;
mod noise;
mod plant;
mod query;
mod spec;
mod stream;
mod table;
mod workload;

pub use plant::{Match, NearMiss, Planted};
pub use query::{QUERIES, Variant};
pub use spec::{Spec, specs};
pub use table::TABLES;
pub use workload::Job;
