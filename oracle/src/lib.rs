//! Three oracles that judge stream tables.
//!
//! - [`postgres`] evaluates the defining query anew in the same snapshot: text-exact, types included;
//! - [`duckdb`] evaluates the translated query over a copy of the base tables: by value, in an unrelated engine;
//! - the interpreter evaluates core plans and delta plans over Z-sets, without a server.
//!
//! [`compare`] tells which rows differ.

pub mod compare;
#[cfg(feature = "servers")]
pub mod duckdb;
#[cfg(feature = "servers")]
mod error;
#[cfg(feature = "servers")]
pub mod postgres;
#[cfg(feature = "servers")]
pub mod translate;
mod verdict;

#[cfg(feature = "servers")]
pub use error::Error;
pub use verdict::Verdict;
