//! Facts about relations from the relation and system caches.

use super::node;
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use std::ffi::{CStr, CString};

/// The OID of `schema.name`.
pub fn find(schema: &str, name: &str) -> Option<u32> {
    let schema = CString::new(schema).ok()?;
    let name = CString::new(name).ok()?;
    // SAFETY: syscache lookups on NUL-terminated names.
    unsafe {
        let namespace = pg_sys::get_namespace_oid(schema.as_ptr(), true);
        if namespace == pg_sys::InvalidOid {
            return None;
        }
        let relid = pg_sys::get_relname_relid(name.as_ptr(), namespace);
        (relid != pg_sys::InvalidOid).then(|| relid.to_u32())
    }
}

/// A name a user gave, taken apart by the server's rules for identifiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QualifiedName {
    pub schema: Option<String>,
    pub name: String,
}

impl QualifiedName {
    /// Parses `name` or `schema.name`; raises on bad syntax, on names of three parts, and on over-long parts.
    pub fn parse(text: &str) -> QualifiedName {
        let text = CString::new(text).unwrap_or_default();
        // SAFETY: the parser copies into the current memory context; the fields are copied out.
        unsafe {
            let names = pg_sys::stringToQualifiedNameList(text.as_ptr(), std::ptr::null_mut());
            let range = pg_sys::makeRangeVarFromNameList(names);
            let schema = (!(*range).schemaname.is_null())
                .then(|| CStr::from_ptr((*range).schemaname).to_string_lossy().into_owned());
            QualifiedName { schema, name: CStr::from_ptr((*range).relname).to_string_lossy().into_owned() }
        }
    }

    /// The relation of that name, by search path if unqualified.
    pub fn lookup(&self) -> Option<u32> {
        // SAFETY: the range variable lives in the current context.
        unsafe {
            let relid = pg_sys::RangeVarGetRelidExtended(
                self.range_var(),
                pg_sys::NoLock as pg_sys::LOCKMODE,
                pg_sys::RVROption::RVR_MISSING_OK,
                None,
                std::ptr::null_mut(),
            );
            (relid != pg_sys::InvalidOid).then(|| relid.to_u32())
        }
    }

    /// The schema in which a relation of this name would be created; raises if it does not exist or is not allowed.
    pub fn creation_schema(&self) -> String {
        // SAFETY: as above; the name is copied.
        unsafe {
            let namespace = pg_sys::RangeVarGetAndCheckCreationNamespace(
                self.range_var(),
                pg_sys::NoLock as pg_sys::LOCKMODE,
                std::ptr::null_mut(),
            );
            CStr::from_ptr(pg_sys::get_namespace_name(namespace)).to_string_lossy().into_owned()
        }
    }

    /// # Safety
    /// The result lives in the current memory context.
    unsafe fn range_var(&self) -> *mut pg_sys::RangeVar {
        let copy = |text: &str| {
            let text = CString::new(text).expect("parsed from a C string");
            // SAFETY: copies into the current context.
            unsafe { pg_sys::pstrdup(text.as_ptr()) }
        };
        // SAFETY: makeRangeVar stores the pointers it is given.
        unsafe {
            let schema = self.schema.as_deref().map_or(std::ptr::null_mut(), copy);
            pg_sys::makeRangeVar(schema, copy(&self.name), -1)
        }
    }
}

/// Schema-qualified, quoted name of an existing relation.
pub fn qualified_name(relid: u32) -> Option<String> {
    // SAFETY: syscache lookups; names are copied.
    unsafe {
        let oid = pg_sys::Oid::from(relid);
        let name = pg_sys::get_rel_name(oid);
        if name.is_null() {
            return None;
        }
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(oid));
        let quoted = pg_sys::quote_qualified_identifier(schema, name);
        Some(CStr::from_ptr(quoted).to_string_lossy().into_owned())
    }
}

/// An identifier quoted as the server would.
pub fn quote_identifier(name: &str) -> String {
    let name = CString::new(name).expect("identifiers have no NUL");
    // SAFETY: returns its argument or a copy in the current context.
    unsafe { CStr::from_ptr(pg_sys::quote_identifier(name.as_ptr())).to_string_lossy().into_owned() }
}

