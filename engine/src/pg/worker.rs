//! Background workers that live on: starting them, connecting them, and what only they may do.

use crate::pg::background::copy_name;
use crate::pg::memory;
use crate::pg::xact::{self, Failure, Isolation};
use pgrx::pg_sys;
use std::ffi::CString;

/// Seconds after which the server starts a crashed launcher again.
const LAUNCHER_RESTART_SECONDS: i32 = 5;

/// Has the server start the launcher whenever it is up and not in recovery. Called while libraries are preloaded.
pub fn register_launcher(function: &str) {
    let mut worker = declaration(function, "pg_trickle launcher", "pg_trickle launcher");
    worker.bgw_restart_time = LAUNCHER_RESTART_SECONDS;
    // SAFETY: the declaration is complete; the server copies it.
    unsafe { pg_sys::RegisterBackgroundWorker(&mut worker) }
}

fn declaration(function: &str, name: &str, kind: &str) -> pg_sys::BackgroundWorker {
    let mut worker = pg_sys::BackgroundWorker::default();
    copy_name(&mut worker.bgw_name, name);
    copy_name(&mut worker.bgw_type, kind);
    copy_name(&mut worker.bgw_library_name, "pg_trickle");
    copy_name(&mut worker.bgw_function_name, function);
    worker.bgw_flags = (pg_sys::BGWORKER_SHMEM_ACCESS | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION) as i32;
    worker.bgw_start_time = pg_sys::BgWorkerStartTime::BgWorkerStart_RecoveryFinished;
    worker.bgw_restart_time = pg_sys::BGW_NEVER_RESTART;
    worker
}

/// A worker this process started.
pub struct Handle(*mut pg_sys::BackgroundWorkerHandle);

impl Handle {
    /// Starts a worker for a database; this process' latch is set when it starts and when it ends. None if all worker
    /// slots are in use.
    pub fn start_for_database(function: &str, name: &str, kind: &str, database: u32) -> Option<Handle> {
        let mut worker = declaration(function, name, kind);
        let mut handle = std::ptr::null_mut();
        // SAFETY: the handle is allocated in a context that lives as long as the process.
        unsafe {
            worker.bgw_main_arg = pg_sys::Datum::from(pg_sys::Oid::from(database));
            worker.bgw_notify_pid = pg_sys::MyProcPid;
            let registered = memory::within(pg_sys::TopMemoryContext, || {
                pg_sys::RegisterDynamicBackgroundWorker(&mut worker, &mut handle)
            });
            registered.then(|| Handle(handle))
        }
    }

    /// Whether the worker has ended.
    pub fn has_ended(&self) -> bool {
        let mut pid = 0;
        // SAFETY: the handle is valid until it is dropped.
        let status = unsafe { pg_sys::GetBackgroundWorkerPid(self.0, &mut pid) };
        status == pg_sys::BgwHandleStatus::BGWH_STOPPED
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: allocated by `start_for_database` and freed once.
            unsafe { pg_sys::pfree(self.0.cast()) }
        }
    }
}

/// The database a worker was started for.
pub fn database_argument(argument: pg_sys::Datum) -> u32 {
    argument.value() as u32
}

/// Connects this worker to a database, as the superuser the cluster was made with.
pub fn connect(database: u32) {
    // SAFETY: called once, by a worker that declared to need a connection.
    unsafe {
        pg_sys::BackgroundWorkerInitializeConnectionByOid(pg_sys::Oid::from(database), pg_sys::InvalidOid, 0);
    }
}

/// Connects this worker to the cluster's shared catalogs only: it is in no database, and in nobody's way.
pub fn connect_to_shared_catalogs() {
    // SAFETY: as in `connect`.
    unsafe { pg_sys::BackgroundWorkerInitializeConnection(std::ptr::null(), std::ptr::null(), 0) }
}

/// Sets a setting for the life of this worker, whatever configuration files, database and role say.
pub fn fix_setting(name: &str, value: &str) {
    let name = CString::new(name).expect("setting names have no NUL");
    let value = CString::new(value).expect("setting values have no NUL");
    // SAFETY: the strings outlive the call, which copies them.
    unsafe {
        pg_sys::SetConfigOption(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
        );
    }
}

/// Shows in `pg_stat_activity` what this worker does; None is idle. Sends statistics gathered so far.
pub fn report_activity(activity: Option<&str>) {
    let text = activity.map(|activity| CString::new(activity).expect("an activity has no NUL"));
    // SAFETY: outside a transaction; the text is copied.
    unsafe {
        match &text {
            Some(text) => pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, text.as_ptr()),
            None => {
                pg_sys::pgstat_report_stat(true);
                pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_IDLE, std::ptr::null());
            }
        }
    }
}

/// A database of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    pub oid: u32,
    pub name: String,
}

/// The databases that accept connections. For a worker that is connected to shared catalogs.
pub fn databases() -> Result<Vec<Database>, Failure> {
    xact::worker_transaction(Isolation::ReadCommitted, || {
        let mut found = Vec::new();
        // SAFETY: the catalog is open and its tuples are read before the next one is fetched; `pg_database` has no
        // nullable column before those read here.
        unsafe {
            let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
            let relation = pg_sys::table_open(pg_sys::DatabaseRelationId, lock);
            let scan = pg_sys::systable_beginscan(
                relation,
                pg_sys::InvalidOid,
                false,
                std::ptr::null_mut(),
                0,
                std::ptr::null_mut(),
            );
            loop {
                let tuple = pg_sys::systable_getnext(scan);
                if tuple.is_null() {
                    break;
                }
                let row = &*pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_database>(tuple);
                // A connection limit of -2 marks what is left of an interrupted DROP DATABASE.
                if row.datallowconn && row.datconnlimit != -2 {
                    let name = std::ffi::CStr::from_ptr(row.datname.data.as_ptr());
                    let name = name.to_string_lossy().into_owned();
                    found.push(Database { oid: row.oid.to_u32(), name });
                }
            }
            pg_sys::systable_endscan(scan);
            pg_sys::table_close(relation, lock);
        }
        found
    })
}

/// Whether somebody holds or waits for a lock on this worker's database that conflicts with being connected to it:
/// it is about to be dropped, renamed, moved, or copied. Inside a transaction.
pub fn database_is_wanted() -> bool {
    // SAFETY: reads a variable of the backend; the tag is complete; the lock is released if it was granted.
    unsafe {
        let tag = pg_sys::LOCKTAG {
            locktag_field1: pg_sys::InvalidOid.to_u32(),
            locktag_field2: pg_sys::DatabaseRelationId.to_u32(),
            locktag_field3: pg_sys::MyDatabaseId.to_u32(),
            locktag_field4: 0,
            locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
            locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
        };
        let mode = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
        let result = pg_sys::LockAcquire(&tag, mode, false, true);
        let is_free = result != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL;
        if is_free {
            pg_sys::LockRelease(&tag, mode, false);
        }
        !is_free
    }
}
