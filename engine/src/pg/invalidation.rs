//! What has changed in the catalogs since something was derived from them.
//!
//! The server tells every backend which relations, types and functions have changed. Most of that is noise: statistics,
//! temporary tables and their schemas, materialized views that are refreshed. So what is derived from a definition
//! watches the relations and types that the definition leads to and the schemas there are, and only those. Functions,
//! operators, their classes and collations change rarely; a change of any of them counts for everything.

use crate::catalog;
use crate::pg::fmgr::{finfo, trigger_data};
use crate::pg::relation;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

thread_local! {
    /// Invalidations seen so far by this backend.
    static COUNT: Cell<u64> = const { Cell::new(1) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
    static CHANGES: RefCell<Changes> = RefCell::default();
}

/// What an invalidation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Object {
    /// By OID.
    Relation(u32),
    /// By the hash under which the server announces it.
    Type(u32),
    /// By such a hash.
    Schema(u32),
}

/// When what was changed last, as a count of invalidations.
#[derive(Default)]
struct Changes {
    everything: u64,
    objects: HashMap<Object, u64>,
}

/// The caches of types and of schemas.
const TYPES: i32 = pg_sys::SysCacheIdentifier::TYPEOID as i32;
const SCHEMAS: i32 = pg_sys::SysCacheIdentifier::NAMESPACEOID as i32;

/// More changed objects than this are not told apart.
const OBJECTS_MAX: usize = 10_000;

impl Changes {
    /// Without an object, everything may have changed.
    fn note(&mut self, object: Option<Object>, count: u64) {
        match object {
            Some(object) if self.objects.len() < OBJECTS_MAX => {
                self.objects.insert(object, count);
            }
            _ => *self = Changes { everything: count, objects: HashMap::new() },
        }
    }

    fn has_touched(&self, objects: &[Object], since: u64) -> bool {
        let is_newer = |object| self.objects.get(object).is_some_and(|at| *at > since);
        self.everything > since || objects.iter().any(is_newer)
    }
}

/// The objects that something depends on, and the count of invalidations up to which it is known to be as they are.
#[derive(Debug)]
pub struct Watch {
    objects: Vec<Object>,
    since: Cell<u64>,
}

impl Watch {
    /// Watches relations, types and schemas, by OID, for changes after `since`: a [`count`] taken before they were
    /// looked at.
    pub fn new(relations: &[u32], types: &[u32], schemas: &[u32], since: u64) -> Watch {
        let relations = relations.iter().map(|&oid| Object::Relation(oid));
        let types = types.iter().map(|&oid| Object::Type(hash(TYPES, oid)));
        let schemas = schemas.iter().map(|&oid| Object::Schema(hash(SCHEMAS, oid)));
        Watch { objects: relations.chain(types).chain(schemas).collect(), since: Cell::new(since) }
    }

    /// Whether nothing watched has changed.
    pub fn is_current(&self) -> bool {
        let now = count();
        let since = self.since.get();
        if since != now && CHANGES.with_borrow(|changes| changes.has_touched(&self.objects, since)) {
            return false;
        }
        self.since.set(now);
        true
    }
}

/// The number of invalidations seen so far by this backend.
pub fn count() -> u64 {
    if !REGISTERED.replace(true) {
        let nothing = pg_sys::Datum::from(0usize);
        // SAFETY: the callbacks only touch variables of this thread and cannot raise.
        unsafe {
            pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), nothing);
            pg_sys::CacheRegisterSyscacheCallback(TYPES, Some(type_changed), nothing);
            pg_sys::CacheRegisterSyscacheCallback(SCHEMAS, Some(schema_changed), nothing);
            for cache in [
                pg_sys::SysCacheIdentifier::PROCOID,
                pg_sys::SysCacheIdentifier::OPEROID,
                pg_sys::SysCacheIdentifier::CLAOID,
                pg_sys::SysCacheIdentifier::COLLOID,
            ] {
                pg_sys::CacheRegisterSyscacheCallback(cache as i32, Some(catalog_changed), nothing);
            }
        }
    }
    // A session inside a transaction hears of others' changes only when it takes a new lock.
    // SAFETY: inside a transaction, as every caller is.
    unsafe { pg_sys::AcceptInvalidationMessages() };
    COUNT.get()
}

/// The hash under which the server announces changes of an object.
fn hash(cache: i32, oid: u32) -> u32 {
    let none = pg_sys::Datum::from(0usize);
    // SAFETY: computes a hash of the key, which need not exist.
    unsafe { pg_sys::GetSysCacheHashValue(cache, pg_sys::Datum::from(oid), none, none, none) }
}

fn note(object: Option<Object>) {
    let count = COUNT.get() + 1;
    COUNT.set(count);
    CHANGES.with_borrow_mut(|changes| changes.note(object, count));
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_changed(_argument: pg_sys::Datum, relid: pg_sys::Oid) {
    // No relation stands for all of them.
    note((relid != pg_sys::InvalidOid).then(|| Object::Relation(relid.to_u32())));
}

#[pg_guard]
unsafe extern "C-unwind" fn type_changed(_argument: pg_sys::Datum, _cache: i32, hash: u32) {
    // No hash stands for all types.
    note((hash != 0).then_some(Object::Type(hash)));
}

#[pg_guard]
unsafe extern "C-unwind" fn schema_changed(_argument: pg_sys::Datum, _cache: i32, hash: u32) {
    note((hash != 0).then_some(Object::Schema(hash)));
}

#[pg_guard]
unsafe extern "C-unwind" fn catalog_changed(_argument: pg_sys::Datum, _cache: i32, _hash: u32) {
    note(None);
}

finfo!(pg_finfo_pgt_catalog_changed);

/// `pgtrickle.catalog_changed()`: announces that rows of the extension's catalog have changed, as the server announces a
/// change of a relation: to this session at its next command, to others when the transaction commits.
///
/// # Safety
/// Called by the trigger manager.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pgt_catalog_changed(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the server calls it so.
    unsafe { trigger_data(fcinfo, "catalog_changed") };
    relation::invalidate(catalog::definitions_relation());
    pg_sys::Datum::from(0usize)
}
