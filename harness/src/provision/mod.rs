//! Getting what the machine lacks: servers, build tools, the DuckDB library. Every step is idempotent, says what it
//! does, and keeps its result in the cache, outside the checkout.

pub mod browser;
pub mod cache;
pub mod command;
pub mod debian;
pub mod dependencies;
pub mod duckdb;
pub mod headers;
pub mod image;
pub mod lock;
pub mod plan;
mod pypi;
pub mod server;
pub mod tools;
pub mod wheel;

/// Progress of provisioning goes to standard error, so that commands may print machine-readable results.
pub fn say(message: impl std::fmt::Display) {
    eprintln!("harness: {message}");
}
