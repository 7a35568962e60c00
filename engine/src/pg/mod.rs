//! A safe vocabulary over the server: the only directory that names `pg_sys` functions.
//!
//! "Safe" here means: a value of these types cannot be used to read freed server memory, and dropping one while an
//! error unwinds does nothing, because (sub)transaction abort already owns that cleanup.

pub mod compat;
pub mod deparse;
pub mod facts;
pub mod node;
pub mod parse;
