//! What schedulers, their launcher and sessions share.
//!
//! One small struct under one lock, which exists only if the library is named in `shared_preload_libraries`. Nothing
//! that can raise happens while the lock is held. Latches are kept as pointers into the server's process array: that is
//! at one address in every process, and setting the latch of a process that has since changed hands only wakes it once
//! for nothing.

use crate::pg::checked;
use pgrx::lwlock::PgLwLock;
use pgrx::pg_sys;
use pgrx::shmem::{PGRXSharedMemory, PgSharedMemoryInitialization};
use pgrx::{PgXactCallbackEvent, register_xact_callback};
use std::cell::Cell;

/// Databases that can have a scheduler at the same time.
pub const DATABASES_MAX: usize = 128;

/// Databases that can ask for a scheduler between two looks of the launcher; more make it look at all of them.
const REQUESTS_MAX: usize = 32;

/// How a scheduler ended, told to the launcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// It runs, or ended without a word.
    None,
    /// The extension is not installed in the database.
    NoExtension,
    /// Somebody wants to drop, rename or copy the database.
    Yielded,
}

/// One database's scheduler. Kept after its end, for its farewell.
#[derive(Debug, Clone, Copy)]
pub struct Scheduler {
    pub database: u32,
    /// 0 when it has ended.
    pub pid: i32,
    latch: usize,
    /// Something changed since the last look.
    dirty: bool,
    pub refreshing: bool,
    /// Seconds since the epoch; 0 before the first look.
    pub last_tick: i64,
    pub farewell: Farewell,
}

const EMPTY: Scheduler = Scheduler {
    database: 0,
    pid: 0,
    latch: 0,
    dirty: false,
    refreshing: false,
    last_tick: 0,
    farewell: Farewell::None,
};

/// The shared struct.
#[derive(Clone, Copy)]
struct Shared {
    launcher_latch: usize,
    /// The launcher could not start a scheduler for want of a worker slot.
    out_of_slots: bool,
    requests: [u32; REQUESTS_MAX],
    requests_len: usize,
    requests_overflowed: bool,
    schedulers: [Scheduler; DATABASES_MAX],
}

// SAFETY: plain data without pointers that are read through, except latches, see above.
unsafe impl PGRXSharedMemory for Shared {}

impl Default for Shared {
    fn default() -> Shared {
        Shared {
            launcher_latch: 0,
            out_of_slots: false,
            requests: [0; REQUESTS_MAX],
            requests_len: 0,
            requests_overflowed: false,
            schedulers: [EMPTY; DATABASES_MAX],
        }
    }
}

impl Shared {
    fn scheduler(&mut self, database: u32) -> Option<&mut Scheduler> {
        self.schedulers.iter_mut().find(|scheduler| scheduler.database == database)
    }
}

// SAFETY: the name is this extension's.
static SHARED: PgLwLock<Shared> = unsafe { PgLwLock::new(c"pg_trickle") };

thread_local! {
    /// Set in the postmaster, inherited by every process it starts.
    static REQUESTED: Cell<bool> = const { Cell::new(false) };
}

/// Asks for the shared struct. Called when the library is loaded; without effect unless that is at server start.
pub fn register() {
    if is_preloading() {
        REQUESTED.set(true);
        register_hooks();
    }
}

/// Chains the server's hooks for asking for shared memory and for setting it up.
fn register_hooks() {
    // SAFETY: called once, in the postmaster, which has one thread.
    unsafe {
        PREVIOUS_REQUEST_HOOK = pg_sys::shmem_request_hook;
        pg_sys::shmem_request_hook = Some(on_request);
        PREVIOUS_STARTUP_HOOK = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(on_startup);
    }
}

