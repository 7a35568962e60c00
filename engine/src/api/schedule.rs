//! What users see of schedules and of the workers that keep them.

use crate::guc::Settings;
use crate::pg::{shmem, xact};
use pgrx::prelude::*;

/// `pgtrickle.worker_pool_status()`: refreshes run in the scheduler of the database itself, which counts as active while
/// it refreshes. The last column is NULL if this database has no scheduler.
#[pg_extern(volatile, parallel_unsafe)]
fn worker_pool_status() -> TableIterator<
    'static,
    (
        name!(active_workers, i32),
        name!(max_workers, i32),
        name!(per_db_cap, i32),
        name!(parallel_mode, String),
        name!(idle_workers, i32),
        name!(last_scheduler_tick_unix, Option<i64>),
    ),
> {
    let settings = Settings::current();
    let database = xact::database();
    let scheduler = shmem::scheduler_of(database).filter(|_| shmem::has_scheduler(database));
    let active = i32::from(scheduler.is_some_and(|scheduler| scheduler.refreshing));
    let max = i32::try_from(settings.max_parallel_workers).unwrap_or(i32::MAX);
    TableIterator::once((
        active,
        max,
        i32::try_from(settings.per_database_worker_quota).unwrap_or(i32::MAX),
        settings.parallel_refresh_mode.as_str().to_owned(),
        (max - active).max(0),
        scheduler.map(|scheduler| scheduler.last_tick).filter(|&tick| tick > 0),
    ))
}

/// `pgtrickle.request_scheduler()`: asks for a scheduler of this database when the transaction commits. Called by
/// CREATE EXTENSION, which says so if there can be none.
#[pg_extern(volatile, parallel_unsafe)]
fn request_scheduler() {
    if shmem::is_available() {
        shmem::request_scheduler_at_commit();
    } else {
        ereport!(
            PgLogLevel::WARNING,
            PgSqlErrorCode::ERRCODE_WARNING,
            "pg_trickle is not in shared_preload_libraries: stream tables are not refreshed on schedule",
            "They can be created, and refreshed by pgtrickle.refresh_stream_table(). For schedules, add pg_trickle to \
             shared_preload_libraries and restart the server."
        );
    }
}

extension_sql!(
    "REVOKE ALL ON FUNCTION pgtrickle.request_scheduler() FROM PUBLIC;\nSELECT pgtrickle.request_scheduler();",
    name = "request_scheduler",
    requires = [request_scheduler]
);
