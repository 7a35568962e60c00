//! When stream tables were last found up to date.
//!
//! A refresh that finds nothing pending writes nothing, so the time of that finding has no row to stand in. It is kept in
//! shared memory, for as long as the server runs; without the library being preloaded it is not kept at all.

use crate::pg::{shmem, xact};
use pgrx::lwlock::PgLwLock;
use pgrx::pg_sys;
use pgrx::shmem::{PGRXSharedMemory, PgSharedMemoryInitialization};

const ENTRIES: usize = 2_048;
/// Places an entry may be in; when all are taken the oldest gives way.
const PROBES: usize = 16;

#[derive(Clone, Copy)]
struct Entry {
    database: u32,
    pgt_id: i64,
    /// `timestamptz`: microseconds.
    at: i64,
}

#[derive(Clone, Copy)]
struct Checks([Entry; ENTRIES]);

// SAFETY: plain data without pointers.
unsafe impl PGRXSharedMemory for Checks {}

// SAFETY: the name is this extension's.
static CHECKS: PgLwLock<Checks> = unsafe { PgLwLock::new(c"pg_trickle_checked") };

/// Asks for the memory, in the server's request hook.
///
/// # Safety
/// Called in that hook.
pub(super) unsafe fn on_request() {
    // SAFETY: see above.
    unsafe { CHECKS.on_shmem_request() }
}

/// Sets the memory up, in the server's startup hook.
///
/// # Safety
/// Called in that hook.
pub(super) unsafe fn on_startup() {
    // SAFETY: see above.
    unsafe { CHECKS.on_shmem_startup(Checks([Entry { database: 0, pgt_id: 0, at: 0 }; ENTRIES])) }
}

/// The places of a stream table's entry.
fn places(database: u32, pgt_id: i64) -> impl Iterator<Item = usize> {
    let start = (u64::from(database) << 32 ^ pgt_id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    (0..PROBES).map(move |probe| (start as usize + probe) % ENTRIES)
}

/// Notes that a stream table was up to date when this transaction began.
pub fn note(pgt_id: i64) {
    if !shmem::is_available() {
        return;
    }
    let database = xact::database();
    // SAFETY: reads backend state.
    let at = unsafe { pg_sys::GetCurrentTransactionStartTimestamp() };
    let checks = &mut CHECKS.exclusive().0;
    let own = |entry: &Entry| entry.database == database && entry.pgt_id == pgt_id;
    let found = places(database, pgt_id).find(|&place| own(&checks[place]));
    let place = found.or_else(|| places(database, pgt_id).min_by_key(|&place| checks[place].at));
    if let Some(place) = place {
        let at = if own(&checks[place]) { at.max(checks[place].at) } else { at };
        checks[place] = Entry { database, pgt_id, at };
    }
}

/// Forgets it: from now on the time stored with the frontier is what counts, even if it is earlier.
pub fn forget(pgt_id: i64) {
    if !shmem::is_available() {
        return;
    }
    let database = xact::database();
    let checks = &mut CHECKS.exclusive().0;
    let found = places(database, pgt_id)
        .find(|&place| checks[place].database == database && checks[place].pgt_id == pgt_id);
    if let Some(place) = found {
        checks[place].at = 0;
    }
}

/// When a stream table was last found up to date, in microseconds as `timestamptz` counts them.
pub fn at(pgt_id: i64) -> Option<i64> {
    if !shmem::is_available() {
        return None;
    }
    let database = xact::database();
    let checks = &CHECKS.share().0;
    places(database, pgt_id)
        .map(|place| checks[place])
        .find(|entry| entry.database == database && entry.pgt_id == pgt_id)
        .map(|entry| entry.at)
}
