//! Birth and death of stream tables.

pub mod alter;
pub mod create;
pub mod redefine;
pub mod rekey;
pub mod remove;