/// `InvalidSubTransactionId`, absent from the bindings.
const INVALID_SUBTRANSACTION: pg_sys::SubTransactionId = 0;

/// Facts of an open relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pub owner: u32,
    /// `pg_class.relkind`.
    pub kind: char,
    /// `pg_class.relpersistence`.
    pub persistence: char,
    /// Created, or given new storage, by this transaction: other transactions cannot see it as it is.
    pub created_here: bool,
    /// It has, or once had, partitions or inheritance children.
    pub may_have_children: bool,
}

/// Reads the facts of a relation the caller has locked; None if it does not exist.
pub fn facts(relid: u32) -> Option<Facts> {
    // SAFETY: the reference is dropped after the fields are copied.
    unsafe {
        let relation =
            pg_sys::try_relation_open(pg_sys::Oid::from(relid), pg_sys::NoLock as pg_sys::LOCKMODE);
        if relation.is_null() {
            return None;
        }
        let class = &*(*relation).rd_rel;
        let facts = Facts {
            owner: class.relowner.to_u32(),
            kind: class.relkind as u8 as char,
            persistence: class.relpersistence as u8 as char,
            may_have_children: class.relhassubclass,
            created_here: (*relation).rd_createSubid != INVALID_SUBTRANSACTION
                || (*relation).rd_newRelfilelocatorSubid != INVALID_SUBTRANSACTION,
        };
        pg_sys::relation_close(relation, pg_sys::NoLock as pg_sys::LOCKMODE);
        Some(facts)
    }
}

unsafe extern "C-unwind" {
    /// `catalog/pg_inherits.h`, absent from the bindings.
    fn has_subclass(relation: pg_sys::Oid) -> bool;
    /// The same.
    fn find_all_inheritors(
        parent: pg_sys::Oid,
        mode: pg_sys::LOCKMODE,
        parents: *mut *mut pg_sys::List,
    ) -> *mut pg_sys::List;
}

/// A relation with its partitions and inheritance children, at all levels. Locks none of them.
pub fn with_children(relid: u32) -> Vec<u32> {
    let oid = pg_sys::Oid::from(relid);
    let is_childless = || {
        // SAFETY: a syscache lookup that raises if the relation does not exist, of which the name has told.
        qualified_name(relid).is_none() || unsafe { !pg_guard_ffi_boundary(|| has_subclass(oid)) }
    };
    if is_childless() {
        return vec![relid];
    }
    let no_lock = pg_sys::NoLock as pg_sys::LOCKMODE;
    // SAFETY: reads the catalog; the list is in the current memory context.
    let all = unsafe { pg_guard_ffi_boundary(|| find_all_inheritors(oid, no_lock, std::ptr::null_mut())) };
    node::oids(all).into_iter().map(pg_sys::Oid::to_u32).collect()
}

/// The schema of a relation; None if the relation does not exist.
pub fn schema_of(relid: u32) -> Option<u32> {
    // SAFETY: a syscache lookup.
    let schema = unsafe { pg_sys::get_rel_namespace(pg_sys::Oid::from(relid)) };
    (schema != pg_sys::InvalidOid).then(|| schema.to_u32())
}

/// Makes every backend forget what it knows of a relation, when this transaction commits; this one at its next command.
pub fn invalidate(relid: u32) {
    // SAFETY: raises if the relation does not exist.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(pg_sys::Oid::from(relid)) }
}

/// Makes `dependent` go when `owner` goes (both relations).
pub fn depend_automatically(dependent: u32, owner: u32) {
    let address = |relid: u32| pg_sys::ObjectAddress {
        classId: pg_sys::RelationRelationId,
        objectId: pg_sys::Oid::from(relid),
        objectSubId: 0,
    };
    // SAFETY: both addresses name existing relations.
    unsafe {
        pg_sys::recordDependencyOn(
            &address(dependent),
            &address(owner),
            pg_sys::DependencyType::DEPENDENCY_AUTO,
        );
    }
}
