//! A counter that grows whenever something a compiled definition may depend on has changed.

use pgrx::pg_sys;
use pgrx::prelude::*;
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(1) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// The number of invalidations seen so far by this backend.
pub fn count() -> u64 {
    if !REGISTERED.replace(true) {
        // SAFETY: the callbacks only touch a thread-local counter and cannot raise.
        unsafe {
            pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), pg_sys::Datum::from(0usize));
            for cache in [
                pg_sys::SysCacheIdentifier::PROCOID,
                pg_sys::SysCacheIdentifier::TYPEOID,
                pg_sys::SysCacheIdentifier::NAMESPACEOID,
                pg_sys::SysCacheIdentifier::OPEROID,
            ] {
                pg_sys::CacheRegisterSyscacheCallback(
                    cache as i32,
                    Some(catalog_changed),
                    pg_sys::Datum::from(0usize),
                );
            }
        }
    }
    // A session inside a transaction hears of others' changes only when it takes a new lock.
    // SAFETY: inside a transaction, as every caller is.
    unsafe { pg_sys::AcceptInvalidationMessages() };
    COUNT.get()
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_changed(_argument: pg_sys::Datum, _relid: pg_sys::Oid) {
    COUNT.set(COUNT.get() + 1);
}

#[pg_guard]
unsafe extern "C-unwind" fn catalog_changed(_argument: pg_sys::Datum, _cache: i32, _hash: u32) {
    COUNT.set(COUNT.get() + 1);
}
