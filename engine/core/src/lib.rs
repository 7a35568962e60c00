//! The part of `pg_trickle` that can be reasoned about without a server.
//!
//! ```text
//! analysed query ──front end (engine)──▶ plan ──normalize──▶ plan ──stage::cut──▶ stages over fragments
//!                                                                                  │
//!                     program (SQL steps) ◀──sql── delta plans ◀──delta::differentiate
//! ```
//!
//! Every relation in a plan is a Z-set: rows with an integer weight. Weights are implicit in plans and become
//! an `int8` column only when a plan is rendered to SQL.

#![forbid(unsafe_code)]

pub mod access;
pub mod agenda;
pub mod apply;
pub mod delta;
pub mod expr;
pub mod frontier;
pub mod graph;
pub mod maintain;
pub mod normalize;
pub mod plan;
pub mod program;
pub mod query;
pub mod refusal;
pub mod retry;
pub mod schedule;
pub mod sql;
pub mod stage;
pub mod types;
