//! Birth and death of stream tables.

pub mod create;
pub mod remove;
