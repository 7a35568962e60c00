//! The product's version.

use pgrx::prelude::*;

/// `pgtrickle.version()`.
#[pg_extern(immutable, parallel_safe)]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
