//! The extension: a thin shell of PostgreSQL around `pg_trickle_core`.

pgrx::pg_module_magic!();

#[cfg(not(panic = "unwind"))]
compile_error!("pg_trickle needs panic = \"unwind\": server errors unwind through Rust frames");

mod analyze;
mod api;
mod capture;
mod catalog;
mod error;
mod guc;
mod lifecycle;
mod pg;
mod refresh;
mod worker;

pgrx::extension_sql_file!("../../sql/bootstrap.sql", name = "bootstrap", bootstrap);
pgrx::extension_sql_file!("../../sql/catalog.sql", name = "catalog", requires = ["bootstrap"]);
pgrx::extension_sql_file!("../../sql/functions.sql", name = "functions", requires = ["catalog"]);
pgrx::extension_sql_file!(
    "../../sql/views.sql",
    name = "views",
    requires = ["functions", api::inspect::checked_at]
);
pgrx::extension_sql_file!(
    "../../sql/inspect.sql",
    name = "inspect",
    requires = ["views", api::inspect::stream_table_id, api::inspect::required_int]
);
pgrx::extension_sql_file!("../../sql/events.sql", name = "events", finalize);

/// Called by the server when the library is loaded.
#[pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    // Errors of the server pass through Rust as panics.
    #[cfg(not(debug_assertions))]
    pg::backtrace::turn_off();
    guc::register();
    worker::register();
}
