//! Interleavings as data: `.spec` files with sessions, steps and the orders in which the steps run.
//!
//! The language is a subset of that of PostgreSQL's isolation tester, with the expectations in the file ([`spec`]).
//! Each permutation runs in a fresh database, once with sessions whose default is READ COMMITTED and once with
//! REPEATABLE READ. That a step waits is seen in `pg_blocking_pids`; nothing depends on time ([`run`]).
//!
//! What every permutation asserts without saying so: no step fails or waits that is not expected to, and when all are
//! through, every stream table agrees with its query after a refresh, hidden state included.

mod run;
mod session;
pub mod spec;

pub use run::{Level, run_permutation};
pub use session::{Answer, IsolationSession, describe};
pub use spec::{Permutation, Spec};
