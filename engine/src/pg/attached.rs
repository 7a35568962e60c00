//! What users have put on a stream table, from the relation cache: asking costs a refresh next to nothing.
//!
//! The caller holds a lock on the stream table that keeps all of it as it is.

use super::{compat, node};
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use std::ffi::CStr;

unsafe extern "C-unwind" {
    /// `catalog/pg_inherits.h`, absent from the bindings.
    fn has_superclass(relation: pg_sys::Oid) -> bool;
    /// The same.
    fn find_inheritance_children(parent: pg_sys::Oid, mode: pg_sys::LOCKMODE) -> *mut pg_sys::List;
}

/// ROW and BEFORE in `pg_trigger.tgtype`.
const BEFORE_ROW: i16 = (pg_sys::TRIGGER_TYPE_ROW | pg_sys::TRIGGER_TYPE_BEFORE) as i16;

const NO_LOCK: pg_sys::LOCKMODE = pg_sys::NoLock as pg_sys::LOCKMODE;

/// What is wrong with a stream table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hostile {
    Trigger(String),
    /// By OID.
    Rule(u32),
    ForcedRowSecurity,
    /// Its columns are not those of its query.
    Columns,
    /// It is a child or a parent.
    Inheritance,
}

/// Something on a stream table that would change what the engine's statements do. `query_view` holds its query.
pub fn hostile(relid: u32, query_view: u32) -> Option<Hostile> {
    with_relation(relid, |relation| {
        if let Some(trigger) =
            triggers(relation).iter().find(|t| !t.tgisinternal && t.tgtype & BEFORE_ROW == BEFORE_ROW)
        {
            // SAFETY: the name of a trigger in the cache; it is copied.
            let name = unsafe { CStr::from_ptr(trigger.tgname) }.to_string_lossy().into_owned();
            return Some(Hostile::Trigger(name));
        }
        if let Some(&rule) = rules(relation).first() {
            return Some(Hostile::Rule(rule));
        }
        // SAFETY: the relation is open.
        let class = unsafe { &*(*relation).rd_rel };
        if class.relforcerowsecurity {
            return Some(Hostile::ForcedRowSecurity);
        }
        let columns = columns(relation);
        if with_relation(query_view, self::columns).is_some_and(|queried| queried != columns) {
            return Some(Hostile::Columns);
        }
        let oid = pg_sys::Oid::from(relid);
        // SAFETY: both read the catalog; nothing is locked, and what they raise is turned into an unwinding of ours.
        let inherits = unsafe {
            pg_guard_ffi_boundary(|| has_superclass(oid))
                // Once set, the flag stays for a while.
                || class.relhassubclass
                    && !pg_guard_ffi_boundary(|| find_inheritance_children(oid, NO_LOCK)).is_null()
        };
        inherits.then_some(Hostile::Inheritance)
    })
    .flatten()
}

/// The number of indexes of a relation that no two rows may agree on, or that exclude each other's rows.
pub fn exclusive_indexes(relid: u32) -> usize {
    let indexes = with_relation(relid, |relation| {
        // SAFETY: the list of OIDs is a copy in the current memory context.
        unsafe { node::oids(pg_sys::RelationGetIndexList(relation)) }
    });
    let is_exclusive = |index: &pg_sys::Oid| {
        // SAFETY: the index exists as long as its table is locked; the reference is dropped after the flags are read.
        unsafe {
            let index = pg_sys::index_open(*index, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
            let form = &*(*index).rd_index;
            let is_exclusive = form.indisunique || form.indisexclusion;
            pg_sys::index_close(index, NO_LOCK);
            is_exclusive
        }
    };
    indexes.unwrap_or_default().iter().filter(|index| is_exclusive(index)).count()
}

/// Whether a constraint on the relation, or a foreign key that refers to it, may be deferred. Every such constraint has
/// triggers here, those of a foreign key's actions among them, which do not tell.
pub fn has_deferrable(relid: u32) -> bool {
    with_relation(relid, |relation| triggers(relation).iter().any(may_defer)).unwrap_or(false)
}

fn may_defer(trigger: &pg_sys::Trigger) -> bool {
    trigger.tgdeferrable || trigger.tgconstrrelid != pg_sys::InvalidOid
}

/// Runs `read` on a relation, if there is one.
fn with_relation<T>(relid: u32, read: impl FnOnce(pg_sys::Relation) -> T) -> Option<T> {
    // SAFETY: the reference is dropped after reading; on error the resource owner does it.
    unsafe {
        let mode = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        let relation = pg_sys::try_relation_open(pg_sys::Oid::from(relid), mode);
        if relation.is_null() {
            return None;
        }
        let result = read(relation);
        pg_sys::relation_close(relation, NO_LOCK);
        Some(result)
    }
}

/// The triggers of an open relation.
fn triggers<'a>(relation: pg_sys::Relation) -> &'a [pg_sys::Trigger] {
    // SAFETY: the description lives as long as the relation is open and no invalidation is accepted, which the readers
    // here do not outlast.
    unsafe {
        let description = (*relation).trigdesc;
        if description.is_null() {
            return &[];
        }
        std::slice::from_raw_parts((*description).triggers, (*description).numtriggers as usize)
    }
}

/// The rules of an open relation, by OID.
fn rules(relation: pg_sys::Relation) -> Vec<u32> {
    // SAFETY: as for triggers.
    unsafe {
        let rules = (*relation).rd_rules;
        if rules.is_null() {
            return vec![];
        }
        (0..(*rules).numLocks as usize).map(|index| (**(*rules).rules.add(index)).ruleId.to_u32()).collect()
    }
}

/// Name, type and modifier of each column, dropped ones included.
fn columns(relation: pg_sys::Relation) -> Vec<(Vec<u8>, u32, i32)> {
    // SAFETY: the descriptor lives as long as the relation is open; all is copied.
    unsafe {
        let descriptor = (*relation).rd_att;
        (0..(*descriptor).natts as usize)
            .map(|index| {
                let attribute = &*compat::attribute(descriptor, index);
                let name = CStr::from_ptr(attribute.attname.data.as_ptr()).to_bytes().to_vec();
                (name, attribute.atttypid.to_u32(), attribute.atttypmod)
            })
            .collect()
    }
}
