//! SQLite's sqllogictest files: records, recorded results, and what a replay makes of them.
//!
//! A file is a sequence of [`record`]s: statements, and queries with the result that some engine gave. [`recorded`] says
//! whether rows are that result. [`statement`] reads as much of the SQL as a replay needs. [`history`] lays out when each
//! of a few chosen queries is a stream table and when it is refreshed; [`sample`] chooses them; [`mutation`] is what
//! happens to the tables afterwards.
//!
//! The files are inputs that are read at run time; [`crate::manifest`] says where they come from.

pub mod history;
pub mod mutation;
pub mod record;
pub mod recorded;
pub mod sample;
pub mod statement;

pub use history::{History, Life};
pub use record::{Query, Record, Sort, Statement, parse};
pub use recorded::{Kind, Recorded};
