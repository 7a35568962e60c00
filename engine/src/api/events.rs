//! Entry points of the event triggers in `sql/events.sql`; callable by the extension's owner only.

use crate::capture::ddl;
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