static mut PREVIOUS_REQUEST_HOOK: pg_sys::shmem_request_hook_type = None;
static mut PREVIOUS_STARTUP_HOOK: pg_sys::shmem_startup_hook_type = None;

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_request() {
    // SAFETY: called by the server as its request hook; the hook before is called as the server would.
    unsafe {
        if let Some(previous) = PREVIOUS_REQUEST_HOOK {
            pg_sys::ffi::pg_guard_ffi_boundary(|| previous());
        }
        SHARED.on_shmem_request();
        checked::on_request();
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_startup() {
    // SAFETY: as in `on_request`.
    unsafe {
        if let Some(previous) = PREVIOUS_STARTUP_HOOK {
            pg_sys::ffi::pg_guard_ffi_boundary(|| previous());
        }
        SHARED.on_shmem_startup(Shared::default());
        checked::on_startup();
    }
}

/// Whether the server is starting and loading its preloaded libraries.
pub fn is_preloading() -> bool {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

/// Whether the library was preloaded, so that there are schedulers.
pub fn is_available() -> bool {
    REQUESTED.get()
}

fn with<T>(read: impl FnOnce(&mut Shared) -> T) -> Option<T> {
    is_available().then(|| read(&mut SHARED.exclusive()))
}

fn set_latch(latch: usize) {
    if latch != 0 {
        // SAFETY: points into the server's process array.
        unsafe { pg_sys::SetLatch(latch as *mut pg_sys::Latch) };
    }
}

fn own_latch() -> usize {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::MyLatch as usize }
}

/// Makes this process the one to wake when a database asks for a scheduler.
pub fn enter_launcher() {
    with(|shared| {
        shared.launcher_latch = own_latch();
        // What was asked of an earlier launcher may be lost.
        shared.requests_overflowed = true;
    });
}

/// Takes the databases that asked for a scheduler; None if all are to be looked at.
pub fn take_requests() -> Option<Vec<u32>> {
    with(|shared| {
        let taken = shared.requests[..shared.requests_len].to_vec();
        let overflowed = std::mem::replace(&mut shared.requests_overflowed, false);
        shared.requests_len = 0;
        (!overflowed).then_some(taken)
    })
    .flatten()
}

/// Records whether worker slots are used up; returns whether that is new.
pub fn set_out_of_slots(out_of_slots: bool) -> bool {
    with(|shared| std::mem::replace(&mut shared.out_of_slots, out_of_slots) != out_of_slots).unwrap_or(false)
}

/// Makes this process the scheduler of its database. False if there is one already, or no room.
pub fn enter_scheduler() -> bool {
    // SAFETY: reads variables of the backend.
    let (database, pid) = unsafe { (pg_sys::MyDatabaseId.to_u32(), pg_sys::MyProcPid) };
    let entered = with(|shared| {
        let index = shared.schedulers.iter().position(|scheduler| scheduler.database == database);
        let free = || {
            let unused = shared.schedulers.iter().position(|scheduler| scheduler.database == 0);
            unused.or_else(|| shared.schedulers.iter().position(|scheduler| scheduler.pid == 0))
        };
        let Some(index) = index.or_else(free) else { return false };
        let slot = &mut shared.schedulers[index];
        if slot.database == database && slot.pid != 0 && is_alive(slot.pid) {
            return false;
        }
        *slot = Scheduler { database, pid, latch: own_latch(), ..EMPTY };
        true
    })
    .unwrap_or(false);
    if entered {
        // SAFETY: the callback does nothing that can raise.
        unsafe { pg_sys::before_shmem_exit(Some(leave_at_exit), pg_sys::Datum::from(0)) };
    }
    entered
}

#[pgrx::pg_guard]
extern "C-unwind" fn leave_at_exit(_code: std::ffi::c_int, _argument: pg_sys::Datum) {
    own(|scheduler| {
        scheduler.pid = 0;
        scheduler.latch = 0;
        scheduler.refreshing = false;
    });
    wake_launcher();
}

fn is_alive(pid: i32) -> bool {
    // SAFETY: looks the process up in the server's array, under its lock.
    unsafe { !pg_sys::BackendPidGetProc(pid).is_null() }
}

fn own(change: impl FnOnce(&mut Scheduler)) {
    // SAFETY: reads variables of the backend.
    let (database, pid) = unsafe { (pg_sys::MyDatabaseId.to_u32(), pg_sys::MyProcPid) };
    with(|shared| {
        if let Some(scheduler) = shared.scheduler(database).filter(|scheduler| scheduler.pid == pid) {
            change(scheduler);
        }
    });
}

/// Says why this scheduler is about to end.
pub fn set_farewell(farewell: Farewell) {
    own(|scheduler| scheduler.farewell = farewell);
}

/// Notes that this scheduler looks at what is due, at `now` in seconds since the epoch; returns whether something
/// changed since the last time.
pub fn begin_tick(now: i64) -> bool {
    let mut dirty = false;
    own(|scheduler| {
        scheduler.last_tick = now;
        dirty = std::mem::replace(&mut scheduler.dirty, false);
    });
    dirty
}

/// Notes whether this scheduler is refreshing.
pub fn set_refreshing(refreshing: bool) {
    own(|scheduler| scheduler.refreshing = refreshing);
}

/// The scheduler of a database, if it ever had one since the server started.
pub fn scheduler_of(database: u32) -> Option<Scheduler> {
    with(|shared| shared.scheduler(database).copied()).flatten()
}

/// Whether the database has a scheduler that runs.
pub fn has_scheduler(database: u32) -> bool {
    scheduler_of(database).is_some_and(|scheduler| scheduler.pid != 0 && is_alive(scheduler.pid))
}

/// Forgets an ended scheduler, of a database that is gone.
pub fn forget(database: u32) {
    with(|shared| {
        if let Some(scheduler) = shared.scheduler(database).filter(|scheduler| scheduler.pid == 0) {
            *scheduler = EMPTY;
        }
    });
}

fn wake_launcher() {
    if let Some(latch) = with(|shared| shared.launcher_latch) {
        set_latch(latch);
    }
}

/// Wakes the scheduler of this database when the transaction commits: something it looks at has changed.
pub fn wake_scheduler_at_commit() {
    at_commit(|| {
        // SAFETY: reads a variable of the backend.
        let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
        let latch = with(|shared| {
            shared.scheduler(database).map_or(0, |scheduler| {
                scheduler.dirty = true;
                scheduler.latch
            })
        });
        set_latch(latch.unwrap_or(0));
    });
}

/// Asks for a scheduler of this database when the transaction commits.
pub fn request_scheduler_at_commit() {
    at_commit(|| {
        // SAFETY: reads a variable of the backend.
        let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
        with(|shared| {
            if shared.requests_len < REQUESTS_MAX {
                shared.requests[shared.requests_len] = database;
                shared.requests_len += 1;
            } else {
                shared.requests_overflowed = true;
            }
        });
        wake_launcher();
    });
}

/// Runs `action`, which must not raise, if and when the transaction commits.
fn at_commit(action: impl FnOnce() + std::panic::UnwindSafe + std::panic::RefUnwindSafe + 'static) {
    if is_available() {
        register_xact_callback(PgXactCallbackEvent::Commit, action);
    }
}
