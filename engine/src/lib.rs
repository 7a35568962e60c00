//! The extension: a thin shell of PostgreSQL around `pg_trickle_core`.

pgrx::pg_module_magic!();

#[cfg(not(panic = "unwind"))]
compile_error!("pg_trickle needs panic = \"unwind\": server errors unwind through Rust frames");

mod analyze;
mod api;
mod pg;
