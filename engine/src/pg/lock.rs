//! Locks that need no snapshot: claims of stream tables, relation locks by OID, and the check that nothing of a
//! refresh is in use by this session.

use pgrx::pg_sys;
use std::ffi::CStr;

/// Relation lock modes by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// ACCESS SHARE.
    Read,
    /// ROW EXCLUSIVE.
    Write,
    /// SHARE UPDATE EXCLUSIVE: excludes itself, but neither readers nor writers.
    Maintain,
    /// SHARE ROW EXCLUSIVE: what CREATE TRIGGER takes.
    InstallTrigger,
    /// ACCESS EXCLUSIVE: what DROP takes.
    Replace,
}

impl Mode {
    fn server(self) -> pg_sys::LOCKMODE {
        (match self {
            Mode::Read => pg_sys::AccessShareLock,
            Mode::Write => pg_sys::RowExclusiveLock,
            Mode::Maintain => pg_sys::ShareUpdateExclusiveLock,
            Mode::InstallTrigger => pg_sys::ShareRowExclusiveLock,
            Mode::Replace => pg_sys::AccessExclusiveLock,
        }) as pg_sys::LOCKMODE
    }
}

/// Takes a relation lock that is held to the end of the transaction. Waits.
pub fn relation(relid: u32, mode: Mode) {
    // SAFETY: locking a relation that no longer exists is harmless; what reads it next reports that.
    unsafe { pg_sys::LockRelationOid(pg_sys::Oid::from(relid), mode.server()) }
}

/// As [`relation`], but returns false instead of waiting.
pub fn try_relation(relid: u32, mode: Mode) -> bool {
    // SAFETY: as above.
    unsafe { pg_sys::ConditionalLockRelationOid(pg_sys::Oid::from(relid), mode.server()) }
}

/// Whether this transaction holds ROW EXCLUSIVE or a stronger lock on the relation.
pub fn holds_write_lock(relid: u32) -> bool {
    // SAFETY: reads the local lock table.
    unsafe { pg_sys::CheckRelationOidLockedByMe(pg_sys::Oid::from(relid), Mode::Write.server(), true) }
}

/// Takes the claim of a stream table, until the end of the transaction. At most one transaction has it; it conflicts
/// with no lock on the table itself and assigns no transaction id (`design-review.md` 3.1). Returns false if `wait` is
/// false and another transaction has it.
pub fn claim(catalog: u32, pgt_id: i64, wait: bool) -> bool {
    let tag = pg_sys::LOCKTAG {
        // SAFETY: reads a variable of the backend.
        locktag_field1: unsafe { pg_sys::MyDatabaseId }.to_u32(),
        locktag_field2: catalog,
        locktag_field3: (pgt_id & 0xffff_ffff) as u32,
        locktag_field4: 0,
        locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
        locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
    };
    // SAFETY: the tag is complete.
    let result =
        unsafe { pg_sys::LockAcquire(&tag, pg_sys::ExclusiveLock as pg_sys::LOCKMODE, false, !wait) };
    result != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
}

/// Raises if a statement of this session is using the relation, or AFTER triggers of it are queued: their changes
/// would be in the table but not in its change buffer (`design-review.md` 1.3).
pub fn check_not_in_use(relid: u32, operation: &CStr) {
    // SAFETY: the relation is locked by the caller; the reference is dropped at once.
    unsafe {
        let relation =
            pg_sys::try_relation_open(pg_sys::Oid::from(relid), pg_sys::NoLock as pg_sys::LOCKMODE);
        if !relation.is_null() {
            pg_sys::CheckTableNotInUse(relation, operation.as_ptr());
            pg_sys::relation_close(relation, pg_sys::NoLock as pg_sys::LOCKMODE);
        }
    }
}
