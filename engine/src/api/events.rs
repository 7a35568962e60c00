//! Entry points of the event triggers in `sql/events.sql` and of maintenance; callable by the extension's owner only.

use crate::capture::{collect, ddl};
use crate::error::OrReport;
use pgrx::prelude::*;

#[pg_extern(volatile, parallel_unsafe)]
fn relation_changed(relid: pg_sys::Oid, command: &str) {
    ddl::relation_changed(relid.to_u32(), command).or_report();
}

#[pg_extern(volatile, parallel_unsafe)]
fn relation_dropped(relid: pg_sys::Oid, command: &str) {
    ddl::relation_dropped(relid.to_u32(), command);
}

/// Collects consumed changes and leftovers of dropped stream tables, as workers do; returns the change rows removed.
/// To be called on its own, not inside a larger transaction.
#[pg_extern(volatile, parallel_unsafe)]
fn collect_changes() -> i64 {
    collect::collect_all() as i64
}
