//! Three oracles that judge stream tables.
//!
//! - [`postgres`] evaluates the defining query anew in the same snapshot: text-exact, types included;
//! - [`duckdb`] evaluates the translated query over a copy of the base tables: by value, in an unrelated engine;
//! - the interpreter ([`eval`]) evaluates core plans and delta plans over Z-sets, without a server.
//!
//! [`generate`] makes random plans and changes; [`law`] says what must hold between a plan and what the rules of
//! `pg_trickle_core` make of it.
//!
//! [`compare`] tells which rows differ.

mod aggregate;
pub mod compare;
#[cfg(feature = "servers")]
pub mod duckdb;
#[cfg(feature = "servers")]
mod error;
pub mod eval;
pub mod generate;
pub mod law;
#[cfg(feature = "servers")]
pub mod postgres;
pub mod recursion;
pub mod scalar;
pub mod span;
pub mod sql;
#[cfg(feature = "servers")]
pub mod translate;
pub mod value;
mod verdict;
mod window;
pub mod zset;

#[cfg(feature = "servers")]
pub use error::Error;
pub use verdict::Verdict;
