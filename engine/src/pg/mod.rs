//! A safe vocabulary over the server: the only directory that names `pg_sys` functions.
//!
//! "Safe" here means: a value of these types cannot be used to read freed server memory, and dropping one while an
//! error unwinds does nothing, because (sub)transaction abort already owns that cleanup.

pub mod append;
pub mod attached;
pub mod background;
#[cfg(not(debug_assertions))]
pub mod backtrace;
pub mod capture;
pub mod checked;
pub mod compat;
pub mod deparse;
pub mod exec;
pub mod facts;
pub mod fmgr;
pub mod invalidation;
pub mod lock;
pub mod memory;
pub mod node;
pub mod parse;
pub mod pinned;
pub mod plans;
pub mod relation;
pub mod security;
pub mod setting;
pub mod shmem;
pub mod signal;
pub mod snapshot;
pub mod spi;
pub mod store;
pub mod value;
pub mod worker;
pub mod xact;
